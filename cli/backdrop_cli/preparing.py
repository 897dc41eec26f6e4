"""Photos that a model or Backdrop could not take as they are, made into ones that it can: on this machine, by Pillow.

What is to be done is decided from a file's header. Only what needs it is decoded, and everything else goes as it is.
"""

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from PIL import Image as Images

from backdrop.storage import MAX_UPLOAD_BYTES
from backdrop_cli.headers import LIGHTER, MAX_SIDE, Unreadable, is_whole, opened, reasons_of
from backdrop_cli.pixels import DECODING, has_transparency, in_srgb, upright

EXTENSIONS = frozenset((".jpg", ".jpeg", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif", ".tif", ".tiff", ".bmp",
                        ".gif"))  # fmt: skip
RAW_EXTENSIONS = frozenset((".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw"))
_QUALITIES = (95, 90, 85, 75, 65)
_SHRINK = 0.8
# Every thread that ever decoded keeps some of the memory that it needed: few do, however many upload.
_DECODERS = ThreadPoolExecutor(4, thread_name_prefix="decoder")


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
        image = opened(file)
        reasons = list(reasons_of(image, file, max_side))
        if size > MAX_UPLOAD_BYTES:
            reasons.append(LIGHTER)
        if not reasons:
            if not is_whole(file):
                _decoded(image)
            return None
        return Plan(tuple(reasons), "png" if has_transparency(image) else "jpg", max_side, _digest(file))


def prepared(path: Path, what: Plan) -> bytes:
    """A photo as `what` says: upright, sRGB, within the sides and bytes. Raises Unreadable, OSError."""
    return _DECODERS.submit(_prepared, path, what).result()


def _prepared(path: Path, what: Plan) -> bytes:
    with path.open("rb") as file:
        image = opened(file)
        with DECODING.for_pixels(image.width * image.height):
            return _small_enough(_ordinary(image, what.max_side), what.extension, MAX_UPLOAD_BYTES)


def _digest(file: io.BufferedReader) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


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
