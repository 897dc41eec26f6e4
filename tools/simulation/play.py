"""Plays a plan: the real handlers, ledger, rate limiter, queues and decisions, on simulated time."""

import zlib
from collections import Counter
from functools import partial
from typing import Any, cast

from greenlet import getcurrent

from backdrop.batches import Batches
from backdrop.clock import Clock
from tools.simulation.determinism import simulated
from tools.simulation.drawing import BATCH
from tools.simulation.gateway import FIRST_KEY, SimulatedGateway
from tools.simulation.plan import (
    AwsTrouble,
    Delete,
    Deploy,
    Event,
    GatewayTrouble,
    KeyChange,
    Kill,
    Notice,
    Outage,
    Plan,
    PromptFile,
    Reconcile,
    Redelivery,
    Redrive,
    RemoveResult,
    Restore,
    ResultTrouble,
    RetryNow,
    Upload,
    event_text,
)
from tools.simulation.promises import Promises
from tools.simulation.region import Killed, Session, Worker
from tools.simulation.simulated_s3 import Bucket, StoredObject
from tools.simulation.simulated_time import START, SimulatedTime
from tools.simulation.stack import Stack

JPEG = b"\xff\xd8\xff\xe0" + bytes(40)
MIDNIGHT = START - START % 86_400
EVENT_SECONDS = 0.2  # between a write to S3 and its event
LATER_SECONDS = 4 * 3600.0  # between runs of the reconciler when everything else has become quiet
MOST_SECONDS = 15 * 86_400.0
_AWS_OUTAGES = {"dynamodb throttled", "s3 failed", "ssm throttled", "sqs failed"}


