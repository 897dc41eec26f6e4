"""A result's picture in the form that a shop takes: size, background, format, bytes."""

import io
from dataclasses import dataclass
from typing import Any

import PIL.Image
from PIL import Image as Images
from PIL import ImageChops, ImageFilter, ImageOps
from PIL.PngImagePlugin import PngInfo

from backdrop_cli.pixels import DECODING, MOST_PIXELS, in_srgb, srgb_profile, upright

DPI = 72
QUALITY = 90
SAVED_AS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF")
_LOWEST_QUALITY, _QUALITY_STEP = 30, 5
_WHITE_FROM = 240  # of 255, in each colour: what is called near-white
_CELLS = 256  # along the longer side: how finely --white looks for the border
_MOST_XMP_BYTES = 60_000  # what one segment of a JPEG holds, and a little less
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _INCHES = 0x011A, 0x011B, 0x0128, 2


class NotExported(Exception):
    """A result that can't be had in the form that was asked for; the message says why."""


@dataclass(frozen=True)
class Form:
    """What an exported picture is like. `size` is in pixels, None for the result's own; `most_bytes` 0 for any."""

    extension: str = "jpg"
    size: tuple[int, int] | None = None
    crops: bool = False
    background: tuple[int, int, int] = (255, 255, 255)
    quality: int = QUALITY
    most_bytes: int = 0
    whitens: bool = False


def exported(data: bytes, form: Form) -> bytes:
    """A result's bytes in another form. Raises NotExported."""
    try:
        with PIL.Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            pixels = image.width * image.height
            with DECODING.for_pixels(max(pixels, form.size[0] * form.size[1] if form.size else 0)):
                image.load()
                xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
                picture = _fitted(_flat(in_srgb(upright(image)), form.background), form)
                if form.whitens:
                    picture = whitened(picture)
                return _saved(picture, form, xmp.encode() if isinstance(xmp, str) else xmp)
    except NotExported:
        raise
    except PIL.Image.DecompressionBombError:
        raise NotExported(f"it has more than {MOST_PIXELS // 1_000_000} million pixels") from None
    except Exception:  # Pillow doesn't say which
        raise NotExported("it is no picture that can be read") from None


def _flat(image: Images.Image, background: tuple[int, int, int]) -> Images.Image:
    if image.mode != "RGBA":
        return image
    flat = Images.new("RGB", image.size, background)
    flat.paste(image, mask=image)
    return flat


def _fitted(image: Images.Image, form: Form) -> Images.Image:
    if form.size is None:
        return image
    if form.crops:
        return ImageOps.fit(image, form.size, Images.Resampling.LANCZOS)
    return ImageOps.pad(image, form.size, Images.Resampling.LANCZOS, color=form.background)


def whitened(image: Images.Image) -> Images.Image:
    """What is nearly white and reaches from the border inwards, made entirely white; nothing else is touched."""
    red, green, blue = image.split()
    darkest = ImageChops.darker(ImageChops.darker(red, green), blue)
    near = darkest.point([0] * _WHITE_FROM + [255] * (256 - _WHITE_FROM))
    scale = max(image.size) / _CELLS
    cells = (max(1, round(image.width / scale)), max(1, round(image.height / scale)))
    # A cell belongs to the border's white when all of it is nearly white and a way of such cells leads there.
    all_white = near.resize(cells, Images.Resampling.BOX).point([0] * 255 + [255])
    reached = _from_border(all_white).filter(ImageFilter.MaxFilter(3))
    mask = ImageChops.darker(near, reached.resize(image.size, Images.Resampling.NEAREST))
    clean = image.copy()
    clean.paste((255, 255, 255), mask=mask)
    return clean


def _from_border(cells: Images.Image) -> Images.Image:
    width, height = cells.size
    is_white, reached = cells.tobytes(), bytearray(width * height)
    ways = [at for at in range(width * height) if at % width in (0, width - 1) or at // width in (0, height - 1)]
    while ways:
        at = ways.pop()
        if reached[at] or not is_white[at]:
            continue
        reached[at] = 255
        ways += [at - 1] * (at % width > 0) + [at + 1] * (at % width < width - 1)
        ways += [at - width] * (at >= width) + [at + width] * (at + width < width * height)
    return Images.frombytes("L", cells.size, bytes(reached))


def _saved(image: Images.Image, form: Form, xmp: bytes) -> bytes:
    """With as much of the quality as the bytes allow; the pixels stay. What the result's XMP says of it is kept."""
    xmp = xmp if len(xmp) <= _MOST_XMP_BYTES else b""
    clean = Images.frombytes("RGB", image.size, image.tobytes())  # without what else the result said of itself
    qualities = [form.quality]
    if form.most_bytes and form.extension != "png":
        qualities += range(form.quality - _QUALITY_STEP, _LOWEST_QUALITY - 1, -_QUALITY_STEP)
    smallest = 0
    for quality in qualities:
        file = io.BytesIO()
        clean.save(file, SAVED_AS[form.extension], **_options(form.extension, quality, xmp))
        smallest = file.tell()
        if not form.most_bytes or smallest <= form.most_bytes:
            return file.getvalue()
    advice = "take --format jpg" if form.extension == "png" else "allow more, or take a smaller --size"
    raise NotExported(f"it has at least {smallest} bytes in this form; --max-bytes is {form.most_bytes}: {advice}")


def _options(extension: str, quality: int, xmp: bytes) -> dict[str, Any]:
    options: dict[str, Any] = {"icc_profile": srgb_profile()}
    if extension == "png":
        texts = PngInfo()
        if xmp:
            texts.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
        return options | {"dpi": (DPI, DPI), "pnginfo": texts, "optimize": True}
    if xmp:
        options["xmp"] = xmp
    if extension == "webp":  # has no place of its own for the resolution
        exif = Images.Exif()
        exif[_X_RESOLUTION] = exif[_Y_RESOLUTION] = float(DPI)
        exif[_RESOLUTION_UNIT] = _INCHES
        return options | {"quality": quality, "method": 4, "exif": exif}
    return options | {"quality": quality, "dpi": (DPI, DPI), "optimize": True}
