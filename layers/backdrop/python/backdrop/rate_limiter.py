"""The rate limiter: who may call the gateway, and when. One item in the ledger table, shared by all workers.

A *slot* is the right to make one call at one time; slots are handed out at RequestsPerMinute and only a moment ahead.
Whoever finds none gets a place in the queue, a time to come back at. Places are nearly as far apart as slots, so that
of ten thousand waiting uploads only as many wake up as can be served. Retries, of uploads whose call failed or whose
slot was gone, queue separately from new uploads: looking for a free slot again and again would cost an invocation each.
A slot also reserves the images that the call may buy against DailyImageLimit, in the same write.

A 429 moves everybody: nothing is called before `held_until`.

The item: `next_slot`, `queue_tail`, `retry_tail`, `held_until`; `day`, `images` bought or reserved that day,
`full_since`, `returned` (the slot whose images were given back last); `failures` in a row, counted in images, since
`failing_since`, the last of them `last_failure`; and during a pause `paused_since`, `pause_reason`, `probe_at`,
`probe_step`. Times are epoch microseconds: 30,000 calls a minute are 2 ms apart.
"""

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from botocore.exceptions import ClientError

from backdrop.aws_errors import is_throttled
from backdrop.clock import Clock, iso_time, utc_day
from backdrop.errors import DailyLimitReached, NoSlotFree, Paused, Postponed, Throttled

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PACE_ID = "pace"
HEADROOM = 1.05  # slots are this much further apart than the limit asks, for the jitter of machines and networks
LEAD_SECONDS = 0.1  # what a look at the item and the CALLING write mostly take together
MAX_INLINE_WAIT_SECONDS = 2.0  # a slot at most this far away is waited for in place
LINE_SLACK = 1.02  # turns are this much further apart than slots, for those that need another one
CONTENTION_BACKOFF_SECONDS = (2.0, 20.0)
FAILURES_THAT_MEAN_DOWN = 10  # in a row; more at the highest paces, fewer of several images
MOST_FAILURES_A_CALL = 4  # one call alone may be unlucky: it takes three to pause
SUSPECT_FAILURES = 3  # in a row; from the next on slots are further apart, so that fewer calls meet an outage
SUSPECT_SECONDS = 2.0
PROBE_SECONDS = (15, 30, 60)  # between the probes of a pause that cost nothing: an account fault, a 429
OUTAGE_PROBE_SECONDS = (15, 30, 60, 120, 300)  # for each image: it may be charged, and uses up one of the day's
EARLY_PAUSE_SECONDS = 420.0
EARLY_LOOK_SECONDS = (20.0, 40.0)
LATE_LOOK_SECONDS = (600.0, 900.0)
_RACES = 12
_SECOND = 1_000_000  # microseconds


@dataclass(frozen=True)
class Slot:
    """The right to make one call at `at` (epoch seconds), with `images` reserved on `day`."""

    id: str
    at: float
    images: int
    day: str
    is_probe: bool
    failures_before: int


