"""Hostile results, over real HTTP: nothing of them is stored, nothing is bought again, every upload is accounted for.

They come from the gateway's own origin, the only one that may be on loopback, so that nothing but the guard behind the
link's check is left. `private` plays whom nobody may be led to; no packet leaves this machine, even without the guard.
"""

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.aws_events import s3_event
from tests.integration.harness import Harness

ROOT = Path(__file__).parents[2]
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\x3cIDAT" + b"pixels" * 10 + bytes(4) + b"\0\0\0\0IEND\xae\x42\x60\x82"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://%s/"/></svg>'
PAGE = b'<!doctype html><meta http-equiv="refresh" content="0; url=http://%s/"><title>1.png</title>'
PRIVATE = "PRIVATE"
"""In a fault: the host and port of `private`."""
MEGABYTE = 1_000_000
CAP = 32 * 2**20
HURRY_SECONDS = 0.3

Fault = dict[str, Any]


def answer(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> Fault:
    """These very bytes, labelled as a PNG unless `headers` say something else."""
    label = () if any(header.startswith("Content-Type") for header in headers) else ("Content-Type: image/png",)
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *label, *headers]
    return raw("\r\n".join(lines) + "\r\n\r\n" + body.decode("latin-1"))


def raw(text: str, more: str = "", count: int = 0, interval: float = 0.0) -> Fault:
    return {"kind": "raw", "text": text, "more": more, "count": count, "interval": interval}


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


def script(harness: Harness, fault: Fault, private: str = "", times: int = 0) -> None:
    """Let it happen to the next fetches, all of them when `times` is 0."""
    texts = {name: value.replace(PRIVATE, private) for name, value in fault.items() if isinstance(value, str)}
    harness.gateway.faults([{"where": "media", "times": times, **fault, **texts}])


def assert_dead_letter(harness: Harness, code: str = "result_unavailable") -> None:
    """One dead letter for one upload that was paid once, and nothing else of it anywhere."""
    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["billed"]) == (code, "yes")
    assert harness.outputs() == {}
    assert harness.waiting() == []
    assert len(harness.gateway.calls()) == harness.charged() == 1


# What must not be stored


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


