"""What the pictures show."""

import io
from pathlib import Path

import httpx
import pytest
from PIL import Image, ImageChops, ImageDraw

from tests.integration.stand_in_gateway.client import buy, data_link, get, link_of, order, photo
from tools.files import SAMPLES
from tools.stand_in_gateway.server import GatewayControl


def picture_of(answer: httpx.Response) -> Image.Image:
    return Image.open(io.BytesIO(get(link_of(answer)).content))


def pixel(image: Image.Image, at: tuple[int, int]) -> tuple[int, ...]:
    colour = image.getpixel(at)
    assert isinstance(colour, tuple)
    return colour


def alike(one: Image.Image, other: Image.Image) -> Image.Image:
    """White where two pictures have about the same colour."""
    red, green, blue = ImageChops.difference(one, other).split()
    most = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    return most.point([255 if value < 24 else 0 for value in range(256)])


def share_of(value: int, image: Image.Image) -> float:
    return image.histogram()[value] / (image.width * image.height)


def is_about(colour: object, expected: tuple[int, int, int]) -> bool:
    assert isinstance(colour, tuple)
    return all(abs(part - wanted) < 24 for part, wanted in zip(colour, expected, strict=True))


@pytest.fixture
def full_size(gateway: GatewayControl) -> GatewayControl:
    gateway.settings(image_pixels=1_000_000)
    return gateway


@pytest.mark.parametrize("background", ["white", "#f4efe6", "#2060a0"])
def test_any_photo_comes_before_the_new_background(full_size: GatewayControl, background: str) -> None:
    image = Image.new("RGB", (900, 600), background)
    ImageDraw.Draw(image).ellipse((300, 150, 600, 450), "#c01020")
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)

    result = picture_of(buy(full_size, order(prompt="a green forest", image_url=data_link(buffer.getvalue()))))

    width, height = result.size
    assert 0.95e6 < width * height < 1.05e6
    assert width / height == pytest.approx(1.5, abs=0.01)
    assert is_about(result.getpixel((width // 2, height // 2)), (0xC0, 0x10, 0x20))
    old = image.getpixel((0, 0))
    assert isinstance(old, tuple)
    for share in ((0.02, 0.02), (0.98, 0.02), (0.02, 0.5), (0.98, 0.5), (0.1, 0.85)):
        assert not is_about(result.getpixel((int(width * share[0]), int(height * share[1]))), (old[0], old[1], old[2]))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_sample_is_cut_out_and_set_before_the_new_background(full_size: GatewayControl, sample: Path) -> None:
    link = data_link(sample.read_bytes())

    result = picture_of(buy(full_size, order(prompt="a magenta wall", image_url=link)))

    before = Image.open(sample).convert("RGB").resize(result.size)
    unchanged = share_of(255, alike(before, result))
    old_backdrop = Image.new("RGB", result.size, pixel(before, (5, 5)))
    left = share_of(255, ImageChops.multiply(alike(before, old_backdrop), alike(result, old_backdrop)))
    assert unchanged > 0.1, "the product is in its place"
    assert left < 0.01
    for corner in ((5, 5), (result.width - 5, 5), (5, result.height - 60), (result.width - 5, result.height - 60)):
        red, green, blue = pixel(result, corner)
        assert min(red, blue) > green + 50


def test_transparent_photo_is_taken_as_cut_out(full_size: GatewayControl) -> None:
    image = Image.new("RGBA", (600, 600), (0, 0, 0, 0))
    ImageDraw.Draw(image).rectangle((200, 200, 400, 400), (0, 0, 0, 255))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")

    result = picture_of(buy(full_size, order(prompt="red wall", image_url=data_link(buffer.getvalue()))))

    assert is_about(result.getpixel((result.width // 2, result.height // 2)), (0, 0, 0))
    for share in (0.04, 0.3, 0.8):
        wall = result.getpixel((result.width // 4, int(result.height * share)))
        assert isinstance(wall, tuple)
        assert wall[0] > wall[1] + 50


def test_photo_without_a_plain_background_stays_whole(full_size: GatewayControl) -> None:
    stripes = Image.new("RGB", (600, 600))
    pen = ImageDraw.Draw(stripes)
    for column in range(12):
        pen.rectangle((column * 50, 0, column * 50 + 49, 599), f"hsl({column * 30}, 90%, 50%)")
    buffer = io.BytesIO()
    stripes.save(buffer, "PNG")

    result = picture_of(buy(full_size, order(prompt="snow", image_url=data_link(buffer.getvalue()))))

    assert not is_about(result.getpixel((20, 20)), (242, 13, 13))
    row = [result.getpixel((x, result.height * 60 // 100)) for x in range(result.width)]
    for column in range(12):
        colour = stripes.getpixel((column * 50 + 25, 300))
        assert isinstance(colour, tuple)
        assert any(is_about(pixel, (colour[0], colour[1], colour[2])) for pixel in row)


def test_orientation_of_the_camera_is_honoured(full_size: GatewayControl) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6

    result = picture_of(buy(full_size, order(image_url=data_link(photo((600, 300), exif=exif)))))

    assert result.height == pytest.approx(2 * result.width, rel=0.02)


def test_size_that_was_asked_for_is_delivered(gateway: GatewayControl) -> None:
    assert picture_of(buy(gateway, order(size="640x512", image_url=data_link(photo())))).size == (640, 512)


def test_same_order_gives_the_same_picture_and_others_differ(gateway: GatewayControl) -> None:
    def pictures(prompt: str) -> list[bytes]:
        return [get(image["url"]).content for image in buy(gateway, order(prompt=prompt, n=2)).json()["data"]]

    beach = pictures("a beach")
    assert beach == pictures("a beach")
    assert len({*beach, *pictures("a forest")}) == 4


@pytest.mark.parametrize(("name", "extension"), [("png", "png"), ("jpeg", "jpg"), ("webp", "webp"), ("avif", "avif")])
def test_picture_comes_in_the_format_that_was_set(gateway: GatewayControl, name: str, extension: str) -> None:
    gateway.settings(image_format=name)

    link = link_of(buy(gateway))
    answer = get(link)

    assert link.endswith(f".{extension}")
    assert answer.headers["content-type"] == f"image/{name}"
    assert Image.open(io.BytesIO(answer.content)).format == name.upper()


def test_picture_carries_a_legible_band(full_size: GatewayControl) -> None:
    result = picture_of(buy(full_size, order(prompt="white", image_url=data_link(photo())))).convert("L")

    band = result.crop((0, round(result.height * 0.965), result.width // 2, result.height))
    histogram = band.histogram()
    assert sum(histogram[:110]) > sum(histogram) / 2
    assert sum(histogram[240:]) > sum(histogram) / 100


@pytest.mark.parametrize("prompt", ["日本の庭 🌸", "\x00\x1b\n", "x" * 20_000])
def test_any_prompt_can_be_written_and_drawn(gateway: GatewayControl, prompt: str) -> None:
    assert buy(gateway, order(prompt=prompt, image_url=data_link(photo((1, 1), "PNG")))).status_code == 200
