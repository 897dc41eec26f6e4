"""Results in the form that a shop takes."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image, ImageCms, ImageDraw

from backdrop_cli.export_form import Form, NotExported, exported, whitened
from backdrop_cli.export_names import Result, names
from backdrop_cli.follow import below
from backdrop_cli.pixels import srgb_profile
from backdrop_cli.shops import READ_ON, SHOPS
from tests.pictures import bomb, encoded, grey16, ink_profile, mug, opened, turned


@pytest.mark.parametrize("extension", ["jpg", "png", "webp"])
@pytest.mark.parametrize("crops", [True, False])
@pytest.mark.parametrize("size", [(500, 500), (100, 300), (640, 400), (1, 1)])
def test_picture_has_exactly_the_size_and_says_what_it_is(extension: str, crops: bool, size: tuple[int, int]) -> None:
    image = opened(exported(encoded(mug(), "PNG"), Form(extension, size, crops)))
    assert image.format == {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[extension]
    assert (image.size, image.mode) == (size, "RGB")
    assert image.info["icc_profile"] == srgb_profile()
    assert "sRGB" in ImageCms.getProfileDescription(ImageCms.getOpenProfile(io.BytesIO(srgb_profile())))
    dpi = image.getexif()[0x011A] if extension == "webp" else image.info["dpi"][0]
    assert float(dpi) == pytest.approx(72, abs=0.1)


def test_what_is_beside_the_picture_has_the_background_and_nothing_is_cut_off() -> None:
    image = opened(exported(encoded(mug(), "PNG"), Form("png", (320, 320), background=(0, 255, 0))))
    assert image.getpixel((160, 5)) == (0, 255, 0)
    assert image.getpixel((160, 315)) == (0, 255, 0)
    assert image.getpixel((5, 65)) == (0xE0, 0x10, 0x10)


def test_cropping_takes_the_middle() -> None:
    wide = mug((400, 100))
    image = opened(exported(encoded(wide, "PNG"), Form("png", (100, 100), crops=True)))
    assert set(image.get_flattened_data()) == {(0xF3, 0xF3, 0xF1)}


def test_transparency_becomes_the_background_and_everything_is_upright_and_srgb() -> None:
    clear = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    image = opened(exported(encoded(clear, "PNG"), Form("png", background=(1, 2, 3))))
    assert image.getpixel((9, 9)) == (1, 2, 3)
    assert opened(exported(turned(6), Form())).size == (320, 200)
    green = encoded(Image.new("CMYK", (40, 40), (255, 0, 0, 0)), "JPEG", icc_profile=ink_profile())
    red, green_part, blue = opened(exported(green, Form("png"))).getpixel((9, 9))  # type: ignore[misc]
    assert green_part > 100 > max(red, blue)
    assert opened(exported(grey16(), Form("png"))).getpixel((128, 4)) == (128, 128, 128)


def test_quality_gives_way_to_the_bytes_and_the_size_does_not() -> None:
    noise = encoded(Image.effect_noise((400, 300), 90).convert("RGB"), "PNG")
    free = exported(noise, Form())
    data = exported(noise, Form(most_bytes=len(free) * 2 // 3))
    assert len(data) <= len(free) * 2 // 3
    assert opened(data).size == (400, 300)
    with pytest.raises(NotExported, match=r"at least .* bytes in this form; --max-bytes is 1000"):
        exported(noise, Form(most_bytes=1000))
    with pytest.raises(NotExported, match="--format jpg"):
        exported(noise, Form("png", most_bytes=1000))


@pytest.mark.parametrize("data", [b"", b"<html>", bomb(), encoded(mug(), "PNG")[:-60]])
def test_what_is_no_picture_is_refused_in_a_sentence(data: bytes) -> None:
    with pytest.raises(NotExported):
        exported(data, Form())


def test_what_the_result_says_of_itself_in_xmp_is_kept() -> None:
    """That it is generated, for instance: Google wants to be told."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">trainedAlgorithmicMedia</x:xmpmeta>'
    for extension in ("jpg", "png", "webp"):
        data = exported(encoded(mug(), "JPEG", xmp=xmp), Form(extension))
        assert b"trainedAlgorithmicMedia" in data
    assert b"trainedAlgorithmicMedia" in exported(data, Form("png"))


