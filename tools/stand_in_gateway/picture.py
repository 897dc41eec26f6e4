"""Replaces the plain background of a photo, and says in the picture that no AI did it.

The background is what has the border's colours and hangs together with the border. The product's pixels stay as they
are, and so do the shadows on the old background: the new scene is darkened where they fell.
"""

import io
import math
import re
import unicodedata
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps

from . import scene
from .scene import Colour

# name: (Pillow's name, content type, extension, options)
FORMATS: dict[str, tuple[str, str, str, dict[str, int]]] = {
    "png": ("PNG", "image/png", "png", {"compress_level": 2}),
    "jpeg": ("JPEG", "image/jpeg", "jpg", {"quality": 88}),
    "webp": ("WEBP", "image/webp", "webp", {"quality": 82, "method": 2}),
    "avif": ("AVIF", "image/avif", "avif", {"quality": 70, "speed": 9}),
}

_SOURCE_TYPES = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_SOURCE_PIXELS_LIMIT = 60_000_000

# What hangs together is found on a picture of this size at most, in pure Python.
_PLAN_SIDE = 400

# All of 255: how far from the border's colours the background reaches at least and at most, over which range it turns
# into product, and how much darker, and how much less neutral, a shadow on it may be.
_TOLERANCES = (10, 28)
_SOFTNESS = 22
_SHADOW_DEPTH = 80
_SHADOW_HUE = 12
# Shadows are soft: what lies behind an edge of this contrast belongs to the product.
_EDGE = 14
# What the product encloses is background when it has this share of the photo and strays from its colour this little.
_HOLE_SHARE = 0.002
_SAME = 3

# More never fits, and measuring a long text takes long.
_CAPTION_LENGTH = 200

_Run = tuple[int, int, int]
"""Row, first column, column after the last one."""

# A cut-out that is smaller or larger than these shares of the photo has found no plain background.
_PRODUCT_SHARES = (0.01, 0.93)


class UndecodableError(Exception):
    """The source is no JPEG, PNG or WebP that can be decoded."""


@dataclass(frozen=True)
class Picture:
    """Encoded bytes and what they are; only drawn pictures have an extension."""

    data: bytes
    content_type: str
    extension: str = ""


@dataclass(frozen=True)
class _CutOut:
    """A photo, where its product is (`alpha`), and how bright the old background was (`shade`), all of one size."""

    photo: Image.Image
    alpha: Image.Image
    shade: Image.Image


def identified(data: bytes) -> Picture:
    """A source and its content type by its bytes. Raises `UndecodableError`."""
    return Picture(data, _SOURCE_TYPES[_opened(data).format or ""])


def draw(photo: bytes | None, prompt: str, size: tuple[int, int] | int, image_format: str, n: int) -> list[Picture]:
    """`n` variations of a photo before the background that the prompt asks for.

    `size` is width and height, or an area in pixels that takes the photo's proportions. Without a photo the pictures
    have nothing to do with anybody's product. Raises `UndecodableError`.
    """
    source = _decoded(photo, size) if photo is not None else None
    canvas = size if isinstance(size, tuple) else _with_area(size, source.size if source else (1, 1))
    cut_out = _placed(source, canvas) if source else None
    return [_encoded(_composed(cut_out, prompt, canvas, variation), image_format) for variation in range(n)]