# What may work later


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(raw("SSH-2.0-OpenSSH_9.9\r\n"), id="no HTTP"),
        pytest.param(answer(PNG, length=len(PNG) + 1), id="Content-Length that promises more"),
        pytest.param(answer(PNG, "Content-Length: 7"), id="two lengths"),
        pytest.param(answer(PNG, "Transfer-Encoding: gzip"), id="unknown transfer encoding"),
        pytest.param(
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n\x89PNG\r\n\x1a\n\r\n"), id="no last chunk"
        ),
        pytest.param(
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X-More: 1\r\n" * 1000, 1000),
            id="endless trailers",
        ),
        pytest.param(raw("HTTP/1.1 200 OK\r\n", "X-More: 1\r\n" * 1000, 1000), id="endless headers"),
        pytest.param(answer(PNG, status="206 Partial Content"), id="part"),
        pytest.param(answer(PNG[:-1]), id="a byte short"),
        pytest.param(answer(PNG[:8]), id="signature only"),
        pytest.param(answer(PNG, length=len(PNG) // 2), id="Content-Length of a half"),
    ],
)
def test_rows_43_45_a_result_that_breaks_is_fetched_later(harness: Harness, photo: bytes, fault: Fault) -> None:
    script(harness, fault, times=2)

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert_fetched_at_last(harness)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(raw("HTTP/1.1 200 OK\r\n", "X-Slow: 1\r\n", 100, 0.05), id="headers"),
        pytest.param(
            raw(f"HTTP/1.1 200 OK\r\nContent-Length: {len(PNG) + 100}\r\n\r\n{PNG.decode('latin-1')}", "x", 100, 0.05),
            id="body",
        ),
        pytest.param(raw("", "HTTP/1.1 103 Early Hints\r\n\r\n" * 1000, 1000), id="endless preludes"),
    ],
)
def test_rows_31_43_a_result_that_drips_is_given_up_at_the_deadline_and_fetched_later(
    harness: Harness, photo: bytes, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(harness, fault, times=2)
    fetch = harness.services.results.fetch
    took: list[float] = []

    def hurried(link: str, seconds: float) -> bytes:
        if len(took) == 2:
            return fetch(link, seconds)
        started = time.monotonic()
        try:
            return fetch(link, HURRY_SECONDS)
        finally:
            took.append(time.monotonic() - started)

    monkeypatch.setattr(harness.services.results, "fetch", hurried)

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert_fetched_at_last(harness)
    assert max(took) < 3.0, "left alone it takes 5"


def assert_fetched_at_last(harness: Harness) -> None:
    """Stored after two tries that failed, and paid once."""
    assert list(harness.outputs()) == ["a.jpg.png"]
    assert len(harness.gateway.fetches()) == 3
    assert harness.dead_letters() == harness.waiting() == []
    assert len(harness.gateway.calls()) == harness.charged() == 1


# What is an image, whatever is said about it


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


# What is sent


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


# What it takes in memory

CHILD = """
import json, runpy, sys
from types import SimpleNamespace

def memory(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))

context = SimpleNamespace(
    aws_request_id="1", function_name="f", memory_limit_in_mb=512, invoked_function_arn="arn:aws:lambda:::function:f",
    get_remaining_time_in_millis=lambda: 150_000,
)
handle = runpy.run_path("functions/replace_background/app.py")["lambda_handler"]
resting = None
for line in sys.stdin:
    handle(json.loads(line), context)
    resting = resting or memory("VmRSS:")
    print("grown by", memory("VmHWM:") - resting, flush=True)
"""
"""A worker: handles an event a line, and says how far its memory has grown at most since the first was handled.

Not by getrusage: a child begins with its parent's peak.
"""


@contextmanager
def worker() -> Iterator[Callable[[dict[str, Any]], int]]:
    """A worker in a process of its own, as a function from an event to bytes."""
    path = os.pathsep.join(str(ROOT / folder) for folder in (".", "layers/backdrop/python"))
    with subprocess.Popen(
        [sys.executable, "-c", CHILD],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        ask, answers = process.stdin, process.stdout

        def grown_by(event: dict[str, Any]) -> int:
            print(json.dumps(event), file=ask, flush=True)
            return next(int(line.split()[-1]) for line in answers if line.startswith("grown by"))

        yield grown_by


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_row_43_memory_is_bounded_whatever_comes(harness: Harness, photo: bytes) -> None:
    head = "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"

    def webp(size: int) -> str:
        return (b"RIFF%bWEBPVP8 %b" % ((size - 8).to_bytes(4, "little"), (size - 20).to_bytes(4, "little"))).decode(
            "latin-1"
        )

    with worker() as grown_by:

        def growth(key: str, fault: Fault | None, where: str = "media") -> float:
            harness.gateway.faults([{"where": where, "times": 0, **fault}] if fault else [])
            return grown_by(s3_event(harness.put(key, photo, prompt="wood"))) / CAP

        growth("first.jpg", None)
        assert growth("endless.jpg", {"kind": "endless"}) < 2
        assert growth("bomb.jpg", {"kind": "gzip_bomb", "megabytes": 67}) < 2
        assert growth("slow.jpg", raw(head % (100 * MEGABYTE) + webp(100 * MEGABYTE), "\0" * MEGABYTE, 100, 0.01)) < 2
        assert set(harness.outputs()) == {"first.jpg.png"}
        assert len(harness.waiting()) == 3
        assert growth("largest.jpg", raw(head % CAP + webp(CAP), "\0" * MEGABYTE, 34)) < 3
        harness.gateway.settings(answer="b64_json")
        # Its base64 has 43 MiB, which json and base64 copy each.
        assert growth("inline.jpg", {"kind": "inline", "text": webp(33 * MEGABYTE + 20), "megabytes": 33}, "images") < 6

    assert set(harness.outputs()) == {"first.jpg.png", "largest.jpg.webp", "inline.jpg.webp"}
    assert len(harness.outputs()["largest.jpg.webp"]["Body"]) == CAP
    assert harness.charged() == len(harness.gateway.calls()) == 6