class Play:
    """One plan, played once."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.conditions = plan, plan.conditions
        self.time = SimulatedTime()
        self.time.now = self.begin = MIDNIGHT + plan.conditions.start
        self.history: list[tuple[float, str, str]] = []
        self.photos = Bucket(is_versioned=plan.conditions.is_versioned)
        self.ssm_key = FIRST_KEY
        self.promises = Promises(self)
        self.gateway = self.transport = SimulatedGateway(self)
        self.stacks = [Stack(self, number + 1) for number in range(plan.conditions.stacks)]
        self.next_session: Session
        self._count: Counter[tuple[str, str]] = Counter()
        self._troubles: dict[tuple[str, str, int], Any] = {}
        self._notices: dict[int, tuple[float, ...]] = {}
        self._outages: set[str] = set()
        self._quiet_at = self.begin
        self._pending_notices = 0

    @property
    def violations(self) -> list[str]:
        """Promises that were broken, in the order in which they were."""
        return self.promises.violations

    def run(self) -> "Play":
        """Until everything is at rest."""
        with simulated(self, self.conditions.seed):
            for stack in self.stacks:
                if self.conditions.batch:
                    Batches(cast(Any, stack.table), "ledger", Clock()).create(BATCH, list(self.conditions.batch), None)
            for event in self.plan.played:
                self._schedule(event)
            self.time.at(self.begin + self.conditions.reconcile_seconds * 0.5, self._tick)
            try:
                self.time.run(until=self.begin + 2 * MOST_SECONDS)
            except RuntimeError as error:
                self.promises.broken(str(error))
            self.promises.at_rest()
        return self

    # What the plan says

    def _schedule(self, event: Event) -> None:
        if isinstance(event, Notice):
            self._notices[event.number] = event.after
            self._quiet(max(event.after, default=0.0) + 3600.0)
        elif isinstance(event, AwsTrouble):
            self._troubles[event.key, event.operation, event.nth] = event
        elif isinstance(event, Kill):
            self._troubles[event.key, "any", event.nth] = event
        elif isinstance(event, GatewayTrouble):
            self._troubles[event.key, "call", event.nth] = event
        elif isinstance(event, ResultTrouble):
            self._troubles[event.key, "fetch", event.nth] = event
        elif isinstance(event, Redelivery):
            self._troubles[event.key, "message", event.nth] = event
        else:
            self._quiet(event.at + getattr(event, "seconds", 0.0))
            self.time.at(self.begin + event.at, partial(self._do, event))

    def _quiet(self, since: float) -> None:
        self._quiet_at = max(self._quiet_at, self.begin + since)

    def _do(self, event: Event) -> None:
        self.note("plan", event_text(event))
        now = self.time.now
        if isinstance(event, Upload):
            photo = self.photos.put(event.key, JPEG + str(event.photo).encode(), now, dict(event.metadata))
            self.promises.uploaded(photo)
            for seconds in self._notices.get(event.number, (EVENT_SECONDS,)):
                self._pending_notices += 1
                self.time.at(now + seconds, partial(self._notify, photo))
        elif isinstance(event, PromptFile):
            self.photos.put(event.key, event.text.encode(), now)
        elif isinstance(event, Delete | Restore):
            if isinstance(event, Delete):
                self.photos.delete(event.key, now)
            else:
                self.photos.restore(event.key)
            self.promises.changed(event.key)
        elif isinstance(event, RemoveResult):
            self.promises.removed.add(event.key)
            for stack in self.stacks:
                for key in list(stack.results.keys(f"{event.key}.")):
                    stack.results.delete(key, now)
        elif isinstance(event, Outage):
            self._outages.add(event.what)
            self.time.at(now + event.seconds, partial(self._outages.discard, event.what))
        elif isinstance(event, KeyChange):
            self.gateway.api_key = f"sk-second-{now:.0f}"
            self.time.at(now + event.seconds, self._store_key)
        else:
            for stack in self.stacks:
                self._operate(stack, event)

    def _store_key(self) -> None:
        """An operator puts the key into SSM that the gateway takes by now."""
        self.ssm_key = self.gateway.api_key

    def _operate(self, stack: Stack, event: Event) -> None:
        if isinstance(event, Redrive):
            self.promises.redriven(stack)
            stack.redrive()
        elif isinstance(event, RetryNow):
            photo = self.photos.current(event.key)
            if photo is not None:
                version = None if photo.version_id == "null" else photo.version_id
                stack.send({"job": {"bucket": "in", "key": photo.key, "version_id": version, "etag": photo.etag}})
        elif isinstance(event, Deploy):
            stack.deploy(event.changes)
        elif isinstance(event, Reconcile):
            stack.reconcile()

    def _notify(self, photo: StoredObject) -> None:
        self._pending_notices -= 1
        for stack in self.stacks:
            stack.notify(photo)

    def _tick(self) -> None:
        now = self.time.now
        if now > self._quiet_at and not self._pending_notices and all(self._is_at_rest(each) for each in self.stacks):
            return
        if now > self._quiet_at + MOST_SECONDS:
            self.promises.broken("it never comes to rest")
            return
        for stack in self.stacks:
            stack.reconcile()
        is_early = now < self._quiet_at + 2 * 3600.0
        self.time.at(now + (self.conditions.reconcile_seconds if is_early else LATER_SECONDS), self._tick)

    def _is_at_rest(self, stack: Stack) -> bool:
        return not (stack.queue.waiting or stack.lambda_.running or self.promises.unfinished(stack))

    @property
    def hours(self) -> tuple[float, float]:
        """How long things went wrong, and how long it took until everything was at rest after that."""
        troubled = min(self._quiet_at, self.time.now) - self.begin
        return troubled / 3600, (self.time.now - self.begin - troubled) / 3600

    # What workers meet

    def trouble_of(self, subject: str, operation: str) -> AwsTrouble | None:
        """What goes wrong with a worker's next call of an AWS operation."""
        found: AwsTrouble | None = self._next(subject, operation)
        return found

    def kill_of(self, subject: str) -> str:
        """`before` or `after`, if a worker ends at its next call of anything."""
        found: Kill | None = self._next(subject, "any")
        return found.moment if found else ""

    def gateway_trouble_of(self, subject: str) -> GatewayTrouble | None:
        """What comes of the next gateway call for a photo."""
        found: GatewayTrouble | None = self._next(subject, "call")
        return found

    def result_trouble_of(self, subject: str) -> str:
        """What comes of the next request for a result of a photo."""
        found: ResultTrouble | None = self._next(subject, "fetch")
        return found.kind if found else ""

    def redelivery_of(self, subject: str) -> float | None:
        """In how many seconds the message that is received comes a second time."""
        found: Redelivery | None = self._next(subject, "message")
        return found.seconds if found else None

    def _next(self, subject: str, what: str) -> Any:
        self._count[subject, what] += 1
        return self._troubles.get((subject, what, self._count[subject, what]))

    def outage_of(self, service: str) -> AwsTrouble | None:
        """What all calls of an AWS service meet."""
        for what in _AWS_OUTAGES & self._outages:
            name, _, kind = what.partition(" ")
            if name == service:
                return AwsTrouble("", "", 0, kind)  # type: ignore[arg-type]
        return None

    @property
    def gateway_outage(self) -> str:
        """What all gateway calls meet."""
        return min(self._outages - _AWS_OUTAGES, default="")

    def check_alive(self, worker: Worker) -> None:
        """A dead worker does nothing more."""
        if worker.is_dead:
            raise Killed("it was killed")

    def kill(self, worker: Worker, where: str) -> None:
        """Its process ends here."""
        worker.is_dead = True
        self.promises.kills += 1
        raise Killed(where)

    def chance(self, what: str) -> float:
        """Between 0 and 1, always the same for the same of one seed."""
        return zlib.crc32(f"{self.conditions.seed} {what}".encode()) / 2**32

    def note(self, who: str, what: str) -> None:
        """One more line of the story."""
        self.history.append((self.time.now, who, what))

    # `Outside`

    def clock(self) -> float:
        """A worker's clock may be off."""
        worker: Worker | None = getattr(getcurrent(), "worker", None)
        return self.time.now + (worker.skew if worker else 0.0)

    def elapsed(self) -> float:
        """As the time of the simulation."""
        return self.time.now

    def pause(self, seconds: float) -> None:
        """Wait, unless Lambda's time is over before."""
        worker: Worker = getcurrent().worker
        self.check_alive(worker)
        if self.time.now + seconds >= worker.ends_at:
            self.time.sleep(max(0.0, worker.ends_at - self.time.now))
            self.kill(worker, "Lambda's time is over")
        self.time.sleep(seconds)
        self.check_alive(worker)

    def session(self) -> Session:
        """Of the worker that is being built."""
        return self.next_session

    def measured(self, values: dict[str, float]) -> None:
        """Metrics count for the stack of the worker that writes them."""
        worker: Worker = getcurrent().worker
        worker.stack.metrics.update(values)
        if "UnexpectedErrors" in values:
            self.promises.unexpected(worker)

    def logged(self, text: str) -> None:
        """No secret may be in it."""
        self.promises.logged(text)
