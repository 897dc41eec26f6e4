"""The gateway of the scale benchmark: a strict limit, and what goes wrong by shares and spans of time."""

import random
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any, Literal

from backdrop.clock import utc_day
from backdrop.errors import AccountFault, CallFailed, FailureFacts, GatewayBusy
from backdrop.gateway import Answer, Gateway
from backdrop.settings import Settings
from tools.bench.perfect_scheduler import SentCall
from tools.simulation.simulated_aws import SECONDS
from tools.simulation.simulated_time import SimulatedTime

PNG = b"\x89PNG\r\n\x1a\n" + bytes(12 * 80) + b"\0\0\0\0IEND\xae\x42\x60\x82"  # its end is looked for


@dataclass(frozen=True)
class Trouble:
    """What goes wrong at the gateway, in seconds since the start."""

    keys: Literal["honoured", "ignored", "failures kept"] = "honoured"
    """What the gateway does with idempotency keys; the last also answers a failure again to its key."""
    lost_answers: float = 0.0
    """Share of the charged answers in place of which a proxy says 504."""
    error_rate: float = 0.01
    outage: tuple[float, float] = (0.0, 0.0)
    empty_wallet: tuple[float, float] = (0.0, 0.0)


class SimulatedGateway(Gateway):
    """The gateway with a strict limit of calls in any minute; what is sent is made by the real `Gateway`."""

    def __init__(
        self, settings: Settings, time: SimulatedTime, trouble: Trouble, rpm: int, seconds: tuple[float, float, float]
    ) -> None:
        self._settings = settings
        self._seconds = seconds
        self._time, self._trouble, self._rpm = time, trouble, rpm
        self._started = time.now
        self._recent: deque[float] = deque()
        self.answers: Counter[str] = Counter()
        self.charges: Counter[str] = Counter()
        """By upload and, as the UTC day, in all."""
        self.calls: list[SentCall] = []
        """Those that were neither refused nor sent to a gateway that was down."""
        self._known: dict[str, str] = {}
        """What was answered to an idempotency key: `bought`, or the request id of a failure."""

    def have_key(self) -> None:
        """It is."""

    def send(self, call: Any, photo: Any, seconds: float) -> Answer:  # noqa: ARG002 - as the real one
        """Take its time over an image."""
        now = self._time.now
        since = now - self._started
        while self._recent and self._recent[0] <= now - 60:
            self._recent.popleft()
        if len(self._recent) >= self._rpm:
            self.answers["429"] += 1
            self._time.sleep(0.1)
            raise GatewayBusy(429, "too many", retry_after=self._recent[0] + 60 - now)
        self._recent.append(now)
        if _within(since, self._trouble.empty_wallet):
            self.answers["402"] += 1
            self._time.sleep(0.1)
            raise AccountFault(402, "no credit")
        known = self._known.get(call.idempotency_key, "") if self._trouble.keys != "ignored" else ""
        is_down = _within(since, self._trouble.outage) or random.random() < self._trouble.error_rate
        if known != "bought" and (known or is_down):
            self.answers["5xx"] += 1
            if _within(since, self._trouble.outage):
                self._time.sleep(1.0)
            else:
                self._take(call, 1.0)
            facts = FailureFacts(request_id=known or f"request {len(self.answers)} {now}", is_documented=True)
            if self._trouble.keys == "failures kept":
                self._known[call.idempotency_key] = facts.request_id
            raise CallFailed(503, "unavailable", facts=facts)
        least, mean, most = self._seconds
        takes = min(most, least + random.expovariate(1 / (mean - least))) if mean > least else mean
        self._take(call, takes if not known else 0.2)
        if not known:
            self._known[call.idempotency_key] = "bought"
            self.charges.update([call.idempotency_key.partition("-")[0], utc_day(self._time.now)])
        if random.random() < self._trouble.lost_answers:
            self.answers["504"] += 1
            raise CallFailed(504, "gateway time-out")
        self.answers["200"] += 1
        return Answer(("https://results.test/" + "y" * 80,), (), "r" * 24, self._settings.price_per_image_usd)

    def _take(self, call: Any, seconds: float) -> None:
        self.calls.append(SentCall(call.idempotency_key.partition("-")[0], seconds))
        self._time.sleep(seconds)


def _within(moment: float, span: tuple[float, float]) -> bool:
    return span[0] <= moment < span[1]


class SimulatedResults:
    """The host of the results."""

    def __init__(self, time: SimulatedTime) -> None:
        self._time = time

    def fetch(self, _link: str, _seconds: float) -> bytes:
        """An image."""
        self._time.sleep(SECONDS["fetch"])
        return PNG
