"""What 2xx answers hold, in all the wrappings that gateways are known to use."""

import base64
import gzip
import json
import os
import time
import tracemalloc
import zlib
from typing import Any
from urllib.parse import quote

import pytest

from backdrop import answers
from backdrop.answers import CutAnswer, UnreadableAnswer, inflated, sold

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) + b"\xfb\xef\xbe\xff"
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256))
TEXT = base64.b64encode(PNG).decode()
JPEG_TEXT = base64.b64encode(JPEG).decode()
URL_SAFE = base64.urlsafe_b64encode(PNG).decode()
LINES = base64.encodebytes(PNG).decode()
LINK = "https://cdn.test/1.png"
PHOTO = "https://photos-in.test/red.jpg?X-Amz-Signature=5f1e"
SENT = json.dumps({"model": "m", "image_url": PHOTO, "n": 2})
ORIGIN = "https://gateway.test"

assert "+" in TEXT
assert "_" in URL_SAFE


def found(body: Any, most: int = 8) -> tuple[str | bytes, ...]:
    """The images in a body; one that is not bytes is sent as JSON."""
    return sold(body if isinstance(body, bytes) else json.dumps(body).encode(), most, ORIGIN, SENT).images


@pytest.mark.parametrize("field", ["b64_json", "url", "b64", "base64", "image", "image_url"])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(TEXT, id="plain"),
        pytest.param(TEXT + "\n", id="a final line break"),
        pytest.param(f" \t{TEXT}\r\n ", id="blanks around"),
        pytest.param(LINES, id="lines"),
        pytest.param(LINES.replace("\n", "\r\n"), id="lines of a mail"),
        pytest.param(" ".join(TEXT), id="blanks between"),
        pytest.param(TEXT.rstrip("="), id="without padding"),
        pytest.param(TEXT + "==", id="too much padding"),
        pytest.param(URL_SAFE, id="alphabet for URLs"),
        pytest.param(URL_SAFE.rstrip("=") + "\n", id="alphabet for URLs without padding"),
        pytest.param(f"data:image/png;base64,{TEXT}", id="data head"),
        pytest.param(f"data:image/png;base64,{LINES}", id="data head and lines"),
        pytest.param(f" DATA:image/png;BASE64, {TEXT}", id="data head in capitals"),
        pytest.param(f"data:image/png;charset=utf-8;name=a.png;base64,{TEXT}", id="data head with parameters"),
        pytest.param(f"data:;base64,{TEXT}", id="data head without a type"),
        pytest.param(f"data:application/octet-stream;base64,{URL_SAFE.rstrip('=')}", id="data head, for URLs"),
        pytest.param(f"image/png;base64,{TEXT}", id="data head without data"),
        pytest.param(f"data:image/png;base64,{quote(TEXT, safe='')}", id="data head, base64 percent-encoded"),
        pytest.param(f"data:image/png,{quote(PNG, safe='')}", id="data head, percent-encoded"),
    ],
)
def test_base64_that_decoders_refuse_is_read(field: str, text: str) -> None:
    """Cases: base64 that decoders refuse; picture inside `url`."""
    assert found({"data": [{field: text}]}) == (PNG,)


@pytest.mark.parametrize("text", [JPEG_TEXT, f"{JPEG_TEXT}\n"])
def test_base64_of_a_jpeg_is_no_path_although_it_starts_like_one(text: str) -> None:
    assert text.startswith("/9j/")
    assert found({"data": [{"url": text}]}) == found([text]) == (JPEG,)
    assert found({"data": [{"url": "/9j/1.png"}]}) == ("https://gateway.test/9j/1.png",)


