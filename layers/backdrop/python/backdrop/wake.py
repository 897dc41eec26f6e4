"""Uploads that sleep until a later day are woken when today has room: DailyImageLimit was raised, or images were given
back. Those that would have woken first are woken first.

Each run reads the rate limiter's item; only when there is room for somebody is the ledger looked through.
"""

import heapq
from collections import Counter
from collections.abc import Iterator

from backdrop.errors import DailyLimitReached
from backdrop.log import logger
from backdrop.records import Sleeper
from backdrop.services import Services

MOST_AT_ONCE = 5_000  # of one run
_SAVING_SECONDS = 60.0  # kept free for waking them


def wake(services: Services, ends_at: float) -> int:
    """Let uploads that sleep look now, as far as there is room for their images; how many."""
    days = services.rate_limiter.later_days
    room, last_place = days.room(), days.last_place
    if not room:
        if days.anybody_sleeps:
            services.metrics.postponed(DailyLimitReached.reason)  # once for all: they don't look themselves
        return 0
    wanted: Counter[int] = Counter()
    is_complete = False

    def asleep() -> Iterator[Sleeper]:
        nonlocal is_complete
        for sleeper in services.records.sleepers():
            if services.clock.now() > ends_at - _SAVING_SECONDS:
                return
            wanted[sleeper.images] += 1
            if sleeper.receipt_handle and sleeper.images <= room:
                yield sleeper
        is_complete = True

    woken = 0
    for sleeper in heapq.nsmallest(min(room, MOST_AT_ONCE), asleep(), key=lambda each: each.due_at):
        if sleeper.images <= room and services.queues.wake(sleeper.receipt_handle or ""):
            room -= sleeper.images
            wanted[sleeper.images] -= 1
            woken += 1
    if is_complete:
        days.note_who_sleeps(min((images for images, count in wanted.items() if count), default=0), last_place)
    logger.info("woken, because today has room", uploads=woken)
    return woken
