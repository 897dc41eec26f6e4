"""What the gateway remembers: settings, wallet, charges, calls, idempotency records, rate window, faults, pictures.

All of it belongs to the event loop's thread and nothing here awaits, so each method is atomic for concurrent calls.
"""

import hashlib
import math
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal

from .answers import Answer
from .errors import GatewayError
from .faults import Fault
from .orders import Order
from .picture import Picture

_PRICE_MILLS = 30
"""Price of one image in mills (thousandths of a dollar): $0.03."""

# Links are good for 24 hours on the real gateway; here until newer pictures have filled this much memory.
_PICTURE_BYTES_KEPT = 512 * 1024 * 1024


def mills(usd: object) -> int:
    """Dollars, as a JSON number or text, in mills."""
    return int(Decimal(str(usd)) * 1000)


def dollars(amount_mills: int) -> float:
    """For JSON only; sums are made in mills."""
    return float(Decimal(amount_mills) / 1000)


def price_usd(order: Order) -> float:
    """What an order costs."""
    return dollars(order.n * _PRICE_MILLS)


@dataclass(frozen=True)
class RateLimit:
    """At most `requests` accepted calls in any `seconds`."""

    requests: int = 600
    seconds: float = 60.0


@dataclass(frozen=True)
class Settings:
    """What tests and demos may change while it runs."""

    keys: tuple[str, ...]
    rate_limit: RateLimit | None = RateLimit()
    latency_seconds: float = 0.0
    honours_idempotency_keys: bool = True
    stores_failures: bool = False
    """Whether a failure (5xx) is kept with its idempotency key, and answered again to it."""
    tells_replays: bool = True
    """Whether a header says so when an answer is a stored one."""
    image_format: str = "png"
    image_pixels: int = 1_000_000
    """Area of a picture when the call names no size; small ones make mass tests cheap."""
    dialect: str = "aigateway"
    """Which gateway's ways it has; see `dialects`."""
    answer: str | None = None
    """`url` or `b64_json`: what to answer with, whatever was asked for."""


@dataclass
class Call:
    """A POST as it was received. `status` stays None until it is answered, and for good when it never is."""

    path: str
    idempotency_key: str | None
    content_type: str
    body_sha256: str
    authorization_ok: bool
    fields: dict[str, object]
    request_id: str
    at: float = field(default_factory=time.time)
    """Unix seconds."""
    status: int | None = None
    charged: bool = False
    fault: str | None = None
    """Kind of the scripted fault that hit it."""
    headers: dict[str, str] = field(default_factory=dict)
    """As received, without the key."""

    @property
    def request(self) -> tuple[str, str]:
        """What has to be the same for a replay."""
        return self.path, self.body_sha256


@dataclass(frozen=True)
class Charge:
    """A sale. `at` is in Unix seconds; the image fields describe the source photo, None without one."""

    at: float
    idempotency_key: str | None
    model: str
    prompt: str
    prompt_sha256: str
    images: int
    usd: float
    route: str
    image_sha256: str | None
    image_bytes: int | None
    image_content_type: str | None


@dataclass(frozen=True)
class Fetch:
    """A GET of a picture, with the headers that came along."""

    name: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Media:
    """A picture behind a link, and the prompt by which scripted faults find it."""

    picture: Picture
    prompt: str


