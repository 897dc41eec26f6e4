"""The total deadline and the byte cap, against servers on loopback."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from backdrop import http_client

DEADLINE_SECONDS = 0.2
SLACK_SECONDS = 0.6
DRIP_SECONDS = 0.01
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"

Script = Callable[[socket.socket, threading.Event], None]


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """A server that runs `script` for one connection after the other; its URL."""
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError), listener.accept()[0] as connection:
                connection.settimeout(1)
                script(connection, over)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            over.set()
            thread.join()


def saying(*parts: bytes) -> Script:
    """Answers at once."""

    def script(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(65536)
        for part in parts:
            connection.sendall(part)

    return script


def dripping(at_once: bytes, slowly: bytes) -> Script:
    """Answers completely, but the second part takes its time; no single pause is long."""

    def script(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(at_once)
        for byte in slowly:
            if over.wait(DRIP_SECONDS):
                return
            connection.sendall(bytes([byte]))

    return script


def endlessly(at_once: bytes, again: bytes) -> Script:
    """Answers as fast as it can and never ends."""

    def script(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(at_once)
        while not over.is_set():
            connection.sendall(again)

    return script


def silent(connection: socket.socket, over: threading.Event) -> None:
    """Takes the request and says nothing until the other side has had enough."""
    while connection.recv(65536):
        pass


def hanging_up(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(65536)


def exchange(url: str, seconds: float, max_bytes: int = 10**6) -> http_client.Response:
    with http_client.new_client() as client:
        return http_client.exchange(client, client.build_request("GET", url), seconds, max_bytes)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(silent, id="no answer"),
        pytest.param(dripping(b"HTTP/1.1 200 OK\r\n", b"X-Slow: " + b"x" * 80 + b"\r\n\r\n"), id="slow header"),
        pytest.param(dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 4), id="slow preludes"),
        pytest.param(dripping(HEAD % 80, b"x" * 80), id="slow body"),
        pytest.param(dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 80), id="slow body of unknown length"),
        pytest.param(endlessly(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100), id="endless preludes"),
    ],
)
def test_an_exchange_ends_with_its_deadline_whatever_it_waits_for(script: Script) -> None:
    """Row 31."""
    with serving(script) as url, http_client.new_client() as client:
        request = client.build_request("GET", url)
        started = time.monotonic()
        with pytest.raises(httpx.TransportError):
            http_client.exchange(client, request, DEADLINE_SECONDS, 10**6)
        assert DEADLINE_SECONDS * 0.9 < time.monotonic() - started < DEADLINE_SECONDS + SLACK_SECONDS


def test_what_has_arrived_already_does_not_outlast_the_deadline() -> None:
    """Row 31."""
    started = time.monotonic()

    def tiny_chunks() -> Iterator[bytes]:
        while time.monotonic() < started + 5:
            yield b"x"

    with http_client.new_client(httpx.MockTransport(lambda _: httpx.Response(200, content=tiny_chunks()))) as client:
        request = client.build_request("GET", "http://127.0.0.1/")
        with pytest.raises(httpx.TransportError):
            http_client.exchange(client, request, DEADLINE_SECONDS, 10**9)
    assert time.monotonic() - started < DEADLINE_SECONDS + SLACK_SECONDS


def test_a_slow_answer_within_the_deadline_is_complete() -> None:
    with serving(dripping(HEAD % 20, b"x" * 20)) as url:
        assert exchange(url, 5.0).body == b"x" * 20


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(hanging_up, id="no answer"),
        pytest.param(saying(b"HTTP/1.1 200"), id="in the status"),
        pytest.param(saying(HEAD % 100, b"x" * 99), id="one byte early"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nxxxxx\r\n"), id="in chunks"),
        pytest.param(endlessly(b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n" * 100), id="never, in the headers"),
    ],
)
def test_an_answer_that_breaks_off_is_an_error(script: Script) -> None:
    """Rows 27 and 43."""
    with serving(script) as url, pytest.raises(httpx.TransportError):
        exchange(url, 5.0)


def test_a_port_where_nobody_listens_is_no_connection() -> None:
    """Row 25."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(httpx.ConnectError):
        exchange(f"http://127.0.0.1:{port}/", 5.0)


def test_the_cap_ends_a_body_without_end() -> None:
    """Row 43."""
    with serving(endlessly(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10_000)) as url:
        assert exchange(url, 0.8, max_bytes=100_000).is_cut


@pytest.mark.parametrize("length", [99, 100])
def test_a_body_up_to_the_cap_is_read(length: int) -> None:
    with serving(saying(HEAD % length, b"x" * length)) as url:
        assert exchange(url, 5.0, max_bytes=100).body == b"x" * length


def test_the_answer_is_read_as_it_comes_over_the_wire() -> None:
    """Row 43."""
    answer = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08"
    with serving(saying(answer)) as url:
        response = exchange(url, 5.0)
    assert (response.status, response.headers["retry-after"], response.body) == (503, "7", b"\x1f\x8b\x08")


@pytest.mark.parametrize("target", [b"/2.png", b"http://[::1", b"data:,", b"http://xn--/"])
def test_redirects_are_answers_wherever_they_lead(target: bytes) -> None:
    """Row 42."""
    with serving(saying(b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % target)) as url:
        assert exchange(url, 5.0).status == 302


def test_cookies_are_not_kept() -> None:
    """Row 42."""
    asked = []

    def script(connection: socket.socket, over: threading.Event) -> None:
        asked.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 204 No Content\r\nSet-Cookie: seen=1; Path=/\r\n\r\n")

    with serving(script) as url, http_client.new_client() as client:
        for _ in range(2):
            http_client.exchange(client, client.build_request("GET", url), 5.0, 100)
    assert len(asked) == 2
    assert b"seen" not in asked[1]


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    with serving(saying(HEAD % 5, b"hello")) as url:
        assert exchange(url, 5.0).body == b"hello"


def test_every_exchange_has_a_connection_of_its_own() -> None:
    """Row 25: on a kept one that went stale nobody could say whether a call was sent."""
    connections = []

    def keeping_alive(connection: socket.socket, over: threading.Event) -> None:
        connections.append(connection.getpeername())
        while connection.recv(65536):
            connection.sendall(HEAD % 2 + b"ok")

    with serving(keeping_alive) as url, http_client.new_client() as client:
        for _ in range(2):
            http_client.exchange(client, client.build_request("GET", url), 5.0, 100)
    assert len(connections) == 2
