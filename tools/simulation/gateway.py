"""The gateway: which calls it takes, what it charges, and what the plan makes of it."""

import hashlib
import json
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx

from tools.simulation.call_promises import CallPromises
from tools.simulation.calls import PRICE_TOLD, PRICE_WITHOUT_WORD, Call, Charge
from tools.simulation.gateway_answers import WITHOUT_IMAGE, Answer, Order, failure, success
from tools.simulation.shared_state import SharedState
from tools.simulation.simulated_s3 import status_of_link
from tools.simulation.stack import Worker

KEY_LIFE_SECONDS = 24 * 3600.0
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


class SimulatedGateway:
    """Of one play."""

    def __init__(self, shared: SharedState, promises: CallPromises) -> None:
        self._shared, self._promises = shared, promises
        self.bought: list[Order] = []
        self._orders: dict[str, Order] = {}
        """By idempotency key."""
        self._calls = 0
        self._answers = 0
        self._refused_key_at: dict[str, float] = {}

    def called(self, request: httpx.Request, worker: Worker) -> Answer:
        """A call, and what comes of it."""
        shared = self._shared
        trouble = shared.troubles.of_gateway(worker.subject)
        kind, seconds = (trouble.kind, trouble.seconds) if trouble else (shared.troubles.gateway_outage, 0.0)
        if kind == "no connection":
            return 0.1, httpx.ConnectError("refused")
        call, fields = self._arrived(request, worker)
        shared.note("gateway", f"call {self._calls} of {worker.name} for {worker.subject} {call.key[32:]} {kind}")
        if request.headers["authorization"] != f"Bearer {shared.api_key}":
            self._refused_key_at[call.key] = call.at
            return 0.1, self._failure(*_STATUS["401"])
        if kind == "drop":
            return 1.0, httpx.ReadError("closed")
        if kind == "hang":
            return 10.0**6, httpx.ReadError("closed")
        keeps = shared.conditions.keys != "ignored"
        known = self._orders.get(call.key) if keeps else None
        if known and call.at - known.at > KEY_LIFE_SECONDS:
            known = None
        if known and known.digest != call.digest:
            shared.broken(f"{worker.subject}: a key was sent again with another body")
            return 0.1, self._failure(422, "idempotency_key_reused")
        if known and known.failure:
            return 0.2, failure(*known.failure, f"req_{known.number}", known.number % 2 == 0)
        if kind in _STATUS and not (known and kind == "302"):
            answer = self._status(kind, seconds, call, None if known else shared.conditions.keys)
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

    def _arrived(self, request: httpx.Request, worker: Worker) -> tuple[Call, dict[str, Any]]:
        body = request.read()
        key = request.headers["idempotency-key"]
        is_json = request.headers["content-type"] == "application/json"
        fields = json.loads(body) if is_json else _multipart(body)
        now = self._shared.time.now
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
        self._promises.arrived(call, fields)
        self._calls += 1
        return call, fields

    def _status(self, kind: str, seconds: float, call: Call, keys: str | None) -> httpx.Response:
        status, code = _STATUS[kind]
        if keys == "failures kept" and kind in ("500", "503"):
            order = Order(self._next(), call.digest, call.images, call.at, call.at, kind, (status, code))
            self._orders[call.key] = order
            return failure(status, code, f"req_{order.number}")
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
        if status_of_link(fields["image_url"], self._shared.photos, call.at) != 200:
            return 400, "image_download_failed"
        return None

    def _buy(self, call: Call, kind: str, seconds: float) -> Order:
        conditions = self._shared.conditions
        takes = 2.0 + 10 * self._shared.chance(f"{call.key[:34]} {self._calls}")
        if kind in ("late", "charged hang", "charged 504"):
            takes = seconds
        takes = min(takes, 0.7 * conditions.timeout_seconds) if kind not in ("late", "charged hang") else takes
        order = Order(self._next(), call.digest, call.images, call.at, call.at + takes, kind, upload=call.upload)
        self._orders[call.key] = order
        self.bought.append(order)
        has_image = kind not in WITHOUT_IMAGE and not (kind == "fewer" and call.images == 1)
        cents = call.images * (PRICE_TOLD if conditions.tells_cost and has_image else PRICE_WITHOUT_WORD)
        self._shared.note("gateway", f"charges {call.images} image(s) to {call.worker.subject}")
        self._promises.charged(Charge(call.at, call.stack, call.upload, call.key, call.images, cents, call.worker))
        return order

    def _delivered(self, order: Order, kind: str, call: Call) -> Answer:
        takes = max(0.2, order.ready_at - call.at)
        if kind == "charged drop":
            return takes, httpx.RemoteProtocolError("closed")
        if kind == "charged hang":
            return 10.0**6, httpx.ReadError("closed")
        if kind in ("charged 502", "charged 504", "charged 500"):
            code = "internal_error" if kind == "charged 500" else ""
            return min(takes, 60.0), self._failure(int(kind[-3:]), code)
        return takes, success(order, kind, self._shared.conditions)

    def _failure(self, status: int, code: str) -> httpx.Response:
        """Of the gateway itself, if it has a code; else of a proxy before it."""
        return failure(status, code, f"req_f{self._next()}" if code else "")

    def _next(self) -> int:
        self._answers += 1
        return self._answers


def _multipart(body: bytes) -> dict[str, str]:
    fields = {}
    boundary = body.split(b"\r\n", 1)[0]
    for part in body.split(boundary)[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = head.partition(b'name="')[2].partition(b'"')[0].decode()
        if name != "image":
            fields[name] = value.removesuffix(b"\r\n").decode()
    return fields
