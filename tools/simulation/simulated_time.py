"""Simulated time: whoever waits gives way to whatever is due first, so that days pass in seconds.

Every worker is a greenlet, because the code that it runs is ordinary blocking code.
"""

import heapq
from collections.abc import Callable
from itertools import count

from greenlet import getcurrent, greenlet

from backdrop.clock import Clock

START = 1_800_000_000.0  # epoch seconds


class SimulatedTime:
    """What is due when."""

    def __init__(self) -> None:
        self.now = START
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()
        self._hub = getcurrent()

    def at(self, when: float, what: Callable[[], object]) -> None:
        """Do `what` when its time has come."""
        heapq.heappush(self._due, (when, next(self._order), what))

    def start(self, work: Callable[[], None]) -> None:
        """Begin work that may sleep."""
        self.at(self.now, greenlet(work, self._hub).switch)

    def sleep(self, seconds: float) -> None:
        """Wait, from within work that was started."""
        self.at(self.now + seconds, getcurrent().switch)
        self._hub.switch()

    def run_for(self, seconds: float) -> None:
        """Let so much time pass."""
        ends = self.now + seconds
        while self._due and self._due[0][0] <= ends:
            when, _, what = heapq.heappop(self._due)
            self.now = max(self.now, when)
            what()
        self.now = ends

    def run(self, until: float) -> None:
        """Until nothing is due any more. Raises RuntimeError when something still is at `until`."""
        while self._due:
            when, _, what = heapq.heappop(self._due)
            if when > until:
                raise RuntimeError(f"something is still due after {(when - START) / 86_400:.1f} simulated days")
            self.now = max(self.now, when)
            what()


class SimulatedClock(Clock):
    """The workers' clock."""

    def __init__(self, time: SimulatedTime) -> None:
        super().__init__()
        self.is_set = True
        self._time = time

    def now(self) -> float:
        """Simulated epoch seconds."""
        return self._time.now

    def observe(self, date_header: str | None) -> None:
        """There is only one time here."""

    def sleep_until(self, when: float) -> None:
        """Wait in place."""
        if when > self._time.now:
            self._time.sleep(when - self._time.now)
