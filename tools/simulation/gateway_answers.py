"""What the gateway answers, over HTTP."""

import base64
import json
from dataclasses import dataclass

import httpx

from tools.simulation.calls import PRICE_TOLD, Outcome
from tools.simulation.plan import Conditions

PNG = b"\x89PNG\r\n\x1a\n" + bytes(12 * 4) + b"\0\0\0\0IEND\xae\x42\x60\x82"
WITHOUT_IMAGE = {"no image", "html"}
Answer = tuple[float, httpx.Response | Exception]
"""After how many seconds something comes of a request, and what."""


@dataclass
class Order:
    """What the gateway keeps of a key."""

    number: int
    digest: str
    images: int
    at: float
    ready_at: float
    kind: str
    failure: tuple[int, str] | None = None
    upload: str = ""


def response(status: int, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    """As a network hands it over."""
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))


def failure(status: int, code: str, request_id: str, is_replayed: bool = False) -> httpx.Response:
    """Of the gateway itself, if it has a code; else of a proxy before it."""
    headers = {"x-request-id": request_id} if code else {}
    if is_replayed:
        headers["idempotent-replayed"] = "true"
    error = {"error": {"message": "it did not work", "type": "error", "code": code}}
    return response(status, json.dumps(error).encode() if code else b"<html>", headers)


def success(order: Order, kind: str, conditions: Conditions) -> httpx.Response:
    """With the images of an order, or links to them."""
    headers = {"x-request-id": f"req_{order.number}"}
    if order.kind == "html":
        return response(200, b"<html>sorry</html>", headers)
    images = [_image(order, index, conditions) for index in range(order.images)]
    if order.kind in ("no image", "202"):
        images = []
    elif order.kind == "fewer":
        images = images[:-1]
    if conditions.tells_cost and order.kind not in WITHOUT_IMAGE:
        headers["x-cost-cents"] = str(PRICE_TOLD * order.images)
    body = json.dumps({"created": 1, "data": images}).encode()
    status = 202 if order.kind == "202" else 200
    return response(status, body[: len(body) // 2] if kind == "cut" else body, headers)


def _image(order: Order, index: int, conditions: Conditions) -> dict[str, str]:
    answers = conditions.answers
    if order.kind == "inline" or answers == "inline" or (answers == "mixed" and (order.number + index) % 2):
        return {"b64_json": base64.b64encode(picture(order, index)).decode()}
    host = "gateway.test" if order.number % 2 else "results.test"
    return {"url": f"https://{host}/media/{order.number}/{index}.png?sig=abc"}


def picture(order: Order, index: int) -> bytes:
    """A PNG that says for whom it was made."""
    return PNG + f" {order.upload} {order.number} {index}".encode()


def outcome_of(answer: httpx.Response | Exception, is_late: bool) -> Outcome:
    """What Backdrop can know of a call by its answer."""
    if isinstance(answer, httpx.ConnectError):
        return "not charged"
    if isinstance(answer, Exception) or is_late or answer.status_code in (202, 302):
        return "lost"
    if answer.status_code == 200:
        return "answered"
    if answer.status_code >= 500 and answer.status_code != 521:
        return "own failure" if "x-request-id" in answer.headers else "failure"
    return "not charged"
