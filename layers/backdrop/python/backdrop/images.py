"""What bytes are: the type of an image from its first bytes, never from a label."""

from dataclasses import dataclass

HEADER_BYTES = 32  # as many as `sniff` needs


@dataclass(frozen=True)
class ImageType:
    """A file extension with its content type."""

    extension: str
    content_type: str


JPEG = ImageType("jpg", "image/jpeg")
PNG = ImageType("png", "image/png")
WEBP = ImageType("webp", "image/webp")
AVIF = ImageType("avif", "image/avif")

ACCEPTED_UPLOADS = {JPEG, PNG, WEBP}


def sniff(data: bytes) -> ImageType | None:
    """The image type of `data`, or None when it is none of JPEG, PNG, WebP and AVIF."""
    if data.startswith(b"\xff\xd8\xff"):
        return JPEG
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WEBP
    # ISO base media: a `ftyp` box with its major brand. https://aomediacodec.github.io/av1-avif/#brands
    if data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis"):
        return AVIF
    return None