def test_white_cleans_the_border_and_not_the_product() -> None:
    image = Image.new("RGB", (600, 400), "#f6f7f8")
    draw = ImageDraw.Draw(image)
    draw.rectangle((150, 100, 450, 300), fill="#808080")
    draw.rectangle((200, 150, 400, 250), fill="#f6f7f8")  # a label: as bright, but within the product
    clean = whitened(image)
    assert {clean.getpixel(at) for at in ((0, 0), (599, 399), (145, 200), (149, 99))} == {(255, 255, 255)}
    assert clean.getpixel((300, 200)) == (0xF6, 0xF7, 0xF8)
    assert clean.getpixel((160, 110)) == (0x80, 0x80, 0x80)
    assert opened(exported(encoded(image, "PNG"), Form("png"))).getpixel((0, 0)) == (0xF6, 0xF7, 0xF8), "not asked for"
    assert opened(exported(encoded(image, "PNG"), Form(whitens=True))).getpixel((0, 0)) == (255, 255, 255)
    assert whitened(Image.new("RGB", (1, 1), "#f6f7f8")).getpixel((0, 0)) == (255, 255, 255)


def test_files_are_called_like_the_photos() -> None:
    def called(*results: tuple[str, str], extension: str = "jpg") -> list[str]:
        return names([Result("", photo, number) for photo, number in results], extension)

    assert called(("shoes/red.jpg", "")) == ["shoes/red.jpg"]
    assert called(("shoes/red.jpg", ""), extension="webp") == ["shoes/red.webp"]
    assert called(("red.png", "1"), ("red.png", "2")) == ["red.1.jpg", "red.2.jpg"]
    assert called(("model 1.5", ""), ("a.b/c", "")) == ["model 1.5.jpg", "a.b/c.jpg"]
    assert called(("red.jpg", ""), ("red.png", ""), ("red.jpeg", "")) == ["red.jpg", "red.png.jpg", "red.jpeg.jpg"]


@pytest.mark.parametrize(
    "key", ["../a.jpg", "a/../../b.jpg", "/etc/a.jpg", "a//b.jpg", "./a.jpg", "..", "", "a\0b", "a/"]
)
@pytest.mark.parametrize("windows", [True, False])
def test_no_key_leads_out_of_the_folder(tmp_path: Path, key: str, windows: bool) -> None:
    with pytest.raises(OSError, match="no file can be called"):
        below(tmp_path, key, windows)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("shoes/red.jpg", "shoes/red.jpg"),
        (r"..\..\evil.jpg", "..%5C..%5Cevil.jpg"),
        ("C:/evil.jpg", "C%3A/evil.jpg"),
        ("a.jpg:stream", "a.jpg%3Astream"),
        ("con.jpg", "%63on.jpg"),
        ("shoes/COM1", "shoes/%43OM1"),
        ("NUL .png", "%4EUL .png"),
        ("shoes./red?.jpg", "shoes%2E/red%3F.jpg"),
        ("console.jpg", "console.jpg"),
    ],
)
def test_what_windows_names_can_not_have_is_written_otherwise(tmp_path: Path, key: str, expected: str) -> None:
    assert below(tmp_path, key, windows=True) == tmp_path / expected
    if os.name != "nt":
        assert below(tmp_path, key, windows=False) == tmp_path.joinpath(*key.split("/"))


@pytest.mark.parametrize("name", SHOPS)
def test_every_number_of_a_shop_has_its_page_and_day_and_what_is_not_known_is_said(name: str) -> None:
    shop = SHOPS[name]
    if shop.size or shop.quality or shop.most_bytes:
        assert shop.page.startswith("https://")
    else:
        assert "--size" in shop.note
    docs = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    assert f"`{name}`" in docs
    assert shop.page in docs
    assert READ_ON == "2026-11-26"
    assert READ_ON in docs
