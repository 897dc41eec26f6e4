"""The rate limiter: who may call the gateway, and when. One item in the ledger table, shared by all workers.

A *slot* is the right to make one call at one time; slots are handed out at RequestsPerMinute and only a moment ahead.
Whoever finds none gets a place in the queue, a time to come back at. Places are nearly as far apart as slots, so that
of ten thousand waiting uploads only as many wake up as can be served. Retries, of uploads whose call failed or whose
slot was gone, queue separately from new uploads: looking for a free slot again and again would cost an invocation each.
A slot also reserves the images that the call may buy against DailyImageLimit, in the same write.

A 429 moves everybody: nothing is called before `held_until`.
"""

import math
import random
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from botocore.exceptions import ClientError

from backdrop.aws_errors import is_throttled
from backdrop.circuit_breaker import SUSPECT_SECONDS, UP, CircuitBreaker
from backdrop.clock import Clock, utc_day
from backdrop.errors import NoSlotFree, Postponed, Throttled
from backdrop.later_days import LaterDays
from backdrop.pace_item import SECOND, PaceItem, Slot, units

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

HEADROOM = 1.05  # slots are this much further apart than the limit asks, for the jitter of machines and networks
LEAD_SECONDS = 0.25  # what a look at the item and the CALLING write take together, also on a busy machine
MAX_INLINE_WAIT_SECONDS = 2.0  # a slot at most this far away is waited for in place
QUEUE_SLACK = 1.02  # places in the queue are this much further apart than slots, for those that need another one
CONTENTION_BACKOFF_SECONDS = (2.0, 20.0)
_MAX_CONFLICTS = 12
_REFUNDS_KEPT = 8  # 13 bytes each in an item that is written for every call, and costs twice above 1 KB


