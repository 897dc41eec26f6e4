"""Ten thousand uploads at once, against the project's own rate limiter, on simulated time."""

import heapq
import random
from collections.abc import Callable
from itertools import count
from typing import Any

from backdrop.clock import Clock
from backdrop.errors import NoSlotFree, Postponed
from backdrop.pace_item import Slot
from backdrop.rate_limiter import RateLimiter
from tools.simulation.simulated_table import SimulatedTable

UPLOADS = 10_000
RPM = 600
START = 1_800_000_000.0


class SimulatedClock(Clock):
    at = START

    def now(self) -> float:
        return SimulatedClock.at

    def sleep_until(self, when: float) -> None:
        SimulatedClock.at = max(SimulatedClock.at, when)


def simulated(uploads: int, rpm: int) -> tuple[list[float], int, int]:
    """Calls' times, invocations, writes of the pace item. SQS wakes an upload up to two seconds late."""
    SimulatedClock.at = START
    writes = 0

    def wrote(_id: str, _size: int) -> None:
        nonlocal writes
        writes += 1

    table: Any = SimulatedTable(wrote)
    workers = [RateLimiter(table, "ledger", SimulatedClock(), rpm, 0) for _ in range(20)]
    order = count()
    waiting: list[tuple[float, int, float]] = [(START + random.uniform(0, 5), next(order), 0.0) for _ in range(uploads)]
    heapq.heapify(waiting)
    calls: list[float] = []
    invocations = 0
    while waiting:
        at, _, queue_position = heapq.heappop(waiting)
        SimulatedClock.at = at
        invocations += 1
        try:
            slot: Slot = workers[invocations % len(workers)].acquire(1, queue_position)
        except Postponed as wait:
            turn = wait.due_at if isinstance(wait, NoSlotFree) else 0.0
            late = random.uniform(0, 2)
            heapq.heappush(waiting, (max(wait.due_at, at) // 1 + 1 + late, next(order), turn))
        else:
            calls.append(max(slot.at, at))
    return sorted(calls), invocations, writes


def test_row_60_ten_thousand_uploads_keep_the_pace_and_drain_in_about_the_ideal_time(
    record_property: Callable[[str, object], None],
) -> None:
    random.seed(1)
    calls, invocations, writes = simulated(UPLOADS, RPM)

    ideal = UPLOADS / RPM * 60
    took = calls[-1] - calls[0]
    most_in_a_minute = max(sum(start <= at < start + 60 for at in calls) for start in calls[::500])
    record_property(
        "summary",
        f"{took / ideal:.2f} x the ideal time, at most {most_in_a_minute} calls in a minute,"
        f" {invocations / UPLOADS:.2f} invocations and {writes / UPLOADS:.2f} writes of the pace an upload",
    )
    assert len(calls) == UPLOADS
    assert most_in_a_minute <= RPM
    assert took <= 1.3 * ideal
    assert invocations <= 3 * UPLOADS
