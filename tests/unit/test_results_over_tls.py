"""Results over real TLS: every connection is made to a server on loopback, whatever address is asked for."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backdrop.errors import ResultUnreachable
from backdrop.results import Results
from tools.certificates import Authority

GATEWAY = "https://gateway.test/v1"
PUBLIC = "93.184.216.34"
IMAGE = b"\x89PNG\r\n\x1a\n" + b"pixels" * 10
DEADLINE_SECONDS = 0.3
SLACK_SECONDS = 1.0

Script = Callable[[socket.socket], None]


class Far:
    """The host cdn.test: `script` answers, and `addresses` are those that were to be connected to."""

    def __init__(self) -> None:
        self.script: Script = answering
        self.addresses: list[tuple[str, int]] = []
        self.over = threading.Event()


def answering(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(IMAGE) + IMAGE)


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Far]:
    far, connect, authority = Far(), socket.create_connection, Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate("cdn.test"))

    def serve() -> None:
        while not far.over.is_set():
            with contextlib.suppress(OSError), listener.accept()[0] as plain:
                plain.settimeout(2)
                with context.wrap_socket(plain, server_side=True) as connection:
                    far.script(connection)

    def connected(address: tuple[str, int], *arguments: Any, **named: Any) -> socket.socket:
        far.addresses.append(address)
        return connect(listener.getsockname(), *arguments, **named)

    monkeypatch.setattr(socket, "create_connection", connected)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        thread = threading.Thread(target=serve)
        thread.start()
        yield far
        far.over.set()
        thread.join()


def test_a_name_that_leads_elsewhere_the_next_time_is_not_asked_again(far: Far) -> None:
    """Row 42."""
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    assert Results(GATEWAY, lambda *_: next(answers)).fetch("https://cdn.test/1.png", 5) == IMAGE
    assert far.addresses == [(PUBLIC, 443)]


def test_a_host_that_has_an_ipv6_address_only_is_reached_by_it(far: Far) -> None:
    assert Results(GATEWAY, lambda *_: ["2606:4700::1111"]).fetch("https://cdn.test:8443/1.png", 5) == IMAGE
    assert far.addresses == [("2606:4700::1111", 8443)]


@pytest.mark.parametrize("dead", [["2606:4700::1111"], ["2606:4700::1111", "203.0.114.7"]])
def test_a_host_whose_first_addresses_are_dead_is_reached_by_another(
    far: Far, monkeypatch: pytest.MonkeyPatch, dead: list[str]
) -> None:
    """Row 86: a function outside of a network has no way to IPv6; a host may be down behind one of its addresses."""
    connected = socket.create_connection

    def connect(address: tuple[str, int], *arguments: Any, **named: Any) -> socket.socket:
        if address[0] in dead:
            raise OSError(101, "Network is unreachable") if ":" in address[0] else TimeoutError()
        return connected(address, *arguments, **named)

    monkeypatch.setattr(socket, "create_connection", connect)
    assert Results(GATEWAY, lambda *_: [*dead, PUBLIC]).fetch("https://cdn.test/1.png", 5) == IMAGE
    assert far.addresses == [(PUBLIC, 443)]


def test_an_address_that_answers_badly_is_not_followed_by_another(far: Far) -> None:
    def broken(connection: socket.socket) -> None:
        connection.recv(65536)

    far.script = broken
    with pytest.raises(ResultUnreachable):
        Results(GATEWAY, lambda *_: [PUBLIC, "93.184.216.35"]).fetch("https://cdn.test/1.png", 5)
    assert far.addresses == [(PUBLIC, 443)]


@pytest.mark.parametrize("host", ["other.test", PUBLIC, "cdn.test."])
def test_a_certificate_for_another_name_is_refused(far: Far, host: str) -> None:
    """Row 42."""
    with pytest.raises(ResultUnreachable):
        Results(GATEWAY, lambda *_: [PUBLIC]).fetch(f"https://{host}/1.png", 5)


def test_a_drip_ends_with_the_deadline(far: Far) -> None:
    """Rows 31 and 43."""

    def dripping(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n" + IMAGE)
        for _ in range(300):
            if far.over.wait(0.02):
                return
            connection.sendall(b"x")

    far.script = dripping
    started = time.monotonic()
    with pytest.raises(ResultUnreachable):
        Results(GATEWAY, lambda *_: [PUBLIC]).fetch("https://cdn.test/1.png", DEADLINE_SECONDS)
    assert time.monotonic() - started < DEADLINE_SECONDS + SLACK_SECONDS


def test_a_handshake_that_stops_ends_with_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows 31 and 43."""
    connect = socket.create_connection
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(
            socket, "create_connection", lambda _, *rest, **named: connect(listener.getsockname(), *rest)
        )
        started = time.monotonic()
        with pytest.raises(ResultUnreachable):
            Results(GATEWAY, lambda *_: [PUBLIC]).fetch("https://cdn.test/1.png", DEADLINE_SECONDS)
        assert time.monotonic() - started < DEADLINE_SECONDS + SLACK_SECONDS
