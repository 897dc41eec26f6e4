"""What uploads will cost and when they will be done, at the pace and within the daily limit that are set."""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from backdrop.clock import utc_day
from backdrop.gateway import says_no_money
from backdrop.pace import HEADROOM, PACE_ID
from backdrop.settings import Settings
from backdrop_cli.deployment import Deployment
from backdrop_cli.page import counted, dollars

_DAY = 86400


@dataclass(frozen=True)
class PaceNow:
    """The pace keeper's item as it is. Times are epoch seconds."""

    bought_today: int
    """Images bought or reserved in this UTC day."""
    paused_since: float | None
    pause_reason: str
    """Why, as `last_failure`."""
    line_ends_at: float
    """When the last of those that stand in line has its turn."""
    failing_since: float | None
    """Since when no call that was made has brought an answer other than a failure; None while calls get through."""
    last_failure: str
    """The status of the last failed call with the gateway's own code, as in `429 insufficient_quota`."""

    @property
    def is_blocked(self) -> bool:
        """Whether no call gets through at present, so that nobody knows when anything will be finished."""
        return self.paused_since is not None or self.failing_since is not None

    @property
    def pause_in_words(self) -> str:
        """Why nothing is called, for people."""
        return f"{self.pause_reason}, {meaning_of(self.pause_reason)}"

    def block_in_words(self, now: float) -> str:
        """Since when calls fail, why, and what to do about it."""
        since = self.failing_since or self.paused_since or now
        at = datetime.fromtimestamp(since).astimezone()
        why = self.last_failure or self.pause_reason
        ago = duration(now - since).removeprefix("about ")
        return f"calls fail since {at:%H:%M} ({ago}): {why}, {meaning_of(why)}"


def meaning_of(failure: str) -> str:
    """What a failed call says to people; `failure` is its status and the gateway's code, or why it had no answer."""
    status, _, code = failure.partition(" ")
    if says_no_money(code):
        return "the account has no money left: top it up at the gateway"
    return {
        "401": "the key is refused: put a valid one into SSM",
        "402": "the wallet is empty: top it up at the gateway",
        "403": "the key may not do this: look at its rights at the gateway",
        "404": "the gateway doesn't know the model or the path: look at GatewayModel and GatewayBaseUrl",
        "429": "the gateway asks for fewer calls: lower RequestsPerMinute if it stays so",
    }.get(status, "the gateway or a proxy before it is down")


def pace_now(deployment: Deployment) -> PaceNow:
    """Read it."""
    item: dict[str, Any] = deployment.dynamodb.get_item(
        TableName=deployment.settings.ledger_table, Key={"id": {"S": PACE_ID}}, ConsistentRead=True
    ).get("Item", {})

    def number(name: str) -> int:
        return int(item.get(name, {}).get("N", 0))

    is_today = item.get("day", {}).get("S") == utc_day(deployment.clock.now())
    return PaceNow(
        bought_today=number("images") if is_today else 0,
        paused_since=number("paused_since") / 1e6 if "paused_since" in item else None,
        pause_reason=item.get("pause_reason", {}).get("S", ""),
        line_ends_at=number("line_end") / 1e6,
        failing_since=number("failing_since") / 1e6 if "failing_since" in item else None,
        last_failure=item.get("last_failure", {}).get("S", ""),
    )


@dataclass(frozen=True)
class Quote:
    """Calls and images that are still to be bought; `seconds` from now until the last of them is sent.

    `paused` says why nothing is called at present; it is empty mostly.
    """

    calls: int
    images: int
    usd: Decimal
    seconds: float
    paused: str = ""


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
    """What `calls` more will cost and take, behind all that stand in line."""
    pace, now = pace_now(deployment), deployment.clock.now()
    own = quote(deployment.settings, calls, images, pace.bought_today, now)
    return replace(
        own,
        seconds=own.seconds + max(0.0, pace.line_ends_at - now),
        paused=pace.pause_in_words if pace.paused_since else "",
    )


def in_words(quote: Quote) -> str:
    """As in "12 images, $0.36, about 2 minutes"."""
    words = f"{counted(quote.images, 'image')}, {dollars(float(quote.usd))}"
    if quote.images:
        words += f", {duration(quote.seconds)}"
    return f"{words} once the pause is over ({quote.paused})" if quote.paused else words


def duration(seconds: float) -> str:
    """As in "40 seconds", "12 minutes", "5 hours" and "3 days"."""
    for size, what in ((_DAY, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 1.5 * size:
            return f"about {counted(round(seconds / size), what)}"
    return f"about {counted(max(1, round(seconds)), 'second')}"
