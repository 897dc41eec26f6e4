"""A customer of the gateway, and a place where photos can be fetched from."""

import base64
import io
import time
from collections.abc import Callable
from typing import Any

import httpx
from PIL import Image, ImageDraw

from tools.stand_in_gateway.server import GatewayControl

MODEL = "ideogram/ideogram-v3-replace-background"
DEADLINE_SECONDS = 10.0
# No proxy, and no certificates to load for each call: that takes longer than the call.
LOOPBACK: dict[str, Any] = {"trust_env": False, "verify": False}
SMALL_PIXELS = 10_000
"""Area of the pictures where their look does not matter."""


class PhotoServer:
    """Serves what a test puts into `files`, and keeps the Host header of each request."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.files: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.hosts: list[str] = []

    def put(self, body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> str:
        path = f"/{len(self.files)}.jpg"
        self.files[path] = (status, headers or {}, body)
        return f"http://127.0.0.1:{self.port}{path}"


def photo(size: tuple[int, int] = (200, 200), image_format: str = "JPEG", **options: Any) -> bytes:
    """A red square on white."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).rectangle((size[0] * 0.3, size[1] * 0.3, size[0] * 0.7, size[1] * 0.7), "#c01020")
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def data_link(data: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def order(**changes: object) -> dict[str, object]:
    """A good order without a photo; None leaves a field out."""
    fields = {"model": MODEL, "prompt": "a beach", **changes}
    return {name: value for name, value in fields.items() if value is not None}


def buy(
    gateway: GatewayControl,
    body: dict[str, object] | None = None,
    *,
    route: str = "generations",
    idempotency_key: str | None = None,
    timeout: float = DEADLINE_SECONDS,
) -> httpx.Response:
    headers = {"authorization": f"Bearer {gateway.key}"}
    if idempotency_key:
        headers["idempotency-key"] = idempotency_key
    url = f"{gateway.base_url}/images/{route}"
    return httpx.post(url, json=order() if body is None else body, headers=headers, timeout=timeout, **LOOPBACK)


def get(url: str, gateway: GatewayControl | None = None) -> httpx.Response:
    headers = {"authorization": f"Bearer {gateway.key}"} if gateway else {}
    return httpx.get(url, headers=headers, timeout=DEADLINE_SECONDS, **LOOPBACK)


def link_of(answer: httpx.Response) -> str:
    link = answer.json()["data"][0]["url"]
    assert isinstance(link, str)
    return link


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
