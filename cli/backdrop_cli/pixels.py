"""Pixels of every kind as ordinary ones: eight bits, sRGB, upright."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition
from types import TracebackType

import PIL.Image
from PIL import ImageChops, ImageCms, ImageOps
from PIL.Image import Image

MOST_PIXELS = 200_000_000  # of one picture: what the largest cameras and phones make; 800 MB when it is decoded
PIXELS_AT_ONCE = 50_000_000  # of all pictures that are being decoded, about 20 bytes each; a larger one is alone
PIL.Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2  # Pillow itself refuses what has more than twice as many

ALPHA_MODES = ("RGBA", "LA", "PA", "RGBa", "La")
_TIFF_BITS, _TIFF_PHOTOMETRIC = 258, 262
_LARGEST_16_BIT = 65535


class Room:
    """Lets in as many pixels at a time as fit; used as `with room.for_pixels(n)`."""

    def __init__(self, pixels: int) -> None:
        self._all = self._free = pixels
        self._changed = Condition()

    def for_pixels(self, pixels: int) -> "_Place":
        """A place for one picture; more than there is at all is taken for all that there is."""
        return _Place(self, min(pixels, self._all))

    def take(self, pixels: int) -> None:
        """Wait until so many are free, and take them."""
        with self._changed:
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels

    def release(self, pixels: int) -> None:
        """Free so many again."""
        with self._changed:
            self._free += pixels
            self._changed.notify_all()


class _Place:
    def __init__(self, room: Room, pixels: int) -> None:
        self._room, self._pixels = room, pixels

    def __enter__(self) -> None:
        self._room.take(self._pixels)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._room.release(self._pixels)


DECODING = Room(PIXELS_AT_ONCE)


@contextmanager
def without_remarks() -> Iterator[None]:
    """Keep what Pillow remarks on odd pictures out of the terminal: it would get into a progress bar."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def has_transparency(image: Image) -> bool:
    """Whether a picture says that it has; no pixel is looked at."""
    return image.mode in ALPHA_MODES or "transparency" in image.info


def eight_bits(image: Image) -> Image:
    """A picture with 16 or 32 bits of grey as it looks with 8, a palette as its colours; others as they are.

    Pillow's own conversion takes everything above 255 for white.
    """
    if image.mode in ("1", "P", "PA"):
        return image.convert("RGBA" if has_transparency(image) else "RGB")
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    tags = getattr(image, "tag_v2", {})
    grey = image.convert("F")
    darkest, lightest = _extrema(grey)
    if image.mode == "F" and darkest >= 0 and lightest <= 1:
        darkest, lightest = 0.0, 1.0
    elif image.mode != "F" and darkest >= 0 and lightest <= _LARGEST_16_BIT:
        bits = tags.get(_TIFF_BITS, (16,))[0]
        darkest, lightest = 0.0, 2.0 ** min(bits, 16) - 1
    scale = 255 / ((lightest - darkest) or 1)
    small = grey.point(lambda value: value * scale + (0.5 - darkest * scale)).convert("L")
    if tags.get(_TIFF_PHOTOMETRIC) == 0:  # white is zero
        small = ImageChops.invert(small)
    return small


def _extrema(grey: Image) -> tuple[float, float]:
    darkest, lightest = grey.getextrema()
    if isinstance(darkest, tuple) or isinstance(lightest, tuple):
        raise ValueError("more than one channel")
    return darkest, lightest


def in_srgb(image: Image) -> Image:
    """RGB, or RGBA where there is transparency, by the profile in the picture if there is one that fits."""
    profile = image.info.get("icc_profile")
    image = eight_bits(image)
    if has_transparency(image):
        whole = image.convert("RGBA")
        colours = _in_rgb(image.convert("L" if image.mode in ("LA", "La") else "RGB"), profile)
        colours.putalpha(whole.getchannel("A"))
        return colours
    return _in_rgb(image, profile)


def _in_rgb(image: Image, profile: bytes | None) -> Image:
    if image.mode == "LAB":
        return _transformed(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    if profile:
        try:
            return _transformed(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)))
        except (ImageCms.PyCMSError, OSError, ValueError):  # it is broken, or another kind of picture's
            pass
    return image if image.mode == "RGB" else image.convert("RGB")


def _transformed(image: Image, profile: ImageCms.ImageCmsProfile) -> Image:
    srgb = ImageCms.createProfile("sRGB")
    result = ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
    if result is None:
        raise ValueError("no result")
    return result


def upright(image: Image) -> Image:
    """As its EXIF says that it is looked at; as it is when its EXIF can't be read."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # OSError, SyntaxError, ValueError, struct.error: whatever is in there
        return image
    return image


def srgb_profile() -> bytes:
    """A profile to write into files; the same bytes every time."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    made_at = slice(24, 36)  # when it was made, in a profile's head
    return profile[: made_at.start] + bytes(12) + profile[made_at.stop :]
