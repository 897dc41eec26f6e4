"""What becomes of photos as cameras, phones and designers hand them over."""

import base64
import io
import struct
import threading
from pathlib import Path, PureWindowsPath

import click
import PIL.Image
import pytest
from PIL import Image, ImageCms

from backdrop_cli.finding import find, with_plans
from backdrop_cli.headers import START_BYTES, Unreadable, counted_reasons, is_picture, reasons_in
from backdrop_cli.mistakes import doubled, refuse
from backdrop_cli.page import Image as Shown
from backdrop_cli.page import embedded
from backdrop_cli.photos import key_below
from backdrop_cli.pixels import Room
from backdrop_cli.preparing import plan, prepared, renamed
from tests.pictures import bomb, encoded, exif, grey16, heic, ink_profile, mug, opened, png, turned

RED, BLUE, GREY = (0xE0, 0x10, 0x10), (0x10, 0x10, 0xE0), (0xF3, 0xF3, 0xF1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "photo.jpg"


def result(path: Path, data: bytes, max_side: int = 4096) -> Image.Image:
    """What is uploaded for a file that has to be prepared; the same bytes each time."""
    path.write_bytes(data)
    what = plan(path, max_side)
    assert what is not None, "it would go as it is"
    made = prepared(path, what)
    assert made == prepared(path, what)
    image = opened(made)
    assert image.format == {"jpg": "JPEG", "png": "PNG"}[what.extension]
    assert not image.getexif()
    assert not image.info.get("icc_profile")
    return image


def is_near(colour: object, wanted: tuple[int, ...], by: int = 12) -> bool:
    return isinstance(colour, tuple) and all(abs(one - other) <= by for one, other in zip(colour, wanted, strict=True))


def is_mug(image: Image.Image) -> bool:
    """Whether it is the upright one."""
    width, height = image.size
    spots = ((5, 5, RED), (width - 5, 5, GREY), (5, height - 5, GREY), (width - 5, height - 5, BLUE))
    return width > height and all(is_near(image.convert("RGB").getpixel((x, y)), colour) for x, y, colour in spots)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "MPO", "AVIF"])
def test_turned_photo_is_uploaded_upright(path: Path, orientation: int, kind: str) -> None:
    """cases: turned photo."""
    assert is_mug(result(path, turned(orientation, kind)))
    what = plan(path)
    assert what is not None
    assert "turned upright" in what.reasons


def test_orientation_behind_a_png_s_pixels_is_seen_without_decoding_them(path: Path) -> None:
    """cases: turned photo; exiftool writes it there."""
    data = png(2, 1, 8, 2, bytes((255, 0, 0, 0, 0, 255)), (b"eXIf", exif(6).removeprefix(b"Exif\0\0")))
    assert result(path, data).size == (1, 2)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (heic(), "HEIC"),
        (encoded(mug(), "TIFF"), "TIFF"),
        (encoded(mug(), "TIFF", compression="tiff_lzw"), "TIFF"),
        (encoded(mug(), "BMP"), "BMP"),
        (encoded(mug(), "GIF"), "GIF"),
        (encoded(mug(), "GIF", save_all=True, append_images=[Image.new("RGB", (320, 200))]), "GIF"),
        (encoded(mug(), "AVIF"), "AVIF"),
        (encoded(mug(), "AVIF", save_all=True, append_images=[Image.new("RGB", (320, 200))]), "AVIF"),
        (png(320, 200, 16, 2, b"".join(bytes((b, b)) for b in mug().tobytes())), "16 bit"),
        (encoded(mug().convert("YCbCr"), "TIFF"), "TIFF"),
    ],
)
def test_what_models_do_not_take_becomes_jpeg(path: Path, data: bytes, reason: str) -> None:
    """cases: inks, phones. Of several pictures in a file the first is taken."""
    assert is_picture(data[:32])
    assert is_mug(result(path, data))
    what = plan(path)
    assert what is not None
    assert what.reasons == (reason,)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_become_the_colours_that_their_profile_says(path: Path, kind: str) -> None:
    """cases: inks, phones."""
    cyan = Image.new("CMYK", (64, 64), (255, 0, 0, 0))
    assert is_near(result(path, encoded(cyan, kind)).getpixel((9, 9)), (0, 255, 255)), "without a profile"
    green = result(path, encoded(cyan, kind, icc_profile=ink_profile())).getpixel((9, 9))
    assert is_near(green, (0, 169, 42), by=25), "Lab 60, -60, 50 is as near as that to sRGB"
    white = Image.new("CMYK", (64, 64))
    assert is_near(result(path, encoded(white, kind, icc_profile=ink_profile())).getpixel((9, 9)), (255, 255, 255))
    broken = encoded(cyan, kind, icc_profile=b"no profile")
    assert is_near(result(path, broken).getpixel((9, 9)), (0, 255, 255))


