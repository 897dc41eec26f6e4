"""The before/after page: what is in the file, without a browser."""

import base64
import io
import re
from html.parser import HTMLParser

import PIL.Image
import pytest

from tools.page import Image, Pair, before_after, dollars, embedded

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


def page(*pairs: Pair) -> str:
    return before_after("Before and after", "A stand-in painted these.", pairs)


def test_a_pair_is_shown_with_prompt_keys_seconds_and_cost() -> None:
    parsed = Parsed(page(pair()))
    for text in ("a beach at sunset", "shoes/red.jpg", "shoes/red.jpg.png", "4.2 s", "$0.03", "A stand-in painted"):
        assert text in parsed.text
    assert len(parsed.images()) == 2


def test_hostile_texts_stay_texts() -> None:
    hostile = pair(before=Image(f"{PIXEL}{HOSTILE}", HOSTILE), after=(Image(PIXEL, HOSTILE),), prompt=HOSTILE)
    parsed = Parsed(before_after(HOSTILE, HOSTILE, [hostile, pair(after=(), failure=HOSTILE)]))
    harmless = Parsed(page(pair(), pair(after=())))
    assert [tag for tag, _ in parsed.tags] == [tag for tag, _ in harmless.tags]
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")]
    assert parsed.text.count(HOSTILE) == 7
    assert parsed.images()[0]["src"] == f"{PIXEL}{HOSTILE}"


def test_a_missing_result_shows_the_reason() -> None:
    parsed = Parsed(page(pair(after=(), cost_usd=None, failure="missing_prompt: no prompt was given")))
    assert "missing_prompt: no prompt was given" in parsed.text
    assert "1 failed" in parsed.text
    assert len(parsed.images()) == 1


def test_an_upload_without_a_prompt_says_so() -> None:
    assert "No prompt" in Parsed(page(pair(prompt=" \n"))).text


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


def test_images_of_other_files_are_loaded_when_they_come_into_view() -> None:
    linked = pair(before=Image("results/a.jpg", "a.jpg"), after=(Image("results/a.png", "a.png"),))
    assert [image.get("loading") for image in Parsed(page(pair(), linked)).images()] == [None, None, "lazy", "lazy"]


def test_every_image_keeps_its_place_until_it_is_there() -> None:
    image, _ = Parsed(page(pair(before=Image("a.jpg", "a.jpg", 600, 400)))).images()
    assert (image["width"], image["height"]) == ("600", "400")


@pytest.mark.parametrize(("mode", "size", "shown"), [("RGB", (1400, 700), (700, 350)), ("RGBA", (90, 120), (90, 120))])
def test_an_embedded_photo_is_a_small_jpeg(mode: str, size: tuple[int, int], shown: tuple[int, int]) -> None:
    file = io.BytesIO()
    PIL.Image.new(mode, size).save(file, "PNG")
    image = embedded(file.getvalue(), "a.png")
    assert image.uri.startswith("data:image/jpeg;base64,")
    assert (image.width, image.height) == shown


def test_a_transparent_photo_is_shown_on_white() -> None:
    file = io.BytesIO()
    PIL.Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(file, "PNG")
    data = base64.b64decode(embedded(file.getvalue(), "a.png").uri.partition(",")[2])
    assert PIL.Image.open(io.BytesIO(data)).getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize(("usd", "text"), [(0.03, "$0.03"), (0.3, "$0.30"), (0.025, "$0.025"), (7 * 0.03, "$0.21")])
def test_money_is_shown_in_cents_or_finer(usd: float, text: str) -> None:
    assert dollars(usd) == text
