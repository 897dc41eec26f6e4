"""The circuit breaker: when calls fail one after another, all of them stop but single probes.

It is open during a pause, half open when a probe is due, and closed again when a call brings an image.
"""

import random
from typing import Any
from uuid import uuid4

from backdrop.clock import Clock, iso_time
from backdrop.errors import Paused
from backdrop.pace_item import SECOND, PaceItem, Slot, units

FAILURES_THAT_MEAN_DOWN = 10  # in a row; more at the highest paces, fewer of several images
MOST_FAILURES_A_CALL = 4  # one call alone may be unlucky: it takes three to pause
SUSPECT_FAILURES = 3  # in a row; from the next on slots are further apart, so that fewer calls meet an outage
SUSPECT_SECONDS = 2.0
PROBE_SECONDS = (15, 30, 60)  # between the probes of a pause that cost nothing: an account fault, a 429
OUTAGE_PROBE_SECONDS = (15, 30, 60, 120, 300)  # for each image: it may be charged, and uses up one of the day's
EARLY_PAUSE_SECONDS = 420.0
EARLY_LOOK_SECONDS = (20.0, 40.0)
LATE_LOOK_SECONDS = (600.0, 900.0)
DOWN = "last_failure = :why, failing_since = if_not_exists(failing_since, :now)"
UP = "failures = :zero REMOVE failing_since, last_failure"
"""Parts of update expressions: calls fail, and, to be put at the end, the gateway answers."""


