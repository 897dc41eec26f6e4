"""Image types from first bytes."""

import pytest

from backdrop.images import ACCEPTED_UPLOADS, AVIF, HEADER_BYTES, JPEG, PNG, WEBP, ImageType, sniff

STARTS = [
    pytest.param(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", JPEG, "jpg", "image/jpeg", id="JFIF"),
    pytest.param(b"\xff\xd8\xff\xe1\x00\x18Exif\x00", JPEG, "jpg", "image/jpeg", id="Exif"),
    pytest.param(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", PNG, "png", "image/png", id="PNG"),
    pytest.param(b"RIFF\x24\x00\x00\x00WEBPVP8 ", WEBP, "webp", "image/webp", id="WebP"),
    pytest.param(b"\x00\x00\x00\x20ftypavif\x00\x00\x00\x00", AVIF, "avif", "image/avif", id="AVIF"),
    pytest.param(b"\x00\x00\x00\x20ftypavis\x00\x00\x00\x00", AVIF, "avif", "image/avif", id="AVIF sequence"),
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