def test_colours_of_another_profile_become_srgb(path: Path) -> None:
    """As phones write them; here with a profile in which red and green have changed places."""
    srgb = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = srgb.index(b"rXYZ"), srgb.index(b"gXYZ")
    srgb[red : red + 4], srgb[green : green + 4] = b"gXYZ", b"rXYZ"
    data = encoded(Image.new("RGB", (64, 64), "#ff0000"), "TIFF", icc_profile=bytes(srgb))
    assert is_near(result(path, data).getpixel((9, 9)), (0, 255, 0))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_of_grey_look_as_they_are(path: Path, kind: str) -> None:
    """cases: 16-bit grey."""
    image = result(path, grey16(kind)).convert("L")
    assert [image.getpixel((x, 4)) for x in (0, 64, 128, 192, 255)] == pytest.approx([0, 64, 128, 192, 255], abs=3)


def test_sixteen_bits_of_grey_look_as_they_are_in_the_gallery() -> None:
    """cases: 16-bit grey."""
    shown = embedded(grey16(), "grey.png")
    assert isinstance(shown, Shown)
    image = opened(base64.b64decode(shown.uri.partition(",")[2])).convert("L")
    assert [image.getpixel((x, 4)) for x in (0, 64, 128, 192, 255)] == pytest.approx([0, 64, 128, 192, 255], abs=6)


@pytest.mark.parametrize(
    "picture",
    [
        Image.frombytes("F", (256, 4), struct.pack("<256f", *(value / 255 for value in range(256))) * 4),
        Image.frombytes("I", (256, 4), struct.pack("<256i", *(value * 2**22 for value in range(256))) * 4),
    ],
)
def test_scientific_greys_are_not_clipped(path: Path, picture: Image.Image) -> None:
    image = result(path, encoded(picture, "TIFF")).convert("L")
    assert [image.getpixel((x, 2)) for x in (0, 128, 255)] == pytest.approx([0, 128, 255], abs=3)


def test_transparency_stays_in_a_png(path: Path) -> None:
    clear = mug().convert("RGBA")
    clear.putalpha(Image.new("L", clear.size, 0))
    clear.paste((255, 0, 0, 255), (0, 0, 50, 50))
    palette = clear.quantize(8)
    two_channels = Image.merge("LA", (Image.new("L", (64, 64), 200), Image.new("L", (64, 64), 0)))
    deep = png(1, 1, 16, 6, bytes((255, 255, 0, 0, 0, 0, 0, 0)))
    for data in (encoded(clear, "TIFF"), encoded(clear, "GIF"), encoded(two_channels, "TIFF"), deep):
        image = result(path, data)
        assert image.mode == "RGBA"
        alpha = image.getchannel("A")
        assert alpha.getpixel((alpha.width - 1, alpha.height - 1)) == 0
    assert is_near(result(path, encoded(clear, "TIFF")).getpixel((9, 9)), (255, 0, 0, 255))
    assert palette.mode == "P"
    path.write_bytes(encoded(palette, "PNG"))
    assert plan(path) is None, "a palette with transparency is taken by every model"


