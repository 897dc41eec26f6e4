"""Calls of the gateway's client; the network is faked below httpx."""

import email
import json
from collections.abc import Callable, Iterator
from email.message import Message
from typing import Any

import httpx
import pytest

from backdrop.call import Call
from backdrop.errors import (
    GatewayError,
)
from backdrop.gateway import Answer, Gateway
from backdrop.request import Request
from backdrop.settings import Settings

KEY = "gw_live_7f3a9c51"
SIGNATURE = "5f1e0c0ffee"
IMAGE_LINK = f"https://photos-in.s3.eu-west-1.amazonaws.com/red.jpg?X-Amz-Signature={SIGNATURE}"
PROMPT = "a secret garden – at dawn"
REQUEST = Request(PROMPT, n=2, size="1024x768")
IDEMPOTENCY_KEY = "0123456789abcdef0123456789abcdef-1"
PNG = b"\x89PNG\r\n\x1a\n" + b"photo"
LINK = "https://cdn.test/1.png"
BOUGHT = {"data": [{"url": LINK}]}
Reply = Callable[[], httpx.Response]


def answering(status: int, body: Any = BOUGHT, **headers: str) -> Reply:
    """An answer; a body that is not bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: httpx.Response(status, headers=names, content=iter([raw]))


def failing(error: Exception) -> Reply:
    def reply() -> httpx.Response:
        raise error

    return reply


def breaking_off(error: Exception) -> Reply:
    def body() -> Iterator[bytes]:
        yield b'{"data": [{"url'
        raise error

    return lambda: httpx.Response(200, content=body())


def gateway(
    settings: Settings, *replies: Reply, keys: tuple[str, str] = (KEY, KEY)
) -> tuple[Gateway, list[httpx.Request]]:
    """A gateway that gives these replies in turn, and what reaches it; `keys` are the cached and the fresh one."""
    requests: list[httpx.Request] = []
    left = iter(replies)

    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        requests.append(request)
        return next(left)()

    return Gateway(settings, lambda fresh: keys[fresh], httpx.MockTransport(answer)), requests


def a_call(settings: Settings, request: Request = REQUEST) -> Call:
    return gateway(settings)[0].new_call(request, IMAGE_LINK, IDEMPOTENCY_KEY, 0.0, 1000.0)


def buy(settings: Settings, *replies: Reply) -> Answer:
    return gateway(settings, *replies)[0].send(a_call(settings), b"", 5)


def error_of(settings: Settings, *replies: Reply) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        buy(settings, *replies)
    return raised.value


def multipart_of(request: httpx.Request) -> dict[str, Message]:
    message = email.message_from_bytes(
        b"Content-Type: " + request.headers["content-type"].encode() + b"\r\n\r\n" + request.content
    )
    parts = message.get_payload()
    assert isinstance(parts, list)
    return {
        str(part.get_param("name", header="content-disposition")): part for part in parts if isinstance(part, Message)
    }