def test_line_breaks_that_json_does_not_allow_are_read() -> None:
    assert found(b'{"data": [{"b64_json": "%b"}]}' % LINES.encode()) == (PNG,)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"data": [{"url": LINK}]}, id="as documented"),
        pytest.param({"data": [{"url": f" {LINK}\n"}]}, id="blanks around the link"),
        pytest.param({"data": {"url": LINK}}, id="data that is one object"),
        pytest.param([{"url": LINK}], id="a bare list"),
        pytest.param([LINK], id="a bare list of links"),
        pytest.param({"images": [{"url": LINK}]}, id="images"),
        pytest.param({"images": [LINK]}, id="images that are links"),
        pytest.param({"images": {"url": LINK}}, id="images that are one object"),
        pytest.param({"data": LINK}, id="data that is a link"),
        pytest.param({"data": [], "images": [LINK]}, id="images beside empty data"),
        pytest.param({"data": {"images": [{"url": LINK}]}}, id="images in data"),
        pytest.param({"data": [{"image_url": LINK}]}, id="image_url"),
        pytest.param({"data": [{"image_url": {"url": LINK}}]}, id="image_url that is an object"),
        pytest.param({"data": [{"image": {"url": LINK}}]}, id="image"),
        pytest.param({"data": [[{"url": LINK}]]}, id="a list in a list"),
        pytest.param({"url": LINK}, id="no list"),
        pytest.param({"data": [None, {"url": None}, {"url": LINK}]}, id="after empty entries"),
        pytest.param({"data": [{"url": "", "b64_json": None, "image": LINK}]}, id="after empty fields"),
        pytest.param({"data": [{"url": LINK, "b64_json": TEXT}]}, id="a link and the same inline"),
        pytest.param({"error": {"message": "one of two failed"}, "data": [{"url": LINK}]}, id="beside an error"),
        pytest.param(b"\xef\xbb\xbf" + json.dumps({"data": [{"url": LINK}]}).encode(), id="byte order mark"),
        pytest.param(json.dumps({"data": [{"url": LINK}]}).encode("utf-16"), id="UTF-16"),
        pytest.param({"image_url": PHOTO, "data": [{"image_url": PHOTO, "image": LINK}]}, id="beside what was sent"),
    ],
)
def test_a_link_is_found_in_any_wrapping(body: Any) -> None:
    assert found(body) == (LINK,)


@pytest.mark.parametrize(
    ("link", "absolute"),
    [
        ("/img/x.png", "https://gateway.test/img/x.png"),
        ("/img/x.png?a=1%2F2", "https://gateway.test/img/x.png?a=1%2F2"),
        ("img/x.png", "https://gateway.test/img/x.png"),
        (" /img/x.png ", "https://gateway.test/img/x.png"),
        ("//cdn.test/x.png", "https://cdn.test/x.png"),
        ("HTTPS://cdn.test/x.png", "HTTPS://cdn.test/x.png"),
        ("file:///etc/passwd", "file:///etc/passwd"),
        ("http://169.254.169.254/", "http://169.254.169.254/"),
    ],
)
def test_a_path_is_the_gateways_own_and_any_other_link_stays_as_it_is(link: str, absolute: str) -> None:
    """Row 42: where a link may lead is checked when it is followed."""
    assert found({"data": [{"url": link}]}) == (absolute,)


def test_links_and_inline_images_keep_their_order() -> None:
    body = {"data": [{"b64_json": TEXT}, {"url": LINK}, f"data:image/jpeg;base64,{JPEG_TEXT}", {"url": "/2.png"}]}
    assert found(body) == (PNG, LINK, JPEG, "https://gateway.test/2.png")
    assert found(body, most=3) == (PNG, LINK, JPEG)


def test_a_picture_in_place_of_json_is_the_image() -> None:
    assert found(PNG) == (PNG,)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"data": [{"url": PHOTO}]}, id="the photo's own link"),
        pytest.param({"image_url": PHOTO, "status": "failed"}, id="the request"),
        pytest.param({"error": {"message": "no"}, "url": "https://docs.test/errors"}, id="where an error is explained"),
        pytest.param({"data": ["soon", "", 7, None, True]}, id="texts that are no image"),
        pytest.param({"data": [{"b64_json": "soon!"}]}, id="no base64"),
        pytest.param({"data": [{"b64_json": TEXT[:-3] + "ü"}]}, id="base64 with other dead_letters"),
        pytest.param({"data": [{"b64_json": "c29vbg\n"}]}, id="base64 of a text, in two lines"),
        pytest.param({"data": [{"url": "data:text/plain,soon"}]}, id="data head of a text"),
        pytest.param({"data": [{"url": "data:image/png;base64,"}]}, id="data head of nothing"),
        pytest.param({"data": [{"url": "//[::1"}]}, id="half a bracket"),
        pytest.param({"data": [{"url": " "}]}, id="a blank"),
        pytest.param({"data": [{"url": "/" + "a" * answers.MAX_LINK_BYTES}]}, id="a path that is too long to keep"),
        pytest.param({"data": [{"url": "/" + "a" * (answers.MAX_LINK_BYTES - 1)}]}, id="a link that becomes too long"),
        pytest.param({"data": [[[[[[[[{"url": LINK}]]]]]]]]}, id="too many levels"),
    ],
)
def test_what_is_no_image_is_none(body: Any) -> None:
    assert found(body) == ()


