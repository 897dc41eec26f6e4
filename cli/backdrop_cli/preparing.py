"""Photos that a model or Backdrop could not take as they are, made into ones that it can: on this machine, by Pillow.

What is to be done is decided from a file's header. Only what needs it is decoded, and everything else goes as it is.
"""

import hashlib
import io
import mmap
import struct
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import PIL.Image
import pillow_heif
from PIL import Image as Images

from backdrop.images import sniff
from backdrop.storage import MAX_UPLOAD_BYTES
from backdrop_cli.pixels import DECODING, MOST_PIXELS, has_transparency, in_srgb, upright

MAX_SIDE = 4096
HEADER_BYTES = 32
EXTENSIONS = frozenset((".jpg", ".jpeg", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif", ".tif", ".tiff", ".bmp",
                        ".gif"))  # fmt: skip
RAW_EXTENSIONS = frozenset((".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw"))
TURNED, SMALLER, LIGHTER = "turned upright", "made smaller", "above 25 MiB"
_KINDS = {"HEIF": "HEIC", "TIFF": "TIFF", "BMP": "BMP", "DIB": "BMP", "GIF": "GIF", "AVIF": "AVIF"}
_FORMATS = ("JPEG", "PNG", "WEBP", *_KINDS)
_HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"))
_BMP_HEADS = frozenset((12, 40, 52, 56, 64, 108, 124))
_ORIENTATION, _TIFF_SUBFILE, _DNG_VERSION = 0x0112, 254, 50706
_QUALITIES = (95, 90, 85, 75, 65)
_SHRINK = 0.8
# Every thread that ever decoded keeps some of the memory that it needed: few do, however many upload.
_DECODERS = ThreadPoolExecutor(4, thread_name_prefix="decoder")

pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)


class Unreadable(Exception):
    """A file that is called like a photo, or begins like one, and can't be used; the message says why."""


@dataclass(frozen=True)
class Plan:
    """What is done to a photo: `reasons` in a user's words. `extension` is that of the result, without a dot."""

    reasons: tuple[str, ...]
    extension: str
    max_side: int
    source: str
    """SHA-256 of the file as it is."""

    @property
    def mark(self) -> str:
        """Of the object's metadata: the same for the same result, so that nothing is decoded to know it again."""
        return f"{self.source} {self.max_side}"


def is_picture(start: bytes) -> bool:
    """Whether a file that begins so is of a kind that can be used or prepared."""
    if sniff(start) or start.startswith((b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return True
    if start[4:8] == b"ftyp":
        return start[8:12] in _HEIC_BRANDS
    return start.startswith(b"BM") and int.from_bytes(start[14:18], "little") in _BMP_HEADS


def renamed(name: str, extension: str) -> str:
    """A file's name, or a key, with the extension of what it has become."""
    suffix = PurePath(name.rpartition("/")[2]).suffix
    if suffix.lower() == f".{extension}" or (extension == "jpg" and suffix.lower() in (".jpeg", ".jfif")):
        return name
    return (name.removesuffix(suffix) if suffix.lower() in EXTENSIONS else name) + f".{extension}"


def plan(path: Path, max_side: int = MAX_SIDE) -> Plan | None:
    """What has to be done to a photo, from its header; None when it goes as it is.

    Raises Unreadable, and OSError for a file that can't be read.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        image = _opened(file)
        reasons = list(_reasons(image, file, max_side))
        if size > MAX_UPLOAD_BYTES:
            reasons.append(LIGHTER)
        if not reasons:
            if not _is_whole(file):
                _decoded(image)
            return None
        return Plan(tuple(reasons), "png" if has_transparency(image) else "jpg", max_side, _digest(file))


def prepared(path: Path, what: Plan) -> bytes:
    """A photo as `what` says: upright, sRGB, within the sides and bytes. Raises Unreadable, OSError."""
    return _DECODERS.submit(_prepared, path, what).result()


def _prepared(path: Path, what: Plan) -> bytes:
    with path.open("rb") as file:
        image = _opened(file)
        with DECODING.for_pixels(image.width * image.height):
            return _small_enough(_ordinary(image, what.max_side), what.extension, MAX_UPLOAD_BYTES)


def counted_reasons(plans: Iterable[Plan]) -> str:
    """As in "9 turned upright, 3 HEIC"."""
    counts = Counter(reason for each in plans for reason in each.reasons)
    return ", ".join(f"{number} {reason}" for reason, number in counts.most_common())


def _opened(file: BinaryIO) -> Images.Image:
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


def _reasons(image: Images.Image, file: BinaryIO, max_side: int) -> Iterable[str]:
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


def _is_whole(file: BinaryIO) -> bool:
    """Whether a JPEG, PNG or WebP has its end; only what hasn't is worth decoding to see whether it is broken."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:2] == b"\xff\xd8":
            return data.find(b"\xff\xd9", _jpeg_scan(data)) >= 0
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


def _digest(file: BinaryIO) -> str:
    sha256 = hashlib.sha256()
    file.seek(0)
    while piece := file.read(2**20):
        sha256.update(piece)
    return sha256.hexdigest()


def _decoded(image: Images.Image) -> None:
    try:
        with DECODING.for_pixels(image.width * image.height):
            image.load()
    except Exception:  # Pillow doesn't say which
        raise Unreadable("it is cut off or broken; --no-prepare would upload it as it is") from None


def _ordinary(image: Images.Image, max_side: int) -> Images.Image:
    try:
        if max(image.size) > max_side and image.format in ("JPEG", "MPO"):
            image.draft(None, (2 * max_side, 2 * max_side))  # decodes no more than is needed
        image.load()
        profile = image.info.get("icc_profile")
        if image.mode in ("1", "P", "PA", "I", "F") or image.mode.startswith("I;16"):
            image = in_srgb(upright(image))  # these would be made smaller by leaving pixels out
            image.info.pop("icc_profile", None)
            profile = None
        image.thumbnail((max_side, max_side), Images.Resampling.LANCZOS)  # first: all that follows needs less memory
        image = upright(image)
        if profile:
            image.info["icc_profile"] = profile
        return in_srgb(image)
    except MemoryError:
        raise Unreadable("this machine has too little memory for it") from None
    except Exception:  # Pillow doesn't say which
        raise Unreadable("it is cut off or broken; --no-prepare would upload it as it is") from None


def _small_enough(image: Images.Image, extension: str, most: int) -> bytes:
    """The picture's bytes, with as much quality, and then as many pixels, as `most` allows. Always the same ones."""
    if extension == "jpg" and image.mode != "RGB":  # its header said nothing of transparency
        image = image.convert("RGB")
    while True:
        for options in _options(extension):
            data = io.BytesIO()
            image.save(data, "PNG" if extension == "png" else "JPEG", **options)
            if data.tell() <= most:
                return data.getvalue()
        width, height = (max(1, int(side * _SHRINK)) for side in image.size)
        image = image.resize((width, height), Images.Resampling.LANCZOS)


def _options(extension: str) -> list[dict[str, Any]]:
    # What the source says of itself, its EXIF with the place where it was taken for instance, stays out.
    nothing: dict[str, Any] = {"exif": b"", "icc_profile": None}
    if extension == "png":
        return [nothing]
    return [nothing | {"quality": quality, "subsampling": 0 if quality > 90 else 2} for quality in _QUALITIES]
