"""Pictures of every kind that cameras, phones and designers hand over, made on the spot."""

import io
import struct
import zlib
from typing import Any

import PIL.Image
import pillow_heif
from PIL import Image, ImageDraw

pillow_heif.register_heif_opener()
_ORIENTATION = 0x0112
_UNDONE = {  # what a camera does that is held so
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def mug(size: tuple[int, int] = (320, 200)) -> Image.Image:
    """Red at the top left on light grey, blue at the bottom right: another one in each orientation."""
    width, height = size
    image = Image.new("RGB", size, "#f3f3f1")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width // 4, height // 4), fill="#e01010")
    draw.rectangle((width * 3 // 4, height * 3 // 4, width, height), fill="#1010e0")
    return image


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    image = PIL.Image.open(io.BytesIO(data))
    image.load()
    return image


def exif(orientation: int) -> bytes:
    found = Image.Exif()
    found[_ORIENTATION] = orientation
    return found.tobytes()


def turned(orientation: int, kind: str = "JPEG", **options: Any) -> bytes:
    """The mug as a camera that is held so writes it."""
    return encoded(mug().transpose(_UNDONE[orientation]), kind, exif=exif(orientation), **options)


def heic(image: Image.Image | None = None) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(image or mug()).save(file)
    return file.getvalue()


def grey16(kind: str = "PNG") -> bytes:
    """From black at the left to white at the right."""
    row = struct.pack("<256H", *(value * 257 for value in range(256)))
    return encoded(Image.frombytes("I;16", (256, 8), row * 8), kind)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, bits: int, colour_type: int, pixels: bytes, *behind: tuple[bytes, bytes]) -> bytes:
    """A PNG of any depth; `behind` are chunks after the pixels."""
    head = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    rows = len(pixels) // height if height and pixels else 0
    raw = b"".join(b"\0" + pixels[start : start + rows] for start in range(0, len(pixels), rows or 1))
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", head)
        + _chunk(b"IDAT", zlib.compress(raw))
        + b"".join(_chunk(*each) for each in behind)
        + _chunk(b"IEND", b"")
    )


def bomb() -> bytes:
    """A few bytes that would be 2.5 billion pixels."""
    return png(50_000, 50_000, 8, 2, b"")


def ink_profile() -> bytes:
    """A CMYK profile in which full cyan is a green that no formula would make of it (Lab 60, -60, 50)."""
    inks = ((60, -60, 50), (50, 70, 0), (90, 0, 90), (0, 0, 0))
    nodes = bytearray()
    for number in range(16):
        used = [ink for bit, ink in enumerate(inks) if number >> (3 - bit) & 1]
        light, a, b = min(used) if used else (100, 0, 0)
        nodes += bytes((light * 255 // 100, a + 128, b + 128))
    line = bytes(range(256))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + matrix + line * 4 + bytes(nodes) + line * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    start = 128 + 4 + 2 * 12
    tags = struct.pack(">I", 2)
    tags += (
        b"A2B0" + struct.pack(">II", start + len(white), len(table)) + b"wtpt" + struct.pack(">II", start, len(white))
    )
    head = struct.pack(">I", start + len(white) + len(table)) + bytes(4) + b"\x02\x40\0\0" + b"prtrCMYKLab "
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + tags + white + table
