"""What uploads will cost and when they will be done, at the pace and within the daily limit that are set."""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from backdrop.clock import utc_day
from backdrop.gateway_errors import ORIGIN_NOT_REACHED, plain_name, says_no_money
from backdrop.pace_item import PACE_ID
from backdrop.rate_limiter import HEADROOM
from backdrop.settings import Settings
from backdrop_cli.deployment import Deployment
from backdrop_cli.page import counted, dollars

_DAY = 86400


_FAILS = "the gateway, or a proxy before it, reports failures"
_NOT_REACHED = "a proxy does not reach the gateway"
_NO_MONEY = "the account has no money left: top it up at the gateway"
_KEY_REFUSED = "the key is refused: put a valid one into SSM"
_NO_SUCH_MODEL = "the gateway doesn't know the model or the path: look at GatewayModel and GatewayBaseUrl"
_BY_CODE = {
    "invalidapikey": _KEY_REFUSED,
    "incorrectapikey": _KEY_REFUSED,
    "authenticationerror": _KEY_REFUSED,
    "modelnotfound": _NO_SUCH_MODEL,
    "unknownmodel": _NO_SUCH_MODEL,
}
"""By the gateway's code, in letters and digits only, whatever its status."""
_BY_STATUS = {
    "401": _KEY_REFUSED,
    "402": _NO_MONEY,
    "403": "the key may not do this: look at its rights at the gateway",
    "404": _NO_SUCH_MODEL,
    "429": "the gateway asks for fewer calls: lower RequestsPerMinute if it stays so",
    **{str(status): _NOT_REACHED for status in ORIGIN_NOT_REACHED},
}
_UNANSWERED = {
    "no connection": "there is no connection to the gateway, or the key can't be read from SSM",
    "no answer": "calls are sent and bring no complete answer",
}


@dataclass(frozen=True)
class PaceNow:
    """The rate limiter's item as it is. Times are epoch seconds."""

    bought_today: int
    """Images bought or reserved in this UTC day."""
    queue_ends_at: float
    """When the last upload in the queue gets its slot."""
    paused_since: float | None = None
    pause_reason: str = ""
    """Why, as `last_failure`."""
    probe_at: float = 0.0
    """When, during a pause, the next call may be tried."""
    failing_since: float | None = None
    """Since when no call that was made has brought an answer other than a failure; None while calls get through."""
    last_failure: str = ""
    """The status of the last failed call with the gateway's own code, as in `429 insufficient_quota`."""

    @property
    def is_blocked(self) -> bool:
        """Whether no call gets through at present, so that nobody knows when anything will be finished."""
        return self.blocked_since is not None

    @property
    def blocked_since(self) -> float | None:
        """Since when no call gets through; None while they do."""
        return self.failing_since or self.paused_since  # an earlier version told the latter only

    @property
    def refusal(self) -> str:
        """The last failed call, as `last_failure`; empty while calls get through."""
        return (self.last_failure or self.pause_reason) if self.is_blocked else ""

    @property
    def refusal_in_words(self) -> str:
        """The last failed call, and what it means."""
        return f"{self.refusal}, {meaning_of(self.refusal)}"

    def since_in_words(self, now: float) -> str:
        """Since when no call gets through, in this machine's time zone."""
        since = self.blocked_since or now
        return f"{datetime.fromtimestamp(since).astimezone():{'%H:%M' if now - since < _DAY / 2 else '%Y-%m-%d %H:%M'}}"

    def block_in_words(self, now: float) -> str:
        """Since when calls fail, for how long that has been, why, and what to do about it."""
        lasts = duration(now - (self.blocked_since or now)).removeprefix("about ")
        return f"calls fail since {self.since_in_words(now)} (for {lasts}): {self.refusal_in_words}"


def meaning_of(failure: str) -> str:
    """What a failed call says to people; `failure` is its status and the gateway's code, or why it had no answer."""
    status, _, code = failure.partition(" ")
    if says_no_money(code):
        return _NO_MONEY
    return _UNANSWERED.get(failure) or _BY_CODE.get(plain_name(code)) or _BY_STATUS.get(status, _FAILS)


def pace_now(deployment: Deployment) -> PaceNow:
    """The rate limiter's item, read now."""
    item: dict[str, Any] = deployment.dynamodb.get_item(
        TableName=deployment.settings.ledger_table, Key={"id": {"S": PACE_ID}}, ConsistentRead=True
    ).get("Item", {})

    def number(name: str) -> int:
        return int(item.get(name, {}).get("N", 0))

    is_today = item.get("day", {}).get("S") == utc_day(deployment.clock.now())
    return PaceNow(
        bought_today=number("images") if is_today else 0,
        queue_ends_at=number("queue_tail") / 1e6,
        paused_since=number("paused_since") / 1e6 if "paused_since" in item else None,
        pause_reason=item.get("pause_reason", {}).get("S", ""),
        probe_at=number("probe_at") / 1e6,
        failing_since=number("failing_since") / 1e6 if "failing_since" in item else None,
        last_failure=item.get("last_failure", {}).get("S", ""),
    )


@dataclass(frozen=True)
class Quote:
    """Calls and images that are still to be bought; `seconds` from now until the last of them is sent.

    `blocked` says why no call gets through at present, so that `seconds` tells nothing; it is empty mostly.
    """

    calls: int
    images: int
    usd: Decimal
    seconds: float
    blocked: str = ""


def quote(settings: Settings, calls: int, images: int, bought_today: int, now: float) -> Quote:
    """At RequestsPerMinute and within DailyImageLimit, all uploads alike; how long the gateway takes is not in it."""
    step = 60 * HEADROOM / settings.requests_per_minute
    seconds, left, day_ends = 0.0, float(calls), _DAY - now % _DAY
    if settings.daily_image_limit and calls:
        images_a_call = images / calls
        room = max(0, settings.daily_image_limit - bought_today) / images_a_call
        while left > min(room, day_ends / step):  # the rest is for the next day
            left -= min(room, day_ends / step)
            seconds += day_ends
            room, day_ends = settings.daily_image_limit / images_a_call, float(_DAY)
    return Quote(calls, images, settings.price_per_image_usd * images, seconds + left * step)


def offer(deployment: Deployment, calls: int, images: int) -> Quote:
    """What `calls` more will cost and take, behind all uploads in the queue."""
    pace, now = pace_now(deployment), deployment.clock.now()
    own = quote(deployment.settings, calls, images, pace.bought_today, now)
    return replace(
        own,
        seconds=own.seconds + max(0.0, pace.queue_ends_at - now),
        blocked=pace.refusal_in_words if pace.is_blocked else "",
    )


def in_words(quote: Quote) -> str:
    """As in "12 images, $0.36, about 2 minutes at the present pace"."""
    words = f"{counted(quote.images, 'image')}, {dollars(float(quote.usd))}"
    if not quote.images:
        return words
    if quote.blocked:
        return f"{words}, once calls get through again ({quote.blocked})"
    return f"{words}, {duration(quote.seconds)} at the present pace"


def duration(seconds: float) -> str:
    """As in "40 seconds", "12 minutes", "5 hours" and "3 days"."""
    for size, what in ((_DAY, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 1.5 * size:
            return f"about {counted(round(seconds / size), what)}"
    return f"about {counted(max(1, round(seconds)), 'second')}"