def _opened(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UndecodableError("it is no JPEG, PNG or WebP") from error
    if image.width * image.height > _SOURCE_PIXELS_LIMIT:
        raise UndecodableError(f"it has more than {_SOURCE_PIXELS_LIMIT // 1_000_000} megapixels")
    return image


def _decoded(data: bytes, size: tuple[int, int] | int) -> Image.Image:
    image = _opened(data)
    side = max(size) if isinstance(size, tuple) else math.isqrt(3 * size)
    try:
        # A JPEG can be decoded at a fraction of its size, never smaller than this.
        image.draft("RGB", (side, side))
        image = ImageOps.exif_transpose(image)
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise UndecodableError("its data is damaged") from error


def _with_area(area: int, proportions: tuple[int, int]) -> tuple[int, int]:
    ratio = min(3.0, max(1 / 3, proportions[0] / proportions[1]))
    return max(16, round(math.sqrt(area * ratio))), max(16, round(math.sqrt(area / ratio)))


def _encoded(image: Image.Image, image_format: str) -> Picture:
    name, content_type, extension, options = FORMATS[image_format]
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return Picture(buffer.getvalue(), content_type, extension)


def _placed(source: Image.Image, canvas: tuple[int, int]) -> _CutOut:
    """The product on a canvas that may have other proportions than its photo."""
    scale = min(canvas[0] / source.width, canvas[1] / source.height)
    fitted = source.resize(_scaled(source.size, scale), Image.Resampling.LANCZOS)
    part = _cut_out(fitted)
    at = ((canvas[0] - fitted.width) // 2, (canvas[1] - fitted.height) // 2)
    whole = _CutOut(Image.new("RGB", canvas), Image.new("L", canvas), Image.new("L", canvas, 255))
    whole.photo.paste(part.photo, at)
    whole.alpha.paste(part.alpha, at)
    whole.shade.paste(part.shade, at)
    return whole


def _cut_out(photo: Image.Image) -> _CutOut:
    lightless = Image.new("L", photo.size, 255)
    if photo.mode == "RGBA":
        alpha = photo.getchannel("A")
        photo = photo.convert("RGB")
        if _share(alpha) < _PRODUCT_SHARES[1]:
            return _CutOut(photo, alpha, lightless)
    colours, tolerance = _border_colours(photo)
    distance = _darkest([_distance(photo, colour, tolerance) for colour in colours])
    background = _connected_background(photo, distance, tolerance)
    ramp = [min(255, max(0, value - tolerance) * 255 // _SOFTNESS) for value in range(256)]
    alpha = ImageChops.lighter(distance.point(ramp), ImageChops.invert(background))
    # The outermost pixels are half background: blur, and take less than the blur added.
    edge = max(0.8, max(photo.size) / 900)
    alpha = alpha.filter(ImageFilter.GaussianBlur(edge)).point(
        [min(255, max(0, v - 128) * 255 // 110) for v in range(256)]
    )
    if not _PRODUCT_SHARES[0] <= _share(alpha) <= _PRODUCT_SHARES[1]:
        return _print_of(photo)
    grey = photo.convert("L")
    depth = _darkest([ImageChops.subtract(Image.new("L", photo.size, _luminance(c)), grey) for c in colours])
    brightest = max(_luminance(colour) for colour in colours)
    shade = depth.point([255 - min(200, max(0, value - 3) * 255 // max(brightest, 1)) for value in range(256)])
    shade = ImageChops.lighter(shade, alpha).filter(ImageFilter.GaussianBlur(edge * 2))
    return _CutOut(photo, alpha, shade)


def _print_of(photo: Image.Image) -> _CutOut:
    """A photo without a plain background, as a print with a white edge that stands in the scene."""
    width, height = photo.size
    framed = ImageOps.expand(photo.resize(_scaled(photo.size, 0.62)), max(2, width // 60), (250, 250, 248))
    at = ((width - framed.width) // 2, height * 88 // 100 - framed.height)
    canvas, alpha = Image.new("RGB", photo.size), Image.new("L", photo.size)
    canvas.paste(framed, at)
    alpha.paste(255, (*at, at[0] + framed.width, at[1] + framed.height))
    return _CutOut(canvas, alpha, Image.new("L", photo.size, 255))


def _share(alpha: Image.Image) -> float:
    histogram = alpha.histogram()
    return sum(histogram[128:]) / sum(histogram)


def _luminance(colour: Colour) -> int:
    return (colour[0] * 299 + colour[1] * 587 + colour[2] * 114) // 1000


def _darkest(images: list[Image.Image]) -> Image.Image:
    result = images[0]
    for image in images[1:]:
        result = ImageChops.darker(result, image)
    return result


def _lightest(images: list[Image.Image]) -> Image.Image:
    result = images[0]
    for image in images[1:]:
        result = ImageChops.lighter(result, image)
    return result


def _border_colours(photo: Image.Image) -> tuple[list[Colour], int]:
    """Up to four colours that each fill a good part of the photo's border, and how far the border strays from them."""
    small = photo.resize(_plan_size(photo), Image.Resampling.BOX)
    width, height = small.size
    border = Image.new("RGB", (width * 2 + height * 2, 1))
    border.paste(small.crop((0, 0, width, 1)), (0, 0))
    border.paste(small.crop((0, height - 1, width, height)), (width, 0))
    for x, at in ((0, width * 2), (width - 1, width * 2 + height)):
        border.paste(small.crop((x, 0, x + 1, height)).transpose(Image.Transpose.ROTATE_90), (at, 0))
    reduced = border.quantize(4)
    palette, counts = reduced.getpalette() or [], reduced.histogram()
    ranked = sorted(range(4), key=lambda index: -counts[index])
    chosen = [index for index in ranked if counts[index] >= border.width * 0.12] or ranked[:1]
    colours: list[Colour] = [(palette[i * 3], palette[i * 3 + 1], palette[i * 3 + 2]) for i in chosen]
    plain = [ImageChops.difference(border, Image.new("RGB", border.size, colour)) for colour in colours]
    strays = sorted(_darkest([_lightest(list(difference.split())) for difference in plain]).tobytes())
    least, most = _TOLERANCES
    return colours, min(most, max(least, strays[len(strays) * 9 // 10] * 3 // 2 + 4))


def _plan_size(photo: Image.Image) -> tuple[int, int]:
    return _scaled(photo.size, min(1.0, _PLAN_SIDE / max(photo.size)))


def _scaled(size: tuple[int, int], factor: float) -> tuple[int, int]:
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _distance(photo: Image.Image, colour: Colour, tolerance: int) -> Image.Image:
    """How far each pixel is from a background of this colour, lit or in shadow; up to `tolerance` is background."""
    plain = Image.new("RGB", photo.size, colour)
    darker = ImageChops.subtract(plain, photo).split()
    brighter = ImageChops.subtract(photo, plain).split()
    depth, excess = _lightest(list(darker)), _lightest(list(brighter))
    hue = ImageChops.subtract(depth, _darkest(list(darker)))
    shadow = _lightest(
        [
            excess,
            depth.point([min(255, value * tolerance // _SHADOW_DEPTH) for value in range(256)]),
            hue.point([min(255, value * tolerance // _SHADOW_HUE) for value in range(256)]),
        ]
    )
    return ImageChops.darker(ImageChops.lighter(depth, excess), shadow)


def _connected_background(photo: Image.Image, distance: Image.Image, tolerance: int) -> Image.Image:
    """White where the background hangs together with the border."""
    size = _plan_size(photo)
    plan = photo.resize(size, Image.Resampling.BOX)
    contrast = ImageChops.subtract(plan.filter(ImageFilter.MaxFilter(3)), plan.filter(ImageFilter.MinFilter(3)))
    edges = _lightest(list(contrast.split())).point([0 if value <= _EDGE else 255 for value in range(256)])
    near = distance.resize(size, Image.Resampling.BOX)
    candidates = ImageChops.subtract(near.point([255 if value <= tolerance else 0 for value in range(256)]), edges)
    # The frame joins all parts of the border into the first area.
    border, *enclosed = _areas(ImageOps.expand(candidates, 1, 255))
    found = Image.new("L", (size[0] + 2, size[1] + 2))
    same = ImageOps.expand(near.point([255 if value <= _SAME else 0 for value in range(256)]), 1).tobytes()
    for area in [border, *(area for area in enclosed if _is_hole(area, same, found.size))]:
        pen = ImageDraw.Draw(found)
        for row, start, end in area:
            pen.line((start, row, end - 1, row), 255)
    # Grown over the edges that stopped it: `distance` decides there, at full resolution.
    found = found.crop((1, 1, size[0] + 1, size[1] + 1)).filter(ImageFilter.MaxFilter(7))
    return found.resize(photo.size, Image.Resampling.BILINEAR)


def _areas(mask: Image.Image) -> list[list[_Run]]:
    """The connected white areas from the top down, as runs. Joining runs is ten times faster than flood filling."""
    width, data = mask.width, mask.tobytes()
    runs: list[_Run] = []
    parents: list[int] = []
    above = range(0)

    def root(run: int) -> int:
        while parents[run] != run:
            parents[run] = parents[parents[run]]
            run = parents[run]
        return run

    for row in range(mask.height):
        first = len(runs)
        for match in re.finditer(b"\xff+", data[row * width : (row + 1) * width]):
            start, end = match.span()
            parents.append(len(runs))
            runs.append((row, start, end))
            for other in above:
                if runs[other][1] < end and start < runs[other][2]:
                    parents[root(len(runs) - 1)] = root(other)
        above = range(first, len(runs))
    areas: dict[int, list[_Run]] = {}
    for index, run in enumerate(runs):
        areas.setdefault(root(index), []).append(run)
    return list(areas.values())


def _is_hole(area: list[_Run], same: bytes, size: tuple[int, int]) -> bool:
    """Whether an enclosed area shows the background, as in a mug's handle, and is no pale label with print on it."""
    pixels = sum(end - start for _, start, end in area)
    if pixels < size[0] * size[1] * _HOLE_SHARE:
        return False
    rows: dict[int, tuple[int, int]] = {}
    for row, start, end in area:
        left, right = rows.get(row, (start, end))
        rows[row] = (min(left, start), max(right, end))
    unbroken = pixels > 0.97 * sum(right - left for left, right in rows.values())
    alike = sum(same.count(255, row * size[0] + start, row * size[0] + end) for row, start, end in area)
    return unbroken and alike > 0.97 * pixels


def _composed(cut_out: _CutOut | None, prompt: str, canvas: tuple[int, int], variation: int) -> Image.Image:
    if cut_out is None:
        image = scene.draw(prompt, canvas, 0.62, variation)
        _write(image, "No photo was sent: this is an unrelated picture", canvas[1] * 45 // 100)
    else:
        left, top, right, bottom = cut_out.alpha.getbbox() or (0, 0, *canvas)
        # The product stands in front of the horizon, wherever it stood in the photo.
        horizon = min(0.72, max(0.34, (bottom - 0.24 * (bottom - top)) / canvas[1] - 0.06))
        image = ImageChops.multiply(
            scene.draw(prompt, canvas, horizon, variation), Image.merge("RGB", [cut_out.shade] * 3)
        )
        _cast_shadow(image, cut_out.alpha, (left, top, right, bottom))
        image.paste(cut_out.photo, (0, 0), cut_out.alpha)
    _write(image, f"STAND-IN · not AI · {prompt}", canvas[1])
    return image


def _cast_shadow(image: Image.Image, alpha: Image.Image, box: tuple[int, int, int, int]) -> None:
    """The product's own outline, lying flat at its foot."""
    left, top, right, bottom = box
    width, height = round((right - left) * 1.04), max(4, round(min(bottom - top, right - left) * 0.16))
    small = (max(1, image.width // 4), max(1, image.height // 4))
    shadow = Image.new("L", small)
    outline = alpha.crop(box).resize((max(1, width // 4), max(1, height // 4)))
    shadow.paste(outline, (round(left - (width - (right - left)) / 2) // 4, round(bottom - height * 0.62) // 4))
    shadow = shadow.filter(ImageFilter.GaussianBlur(max(1.0, height / 4 * 0.22))).point(lambda value: value * 0.42)
    image.paste((24, 20, 18), (0, 0), shadow.resize(image.size, Image.Resampling.BICUBIC))


def _write(image: Image.Image, text: str, bottom: int) -> None:
    """A band across the picture that ends at row `bottom`, with as much of the text as fits.

    Pillow's own font has hardly more than ASCII: accents are left out, other letters become question marks.
    """
    height = max(12, round(min(image.size) * 0.04))
    font = ImageFont.load_default(height * 0.6)
    plain = "".join(
        letter for letter in unicodedata.normalize("NFKD", text[:_CAPTION_LENGTH]) if not unicodedata.combining(letter)
    )
    text = " ".join("".join(letter if letter.isascii() or letter in "·…" else "?" for letter in plain).split())
    if font.getlength(text) > image.width - height:
        while len(text) > 1 and font.getlength(f"{text}…") > image.width - height:
            text = text[:-1]
        text = f"{text}…"
    ImageDraw.Draw(image, "RGBA").rectangle((0, bottom - height, image.width, bottom), (16, 16, 20, 170))
    ImageDraw.Draw(image).text((height / 2, bottom - height / 2), text, (255, 255, 255), font, anchor="lm")
