"""An input bucket of the user's own: events come through EventBridge, and it may keep no versions."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backdrop.errors import NotConfigured
from backdrop.job import Job
from backdrop.states import State
from tests.integration.harness import INPUT, OUTPUT, Harness, Killed, envelope, eventbridge_event
from tests.integration.test_reconcile import run as reconcile

LATER = 5.0  # seconds


@pytest.fixture(params=["never versioned", "versions suspended"])
def world(world: Harness, request: pytest.FixtureRequest) -> Iterator[Harness]:
    """With an input bucket that keeps no versions; where they are suspended, S3 calls each "null"."""
    world.event = eventbridge_event
    if request.param == "versions suspended":
        world.s3.put_bucket_versioning(Bucket=INPUT, VersioningConfiguration={"Status": "Suspended"})
        events = world.app.storage._client.meta.events
        operations = [f"after-call.s3.{operation}" for operation in ("HeadObject", "GetObject")]
        for operation in operations:  # moto leaves it out
            events.register(operation, _say_null)
        yield world
        for operation in operations:
            events.unregister(operation, _say_null)
    else:
        world.s3.delete_bucket(Bucket=INPUT)
        world.s3.create_bucket(Bucket=INPUT)
        yield world


def _say_null(parsed: dict[str, Any], **_: Any) -> None:
    parsed.setdefault("VersionId", "null")


@pytest.fixture(scope="session")
def other_photo(picture_of: Callable[[str], bytes]) -> bytes:
    return picture_of("PNG")


def current(world: Harness, key: str) -> Job:
    """The upload of a key as the ledger knows it."""
    head = world.s3.head_object(Bucket=INPUT, Key=key)
    modified = int(head["LastModified"].timestamp())
    return Job(INPUT, key, None, head["ETag"].strip('"'), head["ContentLength"], modified)


def prompts(world: Harness) -> list[str]:
    """Those that were bought, in order."""
    return [charge["prompt"] for charge in world.gateway.charges()]


def state(world: Harness, job: Job) -> State | None:
    record = world.record(job)
    return record.state if record else None


def test_duplicate_events_of_an_upload_buy_once(world: Harness, photo: bytes) -> None:
    job = world.upload("my photo+1%20.jpg", photo, prompt="wood")
    world.advance(LATER)

    world.notify(job)
    world.send(eventbridge_event(job))
    world.send(envelope(eventbridge_event(job), Killed()))
    world.send({"job": current(world, job.key).as_dict()})
    world.drain()

    assert prompts(world) == ["wood"]
    assert list(world.outputs()) == ["my photo+1%20.jpg.png"]
    assert state(world, current(world, job.key)) == State.DONE


def test_the_same_photo_uploaded_again_with_another_prompt_is_bought_again(world: Harness, photo: bytes) -> None:
    world.upload("a.jpg", photo, prompt="wood")
    world.advance(LATER)
    world.upload("a.jpg", photo, prompt="snow")

    assert prompts(world) == ["wood", "snow"]
    assert world.outputs()["a.jpg.png"]["Metadata"]["job-id"] == current(world, "a.jpg").id


def test_an_upload_that_is_replaced_before_its_call_is_not_bought(world: Harness, photo: bytes) -> None:
    world.gateway.faults([{"kind": "status", "status": 429}])  # which charges nothing, so that no call is open
    world.upload("a.jpg", photo, prompt="wood")
    replaced = current(world, "a.jpg")
    world.advance(1)
    world.upload("a.jpg", photo, prompt="snow")
    world.drain()

    assert prompts(world) == ["snow"]
    assert state(world, replaced) == State.SUPERSEDED
    assert world.dead_letters() == []


def test_an_event_that_comes_after_the_upload_was_replaced_buys_the_newer_one_once(
    world: Harness, photo: bytes
) -> None:
    late = world.put("a.jpg", photo, prompt="wood")
    world.advance(LATER)
    newer = world.put("a.jpg", photo, prompt="snow")

    world.notify(late)
    world.notify(newer)

    assert prompts(world) == ["snow"]


@pytest.mark.parametrize("way", ["trigger", "event in the queue", "envelope in the queue"])
def test_a_paid_upload_whose_object_is_deleted_before_its_result_is_stored_is_stored(
    world: Harness, photo: bytes, way: str
) -> None:
    world.gateway.faults([{"where": "media", "kind": "status", "status": 503, "times": 2}])
    job = world.put("a.jpg", photo, prompt="wood")
    upload = current(world, "a.jpg")
    if way == "trigger":
        world.notify(job)
    else:
        event = eventbridge_event(job)
        world.send(event if way == "event in the queue" else envelope(event, Killed()))
    world.drain(seconds=1)
    assert state(world, upload) == State.PAID
    world.s3.delete_object(Bucket=INPUT, Key="a.jpg")
    world.drain()

    assert list(world.outputs()) == ["a.jpg.png"]
    assert state(world, upload) == State.DONE


@pytest.mark.parametrize("way", ["trigger", "event in the queue", "killed in the queue"])
def test_a_paid_upload_whose_worker_failed_is_stored_though_its_object_is_deleted(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    def fail(*_: Any) -> None:
        raise Killed if way == "killed in the queue" else ClientError({"Error": {"Code": "SlowDown"}}, "PutObject")

    job = world.put("a.jpg", photo, prompt="wood")
    upload = current(world, "a.jpg")
    with monkeypatch.context() as patched:
        patched.setattr(world.app.result_storage, "store", fail)
        if way == "trigger":
            world.notify(job)
        else:
            world.send(eventbridge_event(job))
            world.drain(seconds=1)
    assert state(world, upload) == State.PAID
    world.s3.delete_object(Bucket=INPUT, Key="a.jpg")
    world.drain()

    assert list(world.outputs()) == ["a.jpg.png"]


def test_a_retry_message_keeps_which_upload_it_is_about(world: Harness, photo: bytes) -> None:
    world.gateway.faults([{"kind": "status", "status": 503}])
    world.upload("a.jpg", photo, prompt="wood")

    [message] = world.waiting()
    assert message["job"] == current(world, "a.jpg").as_dict()


def test_a_dead_letter_that_is_moved_back_is_about_the_same_upload(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes
) -> None:
    world.upload("stays.jpg", photo)
    world.upload("replaced.jpg", photo)
    letters = {letter["job"]["key"]: letter["job"] for letter in world.dead_letters()}
    assert {key: job["id"] for key, job in letters.items()} == {key: current(world, key).id for key in letters}

    world.advance(LATER)
    world.upload("replaced.jpg", photo, prompt="snow")
    environment.setenv("DEFAULT_PROMPT", "plain white")
    world.restart()
    world.redrive()
    world.drain()

    assert sorted(prompts(world)) == ["plain white", "snow"]
    assert world.outputs()["stays.jpg.png"]["Metadata"]["job-id"] == letters["stays.jpg"]["id"]
    assert world.dead_letters() == []


def test_the_reconciler_finds_a_lost_upload_once(world: Harness, photo: bytes) -> None:
    world.put("lost.jpg", photo, prompt="wood")
    world.upload("known.jpg", photo, prompt="snow")
    world.advance(130)

    assert reconcile(world)["enqueued"] == 1
    assert reconcile(world)["enqueued"] == 0
    assert [message["job"] for message in world.waiting()] == [current(world, "lost.jpg").as_dict()]

    world.drain()
    world.advance(3600)
    assert reconcile(world)["enqueued"] == 0
    assert prompts(world) == ["snow", "wood"]
    assert sorted(world.outputs()) == ["known.jpg.png", "lost.jpg.png"]


@pytest.mark.parametrize("late", ["older", "newer"])
def test_of_two_uploads_in_the_same_second_the_current_one_has_the_last_word(
    world: Harness, photo: bytes, other_photo: bytes, late: str
) -> None:
    """S3 tells the time of an upload in whole seconds."""
    at = float(int(world.now()))
    world.gateway.faults([{"where": "media", "kind": "status", "status": 503, "match": late}])
    for prompt, data in {"older": photo, "newer": other_photo}.items():
        job = world.put("a.jpg", data, prompt=prompt)
        world.set_modified("a.jpg", at)
        world.notify(job)
    world.drain()

    assert prompts(world) == ["older", "newer"]
    assert world.outputs()["a.jpg.png"]["Metadata"]["job-id"] == current(world, "a.jpg").id


def test_with_the_output_bucket_as_input_nothing_is_bought_and_no_event_is_lost(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes
) -> None:
    environment.setenv("INPUT_BUCKET", OUTPUT)
    world.restart()
    event = eventbridge_event(Job(OUTPUT, "a.jpg", None, "etag", len(photo)))
    world.s3.put_object(Bucket=OUTPUT, Key="a.jpg", Body=photo, Metadata={"prompt": "wood"})

    with pytest.raises(NotConfigured, match="INPUT_BUCKET and OUTPUT_BUCKET are the same"):
        world.invoke(world.trigger_function, event)
    world.send(envelope(event, NotConfigured()))  # as Lambda does for the trigger
    world.retry_once()

    assert world.gateway.calls() == []
    assert [message["requestPayload"] for message in world.waiting()] == [event]
