"""The gateway and the host of its results, over HTTP: what they charge, and what the plan makes of their answers."""

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Literal

import httpx
from greenlet import getcurrent

from tools.simulation.simulated_s3 import status_of_link

if TYPE_CHECKING:
    from tools.simulation.play import Play
    from tools.simulation.region import Worker
    from tools.simulation.stack import Stack

PNG = b"\x89PNG\r\n\x1a\n" + bytes(12 * 4) + b"\0\0\0\0IEND\xae\x42\x60\x82"
Outcome = Literal["not charged", "lost", "answered", "own failure", "failure"]
FIRST_KEY = "sk-first-0123456789"
KEY_LIFE_SECONDS = LINK_LIFE_SECONDS = 24 * 3600.0
PRICE_WITHOUT_WORD, PRICE_TOLD = 3, 4
"""Cents for an image: PricePerImageUsd's, and another one that is told in the answer."""
_STATUS = {
    "429": (429, "rate_limit_exceeded"),
    "429 in 30 s": (429, "rate_limit_exceeded"),
    "429 by date": (429, "rate_limit_exceeded"),
    "521": (521, ""),
    "503": (503, "unavailable"),
    "503 of a proxy": (503, ""),
    "500": (500, "internal_error"),
    "401": (401, "invalid_api_key"),
    "402": (402, "payment_required"),
    "403": (403, "forbidden"),
    "404": (404, "model_not_found"),
    "no money": (400, "insufficient_credits"),
    "302": (302, ""),
}
"""Answers that come before anything else: nothing is charged."""
_REFUSED = {
    "400": (400, "bad_request"),
    "413": (413, "too_large"),
    "422": (422, "unprocessable"),
    "409": (409, "conflict"),
    "photo not fetched": (400, "image_download_failed"),
}
"""Answers to a call that the gateway does not know already: nothing is charged."""
_WITHOUT_IMAGE = {"no image", "html"}


@dataclass(frozen=True)
class Call:
    """One call as it arrived. `key` is its idempotency key."""

    at: float
    stack: "Stack"
    upload: str
    key: str
    digest: str
    images: int
    worker: "Worker"
    is_repeated_at_once: bool
    """In place of one that was answered 401 a moment ago."""


@dataclass(frozen=True)
class Charge:
    """Money; `cents` is for all images."""

    at: float
    stack: "Stack"
    upload: str
    key: str
    images: int
    cents: int
    worker: "Worker"


@dataclass
class _Order:
    """What the gateway keeps of a key."""

    number: int
    digest: str
    images: int
    at: float
    ready_at: float
    kind: str
    failure: tuple[int, str] | None = None
    upload: str = ""


