"""Image types from first bytes, and whole images from their last ones."""

import io
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backdrop.images import ACCEPTED_UPLOADS, AVIF, HEADER_BYTES, JPEG, PNG, WEBP, ImageType, is_whole, sniff

SAMPLES = Path(__file__).parents[2] / "tools" / "samples"

STARTS = [
    pytest.param(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", JPEG, "jpg", "image/jpeg", id="JFIF"),
    pytest.param(b"\xff\xd8\xff\xe1\x00\x18Exif\x00", JPEG, "jpg", "image/jpeg", id="Exif"),
    pytest.param(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", PNG, "png", "image/png", id="PNG"),
    pytest.param(b"RIFF\x24\x00\x00\x00WEBPVP8 ", WEBP, "webp", "image/webp", id="WebP"),
    pytest.param(b"\x00\x00\x00\x20ftypavif\x00\x00\x00\x00", AVIF, "avif", "image/avif", id="AVIF"),
    pytest.param(b"\x00\x00\x00\x20ftypavis\x00\x00\x00\x00", AVIF, "avif", "image/avif", id="AVIF sequence"),
    pytest.param(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", AVIF, "avif", "image/avif", id="AVIF, compatible"),
    pytest.param(b"\0\0\0\x1cftypmsf1\0\0\0\0avis", AVIF, "avif", "image/avif", id="AVIF sequence, compatible"),
]


@pytest.mark.parametrize(("start", "kind", "extension", "content_type"), STARTS)
def test_bytes_say_what_an_image_is(start: bytes, kind: ImageType, extension: str, content_type: str) -> None:
    photo = start + b"\x00" * 1000
    assert sniff(photo) == kind == ImageType(extension, content_type)
    assert sniff(photo[:HEADER_BYTES]) == kind


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff\xd8", id="cut JPEG"),
        pytest.param(b"\x89PNG", id="cut PNG"),
        pytest.param(b"RIFF\x24\x00\x00\x00WAVEfmt ", id="sound in RIFF"),
        pytest.param(b"RIFX\x24\x00\x00\x00WEBPVP8 ", id="WebP in something else"),
        pytest.param(b"\x00\x00\x00\x18ftypmp42", id="MP4"),
        pytest.param(b"\x00\x00\x00\x18ftypheic", id="HEIC"),
        pytest.param(b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf", id="HEIC, compatible"),
        pytest.param(b"\0\0\0\x14ftypmif1\0\0\0\0mif1avif", id="AVIF behind the list of brands"),
        pytest.param(b"\0\0\0\x1cftypheic\0\0\0\0mif1avif", id="HEIC that calls itself AVIF, too"),
        pytest.param(b"GIF89a", id="GIF"),
        pytest.param(b"<!doctype html><title>red.png</title>", id="HTML"),
        pytest.param(b'<svg xmlns="http://www.w3.org/2000/svg"/>', id="SVG"),
        pytest.param(b"\x1f\x8b\x08\x00", id="gzip"),
        pytest.param(b" \x89PNG\r\n\x1a\n", id="PNG that starts late"),
    ],
)
def test_anything_else_is_no_image(data: bytes) -> None:
    """Rows 17 and 44."""
    assert sniff(data) is None


def test_uploads_can_be_jpeg_png_and_webp() -> None:
    """Row 17."""
    assert {JPEG, PNG, WEBP} == ACCEPTED_UPLOADS


def encoded(kind: str, size: tuple[int, int] = (90, 60), **options: Any) -> bytes:
    """A gradient in a format of Pillow's."""
    data = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(data, kind, **options)
    return data.getvalue()


def with_thumbnail() -> bytes:
    """A JPEG with another one inside of its EXIF segment."""
    thumbnail, photo = encoded("JPEG", (16, 16)), encoded("JPEG")
    exif = b"Exif\0\0" + thumbnail
    return photo[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif + photo[2:]


def box(kind: bytes, content: bytes, form: str = "32 bits") -> bytes:
    """A box of ISO base media; `form` is how it tells its size."""
    if form == "64 bits":
        return struct.pack(">I4sQ", 1, kind, 16 + len(content)) + content
    return struct.pack(">I4s", 0 if form == "to the end" else 8 + len(content), kind) + content


FTYP = box(b"ftyp", b"avif\0\0\0\0mif1avif")
LARGE_AVIF = FTYP + box(b"meta", bytes(40)) + box(b"mdat", bytes(400), "64 bits")
SEQUENCE = b"".join(encoded("JPEG", (8 * i, 8 * i)) for i in (9, 7))

WHOLE = [
    *(pytest.param((SAMPLES / name).read_bytes(), id=name) for name in ("mug.jpg", "clock.png", "lamp.webp")),
    pytest.param(encoded("PNG"), id="PNG"),
    pytest.param(encoded("PNG", save_all=True, append_images=[Image.new("RGB", (90, 60))]), id="animated PNG"),
    pytest.param(encoded("JPEG"), id="JPEG"),
    pytest.param(encoded("JPEG", progressive=True), id="progressive JPEG"),
    pytest.param(encoded("JPEG", restart_marker_blocks=1), id="JPEG with restart markers"),
    pytest.param(encoded("JPEG").replace(b"\xff\xda", b"\xff\xff\xff\xda", 1), id="JPEG with fill bytes"),
    pytest.param(with_thumbnail(), id="JPEG with a thumbnail"),
    pytest.param(encoded("MPO", save_all=True, append_images=[Image.new("RGB", (90, 60))]), id="MPO"),
    pytest.param(encoded("WEBP"), id="WebP"),
    pytest.param(encoded("WEBP", lossless=True), id="lossless WebP"),
    pytest.param(encoded("WEBP", save_all=True, append_images=[Image.new("RGB", (90, 60))]), id="animated WebP"),
    pytest.param(encoded("AVIF"), id="AVIF"),
    pytest.param(LARGE_AVIF, id="AVIF with a size of 64 bits"),
]


@pytest.mark.parametrize("data", WHOLE)
def test_an_image_is_whole_with_its_last_byte_and_not_before(data: bytes) -> None:
    """Cases: half a picture."""
    kind = sniff(data)
    assert kind is not None
    assert is_whole(data, kind)
    last = len(data) - 1 if kind != WEBP else len(data) - 2  # it may be padding
    for end in {*range(HEADER_BYTES, last, max(1, last // 200)), len(data) // 2, last}:
        assert not is_whole(data[:end], kind), end


@pytest.mark.parametrize("data", WHOLE)
@pytest.mark.parametrize("more", [b"\0", b"\n", b"<script>", bytes(1000)], ids=["zero", "line", "HTML", "zeros"])
def test_what_follows_a_whole_image_does_not_matter(data: bytes, more: bytes) -> None:
    kind = sniff(data)
    assert kind is not None
    assert is_whole(data + more, kind)


def test_each_of_several_pictures_in_a_jpeg_has_to_be_whole() -> None:
    assert is_whole(SEQUENCE, JPEG)
    assert not is_whole(SEQUENCE[:-1], JPEG)


def test_a_webp_without_its_length_is_measured_by_its_chunks() -> None:
    """Writers to a pipe can't go back to write it."""
    webp = encoded("WEBP", save_all=True, append_images=[Image.new("RGB", (90, 60))])
    piped = webp[:4] + bytes(4) + webp[8:]
    assert is_whole(piped, WEBP)
    assert not is_whole(piped[: len(piped) // 2], WEBP)


def test_a_webp_that_announces_more_than_its_chunks_is_cut() -> None:
    webp = encoded("WEBP")
    assert not is_whole(webp[:4] + struct.pack("<I", len(webp)) + webp[8:], WEBP)


def test_an_avif_box_without_a_size_goes_to_the_end() -> None:
    """Its end can't be told, its beginning can."""
    data = FTYP + box(b"meta", bytes(40)) + box(b"mdat", bytes(40), "to the end")
    assert is_whole(data, AVIF)
    assert not is_whole(data[: len(data) - 49], AVIF)


def test_an_avif_may_keep_its_picture_in_its_description() -> None:
    data = FTYP + box(b"meta", bytes(4) + box(b"idat", bytes(40)))
    assert is_whole(data, AVIF)
    assert not is_whole(data[:-1], AVIF)


@pytest.mark.parametrize(
    ("start", "more", "kind"),
    [
        pytest.param(b"\x89PNG\r\n\x1a\n", b"\0" * 12, PNG, id="empty chunks"),
        pytest.param(b"\xff\xd8\xff\xda\0\x02", b"\xff\0", JPEG, id="stuffed bytes"),
        pytest.param(b"\xff\xd8", b"\xff", JPEG, id="fill bytes"),
        pytest.param(b"\xff\xd8", b"\xff\x01", JPEG, id="markers"),
        pytest.param(b"\xff\xd8", b"\xff\xd9\xff\xd8", JPEG, id="empty pictures"),
        pytest.param(b"RIFF\xff\xff\xff\x7fWEBP", b"\0" * 8, WEBP, id="empty chunks of WebP"),
        pytest.param(FTYP, b"\0\0\0\x08meta", AVIF, id="empty boxes"),
        pytest.param(FTYP, b"\0\0\0\x00meta", AVIF, id="boxes to the end"),
    ],
)
def test_hostile_bytes_take_no_time(start: bytes, more: bytes, kind: ImageType) -> None:
    """Row 43."""
    data = start + more * (32 * 2**20 // len(more))
    started = time.process_time()
    assert not is_whole(data, kind)
    assert time.process_time() - started < 5
