"""One HTTP exchange with a total deadline and a byte cap; httpx bounds each read, which a slow drip never exceeds."""

import contextlib
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any

import httpx

from backdrop import tls

CONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class Response:
    """A complete answer; when `is_cut`, one with more bytes than the cap, and a body of no use."""

    status: int
    headers: httpx.Headers
    body: bytes
    is_cut: bool = False


def new_client(transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """A client without hidden retries, redirects, cookies, proxies or kept connections.

    A kept connection that went stale while the function slept would turn a call that was never sent into one whose
    outcome is unknown; a new one costs milliseconds beside a call of many seconds.
    """
    return httpx.Client(
        transport=transport,
        verify=tls.context(),
        trust_env=False,
        follow_redirects=False,
        event_hooks={"response": [_forget_redirect]},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        limits=httpx.Limits(max_keepalive_connections=0),
        headers={"Accept-Encoding": "identity", "User-Agent": "backdrop"},
    )


def exchange(
    client: httpx.Client,
    request: httpx.Request,
    seconds: float,
    max_bytes: int,
    connect_seconds: float = CONNECT_SECONDS,
) -> Response:
    """Send `request` and read the answer as it comes over the wire, undecoded.

    Not more than about `max_bytes` are read. Raises httpx.TransportError when it fails or takes longer than `seconds`.
    """
    request.extensions["timeout"] = httpx.Timeout(seconds, connect=min(connect_seconds, seconds)).as_dict()
    with _Deadline(seconds) as deadline:
        request.extensions["trace"] = deadline.watch
        try:
            answer = _read(client.send(request, stream=True), max_bytes, deadline)
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
            if not deadline.is_over:
                raise  # it broke by itself
        else:
            if answer.is_cut or not deadline.is_over:
                return answer
    raise httpx.ReadTimeout("the total deadline is over")


def _read(response: httpx.Response, max_bytes: int, deadline: "_Deadline") -> Response:
    try:
        body = bytearray()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > max_bytes:
                return Response(response.status_code, response.headers, b"", is_cut=True)
            if deadline.is_over:  # a cut connection still delivers what has arrived, which takes its time
                break
    finally:
        response.close()
    return Response(response.status_code, response.headers, bytes(body))


class _Deadline:
    """Cuts the connection of one exchange when its time is over, whatever it is waiting for."""

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> "_Deadline":
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._timer.cancel()

    def watch(self, event: str, info: Mapping[str, Any]) -> None:
        """httpx's trace hook: keeps hold of the connection's socket."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")
            if self.is_over:
                raise httpx.ConnectTimeout("the total deadline is over")

    def _cut(self) -> None:
        self.is_over = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # closed already
                # Not the TLS socket's own method: that one is not made for a second thread.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _forget_redirect(response: httpx.Response) -> None:
    # httpx builds the next request even of redirects that it doesn't follow, and raises for links that make none.
    response.headers.pop("location", None)