def test_sides_and_bytes_are_limited(path: Path) -> None:
    image = result(path, encoded(mug((900, 600)), "JPEG"), max_side=300)
    assert image.size == (300, 200)
    assert is_mug(image)
    assert result(path, encoded(mug((900, 600)).quantize(16), "PNG"), max_side=300).size == (300, 200)
    path.write_bytes(encoded(mug(), "JPEG") + bytes(25 * 2**20))
    what = plan(path)
    assert what is not None
    assert what.reasons == ("above 25 MiB",)
    assert len(prepared(path, what)) < 25 * 2**20


def test_a_prepared_photo_never_has_more_bytes_than_an_upload_may_have(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backdrop_cli.preparing.MAX_UPLOAD_BYTES", 20_000)
    noise = Image.effect_noise((400, 300), 90).convert("RGB")
    for picture in (noise, Image.merge("RGBA", (*noise.split(), Image.new("L", noise.size, 9)))):
        path.write_bytes(encoded(picture, "TIFF"))
        what = plan(path)
        assert what is not None
        assert len(prepared(path, what)) <= 20_000


@pytest.mark.parametrize(
    "data",
    [
        encoded(mug(), "JPEG"),
        encoded(mug(), "JPEG", exif=exif(1)),
        encoded(mug(), "JPEG", exif=b"Exif\0\0garbage that is no TIFF"),
        encoded(mug(), "JPEG", exif=exif(9)),
        encoded(mug(), "MPO", save_all=True, append_images=[mug()]),
        encoded(mug(), "JPEG") + b"a phone's film",
        encoded(mug(), "PNG"),
        encoded(mug(), "WEBP"),
        encoded(mug(), "WEBP", save_all=True, append_images=[mug().rotate(90)]),
        encoded(mug().convert("RGBA"), "PNG"),
        encoded(mug().convert("L"), "JPEG"),
    ],
)
def test_everything_else_goes_as_it_is(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    assert plan(path) is None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (bomb(), "more than 200 million pixels"),
        (encoded(mug(), "JPEG")[:-900], "cut off or broken"),
        (encoded(mug(), "PNG")[:-60], "cut off or broken"),
        (encoded(mug(), "JPEG")[:-1] + b"x", "cut off or broken"),
        (encoded(mug(), "WEBP")[:-60], "no picture that can be read"),
        (b"\xff\xd8\xff\xe0 and no more", "no picture that can be read"),
        (b"II*\0 and no more of a TIFF than that", "no picture that can be read"),
        (heic()[:200], "no picture that can be read"),
        (encoded(mug(), "TIFF", tiffinfo={254: 1}), "raw file"),
    ],
)
def test_what_can_not_be_used_is_told_before_anything_is_uploaded(path: Path, data: bytes, why: str) -> None:
    path.write_bytes(data)
    with pytest.raises(Unreadable, match=why):
        plan(path)


def test_what_is_broken_behind_its_header_is_told_when_it_is_prepared(path: Path) -> None:
    path.write_bytes(turned(6)[:-900])
    what = plan(path)
    assert what is not None
    with pytest.raises(Unreadable, match="cut off or broken"):
        prepared(path, what)


@pytest.mark.parametrize(
    ("name", "extension", "expected"),
    [
        ("phone.heic", "jpg", "phone.jpg"),
        ("a.b/phone.HEIC", "jpg", "a.b/phone.jpg"),
        ("red.JPG", "jpg", "red.JPG"),
        ("red.jpeg", "jpg", "red.jpeg"),
        ("deep.png", "jpg", "deep.jpg"),
        ("clear.gif", "png", "clear.png"),
        ("model 1.5", "jpg", "model 1.5.jpg"),
        ("a.b/phone", "jpg", "a.b/phone.jpg"),
    ],
)
def test_key_gets_the_extension_of_what_the_photo_has_become(name: str, extension: str, expected: str) -> None:
    assert renamed(name, extension) == expected


