"""The end of a batch is told at least once and never early, whoever is killed and whatever comes at the same time."""

import itertools
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backdrop.batches import Batches, FinishedBatch, shard_name
from backdrop.states import State
from tests.aws_events import s3_event
from tests.integration.aws_faults import client_of
from tests.integration.batch_uploads import Batch, ends, small_shards
from tests.integration.harness import Harness
from tests.integration.stack import TABLE
from tests.integration.test_crash_matrix import Deliver, Effects, by_retry, by_trigger, effects

__all__ = ["effects", "ends", "small_shards"]


def test_an_event_that_was_not_taken_is_tried_again(
    harness: Harness, photo: bytes, ends: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(harness, "events")
    real, left = client.put_events, [2]

    def refusing(**arguments: Any) -> Any:
        if "Batch" in arguments["Entries"][0]["DetailType"] and left[0]:
            left[0] -= 1
            if left[0]:
                return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}
            raise ClientError({"Error": {"Code": "ThrottlingException"}}, "PutEvents")
        return real(**arguments)

    monkeypatch.setattr(client, "put_events", refusing)
    job = Batch(harness, "a.jpg").upload("a.jpg", photo, prompt="wood")
    record = harness.record(job)
    assert record
    assert (record.state, ends) == (State.DONE, [])
    harness.drain()
    assert [event["uploads"] for event in ends] == [1]


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("deliver", [by_trigger, by_retry])
@pytest.mark.parametrize("fails", [False, True], ids=["done", "rejected"])
def test_ended_at_every_effect_a_batch_is_told_at_least_once_never_early_and_with_the_right_sums(
    environment: pytest.MonkeyPatch,
    harness: Harness,
    photo: bytes,
    effects: Effects,
    deliver: Deliver,
    fails: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row 110. The last upload of three, which is alone in its shard, has its worker killed."""
    effects.watch(harness, environment)
    published: list[dict[str, Any]] = []
    client = client_of(harness, "events")
    real = client.put_events

    def publish(**arguments: Any) -> Any:
        published.append(json.loads(arguments["Entries"][0]["Detail"]))
        return real(**arguments)

    monkeypatch.setattr(client, "put_events", publish)
    numbers = itertools.count()

    def attempt(kill_before: int, kill_after: int) -> list[str]:
        batch_id = f"{next(numbers):016x}"
        keys = [f"{batch_id}/{number}.jpg" for number in range(3)]
        harness.services.batches.create(batch_id, keys, None)
        jobs = [harness.put(key, photo, prompt=key, batch=shard_name(batch_id, at)) for at, key in enumerate(keys)]
        harness.notify(*jobs[:2])
        published.clear()
        if fails:
            harness.gateway.faults([{"kind": "status", "status": 400}])
        effects.kill_before, effects.kill_after = kill_before, kill_after
        effects.names.clear()
        deliver(harness, s3_event(jobs[2]))
        seen = list(effects.names)
        harness.restart()
        effects.kill_before = effects.kill_after = -1
        harness.drain(seconds=4 * 3600)
        told = [event for event in published if event.get("batch_id") == batch_id]
        at = f"kill_before={kill_before} kill_after={kill_after} effects={seen}"
        records = harness.services.records.known([job.id for job in jobs]).values()
        assert 1 <= len(told) <= 2, at
        for event in told:
            assert event["uploads"] == 3, at
            assert event["images"] == sum(record.bought_images for record in records), at
            assert Decimal(str(event["cost_usd"])) == sum(record.cost for record in records), at
            for state in (State.DONE, State.REJECTED):
                assert event["states"][state] == [record.state for record in records].count(state), at
        assert harness.waiting() == [], at
        return seen

    names = attempt(-1, -1)
    assert names.count("PutEvents") == 2
    before_the_end = len(names) - 12
    assert "PutItem" in names[before_the_end:], "which says how the upload has ended"
    for index in range(before_the_end, len(names)):
        attempt(index, -1)
        attempt(-1, index)


class Stepped:
    """A DynamoDB client for one worker, which makes one request at a time, when it is told to."""

    def __init__(self, client: Any, work: Callable[[Any], None]) -> None:
        self._client, self._go, self._waits = client, threading.Semaphore(0), threading.Semaphore(0)
        self._ended = False
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()
        self._waits.acquire(timeout=10)

    def __getattr__(self, name: str) -> Any:
        def request(**arguments: Any) -> Any:
            self._waits.release()
            assert self._go.acquire(timeout=10)
            return getattr(self._client, name)(**arguments)

        return request

    def step(self) -> bool:
        """Let one request through; whether there is another."""
        if not self._ended:
            self._go.release()
            assert self._waits.acquire(timeout=10)
        return not self._ended

    def _run(self, work: Callable[[Any], None]) -> None:
        try:
            work(self)
        finally:
            self._ended = True
            self._waits.release()


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("last", [("a", "b"), ("a", "c")], ids=["of one shard", "of two shards"])
def test_the_last_two_uploads_may_end_at_the_same_time(harness: Harness, photo: bytes, last: tuple[str, str]) -> None:
    """Row 111. Whatever the order of the requests, the batch is told, with all of it in the sums."""
    keys = ["a", "b", "c"]
    records = {key: harness.record(harness.upload(key, photo, prompt=key)) for key in keys}

    def end(client: Any, batch_id: str, key: str, told: list[FinishedBatch]) -> None:
        record = records[key]
        assert record
        mine = Batches(client, TABLE, harness.services.clock)
        batch = mine.ended(replace(record, batch=shard_name(batch_id, keys.index(key))))
        if batch:
            told.append(batch)
            mine.mark_told(batch.id)

    for number, order in enumerate(set(itertools.permutations((0, 0, 0, 1, 1, 1)))):
        told: list[FinishedBatch] = []
        batch_id = f"{number:016x}"
        harness.services.batches.create(batch_id, keys, None)
        [before] = set(keys) - set(last)
        end(harness.dynamodb, batch_id, before, told)
        assert told == []
        workers = [Stepped(harness.dynamodb, partial(end, batch_id=batch_id, key=key, told=told)) for key in last]
        for turn in order:
            workers[turn].step()
        for worker in workers:
            while worker.step():
                pass
        assert len(told) in (1, 2), order
        for batch in told:
            assert (batch.states["DONE"], batch.cost_usd) == (3, Decimal("0.09")), order
