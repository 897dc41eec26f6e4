"""How much of a photo's product is in a picture: a crude measure, from 0 to 1, by the colours of its inside.

It tells a picture that has nothing to do with the photo; it says nothing about how good one is. docs/gateways.md has
the figures that the bounds are from.
"""

import io
from collections.abc import Iterator
from itertools import product

from PIL import Image, ImageOps

NOTHING = 0.5
"""Below it, nothing of the product is in the picture."""
ENOUGH = 0.8
"""From here on the product is in it."""
_SIDE = 48  # pixels of the picture's longer side, as it is compared
_OF_THE_PRODUCT = 60  # levels of a colour that a pixel differs from the background at least
_SAME = 40  # levels of a colour that a product may be lighter or darker in the picture
_SCALES = (1.0, 0.9, 0.8, 0.66)  # of the photo in the picture
_SHIFTS = range(-3, 4)  # pixels, each way

Colour = tuple[int, int, int]
Point = tuple[int, int, Colour]
"""Where a pixel of the product is, from the photo's middle, and its colour."""


def likeness(photo: bytes, picture: bytes) -> float:
    """The share of the product's pixels that are in the picture, too, where the photo fits best.

    The photo has a plain background. Raises OSError for what is no image.
    """
    shown = _opened(picture)
    shown.thumbnail((_SIDE, _SIDE))
    there = _colours(shown)
    whole = _opened(photo)
    best = 0.0
    for scale in _SCALES:
        side = (round(shown.width * scale), round(shown.height * scale))
        points = list(_product(ImageOps.contain(whole, side)))
        best = max(best, *(_share(points, there, shown.size, right, down) for right, down in product(_SHIFTS, _SHIFTS)))
    return best


def _opened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def _product(photo: Image.Image) -> Iterator[Point]:
    """The pixels that lie well inside of what differs from the background."""
    width, height = photo.size
    colours = _colours(photo)
    different = [
        [
            _distance(colours[y * width + x], _between(colours[y * width], colours[(y + 1) * width - 1], x / width))
            > _OF_THE_PRODUCT
            for x in range(width)
        ]
        for y in range(height)
    ]
    for y, x in product(range(1, height - 1), range(1, width - 1)):
        row = different[y]
        if row[x] and row[x - 1] and row[x + 1] and different[y - 1][x] and different[y + 1][x]:
            yield x - width // 2, y - height // 2, colours[y * width + x]


def _colours(image: Image.Image) -> list[Colour]:
    data = image.tobytes()
    return list(zip(data[::3], data[1::3], data[2::3], strict=True))


def _share(points: list[Point], there: list[Colour], size: tuple[int, int], right: int, down: int) -> float:
    width, height = size
    same = 0
    for x, y, colour in points:
        across = min(width - 1, max(0, x + width // 2 + right))
        row = min(height - 1, max(0, y + height // 2 + down))
        same += _distance(there[row * width + across], colour) < _SAME
    return same / max(1, len(points))


def _between(left: tuple[int, ...], right: tuple[int, ...], share: float) -> tuple[float, ...]:
    return tuple(a + (b - a) * share for a, b in zip(left, right, strict=True))


def _distance(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))