class Account:
    """One wallet and everything that happens to it; a reset starts a new one."""

    def __init__(self, settings: Settings, wallet_mills: int) -> None:
        self.settings = settings
        self.wallet_mills = wallet_mills
        self.calls: list[Call] = []
        self.charges: list[Charge] = []
        self.fetches: list[Fetch] = []
        self.faults: list[Fault] = []
        self._media: dict[str, Media] = {}
        self._media_bytes = 0
        # By idempotency key, each with the request that it came with.
        self._running: dict[str, tuple[str, str]] = {}
        self._answers: dict[str, tuple[tuple[str, str], Answer]] = {}
        self._failures: dict[str, tuple[Fault, str]] = {}
        self._accepted: deque[float] = deque()

    def accepts(self, authorization: str | None) -> bool:
        """Whether an Authorization header carries one of the keys."""
        scheme, _, key = (authorization or "").partition(" ")
        return scheme.lower() == "bearer" and key in self.settings.keys

    def admit(self) -> dict[str, str]:
        """Count a call against the sliding window.

        Returns the limit's headers, none when there is no limit. Raises `GatewayError` 429 with the whole seconds until
        the window has room again.
        """
        limit = self.settings.rate_limit
        if limit is None:
            return {}
        now = time.monotonic()
        while self._accepted and self._accepted[0] <= now - limit.seconds:
            self._accepted.popleft()
        if len(self._accepted) >= limit.requests:
            # The n-th newest has to leave the window, which is not the oldest when the limit was lowered meanwhile.
            blocking = self._accepted[-limit.requests] if limit.requests else now
            wait = max(1, math.ceil(blocking + limit.seconds - now))
            raise GatewayError(429, f"Over {limit.requests} requests per {limit.seconds:g} s.", retry_after=str(wait))
        self._accepted.append(now)
        return {
            "x-ratelimit-limit-requests": str(limit.requests),
            "x-ratelimit-remaining-requests": str(limit.requests - len(self._accepted)),
            "x-ratelimit-reset-requests": str(math.ceil(self._accepted[0] + limit.seconds - now)),
        }

    def take_fault(self, where: str, prompt: str) -> Fault | None:
        """The first scripted fault for such a call; it is used up when it was its last time."""
        for index, fault in enumerate(self.faults):
            if fault.where == where and fault.match in prompt:
                if fault.times == 1:
                    del self.faults[index]
                elif fault.times > 1:
                    self.faults[index] = replace(fault, times=fault.times - 1)
                return fault
        return None

    def recorded(self, call: Call) -> Answer | None:
        """The answer that this idempotency key got before. Raises `GatewayError` 409."""
        key = call.idempotency_key
        if key is None or not self.settings.honours_idempotency_keys:
            return None
        known_request, answer = self._answers.get(key) or (self._running.get(key), None)
        if known_request is None:
            return None
        if known_request != call.request:
            raise GatewayError(409, "This idempotency key was used with another request.")
        if answer is None:
            raise GatewayError(409, "The first call with this key is running.", code="idempotency_in_progress")
        return answer

    def store_failure(self, call: Call, fault: Fault) -> None:
        """Keep a failure with its idempotency key, as some gateways do."""
        if self.settings.stores_failures and call.idempotency_key is not None and fault.status >= 500:
            self._failures[call.idempotency_key] = (fault, call.request_id)

    def stored_failure(self, call: Call) -> tuple[Fault, str] | None:
        """The failure that this idempotency key met before, with its request id."""
        return self._failures.get(call.idempotency_key or "")

    @contextmanager
    def purchase(self, call: Call, order: Order) -> Iterator[None]:
        """Set the money aside and hold the idempotency key during the work; work that fails gets its money back.

        Raises `GatewayError` 402.
        """
        price = order.n * _PRICE_MILLS
        if self.wallet_mills < price:
            raise GatewayError(402, f"The wallet holds ${dollars(self.wallet_mills):.2f}; top it up.")
        self.wallet_mills -= price
        if call.idempotency_key is not None:
            self._running[call.idempotency_key] = call.request
        try:
            yield
        except BaseException:
            self.wallet_mills += price
            raise
        finally:
            if call.idempotency_key is not None:
                self._running.pop(call.idempotency_key, None)

    def charge(self, call: Call, order: Order, photo: Picture | None, answer: Answer) -> None:
        """Book what the purchase bought, and record its answer for replays."""
        call.charged = True
        self.charges.append(
            Charge(
                at=time.time(),
                idempotency_key=call.idempotency_key,
                model=order.model,
                prompt=order.prompt,
                prompt_sha256=hashlib.sha256(order.prompt.encode()).hexdigest(),
                images=order.n,
                usd=price_usd(order),
                route=order.route,
                image_sha256=hashlib.sha256(photo.data).hexdigest() if photo else None,
                image_bytes=len(photo.data) if photo else None,
                image_content_type=photo.content_type if photo else None,
            )
        )
        if call.idempotency_key is not None:
            self._answers[call.idempotency_key] = (call.request, answer)

    def keep(self, picture: Picture, prompt: str) -> str:
        """Store a picture under a new name, with its format's extension."""
        name = f"{uuid.uuid4().hex}.{picture.extension}"
        self._media[name] = Media(picture, prompt)
        self._media_bytes += len(picture.data)
        while self._media_bytes > _PICTURE_BYTES_KEPT:
            oldest = next(iter(self._media))
            self._media_bytes -= len(self._media.pop(oldest).picture.data)
        return name

    def media(self, name: str) -> Media | None:
        """What `keep` stored under this name, None when it is unknown or was pushed out."""
        return self._media.get(name)