@pytest.mark.parametrize("body", [b"{", b'[{"url": "https://cdn', b'\xef\xbb\xbf {"data": [', b'{"data": ["caf\xc3'])
def test_json_that_ends_too_early_is_cut(body: bytes) -> None:
    """Row 27."""
    with pytest.raises(CutAnswer):
        found(body)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 100_000, b'{"data": "\xff"}', b"[" + b"1," * 10_001 + b"1]"])
def test_anything_else_can_not_be_read(body: bytes) -> None:
    """Row 28."""
    with pytest.raises(UnreadableAnswer):
        found(body)


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


BODY = json.dumps({"data": [{"url": LINK}]}).encode()


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        pytest.param(gzip.compress(BODY), "gzip", id="gzip"),
        pytest.param(gzip.compress(BODY), "", id="gzip that is not called so"),
        pytest.param(gzip.compress(BODY), "deflate", id="gzip that is called deflate"),
        pytest.param(zlib.compress(BODY), "deflate", id="deflate"),
        pytest.param(zlib.compress(BODY, 9), "", id="deflate that is not called so"),
        pytest.param(deflated(BODY), " Deflate", id="deflate without a head"),
        pytest.param(gzip.compress(BODY)[:-8], "gzip", id="gzip without its checksum"),
        pytest.param(BODY, "gzip", id="called gzip"),
        pytest.param(BODY, "deflate", id="called deflate"),
        pytest.param(BODY, "", id="plain"),
    ],
)
def test_a_compressed_body_is_inflated(body: bytes, encoding: str) -> None:
    assert inflated(body, encoding) == BODY


@pytest.mark.parametrize("body", [b"\x1f\x8b no gzip", b"xylophone", b"br", b""])
def test_what_can_not_be_inflated_stays_as_it_is(body: bytes) -> None:
    assert inflated(body, "gzip") == body


def peak_of(work: Any) -> int:
    """The most memory that it takes at a time, in bytes, without what there was before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_bomb_is_inflated_up_to_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 43."""
    monkeypatch.setattr(answers, "MAX_ANSWER_BYTES", 2**20)
    bomb = gzip.compress(bytes(50 * 2**20))

    def inflate() -> None:
        with pytest.raises(UnreadableAnswer):
            inflated(bomb, "gzip")

    assert peak_of(inflate) < 3 * 2**20
    assert len(inflated(gzip.compress(b" " * 2**20), "gzip")) == 2**20


LARGE = PNG + os.urandom(2 * 2**20)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        # The text as it came, what json makes of it, and the image.
        pytest.param(base64.b64encode(LARGE).decode(), 3, id="plain"),
        pytest.param(base64.b64encode(LARGE).decode() + "\n", 3, id="a final line break"),
        pytest.param(f"data:image/png;base64,{base64.b64encode(LARGE).decode()}", 3, id="data head"),
        pytest.param(base64.encodebytes(LARGE).decode(), 3, id="lines"),
        pytest.param(f"data:image/png,{quote(LARGE, safe='')}", 6, id="percent-encoded"),
    ],
)
def test_memory_and_time_for_a_large_image_are_bounded(text: str, most: int) -> None:
    body = json.dumps({"data": [{"b64_json": text}]}).encode()

    started = time.process_time()
    assert found(body) == (LARGE,)
    assert time.process_time() - started < 10
    assert peak_of(lambda: found(body)) < most * len(LARGE) * 4 / 3