class RateLimiter:
    """Hands out slots."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock, rpm: int, daily_limit: int) -> None:
        self._item = PaceItem(client, table)
        self._clock = clock
        self.breaker = CircuitBreaker(self._item, clock, rpm)
        self._step = math.ceil(60 * SECOND * HEADROOM / rpm)
        self._daily_limit = daily_limit
        self.later_days = LaterDays(self._item, clock, self._step, daily_limit)

    def acquire(self, images: int, queue_position: float, day_place: float = 0.0, *, is_replay: bool = False) -> Slot:
        """A slot, now or within MAX_INLINE_WAIT_SECONDS.

        `queue_position` is the upload's place in the queue, `day_place` that on a later day, 0 for none.

        Raises NoSlotFree, Paused or DailyLimitReached with the time to come back.
        """
        self._item.is_new = False
        try:
            for _ in range(_MAX_CONFLICTS):
                slot = self._try(images, queue_position, day_place, is_replay)
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
        self._item.look()

    def wait(self, slot: Slot) -> float:
        """Wait until the slot's time; returns when the call is to leave, in epoch seconds.

        When calls are close to each other, each leaves a moment after its slot, so that what is still to be written
        does not bring two of them closer. Raises Paused when a pause began meanwhile, NoSlotFree when a 429 asked
        everybody to wait or several calls in a row have failed; the slot is given back.
        """
        if slot.at <= self._clock.now():
            return slot.leaves_at
        self._clock.sleep_until(slot.at)
        self._item.look()
        if "paused_since" in self._item.seen and not slot.is_probe:
            self.refund(slot)
            raise self.breaker.paused(self._clock.now())
        if self._item.held_until > slot.at:
            self.refund(slot)
            raise NoSlotFree(self._item.held_until)
        if self.breaker.is_suspect and not self.breaker.was_suspect(slot):
            self.refund(slot)
            raise NoSlotFree(self._clock.now() + SUSPECT_SECONDS)
        return slot.leaves_at

    def refund(self, slot: Slot) -> None:
        """Nothing was charged: the reserved images are free again.

        boto3 may send a write twice, and images that are given back twice would lift the day's limit. So the item has
        the last few refunds; where those since the look don't tell any more, the images stay reserved.
        """
        if not slot.images:
            return
        self._item.look()
        last = self._refunds()[-1:]
        for _ in range(_MAX_CONFLICTS):
            refunds = self._refunds()
            is_told = set(last) <= set(refunds) if last else len(refunds) < _REFUNDS_KEPT
            if slot.id in refunds or self._item.seen.get("day") != slot.day or not is_told:
                return
            values = {":n": slot.images, ":day": slot.day, ":now": " ".join([*refunds, slot.id][-_REFUNDS_KEPT:])}
            if refunds:
                values[":before"] = " ".join(refunds)
            if self._item.update(
                "SET images = images - :n, returned = :now",
                values,
                f"#day = :day AND {'returned = :before' if refunds else 'attribute_not_exists(returned)'}",
            ):
                return

    def _refunds(self) -> list[str]:
        return str(self._item.seen.get("returned", "")).split()

    def back_off(self, seconds: float) -> None:
        """The gateway asks everybody to wait."""
        until = units(self._clock.now() + seconds)
        self._item.update(
            "SET next_slot = :until, held_until = :until",
            {":until": until},
            "attribute_not_exists(next_slot) OR next_slot < :until",
        )
        self._item.update("SET queue_tail = :until", {":until": until}, "queue_tail < :until")

    def _try(self, images: int, queue_position: float, day_place: float, is_replay: bool) -> Slot | None:
        """One attempt, guided by what was last seen; None to try again with what is known now."""
        now = self._clock.now()
        today = max(utc_day(now), self._item.seen.get("day", ""))  # at midnight, clocks differ: days only go forward
        if self._item.seen.get("day") != today:
            self._item.update(
                "SET #day = :day, images = :zero",
                {":day": today, ":zero": 0},
                "attribute_not_exists(#day) OR #day < :day",
            )
            return None
        values: dict[str, Any] = {":n": images, ":day": today}
        same_day = "#day = :day"
        if self._daily_limit and images:
            room = self._daily_limit - images
            if self._item.seen.get("images", 0) > room:
                if self._item.refresh():
                    return None
                later = self.later_days.place(images, day_place, is_replay=is_replay)
                if later is None:
                    return None
                raise later
            values[":room"] = room
            same_day += " AND images <= :room"
        if "paused_since" in self._item.seen:
            return self.breaker.probe(images, now, self._step, today, same_day, values)
        free = f"{same_day} AND attribute_not_exists(paused_since)"
        next_slot = self._item.seen.get("next_slot", 0)
        midnight = (now // 86400 + 1) * 86400
        soon = units(min(now + MAX_INLINE_WAIT_SECONDS, midnight - LEAD_SECONDS))  # what leaves tomorrow isn't today's
        is_new_behind_a_queue = queue_position == 0 and self._item.seen.get("queue_tail", 0) > soon
        if next_slot > soon or is_new_behind_a_queue:
            raise self._place(now, queue_position)
        reset, step = "", self._step
        if self.breaker.is_known_up:
            reset = f", {UP}"
            values[":zero"] = 0
        elif self.breaker.is_suspect:
            step = max(step, units(SUSPECT_SECONDS))
        is_idle = next_slot <= units(now)
        if is_idle:
            won = self._item.update(
                f"SET slot_before = if_not_exists(next_slot, :zero), next_slot = :next, images = images + :n{reset}",
                {**values, ":next": units(now) + step, ":now": units(now), ":zero": 0},
                f"{free} AND (attribute_not_exists(next_slot) OR next_slot <= :now)",
            )
        else:
            won = self._item.update(
                f"SET next_slot = next_slot + :step, images = images + :n{reset}",
                {**values, ":step": step, ":now": units(now), ":soon": soon},
                f"{free} AND next_slot BETWEEN :now AND :soon",
            )
        if not won:
            return None
        self.breaker.up_is_written()
        at = (self._item.seen["next_slot"] - step) / SECOND
        may_leave_from = self._item.seen["slot_before"] / SECOND if is_idle else at
        leaves_at = max(at, may_leave_from + LEAD_SECONDS)
        failures = self._item.seen.get("failures", 0)
        return Slot(uuid4().hex[:12], at, leaves_at, images, today, is_probe=False, failures_before=failures)

    def _place(self, now: float, queue_position: float) -> Postponed:
        """A place in the queue."""
        if queue_position > now + MAX_INLINE_WAIT_SECONDS:
            return NoSlotFree(queue_position)
        tail = "retry_tail" if queue_position else "queue_tail"  # retries queue separately from new uploads
        step = self._step if queue_position else math.ceil(self._step * QUEUE_SLACK)
        while True:
            if self._item.seen.get(tail, 0) >= self._item.seen.get("next_slot", 0):
                won = self._item.update(f"SET {tail} = {tail} + :step", {":step": step}, f"{tail} >= next_slot")
            else:
                won = self._item.update(
                    f"SET {tail} = next_slot + :step",
                    {":step": step},
                    f"attribute_not_exists({tail}) OR {tail} < next_slot",
                )
            if won:
                return NoSlotFree(self._item.seen[tail] / SECOND)
