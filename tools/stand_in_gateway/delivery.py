"""How an answer travels, and how its journey goes wrong."""

import asyncio
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import cast

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable
from uvicorn._types import Scope as UvicornScope
from uvicorn.protocols.http.h11_impl import H11Protocol

from .errors import GatewayError
from .faults import Fault

_TRANSPORT = "stand_in_gateway.transport"
_MEGABYTE = 1_000_000
_ENDLESS_MEGABYTES = 200
_BUSY_SECONDS = 0.001


class ClosableProtocol(H11Protocol):
    """uvicorn's HTTP protocol that lets responses at their connection; raising would close it with a traceback."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Hand the connection to every request that comes over it."""
        super().connection_made(transport)
        app = self.app

        async def closable(scope: UvicornScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            cast(dict[str, object], scope)[_TRANSPORT] = transport
            # Calls that still hang when the server stops are cancelled; that is nobody's fault.
            with suppress(asyncio.CancelledError):
                await app(scope, receive, send)

        self.app = closable


class Dropped(Response):
    """No answer: the connection closes."""

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        """Close the connection, quietly."""
        await _close(scope, receive)


class Delivery(Response):
    """The head of `response`, followed by `chunks` in place of its body, one every `interval` seconds."""

    def __init__(
        self, response: Response, chunks: Iterable[bytes], *, interval: float = 0.0, then_close: bool = False
    ) -> None:
        super().__init__(status_code=response.status_code)
        self.raw_headers = response.raw_headers
        self._chunks = chunks
        self._interval = interval
        self._then_close = then_close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until all is sent or the reader is gone."""
        # Without the watch a slow or endless body would go on for hours after its reader left.
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for chunk in self._chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await asyncio.wait({gone}, timeout=self._interval)
                if gone.done():
                    return
            if not self._then_close:
                await send({"type": "http.response.body"})
        finally:
            gone.cancel()
        if self._then_close:
            await _close(scope, receive)


class Raw(Response):
    """Bytes of any kind in place of an answer: `text`, then `count` times `more`, one every `interval` seconds."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self._fault = fault

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        """Send until all is sent or the reader is gone, and close the connection."""
        transport, more = scope[_TRANSPORT], self._fault.more.encode("latin-1")
        gone = asyncio.create_task(_disconnected(receive))
        try:
            transport.write(self._fault.text.encode("latin-1"))
            for _ in range(self._fault.count):
                await asyncio.wait({gone}, timeout=self._fault.interval)
                while transport.get_write_buffer_size() > _MEGABYTE and not gone.done():
                    await asyncio.wait({gone}, timeout=_BUSY_SECONDS)
                if gone.done():
                    return
                transport.write(more)
        finally:
            gone.cancel()
        await _close(scope, receive)


async def _close(scope: Scope, receive: Receive) -> None:
    """Close the connection after what was sent, and see it end: before that, uvicorn would complain of no answer."""
    scope[_TRANSPORT].close()
    await _disconnected(receive)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def status_response(fault: Fault) -> Response:
    """The documented error body, or the raw text that the fault brings."""
    error = GatewayError(fault.status, "A scripted fault.", fault.code, fault.retry_after)
    response: Response = error.response()
    if fault.body is not None:
        response.body = fault.body.encode()
        response.headers["content-length"] = str(len(response.body))
    return response


async def instead_of_work(fault: Fault) -> Response:
    """What a call gets that a fault stops before anything is charged."""
    if fault.kind == "status":
        return status_response(fault)
    if fault.kind == "raw":
        return Raw(fault)
    if fault.kind == "hang":
        await asyncio.sleep(fault.seconds)
    return Dropped()


async def delivered(response: Response, fault: Fault | None) -> Response:
    """The answer to a charged call."""
    body = bytes(response.body)
    match fault:
        case Fault(kind="drop_after_charge"):
            return Dropped()
        case Fault(kind="hang_after_charge", seconds=seconds):
            await asyncio.sleep(seconds)
        case Fault(kind="status_after_charge"):
            return status_response(fault)
        case Fault(kind="truncate"):
            return Delivery(response, [body[: len(body) // 2]], then_close=True)
        case Fault(kind="drip", interval=interval):
            return Delivery(response, _single_bytes(body), interval=interval)
    return response


async def served(response: Response, fault: Fault | None) -> Response:
    """The picture behind a link."""
    body, media_type = bytes(response.body), response.headers["content-type"]
    match fault:
        case Fault(kind="status"):
            return status_response(fault)
        case Fault(kind="raw"):
            return Raw(fault)
        case Fault(kind="redirect", location=location):
            return Response(status_code=302, headers={"location": location})
        case Fault(kind="html"):
            return Response(b"<!doctype html><title>stand-in</title><h1>A page, no picture</h1>", media_type=media_type)
        case Fault(kind="zero"):
            return Response(b"", media_type=media_type)
        case Fault(kind="drip", interval=interval):
            return Delivery(response, _single_bytes(body), interval=interval)
        case Fault(kind="half"):
            del response.headers["content-length"]
            return Delivery(response, [body[: len(body) // 2]])
        case Fault(kind="short"):
            response.headers["content-length"] = str(len(body) + 1000)
            return Delivery(response, [body], then_close=True)
        case Fault(kind="gzip_bomb", megabytes=megabytes):
            bomb = await asyncio.to_thread(_gzip_bomb, body, megabytes)
            return Response(bomb, headers={"content-encoding": "gzip"}, media_type=media_type)
        case Fault(kind="endless"):
            del response.headers["content-length"]
            return Delivery(response, _endless(body), then_close=True)
    return response


def _single_bytes(body: bytes) -> Iterator[bytes]:
    return (body[index : index + 1] for index in range(len(body)))


def _gzip_bomb(body: bytes, megabytes: int) -> bytes:
    deflate = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    zeros = bytes(_MEGABYTE)
    parts = [deflate.compress(body), *(deflate.compress(zeros) for _ in range(megabytes)), deflate.flush()]
    return b"".join(parts)


def _endless(body: bytes) -> Iterator[bytes]:
    yield body
    zeros = bytes(_MEGABYTE)
    for _ in range(_ENDLESS_MEGABYTES):
        yield zeros
