"""What a 2xx answer of the gateway holds: the one place that turns its bytes into links and images.

Gateways wrap what they sell in many ways, and all of it was paid for. Nothing here fetches anything: where a link may
lead is for `results` to say, and whether bytes are an image for `images`.
"""

import binascii
import io
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin

from backdrop.images import sniff
from backdrop.prices import price_in_body

MAX_ANSWER_BYTES = 48 * 2**20  # b64_json: eight images of about 4 MB
MAX_ANSWER_ENTRIES = 10_000  # each takes up to 25 times its bytes in memory once it is parsed
MAX_LINK_BYTES = 2**13  # eight of them fit into a ledger item and into a message
_MAX_LEVELS = 6  # as {"data": {"images": [{"image_url": {"url": "…"}}]}}
_LISTS = ("data", "images")
_LINK_FIELDS = ("url", "image_url")
_BASE64_FIELDS = ("b64_json", "b64", "base64")
_FIELDS = ["url", "b64_json", "image_url", "b64", "base64", "image"]  # of one image; the first that holds it
_PIECE_CHARACTERS = 2**16
_START_CHARACTERS = 256  # hold the head of a data: URI, or the first bytes of an image as base64
_HEAD = re.compile(r"data:|[\w.+/-]+(;[\w.=-]+)*;base64$", re.I)  # some leave out the first word
_LINK = re.compile(r"https?://|//?[^/\s]", re.I)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.I)
_BLANKS = " \t\r\n\f\v"
_ALPHABET = bytes.maketrans(b"-_", b"+/")  # from base64 for URLs


class UnreadableAnswer(Exception):
    """It is no JSON, or more than may be read; the message says which."""


class CutAnswer(Exception):
    """It begins as JSON and ends too early."""


def inflated(body: bytes, encoding: str) -> bytes:
    """The body without gzip or deflate, which its first bytes tell more surely than its Content-Encoding.

    Raises UnreadableAnswer when there is more than MAX_ANSWER_BYTES of it.
    """
    if body.startswith((b"\x1f\x8b", b"\x78")):  # no JSON starts like gzip or zlib
        window = zlib.MAX_WBITS | 32
    elif encoding.strip().lower() == "deflate" and not body.lstrip().startswith((b"{", b"[")):
        window = -zlib.MAX_WBITS
    else:
        return body
    try:
        plain = zlib.decompressobj(window).decompress(body, MAX_ANSWER_BYTES + 1)
    except zlib.error:
        return body
    if len(plain) > MAX_ANSWER_BYTES:
        raise UnreadableAnswer(f"more than {MAX_ANSWER_BYTES} bytes")
    return plain


@dataclass(frozen=True)
class Sold:
    """What an answer holds: images in their order, each as its bytes or as the link to it, and what they cost."""

    images: tuple[str | bytes, ...]
    cost_usd: Decimal | None = None
    """None when the body doesn't say."""


def sold(body: bytes, most: int, origin: str, sent: str) -> Sold:
    """Up to `most` images, and their price.

    A path is one of `origin`. A link that is in `sent`, the call's body, leads to the photo, not to a result. Raises
    UnreadableAnswer and CutAnswer.
    """
    if sniff(body):
        return Sold((body,))
    if body.count(b",") > MAX_ANSWER_ENTRIES:
        raise UnreadableAnswer(f"more than {MAX_ANSWER_ENTRIES} entries")
    parsed = _parsed(body)
    found = tuple(islice(_Reader(origin, sent).found(parsed, "", _MAX_LEVELS), most))
    return Sold(found, price_in_body(parsed))


def _parsed(body: bytes) -> Any:
    try:
        # int() raises for very long ones; control characters are line breaks inside of base64.
        return json.loads(body, parse_int=float, strict=False)
    except RecursionError:
        raise UnreadableAnswer("something that is nested too deep") from None
    except ValueError as error:
        is_text = not isinstance(error, UnicodeDecodeError) or error.reason == "unexpected end of data"
        if is_text and body.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"[")):
            raise CutAnswer from None
        raise UnreadableAnswer("something that is no JSON") from None


