"""The before/after page: what is in the file, without a browser."""

import base64
import io
import re
from html.parser import HTMLParser

import PIL.Image
import pytest

from backdrop_cli.page import Image, NoImage, Pair, Totals, before_after, dollars, embedded, side_for

HOSTILE = """<script>alert(1)</script>"><img src=x onerror='alert(2)'>&lt;{title}"""
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACw="


class Parsed(HTMLParser):
    """What a browser would see: the tags with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def images(self) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == "img"]


def pair(**changes: object) -> Pair:
    values: dict[str, object] = {
        "before": Image(PIXEL, "shoes/red.jpg"),
        "after": (Image(PIXEL, "shoes/red.jpg.png"),),
        "prompt": "a beach at sunset",
        "seconds": 4.21,
        "cost_usd": 0.03,
    }
    return Pair(**(values | changes))  # type: ignore[arg-type]


def page(*pairs: Pair, title: str = "Before and after", note: str = "A stand-in painted these.") -> str:
    file = io.StringIO()
    before_after(file, title, note, pairs)
    return file.getvalue()


def encoded(image: PIL.Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def shown(image: Image | NoImage) -> PIL.Image.Image:
    assert isinstance(image, Image)
    return PIL.Image.open(io.BytesIO(base64.b64decode(image.uri.partition(",")[2])))


def test_a_pair_is_shown_with_prompt_keys_seconds_and_cost() -> None:
    parsed = Parsed(page(pair()))
    for text in ("a beach at sunset", "shoes/red.jpg", "shoes/red.jpg.png", "4.2 s", "$0.03", "A stand-in painted"):
        assert text in parsed.text
    assert len(parsed.images()) == 2


def test_hostile_texts_stay_texts() -> None:
    hostile = pair(before=Image(f"{PIXEL}{HOSTILE}", HOSTILE), after=(Image(PIXEL, HOSTILE),), prompt=HOSTILE)
    gone = pair(before=NoImage(HOSTILE, HOSTILE), after=(), failure=HOSTILE)
    parsed = Parsed(page(hostile, gone, title=HOSTILE, note=HOSTILE))
    plain = Parsed(page(pair(), pair(before=NoImage("a.jpg", "It is gone."), after=())))
    assert [tag for tag, _ in parsed.tags] == [tag for tag, _ in plain.tags]
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")]
    assert parsed.text.count(HOSTILE) == 10
    assert parsed.images()[0]["src"] == f"{PIXEL}{HOSTILE}"


def test_a_missing_result_shows_the_reason() -> None:
    parsed = Parsed(page(pair(after=(), cost_usd=None, failure="missing_prompt: no prompt was given")))
    assert "missing_prompt: no prompt was given" in parsed.text
    assert "1 failed" in parsed.text
    assert len(parsed.images()) == 1


def test_an_incomplete_result_shows_the_reason_beside_what_is_there() -> None:
    parsed = Parsed(page(pair(failure="result_unavailable: its link is dead")))
    assert "Not complete" in parsed.text
    assert "1 failed" in parsed.text
    assert len(parsed.images()) == 2


def test_what_failed_is_listed_on_top_with_links_to_it() -> None:
    parsed = Parsed(page(pair(), pair(before=Image(PIXEL, "b.jpg"), after=()), pair(), pair(after=(), failure="x")))
    ids = [attributes["id"] for tag, attributes in parsed.tags if tag == "article"]
    links = [attributes["href"] for tag, attributes in parsed.tags if tag == "a"]
    assert len(set(ids)) == 4
    assert links == [f"#{ids[1]}", f"#{ids[3]}"]
    assert parsed.text.index("b.jpg") < parsed.text.index("a beach at sunset")
    assert not [tag for tag, _ in Parsed(page(pair())).tags if tag in ("a", "nav")]


def test_a_picture_that_is_not_there_leaves_its_place_and_says_why() -> None:
    parsed = Parsed(page(pair(after=(NoImage("a.jpg.png", "It is not there any more."),))))
    assert "It is not there any more." in parsed.text
    assert "a.jpg.png" in parsed.text
    assert len(parsed.images()) == 1
    assert "failed" not in parsed.text


@pytest.mark.parametrize(("prompt", "text"), [(" \n", "No prompt"), (None, "The prompt can't be told any more")])
def test_an_upload_without_a_prompt_says_so(prompt: str | None, text: str) -> None:
    assert text in Parsed(page(pair(prompt=prompt))).text


def test_totals_are_those_of_the_page() -> None:
    pairs = (pair(), pair(after=(), cost_usd=None, failure="x"), pair(cost_usd=0.05))
    assert before_after(io.StringIO(), "", "", iter(pairs)) == Totals(photos=3, images=2, failed=1, cost_usd=0.08)
    assert before_after(io.StringIO(), "", "", []) == Totals()


@pytest.mark.parametrize(("seconds", "text"), [(119.94, "119.9 s"), (600.0, "10 min")])
def test_long_waits_are_told_in_minutes(seconds: float, text: str) -> None:
    assert text in Parsed(page(pair(seconds=seconds))).text


def test_the_page_needs_no_network_and_no_script() -> None:
    several = (Image(PIXEL, "a.1.png"), Image(PIXEL, "a.2.png"))
    html = page(pair(), pair(after=several), pair(after=(), failure="x"))
    assert "//" not in html
    assert not re.search(r"url\(|@import|srcset", html)
    assert {tag for tag, _ in Parsed(html).tags}.isdisjoint({"script", "link", "iframe", "object", "base"})
    assert all((image["src"] or "").startswith("data:image/") for image in Parsed(html).images())


def test_every_image_of_an_upload_is_shown_and_counted() -> None:
    parsed = Parsed(page(pair(after=(Image(PIXEL, "a.1.png"), Image(PIXEL, "a.2.png")), cost_usd=0.06), pair()))
    assert [image["alt"] for image in parsed.images()] == [
        "Before: shoes/red.jpg",
        "After 1: a.1.png",
        "After 2: a.2.png",
        "Before: shoes/red.jpg",
        "After: shoes/red.jpg.png",
    ]
    assert "2 photos · 3 new images · $0.09" in parsed.text


def test_every_image_keeps_its_place_until_it_is_there() -> None:
    image, _ = Parsed(page(pair(before=Image("a.jpg", "a.jpg", 600, 400)))).images()
    assert (image["width"], image["height"]) == ("600", "400")


@pytest.mark.parametrize(("mode", "size", "fits"), [("RGB", (1400, 700), (700, 350)), ("RGBA", (90, 120), (90, 120))])
def test_an_embedded_photo_is_a_small_webp(mode: str, size: tuple[int, int], fits: tuple[int, int]) -> None:
    image = embedded(encoded(PIL.Image.new(mode, size), "PNG"), "a.png")
    assert isinstance(image, Image)
    assert image.uri.startswith("data:image/webp;base64,")
    assert (image.width, image.height) == fits == shown(image).size


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_every_kind_of_upload_and_result_is_shown(kind: str) -> None:
    picture = shown(embedded(encoded(PIL.Image.new("RGB", (64, 48), "red"), kind), "a", side=32))
    red, green, blue = picture.convert("RGB").resize((1, 1)).tobytes()
    assert picture.size == (32, 24)
    assert red > 240
    assert max(green, blue) < 20


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "CMYK"])
def test_every_mode_of_a_photo_is_shown(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    assert shown(embedded(encoded(PIL.Image.new(mode, (64, 48)), kind), "a", side=32)).size == (32, 24)


def test_a_photo_that_lies_on_its_side_is_turned_as_its_camera_says() -> None:
    photo = PIL.Image.new("RGB", (1600, 800))
    photo.getexif()[0x0112] = 6  # the orientation: a quarter turn
    file = io.BytesIO()
    photo.save(file, "JPEG", exif=photo.getexif())
    assert shown(embedded(file.getvalue(), "a.jpg")).size == (350, 700)


def test_a_transparent_photo_is_shown_on_white() -> None:
    photo = encoded(PIL.Image.new("RGBA", (8, 8), (0, 0, 0, 0)), "PNG")
    assert shown(embedded(photo, "a.png")).convert("RGB").getpixel((4, 4)) == (255, 255, 255)


UNREADABLE = {
    "empty": b"",
    "no picture": b"%PDF-1.7 no photo at all",
    "cut off": encoded(PIL.Image.effect_noise((300, 300), 50), "PNG")[:5000],
    "broken": encoded(PIL.Image.effect_noise((300, 300), 50), "PNG").replace(b"IDAT", b"\0\0\0\0"),
    "a kind that is never uploaded": encoded(PIL.Image.new("RGB", (8, 8)), "TIFF"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_is_no_picture_is_told_instead_of_shown(case: str) -> None:
    image = embedded(UNREADABLE[case], "a.png")
    assert isinstance(image, NoImage)
    assert image.key == "a.png"


def test_so_many_pixels_that_they_would_fill_the_memory_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    many = encoded(PIL.Image.new("1", (9000, 9000)), "PNG")
    assert isinstance(embedded(many, "a.png"), NoImage)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1000)
    assert isinstance(embedded(encoded(PIL.Image.new("RGB", (50, 30)), "PNG"), "a.png"), NoImage)
    assert isinstance(embedded(encoded(PIL.Image.new("RGB", (50, 50)), "PNG"), "a.png"), NoImage)


def test_pictures_are_the_smaller_the_more_there_are() -> None:
    sides = [side_for(pictures) for pictures in (0, 120, 600, 2000, 20_000)]
    assert sides[:2] == [700, 700]
    assert sides[-1] == 160
    assert sides == sorted(sides, reverse=True)
    assert 320 <= side_for(2000) <= 360


@pytest.mark.parametrize(("usd", "text"), [(0.03, "$0.03"), (0.3, "$0.30"), (0.025, "$0.025"), (7 * 0.03, "$0.21")])
def test_money_is_shown_in_cents_or_finer(usd: float, text: str) -> None:
    assert dollars(usd) == text
