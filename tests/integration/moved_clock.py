"""The time of tests: it goes on by itself, and tests move it."""

import time

from backdrop.clock import Clock


class MovedClock(Clock):
    """Real time plus what the test has moved it on; waiting in place moves it, too."""

    moved = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.is_set = True

    def now(self) -> float:
        return now()

    def observe(self, date_header: str | None) -> None:
        pass

    def sleep_until(self, when: float) -> None:
        MovedClock.moved += max(0.0, when - self.now())


def now() -> float:
    """Moved epoch seconds."""
    return time.time() + MovedClock.moved
