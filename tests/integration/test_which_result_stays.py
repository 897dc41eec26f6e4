"""Uploads of one key whose results are stored in any order: the current version's result stays.

S3 dates a multipart object by its initiation: one that was begun before a put of the same key and completed after it
is the current version and looks older.
"""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backdrop.job import Job
from tests.integration.harness import INPUT, OUTPUT, Harness, eventbridge_event

BEFORE_SECONDS = 60.0  # how much earlier a multipart upload was begun than completed
KEY = "a.jpg"


@pytest.fixture(params=["versions", "no versions"])
def world(world: Harness, request: pytest.FixtureRequest) -> Harness:
    """With an input bucket that keeps versions, and with one that doesn't."""
    if request.param == "no versions":
        world.event = eventbridge_event
        world.s3.delete_bucket(Bucket=INPUT)
        world.s3.create_bucket(Bucket=INPUT)
    return world


def put(world: Harness, photo: bytes, prompt: str, begun_before: float = 0.0) -> Job:
    """Upload in the next second; an upload of many parts was begun `begun_before` seconds before."""
    world.advance(2)
    job = world.put(KEY, photo, prompt=prompt)
    world.set_modified(KEY, world.now() - begun_before)
    if job.version_id:
        return job
    head = world.s3.head_object(Bucket=INPUT, Key=KEY)
    return Job(INPUT, KEY, None, job.etag, job.size, int(head["LastModified"].timestamp()))


def buy_without_result(world: Harness, job: Job) -> None:
    """The job is bought, and its result can't be fetched for a while."""
    world.gateway.faults([{"where": "media", "kind": "status", "status": 503}])
    world.notify(job)
    world.gateway.faults([])
    assert state(world, job) == "PAID"


def state(world: Harness, job: Job) -> str:
    record = world.record(job)
    assert record is not None
    return record.state


def stays(world: Harness) -> str:
    """The job whose result is there when all is done."""
    world.drain()
    assert (world.waiting(), world.dead_letters()) == ([], [])
    job_id: str = world.outputs()[f"{KEY}.png"]["Metadata"]["job-id"]
    return job_id


@pytest.mark.parametrize("begun_before", [0.0, BEFORE_SECONDS])
def test_row_12_a_late_result_leaves_that_of_the_current_version_alone(
    world: Harness, photo: bytes, begun_before: float
) -> None:
    older = put(world, photo, "wood")
    buy_without_result(world, older)
    current = put(world, photo, "snow", begun_before)
    world.notify(current)

    assert stays(world) == current.id
    assert state(world, older) == "DONE"
    assert world.charged() == 2


@pytest.mark.parametrize("begun_before", [0.0, BEFORE_SECONDS])
def test_row_12_the_current_versions_late_result_replaces_the_older_ones(
    world: Harness, photo: bytes, begun_before: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = put(world, photo, "wood")
    buy_without_result(world, older)
    world.advance(30)  # so that its result is fetched before the other's
    current = put(world, photo, "snow", begun_before)
    buy_without_result(world, current)
    order = []
    real = world.app.result_storage.store

    def store(record: Any, *more: Any) -> Any:
        order.append(record.id)
        return real(record, *more)

    monkeypatch.setattr(world.app.result_storage, "store", store)

    assert stays(world) == current.id
    assert order == [older.id, current.id]


@pytest.mark.parametrize("begun_before", [0.0, BEFORE_SECONDS])
def test_row_12_of_two_that_are_both_replaced_the_later_one_stays(
    world: Harness, photo: bytes, begun_before: float
) -> None:
    first = put(world, photo, "wood")
    buy_without_result(world, first)
    second = put(world, photo, "snow", begun_before)
    world.notify(second)
    put(world, photo + b"\0", "moss")  # another photo, and nobody has noticed it yet

    assert stays(world) == (first if begun_before else second).id


@pytest.mark.parametrize("world", ["versions"], indirect=True)
def test_row_12_a_version_that_is_current_again_has_the_word(world: Harness, photo: bytes) -> None:
    first = put(world, photo, "wood")
    buy_without_result(world, first)
    second = put(world, photo, "snow")
    world.notify(second)
    world.s3.delete_object(Bucket=INPUT, Key=KEY, VersionId=second.version_id)

    assert stays(world) == first.id


@pytest.mark.parametrize("world", ["versions"], indirect=True)
def test_row_12_a_restored_version_keeps_its_result_from_one_that_came_in_between(world: Harness, photo: bytes) -> None:
    """It is what its result was made from, so that nothing is bought for it."""
    first = put(world, photo, "wood")
    world.notify(first)
    second = put(world, photo, "snow")
    buy_without_result(world, second)
    source = {"Bucket": INPUT, "Key": KEY, "VersionId": first.version_id}
    restored = world.s3.copy_object(Bucket=INPUT, Key=KEY, CopySource=source)["VersionId"]
    world.set_modified(KEY, world.now() - BEFORE_SECONDS)
    third = Job(INPUT, KEY, restored, first.etag, len(photo))
    world.notify(third)

    assert stays(world) == first.id
    assert world.charged() == 2


def test_row_12_a_deleted_photos_results_are_told_apart_by_time(world: Harness, photo: bytes) -> None:
    first = put(world, photo, "wood")
    buy_without_result(world, first)
    second = put(world, photo, "snow")
    world.notify(second)
    world.s3.delete_object(Bucket=INPUT, Key=KEY)

    assert stays(world) == second.id


def test_row_12_a_result_that_says_no_time_stays_while_it_is_the_current_versions(world: Harness, photo: bytes) -> None:
    """As results of earlier days may."""
    older = put(world, photo, "wood")
    buy_without_result(world, older)
    current = put(world, photo, "snow")
    world.notify(current)
    stored = world.outputs()[f"{KEY}.png"]
    metadata = {name: value for name, value in stored["Metadata"].items() if name != "source-modified"}
    world.s3.put_object(Bucket=OUTPUT, Key=f"{KEY}.png", Body=stored["Body"], Metadata=metadata)

    assert stays(world) == current.id


def test_row_12_times_tell_when_the_current_version_is_closed_to_everybody(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 answers 400 about an object that is encrypted with its uploader's own key, whoever asks without that key."""
    first = put(world, photo, "wood")
    buy_without_result(world, first)
    second = put(world, photo, "snow")
    world.notify(second)
    client: Any = world.app.storage._client
    real: Callable[..., Any] = client.head_object

    def head_object(**arguments: Any) -> Any:
        if arguments["Bucket"] == INPUT:
            raise ClientError({"ResponseMetadata": {"HTTPStatusCode": 400}}, "HeadObject")  # type: ignore[typeddict-item]
        return real(**arguments)

    monkeypatch.setattr(client, "head_object", head_object)

    assert stays(world) == second.id
