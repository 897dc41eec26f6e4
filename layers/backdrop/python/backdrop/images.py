"""What bytes are: an image's type by its first bytes, and whether its last ones are there. No pixel is decoded."""

import re
from dataclasses import dataclass

HEADER_BYTES = 32  # as many as `sniff` needs for what may be uploaded
_MAX_PARTS = 100_000  # chunks, segments or boxes of one file; the largest result has about 4,000
_MAX_BRANDS_BYTES = 256
_AVIF_BRANDS = {b"avif", b"avis"}
# What AVIF files may name first instead. https://aomediacodec.github.io/av1-avif/#profiles-constraints
_SHARED_BRANDS = {b"mif1", b"msf1", b"miaf", b"MA1A", b"MA1B"}
# In compressed data a FF is followed by 00 or by a restart marker, and any number of FFs may precede a marker.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


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
    return AVIF if _is_avif(data) else None


def is_whole(data: bytes, kind: ImageType) -> bool:
    """Whether an image of this type is there to its end; what follows the end doesn't matter.

    Takes well under a second for 32 MiB, whatever they hold.
    """
    return _ENDS[kind](data)


def _is_avif(data: bytes) -> bool:
    # ISO base media: a `ftyp` box with its major brand, a version and the compatible brands.
    if data[4:8] != b"ftyp":
        return False
    major, end = data[8:12], min(int.from_bytes(data[:4], "big"), _MAX_BRANDS_BYTES)
    others = {data[at : at + 4] for at in range(16, end, 4)}
    return major in _AVIF_BRANDS or (major in _SHARED_BRANDS and bool(others & _AVIF_BRANDS))


def _png_is_whole(data: bytes) -> bool:
    at = 8
    for _ in range(_MAX_PARTS):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        at += 12 + length  # with length, type and checksum
        if at > len(data):
            return False
        if kind == b"IEND":
            return True
    return False


def _jpeg_is_whole(data: bytes) -> bool:
    at = 2
    for _ in range(_MAX_PARTS):
        found = _JPEG_MARKER.search(data, at)
        if found is None:
            return False
        marker, at = data[found.start() + 1], found.end()
        if marker == 0xD9:  # end of image
            if not data.startswith(b"\xff\xd8\xff", at):
                return True
            at += 2  # the next picture of several in one file
        elif marker != 0x01:  # every other one that can be here has a length; a thumbnail is inside of one
            at += int.from_bytes(data[at : at + 2], "big")
    return False


def _webp_is_whole(data: bytes) -> bool:
    # By the file's length and by each chunk's: writers to a pipe leave the former at 0. The last padding byte may lack.
    end = 8 + int.from_bytes(data[4:8], "little")
    if end == 8:
        end = len(data)
    at = 12
    for _ in range(_MAX_PARTS):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length
        if at > len(data):
            return False
        at += length % 2
        if at >= end:
            return True
    return False


def _avif_is_whole(data: bytes) -> bool:
    at, kinds = 0, set[bytes]()
    for _ in range(_MAX_PARTS):
        size, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:  # the size follows, in 64 bits
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if len(data) - at < head or not kind.isalnum() or 0 < size < head:
            break  # the end, or something after it
        if size > len(data) - at:
            return False
        kinds.add(kind)
        if kind == b"meta" and data.find(b"idat", at, at + size) >= 0:
            kinds.add(b"mdat")  # a small picture inside of its description
        if size == 0:  # to the end of the file
            break
        at += size
    return b"mdat" in kinds and bool(kinds & {b"meta", b"moov"})


_ENDS = {JPEG: _jpeg_is_whole, PNG: _png_is_whole, WEBP: _webp_is_whole, AVIF: _avif_is_whole}
