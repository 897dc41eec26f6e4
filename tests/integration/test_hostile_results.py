"""Hostile results, over real HTTP: nothing of them is stored, nothing is bought again, every upload is accounted for.

They come from the gateway's own origin, the only one that may be on loopback, so that nothing but the guard behind the
link's check is left. `private` plays whom nobody may be led to; no packet leaves this machine, even without the guard.
"""

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.integration.harness import Harness
from tests.integration.result_faults import (
    CAP,
    MEGABYTE,
    PNG,
    PRIVATE,
    Fault,
    answer,
    assert_fetched_at_last,
    raw,
    script,
)

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://%s/"/></svg>'
PAGE = b'<!doctype html><meta http-equiv="refresh" content="0; url=http://%s/"><title>1.png</title>'


def redirect(status: int, target: str) -> Fault:
    return answer(PNG, f"Location: {target}", f"Refresh: 0; url={target}", status=f"{status} Elsewhere")


@pytest.fixture(scope="module")
def private() -> Iterator[tuple[str, list[str]]]:
    """A host that would answer with a fine image: its host and port, and what reached it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.requestline)
            self.send_response(200)
            self.send_header("Content-Length", str(len(PNG)))
            self.end_headers()
            self.wfile.write(PNG)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    requests: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}", requests
        server.shutdown()
        thread.join()


@pytest.fixture
def untouched(private: tuple[str, list[str]]) -> Iterator[str]:
    """The host and port of `private`, which nothing may reach."""
    host, requests = private
    requests.clear()
    yield host
    assert requests == []


def assert_dead_letter(harness: Harness, code: str = "result_unavailable") -> None:
    """One dead letter for one upload that was paid once, and nothing else of it anywhere."""
    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["billed"]) == (code, "yes")
    assert harness.outputs() == {}
    assert harness.waiting() == []
    assert len(harness.gateway.calls()) == harness.charged() == 1


@pytest.mark.parametrize(
    "fault",
    [
        *(
            pytest.param(redirect(status, f"http://{PRIVATE}/latest/meta-data/"), id=f"redirect {status}")
            for status in (301, 302, 303, 307, 308)
        ),
        pytest.param(redirect(302, "data:image/png;base64,iVBORw0KGgo="), id="redirect to data"),
        pytest.param(redirect(302, "http://[::1"), id="redirect to no URL"),
        pytest.param(answer(b"", f"Refresh: 0; url=http://{PRIVATE}/"), id="Refresh"),
        pytest.param(answer(PAGE % PRIVATE.encode()), id="HTML named PNG"),
        pytest.param(answer(SVG % PRIVATE.encode(), "Content-Type: image/svg+xml"), id="SVG"),
        pytest.param(answer(b"\r\n" + PNG), id="PNG that starts late"),
        pytest.param(answer(PNG, length=7), id="Content-Length that cuts the signature"),
        pytest.param(answer(gzip.compress(PNG), "Content-Encoding: gzip"), id="gzip in spite of identity"),
        pytest.param(answer(gzip.compress(PNG) * 100, "Content-Encoding: gzip, gzip"), id="gzip of many members"),
        pytest.param({"kind": "gzip_bomb", "megabytes": 67}, id="gzip bomb"),
        pytest.param(
            raw(f"HTTP/1.1 200 OK\r\nContent-Length: {CAP + 1}\r\n\r\n\x89PNG\r\n\x1a\n", "\0" * MEGABYTE, 40),
            id="a byte too large",
        ),
        pytest.param(
            raw(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n\x89PNG\r\n\x1a\n\r\n",
                f"{MEGABYTE:x}\r\n" + "\0" * MEGABYTE + "\r\n",
                100,
            ),
            id="endless chunks",
        ),
        pytest.param(
            raw("HTTP/1.1 500 Oops\r\n\r\n\x89PNG\r\n\x1a\n", "\0" * MEGABYTE, 100), id="endless error message"
        ),
    ],
)
def test_rows_42_to_44_a_hostile_result_ends_as_result_unavailable_after_three_tries(
    harness: Harness, photo: bytes, untouched: str, fault: Fault
) -> None:
    script(harness, fault, untouched)
    started = harness.now()

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert_dead_letter(harness)
    assert len(harness.gateway.fetches()) == 3
    assert 60 <= harness.now() - started <= 150


@pytest.mark.parametrize(
    "link",
    [
        pytest.param("http://PRIVATE/1.png", id="another port"),
        pytest.param("https://PRIVATE/1.png", id="https on loopback"),
        pytest.param("https://[::ffff:127.0.0.1]:PORT/1.png", id="mapped"),
        pytest.param("https://2130706433:PORT/1.png", id="decimal"),
        pytest.param("file:///etc/passwd", id="file"),
    ],
)
def test_row_42_a_link_elsewhere_on_this_machine_is_not_followed(
    harness: Harness, photo: bytes, untouched: str, link: str
) -> None:
    url = link.replace(PRIVATE, untouched).replace("PORT", untouched.rpartition(":")[2])
    harness.gateway.faults([{"kind": "link", "url": url}])
    started = harness.now()

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert_dead_letter(harness)
    assert harness.gateway.fetches() == []
    assert 60 <= harness.now() - started <= 150


def test_a_link_that_is_too_long_to_keep_is_no_image(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "link", "url": "https://cdn.test/" + "a" * 500_000}])

    harness.upload("a.jpg", photo, prompt="wood")

    assert_dead_letter(harness, "no_image_returned")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(PAGE, id="HTML"),
        pytest.param(SVG, id="SVG"),
        pytest.param(gzip.compress(PNG), id="gzip"),
        pytest.param(PNG[:-1], id="a byte short"),
    ],
)
def test_rows_43_44_inline_images_pass_the_same_guard(harness: Harness, photo: bytes, data: bytes) -> None:
    harness.gateway.settings(answer="b64_json")
    harness.gateway.faults([{"kind": "inline", "text": data.decode("latin-1"), "megabytes": 0}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert_dead_letter(harness)


@pytest.mark.parametrize(
    ("fault", "stored"),
    [
        pytest.param(answer(PNG, "Content-Encoding: gzip"), PNG, id="labelled as gzip"),
        pytest.param(answer(PNG + b"<script>", length=len(PNG)), PNG, id="with more than announced"),
        # Nothing is decoded: whatever has the frame of an image is stored, and called one by its Content-Type.
        pytest.param(answer(PNG + b"<script>alert(1)</script>"), PNG + b"<script>alert(1)</script>", id="polyglot"),
    ],
)
def test_row_44_the_bytes_decide_what_a_result_is(harness: Harness, photo: bytes, fault: Fault, stored: bytes) -> None:
    script(harness, fault)

    harness.upload("a.jpg", photo, prompt="wood")

    [(key, output)] = harness.outputs().items()
    assert (key, output["ContentType"], output["Body"]) == ("a.jpg.png", "image/png", stored)
    assert "ContentEncoding" not in output


def test_row_42_neither_key_nor_cookie_comes_along_with_a_fetch(harness: Harness, photo: bytes) -> None:
    script(harness, answer(b"", "Set-Cookie: seen=1; Path=/", status="503 Busy"), times=2)

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    for fetch in harness.gateway.fetches():
        assert set(fetch["headers"]) == {"host", "accept", "accept-encoding", "connection", "user-agent"}
        assert fetch["headers"]["accept-encoding"] == "identity"
    assert_fetched_at_last(harness)


def test_row_42_a_gateway_call_is_not_redirected(harness: Harness, photo: bytes, untouched: str) -> None:
    harness.gateway.faults([{**redirect(307, f"http://{untouched}/v1/images/generations"), "where": "images"}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.charged() == 1