class SimulatedGateway(httpx.BaseTransport):
    """Everything that is not AWS."""

    def __init__(self, play: "Play") -> None:
        self._play = play
        self.api_key = FIRST_KEY
        self.calls: list[Call] = []
        self.charges: list[Charge] = []
        self._orders: dict[str, _Order] = {}
        self._made: list[_Order] = []
        self._answers = 0
        self._refused_key_at: dict[str, float] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """As a network: within the request's read timeout."""
        worker: Worker = getcurrent().worker
        play = self._play
        play.check_alive(worker)
        deadline = float(request.extensions["timeout"]["read"])
        kill = play.kill_of(worker.subject)
        what = f"{'call' if request.method == 'POST' else 'fetch'} for {worker.subject}"
        if kill == "before":
            play.kill(worker, f"before the {what}")
        play.pause(0.03)
        try:
            seconds, answer = (self._called if request.method == "POST" else self._fetched)(request, worker)
            if request.method == "POST":
                play.promises.outcome(request.headers["idempotency-key"], _outcome(answer, seconds >= deadline))
            if seconds >= deadline:
                play.pause(deadline)
                raise httpx.ReadTimeout("the total deadline is over")
            play.pause(seconds)
        finally:
            play.promises.call_ends(worker)
        if kill == "after":
            play.kill(worker, f"at the answer to the {what}")
        if isinstance(answer, Exception):
            play.note("network", f"{type(answer).__name__} for {worker.name}")
            raise answer
        play.note("gateway", f"answers the {what} with {answer.status_code}")
        return answer

    def _called(self, request: httpx.Request, worker: "Worker") -> tuple[float, httpx.Response | Exception]:
        play = self._play
        trouble = play.gateway_trouble_of(worker.subject)
        kind, seconds = (trouble.kind, trouble.seconds) if trouble else (play.gateway_outage, 0.0)
        if kind == "no connection":
            return 0.1, httpx.ConnectError("refused")
        call, fields = self._arrived(request, worker)
        play.note("gateway", f"call {len(self.calls)} of {worker.name} for {worker.subject} {call.key[32:]} {kind}")
        if request.headers["authorization"] != f"Bearer {self.api_key}":
            self._refused_key_at[call.key] = call.at
            return 0.1, self._failure(*_STATUS["401"])
        if kind == "drop":
            return 1.0, httpx.ReadError("closed")
        if kind == "hang":
            return 10.0**6, httpx.ReadError("closed")
        keeps = play.conditions.keys != "ignored"
        known = self._orders.get(call.key) if keeps else None
        if known and call.at - known.at > KEY_LIFE_SECONDS:
            known = None
        if known and known.digest != call.digest:
            play.promises.broken(f"{worker.subject}: a key was sent again with another body")
            return 0.1, self._failure(422, "idempotency_key_reused")
        if known and known.failure:
            return 0.2, self._failure(*known.failure, f"req_{known.number}", known.number % 2 == 0)
        if kind in _STATUS and not (known and kind == "302"):
            answer = self._status(kind, seconds, call, None if known else play.conditions.keys)
            return min(seconds, 5.0), answer
        if known and call.at < known.ready_at:
            return 0.1, self._failure(409, "still_running")
        order = known
        if order is None:
            refused = _REFUSED.get(kind) or self._photo_refused(fields, call)
            if refused:
                return 0.3, self._failure(*refused)
            order = self._buy(call, kind, seconds)
        return self._delivered(order, kind, call)

    def _arrived(self, request: httpx.Request, worker: "Worker") -> tuple[Call, dict[str, Any]]:
        body = request.read()
        key = request.headers["idempotency-key"]
        is_json = request.headers["content-type"] == "application/json"
        fields = json.loads(body) if is_json else _multipart(body)
        now = self._play.time.now
        call = Call(
            now,
            worker.stack,
            key[:32],
            key,
            hashlib.sha256(body).hexdigest(),
            int(fields["n"]),
            worker,
            now - self._refused_key_at.pop(key, -100.0) < 60.0,
        )
        self._play.promises.call_arrives(call, fields)
        self.calls.append(call)
        return call, fields

    def _status(self, kind: str, seconds: float, call: Call, keys: str | None) -> httpx.Response:
        status, code = _STATUS[kind]
        if keys == "failures kept" and kind in ("500", "503"):
            order = _Order(self._next(), call.digest, call.images, call.at, call.at, kind, (status, code))
            self._orders[call.key] = order
            return self._failure(status, code, f"req_{order.number}")
        answer = self._failure(status, code)
        if kind == "429 in 30 s":
            answer.headers["retry-after"] = "30"
        if kind == "429 by date":
            at = datetime.fromtimestamp(call.at + min(seconds, 300.0), UTC)
            answer.headers["retry-after"] = format_datetime(at, usegmt=True)
        if kind == "302":
            answer.headers["location"] = "https://elsewhere.test/"
        return answer

    def _photo_refused(self, fields: dict[str, Any], call: Call) -> tuple[int, str] | None:
        if "image_url" not in fields:
            return None
        if status_of_link(fields["image_url"], self._play.photos, call.at) != 200:
            return 400, "image_download_failed"
        return None

    def _buy(self, call: Call, kind: str, seconds: float) -> _Order:
        conditions = self._play.conditions
        takes = 2.0 + 10 * self._play.chance(f"{call.key[:34]} {len(self.calls)}")
        if kind in ("late", "charged hang", "charged 504"):
            takes = seconds
        takes = min(takes, 0.7 * conditions.timeout_seconds) if kind not in ("late", "charged hang") else takes
        order = _Order(self._next(), call.digest, call.images, call.at, call.at + takes, kind, upload=call.upload)
        self._orders[call.key] = order
        self._made.append(order)
        has_image = kind not in _WITHOUT_IMAGE and not (kind == "fewer" and call.images == 1)
        cents = call.images * (PRICE_TOLD if conditions.tells_cost and has_image else PRICE_WITHOUT_WORD)
        self._play.note("gateway", f"charges {call.images} image(s) to {call.worker.subject}")
        self.charges.append(Charge(call.at, call.stack, call.upload, call.key, call.images, cents, call.worker))
        self._play.promises.charged(self.charges[-1])
        return order

    def _delivered(self, order: _Order, kind: str, call: Call) -> tuple[float, httpx.Response | Exception]:
        takes = max(0.2, order.ready_at - call.at)
        if kind == "charged drop":
            return takes, httpx.RemoteProtocolError("closed")
        if kind == "charged hang":
            return 10.0**6, httpx.ReadError("closed")
        if kind in ("charged 502", "charged 504", "charged 500"):
            code = "internal_error" if kind == "charged 500" else ""
            return min(takes, 60.0), self._failure(int(kind[-3:]), code)
        answer = self._answer(order, kind)
        if order.kind == "202":
            answer.status_code = 202
        return takes, answer

    def _answer(self, order: _Order, kind: str) -> httpx.Response:
        headers = {"x-request-id": f"req_{order.number}"}
        if order.kind == "html":
            return _response(200, b"<html>sorry</html>", headers)
        images = [self._image(order, index) for index in range(order.images)]
        if order.kind in ("no image", "202"):
            images = []
        elif order.kind == "fewer":
            images = images[:-1]
        if self._play.conditions.tells_cost and order.kind not in _WITHOUT_IMAGE:
            headers["x-cost-cents"] = str(PRICE_TOLD * order.images)
        body = json.dumps({"created": 1, "data": images}).encode()
        return _response(200, body[: len(body) // 2] if kind == "cut" else body, headers)

    def _image(self, order: _Order, index: int) -> dict[str, str]:
        answers = self._play.conditions.answers
        if order.kind == "inline" or answers == "inline" or (answers == "mixed" and (order.number + index) % 2):
            return {"b64_json": base64.b64encode(_picture(order, index)).decode()}
        host = "gateway.test" if order.number % 2 else "results.test"
        return {"url": f"https://{host}/media/{order.number}/{index}.png?sig=abc"}

    def _failure(self, status: int, code: str, request_id: str = "", is_replayed: bool = False) -> httpx.Response:
        """Of the gateway itself, if it has a code; else of a proxy before it."""
        headers = {"x-request-id": request_id or f"req_f{self._next()}"} if code else {}
        if is_replayed:
            headers["idempotent-replayed"] = "true"
        error = {"error": {"message": "it did not work", "type": "error", "code": code}}
        return _response(status, json.dumps(error).encode() if code else b"<html>", headers)

    def _next(self) -> int:
        self._answers += 1
        return self._answers

    def _fetched(self, request: httpx.Request, worker: "Worker") -> tuple[float, httpx.Response | Exception]:
        if request.url.host.endswith(".amazonaws.com"):
            return 0.03, _response(status_of_link(str(request.url), self._play.photos, self._play.time.now), b"j")
        kind = self._play.result_trouble_of(worker.subject)
        _, _, number, name = request.url.path.split("/")
        order = next(order for order in self._made if order.number == int(number))
        data = _picture(order, int(name.partition(".")[0]))
        if self._play.time.now - order.at > LINK_LIFE_SECONDS:
            kind = "404"
        if kind == "drop":
            return 0.3, httpx.ReadError("closed")
        if kind == "hang":
            return 10.0**6, httpx.ReadError("closed")
        if kind == "redirect":
            return 0.3, _response(302, b"", {"location": "http://169.254.169.254/"})
        if kind in ("403", "404", "500"):
            return 0.3, _response(int(kind), b"")
        content = {"cut": data[:60], "html": b"<html>", "empty": b""}.get(kind, data)
        return 0.3, _response(200, content)


def _outcome(answer: httpx.Response | Exception, is_late: bool) -> Outcome:
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


def _response(status: int, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))


def _picture(order: _Order, index: int) -> bytes:
    """A PNG that says for whom it was made."""
    return PNG + f" {order.upload} {order.number} {index}".encode()


def _multipart(body: bytes) -> dict[str, str]:
    fields = {}
    boundary = body.split(b"\r\n", 1)[0]
    for part in body.split(boundary)[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = head.partition(b'name="')[2].partition(b'"')[0].decode()
        if name != "image":
            fields[name] = value.removesuffix(b"\r\n").decode()
    return fields