@pytest.mark.parametrize(
    ("data", "reasons"),
    [
        (turned(6, comment=b"x" * 60_000), ("turned upright",)),
        (turned(6, "PNG"), ("turned upright",)),
        (encoded(mug((5000, 40)), "PNG", compress_level=0), ("made smaller",)),
        (encoded(mug((1200, 900)), "TIFF"), ("TIFF",)),
        (heic(mug((1200, 900))), ("HEIC",)),
        (encoded(mug(), "AVIF"), ("AVIF",)),
        (encoded(mug(), "BMP"), ("BMP",)),
        (encoded(mug(), "JPEG"), ()),
        (encoded(mug(), "WEBP"), ()),
        (b"no picture", ()),
        (b"", ()),
    ],
)
def test_the_first_bytes_tell_what_would_have_to_be_done(data: bytes, reasons: tuple[str, ...]) -> None:
    """As far as they go: no pixel is decoded, and a photo in the bucket is not read as a whole."""
    assert reasons_in(data[:START_BYTES], len(data)) == reasons
    assert reasons_in(data[:START_BYTES], 26 * 2**20) == (*reasons, "above 25 MiB")


def test_what_was_done_is_counted(path: Path) -> None:
    plans = []
    for data in (turned(3), turned(6), heic()):
        path.write_bytes(data)
        plans.append(plan(path))
    assert counted_reasons(each.reasons for each in plans if each) == "2 turned upright, 1 HEIC"


def test_two_photos_for_one_key_are_refused_after_their_extensions_were_replaced(tmp_path: Path) -> None:
    (tmp_path / "phone.heic").write_bytes(heic())
    (tmp_path / "phone.jpg").write_bytes(encoded(mug(), "JPEG"))
    found = with_plans(find([tmp_path], "", "snow", {}, prepares=True), 4096, lambda done, title="": None)
    with pytest.raises(click.UsageError, match=r"phone\.heic.*phone\.jpg"):
        refuse(list(doubled(found.photos)), None)


def test_keys_are_composed_unicode_and_have_slashes_on_every_system(tmp_path: Path) -> None:
    (tmp_path / "cafe\u0301.jpg").write_bytes(encoded(mug(), "JPEG"))
    [photo] = find([tmp_path / "cafe\u0301.jpg"], "a/", "snow", {}).photos
    assert (photo.key, photo.place) == ("a/caf\u00e9.jpg", "a/")
    assert key_below("photos", PureWindowsPath(r"shoes\red.jpg")) == "photos/shoes/red.jpg"
    assert key_below("", PureWindowsPath(r"shoes\red.jpg")) == "shoes/red.jpg"


def test_what_is_no_picture_is_left_alone_or_named(tmp_path: Path) -> None:
    for name, data in {
        "list.txt": b"BMW 3, BMW 5 and other words",
        "red.jpg": b"<!doctype html>",
        "raw.NEF": encoded(mug(), "TIFF"),
        "blue": heic(),
    }.items():
        (tmp_path / name).write_bytes(data)
    found = find([tmp_path], "", "snow", {}, prepares=True)
    assert [photo.path.name for photo in found.photos] == ["blue"]
    assert {path.name: why for path, why in found.unreadable.items()} == {
        "red.jpg": "it is called like a photo, but is no picture"
    }
    assert {why: [path.name for path in paths] for why, paths in found.left_alone.items()} == {
        "neither JPEG, PNG nor WebP, nor what could be made one of them": ["list.txt"],
        "a camera's raw file": ["raw.NEF"],
    }


def test_only_so_many_pixels_are_decoded_at_a_time() -> None:
    room, inside, most = Room(100), [0], [0]
    lock = threading.Lock()

    def decode(pixels: int) -> None:
        with room.for_pixels(pixels):
            with lock:
                inside[0] += min(pixels, 100)
                most[0] = max(most[0], inside[0])
            with lock:
                inside[0] -= min(pixels, 100)

    threads = [threading.Thread(target=decode, args=(pixels,)) for pixels in (30, 70, 100, 500, 1, 99) * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in threads)
    assert 0 < most[0] <= 100


def test_pictures_of_other_kinds_are_not_opened(path: Path) -> None:
    """Pillow knows many more, to no good here."""
    file = io.BytesIO()
    mug().save(file, "PPM")
    assert not is_picture(file.getvalue()[:32])
    path.write_bytes(file.getvalue())
    with pytest.raises(Unreadable):
        plan(path)
    assert PIL.Image.MAX_IMAGE_PIXELS == 100_000_000
