"""Lambda's workers: as many as an account may have, started only so fast."""

from collections.abc import Callable
from typing import Any

from tools.simulation.simulated_aws import (
    COLD_START_SECONDS,
    NEW_WORKERS_A_SECOND,
    POLLERS_A_SECOND,
    POLLERS_AT_FIRST,
    Bill,
    TokenBucket,
)
from tools.simulation.simulated_time import SimulatedTime


class SimulatedLambda:
    """Workers of one account; an event waits in line while none is free."""

    def __init__(
        self, time: SimulatedTime, bill: Bill, new_worker: Callable[[], Any], most_retries: int, executions: int
    ) -> None:
        self._time, self._bill, self._new_worker, self._executions = time, bill, new_worker, executions
        self.running = 0
        self._idle: dict[str, list[Any]] = {}
        self._new = {name: TokenBucket(time, NEW_WORKERS_A_SECOND, 1000) for name in ("trigger", "retry", "reconcile")}
        self._most_retries = most_retries
        self._retries = 0
        self._started = time.now
        self._pollers_at_first = POLLERS_AT_FIRST

    def invoke(self, function: str, work: Callable[[Any], bool | None]) -> bool:
        """Run `work` with a worker; False when Lambda throttles. A worker is used again unless `work` says False."""
        workers = self._idle.setdefault(function, [])
        if self.running >= self._executions or not (workers or self._new[function].take()):
            self._bill.counts["throttled"] += 1
            return False
        self.running += 1
        self._bill.peak("concurrent executions", self.running)
        self._bill.counts["invocations"] += 1

        def run() -> None:
            begins = self._time.now
            if workers:
                worker = workers.pop()
            else:
                self._time.sleep(COLD_START_SECONDS)
                worker = self._new_worker()
                self._bill.counts["cold starts"] += 1
            if work(worker) is not False:
                workers.append(worker)
            self.running -= 1
            self._bill.lambda_seconds += self._time.now - begins

        self._time.start(run)
        return True

    def retire(self) -> None:
        """Idle workers end, as after a deployment."""
        self._idle = {name: [] for name in self._idle}

    def allow(self, executions: int) -> None:
        """So many at once from here on: other functions of the account take the rest."""
        self._executions = executions

    def provision(self, pollers: int) -> None:
        """As many pollers from the start on, in place of those that grow."""
        self._pollers_at_first = pollers

    @property
    def may_poll(self) -> bool:
        """Whether the queue's event source may start one more."""
        allowed = self._pollers_at_first + (self._time.now - self._started) * POLLERS_A_SECOND
        return self._retries < min(self._most_retries, allowed)

    def poll(self, work: Callable[[Any], bool | None], ended: Callable[[], None]) -> bool:
        """As `invoke`, for a message."""

        def counted(worker: Any) -> bool | None:
            is_alive = work(worker)
            self._retries -= 1
            self._time.at(self._time.now, ended)
            return is_alive

        if not self.invoke("retry", counted):
            return False
        self._retries += 1
        self._bill.peak("concurrent retries", self._retries)
        return True