class CircuitBreaker:
    """Opens and closes by the outcomes of calls."""

    def __init__(self, item: PaceItem, clock: Clock, rpm: int) -> None:
        self._item = item
        self._clock = clock
        # A failure answers sooner than a success: of 500 calls a second, 1 % make ten before any success is known.
        self._failures_that_mean_down = max(FAILURES_THAT_MEAN_DOWN, rpm // 600)
        self._suspect_failures = max(SUSPECT_FAILURES, rpm // 200)
        self._answered_slot_at: float | None = None
        """The latest slot whose call was answered, until a write has told so."""

    def succeeded(self, slot: Slot) -> None:
        """A call brought an image: the gateway is up, and a probe ends the pause."""
        self.answered(slot)
        if slot.is_probe:
            self._item.update(f"SET {UP}, paused_since, pause_reason, probe_at, probe_step", {":zero": 0})

    def answered(self, slot: Slot) -> None:
        """The gateway said something sensible, so failures are not in a row; the next slot that is taken writes it.

        Only a call that left after the first failure shows that they are over: others left before an outage.
        """
        self._answered_slot_at = max(slot.at, self._answered_slot_at or 0.0)
        if slot.failures_before:
            self._item.update(
                f"SET {UP}", {":zero": 0, ":at": units(slot.at)}, "failing_since <= :at AND failures > :zero"
            )

    def failed(self, slot: Slot, reason: str, *, may_be_charged: bool) -> bool:
        """A call failed though the request was good; about ten in a row pause all calls. True during a pause."""
        self._item.update(
            f"SET failures = if_not_exists(failures, :zero) + :count, {DOWN}",
            {
                ":zero": 0,
                ":count": min(max(slot.images, 1), MOST_FAILURES_A_CALL) if may_be_charged else 1,
                ":why": reason,
                ":now": units(self._clock.now()),
            },
        )
        if slot.is_probe or self._item.seen.get("failures", 0) >= self._failures_that_mean_down:
            self.pause(slot, reason, may_be_charged=may_be_charged)
        return "paused_since" in self._item.seen

    def pause(self, slot: Slot, reason: str, *, may_be_charged: bool) -> None:
        """Stop all calls but single probes until one succeeds; those that may be charged come less often."""
        now = self._clock.now()
        values = {":why": reason, ":now": units(now)}
        if slot.is_probe:
            seconds = _until_next_probe(self._item.seen.get("probe_step", 0), slot.images, may_be_charged)
            self._item.update(
                f"SET probe_at = :at, pause_reason = :why, {DOWN}",
                {**values, ":at": units(now + seconds)},
                "attribute_exists(paused_since)",
            )
        else:
            self._item.update(
                f"SET paused_since = :now, pause_reason = :why, probe_at = :at, probe_step = :zero, {DOWN}",
                {**values, ":at": units(now + PROBE_SECONDS[0]), ":zero": 0},
                "attribute_not_exists(paused_since)",
            )

    @property
    def failing_since(self) -> str | None:
        """Since when no call gets through, as ISO 8601, as far as was last seen; None while they do."""
        since = self._item.seen.get("failing_since")
        return iso_time(since / SECOND) if since else None

    def next_look(self) -> float:
        """When an upload that waits for the account should look again, in epoch seconds."""
        return look_again(self._clock.now(), self._item.seen.get("paused_since"))

    @property
    def is_known_up(self) -> bool:
        """Whether a call that left after the failures began was answered, and no write has said so yet."""
        at = self._answered_slot_at
        return at is not None and self._item.seen.get("failing_since", 0) <= units(at)

    def up_is_written(self) -> None:
        """A write has said that the gateway answers."""
        self._answered_slot_at = None

    def probe(
        self, images: int, now: float, step: int, today: str, same_day: str, values: dict[str, Any]
    ) -> Slot | None:
        """A slot for the next probe when it is due, under `same_day` with its `values`; None to try again.

        It is as far from other slots (`step`, in the item's units) as they are from each other. Raises Paused.
        """
        probe_at = self._item.seen["probe_at"]
        if max(probe_at, self._item.seen.get("next_slot", 0)) > units(now) or self._item.held_until > now:
            if self._item.refresh():
                return None
            raise self.paused(now)
        probe_step = self._item.seen.get("probe_step", 0) + 1
        # Should this worker die, the next probe comes after this time; else its outcome says when.
        seconds = _until_next_probe(probe_step, images, may_be_charged=True)
        won = self._item.update(
            "SET probe_at = :next, probe_step = :step, next_slot = :slot, images = images + :n",
            {
                **values,
                ":next": units(now + seconds),
                ":step": probe_step,
                ":slot": units(now) + step,
                ":now": units(now),
                ":seen": probe_at,
            },
            f"{same_day} AND attribute_exists(paused_since) AND probe_at = :seen"
            " AND (attribute_not_exists(next_slot) OR next_slot <= :now)",
        )
        return Slot(uuid4().hex, now, now, images, today, is_probe=True, failures_before=0) if won else None

    @property
    def is_suspect(self) -> bool:
        """Whether so many calls in a row have failed that fewer at a time should find out more."""
        return bool(self._item.seen.get("failures", 0) > self._suspect_failures)

    def was_suspect(self, slot: Slot) -> bool:
        """Whether that was known when the slot was handed out."""
        return slot.failures_before > self._suspect_failures

    def paused(self, now: float) -> Paused:
        """The wait of whatever finds all calls paused."""
        reason = self._item.seen.get("pause_reason", "unknown")
        return Paused(f"all calls are paused: {reason}", look_again(now, self._item.seen.get("paused_since")))


def look_again(now: float, since: int | None) -> float:
    """When what waits since `since` (as the item keeps it) should look again, in epoch seconds."""
    early = since is None or now - since / SECOND < EARLY_PAUSE_SECONDS
    return now + random.uniform(*(EARLY_LOOK_SECONDS if early else LATE_LOOK_SECONDS))


def _until_next_probe(step: int, images: int, may_be_charged: bool) -> int:
    """Seconds, after a probe of so many images that was the `step`th, from 0."""
    steps = OUTAGE_PROBE_SECONDS if may_be_charged else PROBE_SECONDS
    return steps[min(step, len(steps) - 1)] * (max(images, 1) if may_be_charged else 1)