class RateLimiter:
    """Hands out slots."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock, rpm: int, daily_limit: int) -> None:
        self._client = client
        self._table = table
        self._clock = clock
        self._step = math.ceil(60 * _SECOND * HEADROOM / rpm)
        self._daily_limit = daily_limit
        # A failure answers sooner than a success: of 500 calls a second, 1 % make ten before any success is known.
        self._failures_that_mean_down = max(FAILURES_THAT_MEAN_DOWN, rpm // 600)
        self._suspect_failures = max(SUSPECT_FAILURES, rpm // 200)
        self._seen: dict[str, Any] = {}
        self._is_new = False
        self._answered_slot_at: float | None = None
        """The latest slot whose call was answered, until a write has told so."""

    def take(self, images: int, queue_position: float) -> Slot:
        """A slot, now or within MAX_INLINE_WAIT_SECONDS.

        `queue_position` is the upload's place in the queue, 0 for none.

        Raises NoSlotFree, Paused or DailyLimitReached with the time to come back.
        """
        self._is_new = False
        try:
            for _ in range(_RACES):
                slot = self._try(images, queue_position)
                if slot is not None:
                    return slot
        except ClientError as error:
            if not is_throttled(error):
                raise
        # Too many at once for one item.
        due_at = self._clock.now() + random.uniform(*CONTENTION_BACKOFF_SECONDS)
        raise NoSlotFree(due_at) if queue_position else Throttled("too many uploads at once", due_at)

    def look(self) -> None:
        """Read the item; a new worker's first look also sets its clock."""
        answer = self._client.get_item(TableName=self._table, Key=_KEY, ConsistentRead=True)
        self._see(answer.get("Item", {}))

    def wait(self, slot: Slot) -> float:
        """Wait until the slot's time; returns when the call is to leave, in epoch seconds.

        Among calls that had to wait, each leaves a moment after its slot, so that what is still to be written does not
        bring two of them close together. Raises Paused when a pause began meanwhile, NoSlotFree when a 429 asked
        everybody to wait or several calls in a row have failed; the slot is given back.
        """
        if slot.at <= self._clock.now():
            return slot.at
        self._clock.sleep_until(slot.at)
        self.look()
        if "paused_since" in self._seen and not slot.is_probe:
            self.refund(slot)
            raise self._paused(self._clock.now())
        if self._held_until > slot.at:
            self.refund(slot)
            raise NoSlotFree(self._held_until)
        if self._is_suspect and slot.failures_before <= self._suspect_failures:
            self.refund(slot)
            raise NoSlotFree(self._clock.now() + SUSPECT_SECONDS)
        return slot.at + LEAD_SECONDS

    def succeeded(self, slot: Slot) -> None:
        """A call brought an image: the gateway is up, and a probe ends the pause."""
        self.answered(slot)
        if slot.is_probe:
            self._update(f"SET {_UP}, paused_since, pause_reason, probe_at, probe_step", {":zero": 0})

    def answered(self, slot: Slot) -> None:
        """The gateway said something sensible, so failures are not in a row; the next slot that is taken writes it.

        Only a call that left after the first failure shows that they are over: others left before an outage.
        """
        self._answered_slot_at = max(slot.at, self._answered_slot_at or 0.0)
        if slot.failures_before:
            self._update(
                f"SET {_UP}", {":zero": 0, ":at": _units(slot.at)}, "failing_since <= :at AND failures > :zero"
            )

    def refund(self, slot: Slot) -> None:
        """Nothing was charged: the reserved images are free again."""
        if slot.images:
            # boto3 may send this twice, and twice given back would lift the day's limit.
            self._update(
                "SET images = images - :n, returned = :slot",
                {":n": slot.images, ":day": slot.day, ":slot": slot.id},
                "#day = :day AND (attribute_not_exists(returned) OR returned <> :slot)",
            )

    def back_off(self, seconds: float) -> None:
        """The gateway asks everybody to wait."""
        until = _units(self._clock.now() + seconds)
        self._update(
            "SET next_slot = :until, held_until = :until",
            {":until": until},
            "attribute_not_exists(next_slot) OR next_slot < :until",
        )
        self._update("SET queue_tail = :until", {":until": until}, "queue_tail < :until")

    def failed(self, slot: Slot, reason: str, *, may_be_charged: bool) -> bool:
        """A call failed though the request was good; about ten in a row pause all calls. True during a pause."""
        self._update(
            f"SET failures = if_not_exists(failures, :zero) + :count, {_DOWN}",
            {
                ":zero": 0,
                ":count": min(max(slot.images, 1), MOST_FAILURES_A_CALL) if may_be_charged else 1,
                ":why": reason,
                ":now": _units(self._clock.now()),
            },
        )
        if slot.is_probe or self._seen.get("failures", 0) >= self._failures_that_mean_down:
            self.pause(slot, reason, may_be_charged=may_be_charged)
        return "paused_since" in self._seen

    def pause(self, slot: Slot, reason: str, *, may_be_charged: bool) -> None:
        """Stop all calls but single probes until one succeeds; those that may be charged come less often."""
        now = self._clock.now()
        values = {":why": reason, ":now": _units(now)}
        if slot.is_probe:
            seconds = _until_next_probe(self._seen.get("probe_step", 0), slot.images, may_be_charged)
            self._update(
                f"SET probe_at = :at, pause_reason = :why, {_DOWN}",
                {**values, ":at": _units(now + seconds)},
                "attribute_exists(paused_since)",
            )
        else:
            self._update(
                f"SET paused_since = :now, pause_reason = :why, probe_at = :at, probe_step = :zero, {_DOWN}",
                {**values, ":at": _units(now + PROBE_SECONDS[0]), ":zero": 0},
                "attribute_not_exists(paused_since)",
            )

    @property
    def failing_since(self) -> str | None:
        """Since when no call gets through, as ISO 8601, as far as was last seen; None while they do."""
        since = self._seen.get("failing_since")
        return iso_time(since / _SECOND) if since else None

    def next_look(self) -> float:
        """When an upload that waits for the account should look again, in epoch seconds."""
        return self._look_again(self._clock.now(), self._seen.get("paused_since"))

    def _try(self, images: int, queue_position: float) -> Slot | None:
        """One attempt, guided by what was last seen; None to try again with what is known now."""
        now = self._clock.now()
        today = max(utc_day(now), self._seen.get("day", ""))  # around midnight, clocks differ: days only go forward
        if self._seen.get("day") != today:
            self._update(
                "SET #day = :day, images = :zero REMOVE full_since",
                {":day": today, ":zero": 0},
                "attribute_not_exists(#day) OR #day < :day",
            )
            return None
        values: dict[str, Any] = {":n": images, ":day": today}
        same_day = "#day = :day"
        if self._daily_limit and images:
            room = self._daily_limit - images
            if self._seen.get("images", 0) > room:
                if self._refresh():
                    return None
                raise self._full(now)
            values[":room"] = room
            same_day += " AND images <= :room"
        if "paused_since" in self._seen:
            return self._probe(images, now, today, same_day, values)
        free = f"{same_day} AND attribute_not_exists(paused_since)"
        next_slot = self._seen.get("next_slot", 0)
        midnight = (now // 86400 + 1) * 86400
        soon = _units(min(now + MAX_INLINE_WAIT_SECONDS, midnight - LEAD_SECONDS))  # what leaves tomorrow isn't today's
        newcomer_behind_a_line = queue_position == 0 and self._seen.get("queue_tail", 0) > soon
        if next_slot > soon or newcomer_behind_a_line:
            raise self._turn(now, queue_position)
        is_up = self._answered_slot_at is not None and self._seen.get("failing_since", 0) <= _units(
            self._answered_slot_at
        )
        reset = f", {_UP}" if is_up else ""
        if is_up:
            values[":zero"] = 0
        step = self._step
        if self._is_suspect and not is_up:
            step = max(step, _units(SUSPECT_SECONDS))
        if next_slot <= _units(now):
            won = self._update(
                f"SET next_slot = :next, images = images + :n{reset}",
                {**values, ":next": _units(now) + step, ":now": _units(now)},
                f"{free} AND (attribute_not_exists(next_slot) OR next_slot <= :now)",
            )
        else:
            won = self._update(
                f"SET next_slot = next_slot + :step, images = images + :n{reset}",
                {**values, ":step": step, ":now": _units(now), ":soon": soon},
                f"{free} AND next_slot BETWEEN :now AND :soon",
            )
        if not won:
            return None
        self._answered_slot_at = None
        at = (self._seen["next_slot"] - step) / _SECOND
        return Slot(uuid4().hex, at, images, today, is_probe=False, failures_before=self._seen.get("failures", 0))

    def _probe(self, images: int, now: float, today: str, same_day: str, values: dict[str, Any]) -> Slot | None:
        probe_at = self._seen["probe_at"]
        if probe_at > _units(now) or self._held_until > now:
            if self._refresh():
                return None
            raise self._paused(now)
        step = self._seen.get("probe_step", 0) + 1
        # Should this worker die, the next probe comes after this time; else its outcome says when.
        seconds = _until_next_probe(step, images, may_be_charged=True)
        won = self._update(
            "SET probe_at = :next, probe_step = :step, images = images + :n",
            {**values, ":next": _units(now + seconds), ":step": step, ":seen": probe_at},
            f"{same_day} AND attribute_exists(paused_since) AND probe_at = :seen",
        )
        return Slot(uuid4().hex, now, images, today, is_probe=True, failures_before=0) if won else None

    @property
    def _is_suspect(self) -> bool:
        """Whether so many calls in a row have failed that fewer at a time should find out more."""
        return bool(self._seen.get("failures", 0) > self._suspect_failures)

    @property
    def _held_until(self) -> float:
        return float(self._seen.get("held_until", 0)) / _SECOND

    def _refresh(self) -> bool:
        """Look at the item before sending anybody away because of an old look. False when the look is new."""
        if self._is_new:
            return False
        self.look()
        return True

    def _see(self, item: dict[str, Any]) -> None:
        self._seen = {name: int(value["N"]) if "N" in value else value.get("S") for name, value in item.items()}
        self._is_new = True

    def _turn(self, now: float, queue_position: float) -> Postponed:
        """A place in the queue."""
        if queue_position > now + MAX_INLINE_WAIT_SECONDS:
            return NoSlotFree(queue_position)
        line = _line(queue_position)
        step = self._step if queue_position else math.ceil(self._step * LINE_SLACK)
        while True:
            if self._seen.get(line, 0) >= self._seen.get("next_slot", 0):
                won = self._update(f"SET {line} = {line} + :step", {":step": step}, f"{line} >= next_slot")
            else:
                won = self._update(
                    f"SET {line} = next_slot + :step",
                    {":step": step},
                    f"attribute_not_exists({line}) OR {line} < next_slot",
                )
            if won:
                return NoSlotFree(self._seen[line] / _SECOND)

    def _full(self, now: float) -> Postponed:
        self._update(
            "SET full_since = if_not_exists(full_since, :now)",
            {":now": _units(now), ":day": self._seen.get("day", utc_day(now))},
            "#day = :day",
        )
        looks_again_at = self._look_again(now, self._seen.get("full_since"))
        return DailyLimitReached("today's DailyImageLimit is used up", looks_again_at)

    def _paused(self, now: float) -> Postponed:
        reason = self._seen.get("pause_reason", "unknown")
        return Paused(f"all calls are paused: {reason}", self._look_again(now, self._seen.get("paused_since")))

    @staticmethod
    def _look_again(now: float, since: int | None) -> float:
        early = since is None or now - since / _SECOND < EARLY_PAUSE_SECONDS
        return now + random.uniform(*(EARLY_LOOK_SECONDS if early else LATE_LOOK_SECONDS))

    def _update(self, expression: str, values: dict[str, Any], condition: str | None = None) -> bool:
        """One conditional write; either way `_seen` is the item as it is now. False when the condition refused it."""
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "Key": _KEY,
            "UpdateExpression": expression,
            "ExpressionAttributeValues": {
                name: {"S": value} if isinstance(value, str) else {"N": str(value)} for name, value in values.items()
            },
            "ReturnValues": "ALL_NEW",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if condition:
            arguments["ConditionExpression"] = condition
        if "#day" in expression + (condition or ""):
            arguments["ExpressionAttributeNames"] = {"#day": "day"}
        try:
            self._see(self._client.update_item(**arguments)["Attributes"])
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            self._see(error.response.get("Item", {}))  # type: ignore[arg-type]
            return False
        return True


_KEY: dict[str, Any] = {"id": {"S": PACE_ID}}
_DOWN = "last_failure = :why, failing_since = if_not_exists(failing_since, :now)"
_UP = "failures = :zero REMOVE failing_since, last_failure"
"""Parts of update expressions: calls fail, and, to be put at the end, the gateway answers."""


def _until_next_probe(step: int, images: int, may_be_charged: bool) -> int:
    """Seconds, after a probe of so many images that was the `step`th, from 0."""
    steps = OUTAGE_PROBE_SECONDS if may_be_charged else PROBE_SECONDS
    return steps[min(step, len(steps) - 1)] * (max(images, 1) if may_be_charged else 1)


def _line(queue_position: float) -> str:
    """Which queue: retries queue separately from new uploads."""
    return "retry_tail" if queue_position else "queue_tail"


def _units(seconds: float) -> int:
    return round(seconds * _SECOND)
