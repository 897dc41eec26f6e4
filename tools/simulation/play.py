"""Plays a plan: the real handlers, ledger, rate limiter, queues and decisions, on simulated time."""

from functools import partial
from typing import Any, cast

from greenlet import getcurrent

from backdrop.batches import Batches
from backdrop.clock import Clock
from tools.simulation.determinism import Outside, simulated
from tools.simulation.drawing import BATCH
from tools.simulation.functions import Functions
from tools.simulation.network import Network
from tools.simulation.plan import (
    Delete,
    Deploy,
    Event,
    KeyChange,
    Notice,
    Outage,
    Plan,
    PromptFile,
    Reconcile,
    Redrive,
    RemoveResult,
    Restore,
    RetryNow,
    Trouble,
    Upload,
    event_text,
)
from tools.simulation.promises import Promises
from tools.simulation.shared_state import SharedState
from tools.simulation.simulated_queue import Queue
from tools.simulation.simulated_s3 import StoredObject
from tools.simulation.stack import Stack, Worker

JPEG = b"\xff\xd8\xff\xe0" + bytes(40)
EVENT_SECONDS = 0.2  # between a write to S3 and its event
LATER_SECONDS = 4 * 3600.0  # between runs of the reconciler when everything else has become quiet
MOST_SECONDS = 15 * 86_400.0


class Play:
    """One plan, played once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.shared = SharedState(plan.conditions)
        self.history, self.violations = self.shared.history, self.shared.violations
        self._promises = Promises(self.shared, plan)
        self._network = Network(self.shared, self._promises.calls)
        self._functions = [
            Functions(self.shared, Stack(number + 1, Queue(self.shared.time)), self._promises)
            for number in range(plan.conditions.stacks)
        ]
        self._notices: dict[int, tuple[float, ...]] = {}
        self._pending_notices = 0
        self._quiet_at = self.shared.begin

    def run(self) -> "Play":
        """Until everything is at rest."""
        shared, conditions = self.shared, self.plan.conditions
        outside = Outside(
            transport=self._network,
            clock=shared.clock,
            elapsed=shared.elapsed,
            pause=shared.pause,
            measured=self._measured,
            logged=self._promises.logged,
        )
        with simulated(outside, conditions.seed):
            for each in self._functions:
                if conditions.batch:
                    Batches(cast(Any, each.stack.table), "ledger", Clock()).create(BATCH, list(conditions.batch), None)
            for event in self.plan.played:
                self._schedule(event)
            shared.time.at(shared.begin + conditions.reconcile_seconds * 0.5, self._tick)
            try:
                shared.time.run(until=shared.begin + 2 * MOST_SECONDS)
            except RuntimeError as error:
                shared.broken(str(error))
            for each in self._functions:
                self._promises.at_rest(each.stack, *self._hours)
        return self

    @property
    def _hours(self) -> tuple[float, float]:
        """How long things went wrong, and how long it took until everything was at rest after that."""
        begin, now = self.shared.begin, self.shared.time.now
        troubled = min(self._quiet_at, now) - begin
        return troubled / 3600, (now - begin - troubled) / 3600

    def _measured(self, values: dict[str, float]) -> None:
        """Metrics count for the stack of the worker that writes them."""
        worker: Worker = getcurrent().worker
        worker.stack.metrics.update(values)
        if "UnexpectedErrors" in values:
            self._promises.unexpected(worker)

    # What the plan says

    def _schedule(self, event: Event) -> None:
        if isinstance(event, Notice):
            self._notices[event.number] = event.after
            self._quiet(max(event.after, default=0.0) + 3600.0)
        elif isinstance(event, Trouble):
            self.shared.troubles.plan(event)
        else:
            self._quiet(event.at + getattr(event, "seconds", 0.0))
            self.shared.time.at(self.shared.begin + event.at, partial(self._do, event))

    def _quiet(self, since: float) -> None:
        self._quiet_at = max(self._quiet_at, self.shared.begin + since)

    def _do(self, event: Event) -> None:
        self.shared.note("plan", event_text(event))
        now = self.shared.time.now
        if isinstance(event, Upload):
            photo = self.shared.photos.put(event.key, JPEG + str(event.photo).encode(), now, dict(event.metadata))
            self._promises.uploads.written(photo)
            for seconds in self._notices.get(event.number, (EVENT_SECONDS,)):
                self._pending_notices += 1
                self.shared.time.at(now + seconds, partial(self._notify, photo))
        elif isinstance(event, PromptFile):
            self.shared.photos.put(event.key, event.text.encode(), now)
        elif isinstance(event, Delete | Restore):
            if isinstance(event, Delete):
                self.shared.photos.delete(event.key, now)
            else:
                self.shared.photos.restore(event.key)
            self._promises.uploads.changed(event.key)
        elif isinstance(event, RemoveResult):
            self._promises.uploads.results_removed.add(event.key)
            for stack in (each.stack for each in self._functions):
                for key in list(stack.results.keys(f"{event.key}.")):
                    stack.results.delete(key, now)
        elif isinstance(event, Outage):
            self.shared.troubles.outages.add(event.what)
            self.shared.time.at(now + event.seconds, partial(self.shared.troubles.outages.discard, event.what))
        elif isinstance(event, KeyChange):
            self.shared.api_key = f"sk-second-{now:.0f}"
            self.shared.time.at(now + event.seconds, self._store_key)
        else:
            for each in self._functions:
                self._operate(each, event)

    def _store_key(self) -> None:
        """An operator puts the key into SSM that the gateway takes by now."""
        self.shared.ssm_key = self.shared.api_key

    def _operate(self, functions: Functions, event: Event) -> None:
        if isinstance(event, Redrive):
            self._promises.calls.redriven(functions.stack)
            functions.redrive()
        elif isinstance(event, RetryNow):
            photo = self.shared.photos.current(event.key)
            if photo is not None:
                version = None if photo.version_id == "null" else photo.version_id
                functions.send({"job": {"bucket": "in", "key": photo.key, "version_id": version, "etag": photo.etag}})
        elif isinstance(event, Deploy):
            functions.deploy(dict(event.changes))
        elif isinstance(event, Reconcile):
            functions.reconcile()

    def _notify(self, photo: StoredObject) -> None:
        self._pending_notices -= 1
        for each in self._functions:
            each.notify(photo)

    def _tick(self) -> None:
        now = self.shared.time.now
        if now > self._quiet_at and not self._pending_notices and all(map(self._is_at_rest, self._functions)):
            return
        if now > self._quiet_at + MOST_SECONDS:
            self.shared.broken("it never comes to rest")
            return
        for each in self._functions:
            each.reconcile()
        is_early = now < self._quiet_at + 2 * 3600.0
        self.shared.time.at(now + (self.shared.conditions.reconcile_seconds if is_early else LATER_SECONDS), self._tick)

    def _is_at_rest(self, functions: Functions) -> bool:
        return functions.are_idle and not self._promises.rest.unfinished(functions.stack)
