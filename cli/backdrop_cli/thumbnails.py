"""Photos and results as small pictures for a screen, whatever their bytes are."""

import io
from dataclasses import dataclass

import PIL.Image
from PIL import ImageOps

from backdrop_cli.pixels import DECODING, eight_bits

QUALITY = 80
_MOST_PIXELS = 80_000_000  # 320 MB when they are decoded; Pillow itself warns a little above
_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF")  # those of uploads and results; Pillow knows many more, to no good here


class NotShown(Exception):
    """There is no picture to show; the message is a sentence that says why."""


@dataclass(frozen=True)
class Thumbnail:
    """A WebP of `width` × `height` pixels."""

    data: bytes
    width: int
    height: int


def thumbnail(photo: bytes, side: int) -> Thumbnail:
    """A photo whose longer side is `side` pixels at most, upright and on white. Raises NotShown."""
    try:
        with PIL.Image.open(io.BytesIO(photo), formats=_FORMATS) as original:
            if original.width * original.height > _MOST_PIXELS:
                raise NotShown("It has too many pixels to be shown here.")
            with DECODING.for_pixels(original.width * original.height):
                picture = eight_bits(original)  # a palette's would be made smaller by leaving pixels out
                picture.thumbnail((side, side))  # first of all: a JPEG is only decoded as far as this needs
                picture = ImageOps.exif_transpose(picture).convert("RGBA")
        flat = PIL.Image.new("RGB", picture.size, "white")  # what is transparent would look different on a dark page
        flat.paste(picture, mask=picture)
        file = io.BytesIO()
        flat.save(file, "WEBP", quality=QUALITY)
    except NotShown:
        raise
    except Exception:  # OSError, SyntaxError, ValueError, its own for very many pixels: Pillow doesn't say which
        raise NotShown("It is no picture that can be shown here.") from None
    return Thumbnail(file.getvalue(), *flat.size)
