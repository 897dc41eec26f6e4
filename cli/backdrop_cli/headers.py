"""What a picture says of itself before its pixels, and what would have to be done to it."""

import io
import mmap
import struct
from collections import Counter
from collections.abc import Iterable
from typing import BinaryIO

import PIL.Image
import pillow_heif
from PIL import Image as Images

from backdrop.images import sniff
from backdrop.storage import MAX_UPLOAD_BYTES
from backdrop_cli.pixels import MOST_PIXELS

MAX_SIDE = 4096
START_BYTES = 64 * 1024
"""As much as a JPEG's EXIF may have: enough to tell what would have to be done to most photos."""
TURNED, SMALLER, LIGHTER = "turned upright", "made smaller", "above 25 MiB"
_KINDS = {"HEIF": "HEIC", "TIFF": "TIFF", "BMP": "BMP", "DIB": "BMP", "GIF": "GIF", "AVIF": "AVIF"}
_FORMATS = ("JPEG", "PNG", "WEBP", *_KINDS)
_HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"))
_BMP_HEADS = frozenset((12, 40, 52, 56, 64, 108, 124))
_ORIENTATION, _TIFF_SUBFILE, _DNG_VERSION = 0x0112, 254, 50706

pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)


class Unreadable(Exception):
    """A file that is called like a photo, or begins like one, and can't be used; the message says why."""


def kind_to_convert(start: bytes) -> str:
    """Of a file that begins so, the kind that models don't take, as in "HEIC"; empty for every other."""
    if start.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if start.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if start[4:8] == b"ftyp":
        return "HEIC" if start[8:12] in _HEIC_BRANDS else "AVIF" if start[8:12] in (b"avif", b"avis") else ""
    is_bitmap = start.startswith(b"BM") and int.from_bytes(start[14:18], "little") in _BMP_HEADS
    return "BMP" if is_bitmap else ""


def is_picture(start: bytes) -> bool:
    """Whether a file that begins so is of a kind that can be used or prepared."""
    return sniff(start) is not None or kind_to_convert(start) != ""


def reasons_in(start: bytes, size: int, max_side: int = MAX_SIDE) -> tuple[str, ...]:
    """What would have to be done to a file of `size` bytes, as far as its first START_BYTES tell."""
    reasons = [kind] if (kind := kind_to_convert(start)) else []
    if not reasons:
        try:
            file = io.BytesIO(start)
            reasons = list(reasons_of(opened(file), file, max_side))
        except Unreadable:
            pass
    return (*reasons, LIGHTER) if size > MAX_UPLOAD_BYTES else tuple(reasons)


def counted_reasons(all_reasons: Iterable[Iterable[str]]) -> str:
    """As in "9 turned upright, 3 HEIC"."""
    counts = Counter(reason for reasons in all_reasons for reason in reasons)
    return ", ".join(f"{number} {reason}" for reason, number in counts.most_common())


def opened(file: BinaryIO) -> Images.Image:
    """A picture of which only the header is read. Raises Unreadable."""
    try:
        image = PIL.Image.open(file, formats=_FORMATS)
    except PIL.Image.DecompressionBombError:
        raise Unreadable(f"it has more than {MOST_PIXELS // 1_000_000} million pixels, which is the most") from None
    except Exception:  # Pillow doesn't say which
        raise Unreadable("it is no picture that can be read") from None
    tags = getattr(image, "tag_v2", {})
    if _DNG_VERSION in tags or (tags.get(_TIFF_SUBFILE, 0) & 1):
        raise Unreadable("it is a camera's raw file; export it as JPEG")
    return image


def reasons_of(image: Images.Image, file: BinaryIO, max_side: int) -> Iterable[str]:
    """What has to be done to a picture, in a user's words, but for its bytes."""
    if _orientation(image, file) in range(2, 9):
        yield TURNED
    if image.format in _KINDS:
        yield _KINDS[image.format]
    if image.mode == "CMYK":
        yield "CMYK"
    if _has_16_bits(image, file):
        yield "16 bit"
    if max(image.size) > max_side:
        yield SMALLER


def _orientation(image: Images.Image, file: BinaryIO) -> int:
    """1 when it is upright, and when its EXIF can't be read."""
    if image.format == "HEIF":  # turned while it is decoded
        return int(image.info.get("original_orientation") or 1)
    try:
        if image.format != "PNG":
            return int(image.getexif().get(_ORIENTATION, 1))
        exif = Images.Exif()  # Pillow would decode a PNG to look for what may stand behind the pixels
        exif.load(image.info.get("exif") or _png_chunk(file, b"eXIf") or b"")
        return int(exif.get(_ORIENTATION, 1))
    except Exception:  # OSError, SyntaxError, ValueError, struct.error and more, as with every untrusted header
        return 1


def _has_16_bits(image: Images.Image, file: BinaryIO) -> bool:
    if image.format == "PNG":
        return _at(file, 24, 1) == b"\x10"  # Pillow tells only for grey
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _at(file: BinaryIO, offset: int, length: int) -> bytes:
    """Some bytes of a file, whose position stays."""
    before = file.tell()
    try:
        file.seek(offset)
        return file.read(length)
    finally:
        file.seek(before)


def _png_chunk(file: BinaryIO, name: bytes) -> bytes | None:
    """The content of the first chunk of that name, None without one."""
    offset = 8
    while len(head := _at(file, offset, 8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == name:
            return _at(file, offset + 8, length)
        offset += length + 12
    return None


def is_whole(file: BinaryIO) -> bool:
    """Whether a JPEG, PNG or WebP has its end; only what hasn't is worth decoding to see whether it is broken."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:2] == b"\xff\xd8":
            # From its end, which is where it is: nothing in between has to be read.
            return data.rfind(b"\xff\xd9", _jpeg_scan(data)) >= 0
        if data[:4] == b"RIFF":
            return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    return _png_chunk(file, b"IEND") is not None


def _jpeg_scan(data: mmap.mmap) -> int:
    """Where a JPEG's pixels begin: what is before, a thumbnail for instance, has ends of its own."""
    offset = 2
    while offset + 4 <= len(data) and data[offset] == 0xFF and data[offset + 1] != 0xDA:
        if data[offset + 1] == 0xFF:  # a filling byte
            offset += 1
            continue
        offset += 2 + int.from_bytes(data[offset + 2 : offset + 4], "big")
    return offset
