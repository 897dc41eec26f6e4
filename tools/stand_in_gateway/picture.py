"""A photo before another background, with a line in the picture that says that no AI did it.

The samples' products were cut out beforehand. Every other photo stays whole and is shown as a print, unless it brings
transparency of its own. The background is a wall and a floor in a colour that the prompt names, or that its hash gives.
"""

import functools
import hashlib
import io
import math
import re
import unicodedata
import zlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageColor, ImageDraw, ImageFont, ImageOps

# name: (Pillow's name, content type, extension, options)
FORMATS: dict[str, tuple[str, str, str, dict[str, int]]] = {
    "png": ("PNG", "image/png", "png", {"compress_level": 2}),
    "jpeg": ("JPEG", "image/jpeg", "jpg", {"quality": 88}),
    "webp": ("WEBP", "image/webp", "webp", {"quality": 82, "method": 2}),
    "avif": ("AVIF", "image/avif", "avif", {"quality": 70, "speed": 9}),
}

_SOURCE_TYPES = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_SOURCE_PIXELS_LIMIT = 60_000_000

_SAMPLES = Path(__file__).parents[1] / "samples"
_CUT_OUTS = Path(__file__).parent / "cut_outs"

_SCENE_SIDE = 256  # pixels; what Pillow's gradients have
_HORIZON = 158  # the scene's row where the wall ends
_PRINT_SHARE = 0.66  # of the canvas
_CAPTION_LENGTH = 200  # letters; more never fit, and measuring a long text takes long


class UndecodableError(Exception):
    """The source is no JPEG, PNG or WebP that can be decoded."""


@dataclass(frozen=True)
class Picture:
    """Encoded bytes and what they are; only drawn pictures have an extension."""

    data: bytes
    content_type: str
    extension: str = ""


def identified(data: bytes) -> Picture:
    """A source and its content type by its bytes. Raises `UndecodableError`."""
    return Picture(data, _SOURCE_TYPES[_opened(data).format or ""])


def draw(photo: bytes | None, prompt: str, size: tuple[int, int] | int, image_format: str, n: int) -> list[Picture]:
    """`n` variations of a photo before the background that the prompt asks for.

    `size` is width and height, or an area in pixels that takes the photo's proportions. Without a photo the pictures
    have nothing to do with anybody's product. Raises `UndecodableError`.
    """
    digest = hashlib.sha256(photo or b"").digest()
    source = None if photo is None else _decoded(_cut_outs().get(digest, photo), size)
    canvas = size if isinstance(size, tuple) else _with_area(size, source.size if source else (1, 1))
    product = _placed(source, canvas) if source else None
    caption = f"STAND-IN · {'not AI' if source else 'no photo was sent: an unrelated picture'} · {_ascii(prompt)}"
    name, content_type, extension, options = FORMATS[image_format]
    pictures = []
    for variation in range(n):
        image = _background(prompt, canvas, variation)
        if product:
            image.paste(product, mask=product)
        _write(image, caption)
        file = io.BytesIO()
        image.save(file, name, **options)
        pictures.append(Picture(file.getvalue(), content_type, extension))
    return pictures


@functools.cache
def _cut_outs() -> dict[bytes, bytes]:
    """The samples' products with their shadows and transparency around them, by the digest of the sample's bytes."""
    return {
        hashlib.sha256(sample.read_bytes()).digest(): cut_out.read_bytes()
        for cut_out in _CUT_OUTS.iterdir()
        for sample in _SAMPLES.glob(f"{cut_out.stem}.*")
    }


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
        image.draft("RGB", (side, side))  # a JPEG can be decoded at a fraction of its size, never smaller than this
        return ImageOps.exif_transpose(image).convert("RGBA")
    except (OSError, SyntaxError, ValueError) as error:
        raise UndecodableError("its data is damaged") from error


def _with_area(area: int, proportions: tuple[int, int]) -> tuple[int, int]:
    ratio = min(3.0, max(1 / 3, proportions[0] / proportions[1]))
    return max(16, round(math.sqrt(area * ratio))), max(16, round(math.sqrt(area / ratio)))


def _placed(source: Image.Image, canvas: tuple[int, int]) -> Image.Image:
    """The product on a transparent canvas, which may have other proportions than its photo."""
    is_cut_out = source.getchannel("A").getextrema() != (255, 255)
    share = 1.0 if is_cut_out else _PRINT_SHARE
    product = ImageOps.contain(source, (max(1, round(canvas[0] * share)), max(1, round(canvas[1] * share))))
    if not is_cut_out:
        product = ImageOps.expand(product, max(1, min(canvas) // 80), "white")
    placed = Image.new("RGBA", canvas)
    placed.paste(product, ((canvas[0] - product.width) // 2, (canvas[1] - product.height) // 2))
    return placed


def _background(prompt: str, canvas: tuple[int, int], variation: int) -> Image.Image:
    """A wall and a floor in the first colour that the prompt names, as CSS does, or in one that its hash gives.

    `variation` moves the light.
    """
    named = [word for word in re.findall("[a-z]+", prompt.lower()) if word in ImageColor.colormap]
    seed = hashlib.sha256(f"{variation} {prompt}".encode()).digest()
    colour = named[0] if named else f"hsl({zlib.crc32(prompt.encode()) % 360}, 45%, 55%)"
    scene = Image.new("RGB", (_SCENE_SIDE, _SCENE_SIDE), colour)
    depth = Image.linear_gradient("L").resize((_SCENE_SIDE, _SCENE_SIDE - _HORIZON))
    scene.paste("black", (0, _HORIZON), depth.point([(255 - value) // 3 for value in range(256)]))
    light = Image.radial_gradient("L").point([max(0, 180 - value) * 4 // 5 for value in range(256)])
    scene.paste("white", (seed[0] - 128, seed[1] // 2 - 128), light)
    return scene.resize(canvas, Image.Resampling.BICUBIC)


def _ascii(text: str) -> str:
    """What Pillow's own font can write: accents are left out, and so is what it has no letters for."""
    plain = unicodedata.normalize("NFKD", text[:_CAPTION_LENGTH]).encode("ascii", "ignore").decode()
    return "".join(filter(str.isprintable, " ".join(plain.split())))


def _write(image: Image.Image, text: str) -> None:
    """A band along the picture's foot with as much of the text as fits."""
    height = max(12, round(min(image.size) * 0.04))
    font = ImageFont.load_default(height * 0.6)
    while len(text) > 1 and font.getlength(text) > image.width - height:
        text = f"{text[:-2]}…"
    top = image.height - height
    ImageDraw.Draw(image, "RGBA").rectangle((0, top, image.width, image.height), (16, 16, 20, 170))
    ImageDraw.Draw(image).text((height / 2, top + height / 2), text, "white", font, anchor="lm")