@dataclass(frozen=True)
class _Reader:
    """Finds images in parsed JSON; see `images`."""

    origin: str
    sent: str

    def found(self, value: Any, field: str, levels: int) -> Iterator[str | bytes]:
        """The images in a part of the answer; `field` is the name that it has there."""
        if isinstance(value, str):
            image = self._image(value, field)
            if image:
                yield image
        elif isinstance(value, list) and levels:
            for each in value:
                yield from self.found(each, "", levels - 1)
        elif isinstance(value, dict) and levels:
            fields = [name for name in _LISTS if name in value]
            if not fields and not value.get("error"):  # beside an error, a link leads to its explanation
                fields = _FIELDS
            for name in fields:
                is_there = False
                for image in self.found(value.get(name), name, levels - 1):
                    is_there = True
                    yield image
                if is_there:
                    return

    def _image(self, text: str, field: str) -> str | bytes:
        """What a text stands for: the image's bytes, or a link to it; empty when it is neither."""
        start = text[:_START_CHARACTERS].lstrip()
        head, comma, _ = start.partition(",")
        if comma and _HEAD.match(head):
            return _of_data_uri(head, text, text.index(",") + 1)
        if not start.startswith("http") and (field in _BASE64_FIELDS or _begins_as_image(start)):
            image = _of_base64(text)
            if image:
                return image
        if field in _LINK_FIELDS or _LINK.match(start):
            return self._link(text)
        return b""

    def _link(self, text: str) -> str:
        """A link that the ledger and a message can keep, made absolute; empty when there is none."""
        link = text.strip()
        try:
            if len(link) > MAX_LINK_BYTES or not link or json.dumps(link) in self.sent:
                return ""
            if not _SCHEME.match(link):
                link = urljoin(f"{self.origin}/", link)
            return link if len(link.encode()) <= MAX_LINK_BYTES else ""
        except ValueError:  # a lone surrogate, which JSON can hold, or an unpaired bracket
            return ""


def _of_data_uri(head: str, text: str, start: int) -> bytes:
    """The image in a `data:` URI whose payload begins at `start`."""
    if not head.rstrip().lower().endswith("base64"):
        data = _unquoted(text, start)
        return data if sniff(data) else b""
    if text.find("%", start) >= 0:
        text, start = _unquoted(text, start).decode("latin-1"), 0
    return _of_lenient_base64(text, start)


def _begins_as_image(start: str) -> bool:
    try:
        compact = "".join(start.split()).encode("ascii").translate(_ALPHABET)
        return sniff(binascii.a2b_base64(compact[: len(compact) // 4 * 4])) is not None
    except ValueError:
        return False


def _of_base64(text: str) -> bytes:
    """The bytes of base64; empty for anything else."""
    try:
        return binascii.a2b_base64(text, strict_mode=True)  # base64.b64decode would copy the text
    except ValueError:
        return _of_lenient_base64(text, 0)


def _of_lenient_base64(text: str, start: int) -> bytes:
    """The image that base64 holds with blanks, without padding or in the alphabet for URLs; empty for anything else.

    Piece by piece: it may have 48 MiB, and a copy of it would be one too many for the function's memory.
    """
    end = len(text.rstrip(f"={_BLANKS}"))
    image, left = io.BytesIO(), b""
    try:
        for at in range(start, end, _PIECE_CHARACTERS):
            piece = text[at : min(at + _PIECE_CHARACTERS, end)].encode("ascii")
            left += piece.translate(_ALPHABET, _BLANKS.encode())
            whole = len(left) // 4 * 4
            image.write(binascii.a2b_base64(left[:whole], strict_mode=True))
            left = left[whole:]
        image.write(binascii.a2b_base64(left + b"=" * (-len(left) % 4), strict_mode=True))
    except ValueError:
        return b""
    data = image.getvalue()
    return data if sniff(data) else b""  # with so much allowed, other text could pass for base64


def _unquoted(text: str, start: int) -> bytes:
    """The bytes of percent-encoded text; piece by piece, because each %XX takes a hundred bytes meanwhile."""
    data = io.BytesIO()
    while start < len(text):
        end = start + _PIECE_CHARACTERS
        cut = text.rfind("%", end - 2, end)
        end = cut if start < cut else end
        data.write(unquote_to_bytes(text[start:end].encode("utf-8", "replace")))
        start = end
    return data.getvalue()
