"""An input bucket of the user's own: events come through EventBridge, and it may keep no versions."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backdrop.errors import NotConfigured
from backdrop.job import Job
from backdrop.states import State
from tests.aws_events import envelope, eventbridge_event
from tests.integration.aws_faults import client_of
from tests.integration.harness import Harness
from tests.integration.simulated_lambda import Killed
from tests.integration.stack import INPUT, OUTPUT

LATER = 5.0  # seconds


@pytest.fixture(params=["never versioned", "versions suspended"])
def harness(harness: Harness, request: pytest.FixtureRequest) -> Iterator[Harness]:
    """With an input bucket that keeps no versions; where they are suspended, S3 calls each "null"."""
    harness.functions.event = eventbridge_event
    if request.param == "versions suspended":
        harness.s3.put_bucket_versioning(Bucket=INPUT, VersioningConfiguration={"Status": "Suspended"})
        events = client_of(harness, "s3").meta.events
        operations = [f"after-call.s3.{operation}" for operation in ("HeadObject", "GetObject")]
        for operation in operations:  # moto leaves it out
            events.register(operation, _say_null)
        yield harness
        for operation in operations:
            events.unregister(operation, _say_null)
    else:
        harness.s3.delete_bucket(Bucket=INPUT)
        harness.s3.create_bucket(Bucket=INPUT)
        yield harness


def _say_null(parsed: dict[str, Any], **_: Any) -> None:
    parsed.setdefault("VersionId", "null")


@pytest.fixture(scope="session")
def other_photo(picture_of: Callable[[str], bytes]) -> bytes:
    return picture_of("PNG")


def current(harness: Harness, key: str) -> Job:
    """The upload of a key as the ledger knows it."""
    head = harness.s3.head_object(Bucket=INPUT, Key=key)
    modified = int(head["LastModified"].timestamp())
    return Job(INPUT, key, None, head["ETag"].strip('"'), head["ContentLength"], modified)


def test_duplicate_events_of_an_upload_buy_once(harness: Harness, photo: bytes) -> None:
    job = harness.upload("my photo+1%20.jpg", photo, prompt="wood")
    harness.advance(LATER)

    harness.notify(job)
    harness.send(eventbridge_event(job))
    harness.send(envelope(eventbridge_event(job), Killed()))
    harness.send({"job": current(harness, job.key).as_dict()})
    harness.drain()

    assert harness.prompts() == ["wood"]
    assert list(harness.outputs()) == ["my photo+1%20.jpg.png"]
    assert harness.state(current(harness, job.key)) == State.DONE


def test_the_same_photo_uploaded_again_with_another_prompt_is_bought_again(harness: Harness, photo: bytes) -> None:
    harness.upload("a.jpg", photo, prompt="wood")
    harness.advance(LATER)
    harness.upload("a.jpg", photo, prompt="snow")

    assert harness.prompts() == ["wood", "snow"]
    assert harness.outputs()["a.jpg.png"]["Metadata"]["job-id"] == current(harness, "a.jpg").id


def test_an_upload_that_is_replaced_before_its_call_is_not_bought(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "status", "status": 429}])  # which charges nothing, so that no call is open
    harness.upload("a.jpg", photo, prompt="wood")
    replaced = current(harness, "a.jpg")
    harness.advance(1)
    harness.upload("a.jpg", photo, prompt="snow")
    harness.drain()

    assert harness.prompts() == ["snow"]
    assert harness.state(replaced) == State.SUPERSEDED
    assert harness.dead_letters() == []


def test_an_event_that_comes_after_the_upload_was_replaced_buys_the_newer_one_once(
    harness: Harness, photo: bytes
) -> None:
    late = harness.put("a.jpg", photo, prompt="wood")
    harness.advance(LATER)
    newer = harness.put("a.jpg", photo, prompt="snow")

    harness.notify(late)
    harness.notify(newer)

    assert harness.prompts() == ["snow"]


@pytest.mark.parametrize("way", ["trigger", "event in the queue", "envelope in the queue"])
def test_a_paid_upload_whose_object_is_deleted_before_its_result_is_stored_is_stored(
    harness: Harness, photo: bytes, way: str
) -> None:
    harness.gateway.faults([{"where": "media", "kind": "status", "status": 503, "times": 2}])
    job = harness.put("a.jpg", photo, prompt="wood")
    upload = current(harness, "a.jpg")
    if way == "trigger":
        harness.notify(job)
    else:
        event = eventbridge_event(job)
        harness.send(event if way == "event in the queue" else envelope(event, Killed()))
    harness.drain(seconds=1)
    assert harness.state(upload) == State.PAID
    harness.s3.delete_object(Bucket=INPUT, Key="a.jpg")
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.state(upload) == State.DONE


@pytest.mark.parametrize("way", ["trigger", "event in the queue", "killed in the queue"])
def test_a_paid_upload_whose_worker_failed_is_stored_though_its_object_is_deleted(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    def fail(*_: Any) -> None:
        raise Killed if way == "killed in the queue" else ClientError({"Error": {"Code": "SlowDown"}}, "PutObject")

    job = harness.put("a.jpg", photo, prompt="wood")
    upload = current(harness, "a.jpg")
    with monkeypatch.context() as patched:
        patched.setattr(harness.services.result_storage, "store", fail)
        if way == "trigger":
            harness.notify(job)
        else:
            harness.send(eventbridge_event(job))
            harness.drain(seconds=1)
    assert harness.state(upload) == State.PAID
    harness.s3.delete_object(Bucket=INPUT, Key="a.jpg")
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]


def test_a_retry_message_keeps_which_upload_it_is_about(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "status", "status": 503}])
    harness.upload("a.jpg", photo, prompt="wood")

    [message] = harness.waiting()
    assert message["job"] == current(harness, "a.jpg").as_dict()


def test_a_dead_letter_that_is_moved_back_is_about_the_same_upload(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    harness.upload("stays.jpg", photo)
    harness.upload("replaced.jpg", photo)
    dead_letters = {dead_letter["job"]["key"]: dead_letter["job"] for dead_letter in harness.dead_letters()}
    assert {key: job["id"] for key, job in dead_letters.items()} == {
        key: current(harness, key).id for key in dead_letters
    }

    harness.advance(LATER)
    harness.upload("replaced.jpg", photo, prompt="snow")
    environment.setenv("DEFAULT_PROMPT", "plain white")
    harness.restart()
    harness.redrive()
    harness.drain()

    assert sorted(harness.prompts()) == ["plain white", "snow"]
    assert harness.outputs()["stays.jpg.png"]["Metadata"]["job-id"] == dead_letters["stays.jpg"]["id"]
    assert harness.dead_letters() == []


def test_the_reconciler_finds_a_lost_upload_once(harness: Harness, photo: bytes) -> None:
    harness.put("lost.jpg", photo, prompt="wood")
    harness.upload("known.jpg", photo, prompt="snow")
    harness.advance(130)

    assert harness.reconcile()["enqueued"] == 1
    assert harness.reconcile()["enqueued"] == 0
    assert [message["job"] for message in harness.waiting()] == [current(harness, "lost.jpg").as_dict()]

    harness.drain()
    harness.advance(3600)
    assert harness.reconcile()["enqueued"] == 0
    assert harness.prompts() == ["snow", "wood"]
    assert sorted(harness.outputs()) == ["known.jpg.png", "lost.jpg.png"]


@pytest.mark.parametrize("late", ["older", "newer"])
def test_of_two_uploads_in_the_same_second_the_current_one_has_the_last_word(
    harness: Harness, photo: bytes, other_photo: bytes, late: str
) -> None:
    """S3 tells the time of an upload in whole seconds."""
    at = float(int(harness.now()))
    harness.gateway.faults([{"where": "media", "kind": "status", "status": 503, "match": late}])
    for prompt, data in {"older": photo, "newer": other_photo}.items():
        job = harness.put("a.jpg", data, prompt=prompt)
        harness.set_modified("a.jpg", at)
        harness.notify(job)
    harness.drain()

    assert harness.prompts() == ["older", "newer"]
    assert harness.outputs()["a.jpg.png"]["Metadata"]["job-id"] == current(harness, "a.jpg").id


def test_with_the_output_bucket_as_input_nothing_is_bought_and_no_event_is_lost(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    environment.setenv("INPUT_BUCKET", OUTPUT)
    harness.restart()
    event = eventbridge_event(Job(OUTPUT, "a.jpg", None, "etag", len(photo)))
    harness.s3.put_object(Bucket=OUTPUT, Key="a.jpg", Body=photo, Metadata={"prompt": "wood"})

    with pytest.raises(NotConfigured, match="INPUT_BUCKET and OUTPUT_BUCKET are the same"):
        harness.invoke(harness.trigger_function, event)
    harness.send(envelope(event, NotConfigured()))  # as Lambda does for the trigger
    harness.retry_once()

    assert harness.gateway.calls() == []
    assert [message["requestPayload"] for message in harness.waiting()] == [event]
