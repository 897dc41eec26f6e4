"""Uploads of one key whose results are stored in any order: the current version's result stays.

S3 dates a multipart object by its initiation: one that was begun before a put of the same key and completed after it
is the current version and looks older.
"""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backdrop.job import Job
from tests.aws_events import eventbridge_event
from tests.integration.aws_faults import client_of
from tests.integration.harness import Harness
from tests.integration.stack import INPUT, OUTPUT

BEFORE_SECONDS = 60.0  # how much earlier a multipart upload was begun than completed
KEY = "a.jpg"


@pytest.fixture(params=["versions", "no versions"])
def harness(harness: Harness, request: pytest.FixtureRequest) -> Harness:
    """With an input bucket that keeps versions, and with one that doesn't."""
    if request.param == "no versions":
        harness.functions.event = eventbridge_event
        harness.s3.delete_bucket(Bucket=INPUT)
        harness.s3.create_bucket(Bucket=INPUT)
    return harness


def put(harness: Harness, photo: bytes, prompt: str, begun_before: float = 0.0) -> Job:
    """Upload in the next second; an upload of many parts was begun `begun_before` seconds before."""
    harness.advance(2)
    job = harness.put(KEY, photo, prompt=prompt)
    harness.set_modified(KEY, harness.now() - begun_before)
    if job.version_id:
        return job
    head = harness.s3.head_object(Bucket=INPUT, Key=KEY)
    return Job(INPUT, KEY, None, job.etag, job.size, int(head["LastModified"].timestamp()))


def buy_without_result(harness: Harness, job: Job) -> None:
    """The job is bought, and its result can't be fetched for a while."""
    harness.gateway.faults([{"where": "media", "kind": "status", "status": 503}])
    harness.notify(job)
    harness.gateway.faults([])
    assert harness.state(job) == "PAID"


def stays(harness: Harness) -> str:
    """The job whose result is there when all is done."""
    harness.drain()
    assert (harness.waiting(), harness.dead_letters()) == ([], [])
    job_id: str = harness.outputs()[f"{KEY}.png"]["Metadata"]["job-id"]
    return job_id


@pytest.mark.parametrize("begun_before", [0.0, BEFORE_SECONDS])
def test_row_12_a_late_result_leaves_that_of_the_current_version_alone(
    harness: Harness, photo: bytes, begun_before: float
) -> None:
    older = put(harness, photo, "wood")
    buy_without_result(harness, older)
    current = put(harness, photo, "snow", begun_before)
    harness.notify(current)

    assert stays(harness) == current.id
    assert harness.state(older) == "DONE"
    assert harness.charged() == 2


@pytest.mark.parametrize("begun_before", [0.0, BEFORE_SECONDS])
def test_row_12_the_current_versions_late_result_replaces_the_older_ones(
    harness: Harness, photo: bytes, begun_before: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = put(harness, photo, "wood")
    buy_without_result(harness, older)
    harness.advance(30)  # so that its result is fetched before the other's
    current = put(harness, photo, "snow", begun_before)
    buy_without_result(harness, current)
    order = []
    real = harness.services.result_storage.store

    def store(record: Any, *more: Any) -> Any:
        order.append(record.id)
        return real(record, *more)

    monkeypatch.setattr(harness.services.result_storage, "store", store)

    assert stays(harness) == current.id
    assert order == [older.id, current.id]


@pytest.mark.parametrize("begun_before", [0.0, BEFORE_SECONDS])
def test_row_12_of_two_that_are_both_replaced_the_later_one_stays(
    harness: Harness, photo: bytes, begun_before: float
) -> None:
    first = put(harness, photo, "wood")
    buy_without_result(harness, first)
    second = put(harness, photo, "snow", begun_before)
    harness.notify(second)
    put(harness, photo + b"\0", "moss")  # another photo, and nobody has noticed it yet

    assert stays(harness) == (first if begun_before else second).id


@pytest.mark.parametrize("harness", ["versions"], indirect=True)
def test_row_12_a_version_that_is_current_again_has_the_word(harness: Harness, photo: bytes) -> None:
    first = put(harness, photo, "wood")
    buy_without_result(harness, first)
    second = put(harness, photo, "snow")
    harness.notify(second)
    harness.s3.delete_object(Bucket=INPUT, Key=KEY, VersionId=second.version_id)

    assert stays(harness) == first.id


@pytest.mark.parametrize("harness", ["versions"], indirect=True)
def test_row_12_a_restored_version_keeps_its_result_from_one_that_came_in_between(
    harness: Harness, photo: bytes
) -> None:
    """It is what its result was made from, so that nothing is bought for it."""
    first = put(harness, photo, "wood")
    harness.notify(first)
    second = put(harness, photo, "snow")
    buy_without_result(harness, second)
    source = {"Bucket": INPUT, "Key": KEY, "VersionId": first.version_id}
    restored = harness.s3.copy_object(Bucket=INPUT, Key=KEY, CopySource=source)["VersionId"]
    harness.set_modified(KEY, harness.now() - BEFORE_SECONDS)
    third = Job(INPUT, KEY, restored, first.etag, len(photo))
    harness.notify(third)

    assert stays(harness) == first.id
    assert harness.charged() == 2


def test_row_12_a_deleted_photos_results_are_told_apart_by_time(harness: Harness, photo: bytes) -> None:
    first = put(harness, photo, "wood")
    buy_without_result(harness, first)
    second = put(harness, photo, "snow")
    harness.notify(second)
    harness.s3.delete_object(Bucket=INPUT, Key=KEY)

    assert stays(harness) == second.id


def test_row_12_a_result_that_says_no_time_stays_while_it_is_the_current_versions(
    harness: Harness, photo: bytes
) -> None:
    """As results of earlier days may."""
    older = put(harness, photo, "wood")
    buy_without_result(harness, older)
    current = put(harness, photo, "snow")
    harness.notify(current)
    stored = harness.outputs()[f"{KEY}.png"]
    metadata = {name: value for name, value in stored["Metadata"].items() if name != "source-modified"}
    harness.s3.put_object(Bucket=OUTPUT, Key=f"{KEY}.png", Body=stored["Body"], Metadata=metadata)

    assert stays(harness) == current.id


def test_row_12_times_tell_when_the_current_version_is_closed_to_everybody(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 answers 400 about an object that is encrypted with its uploader's own key, whoever asks without that key."""
    first = put(harness, photo, "wood")
    buy_without_result(harness, first)
    second = put(harness, photo, "snow")
    harness.notify(second)
    client: Any = client_of(harness, "s3")
    real: Callable[..., Any] = client.head_object

    def head_object(**arguments: Any) -> Any:
        if arguments["Bucket"] == INPUT:
            raise ClientError({"ResponseMetadata": {"HTTPStatusCode": 400}}, "HeadObject")  # type: ignore[typeddict-item]
        return real(**arguments)

    monkeypatch.setattr(client, "head_object", head_object)

    assert stays(harness) == second.id
