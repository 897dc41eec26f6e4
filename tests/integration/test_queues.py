"""What comes through RetryQueue, in all its shapes, and what a batch answers."""

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backdrop.job import Job
from tests.integration.harness import INPUT, ROOT, Harness, Killed, envelope, s3_event


def batch(*bodies: str) -> dict[str, Any]:
    """An SQS event with one record a body, in the shape of events/retry_message.json."""
    record = json.loads((ROOT / "events" / "retry_message.json").read_text())["Records"][0]
    record["attributes"]["SentTimestamp"] = str(int(time.time() * 1000))  # one that is days old would be renewed
    return {
        "Records": [
            {**record, "messageId": f"message-{number}", "receiptHandle": f"unknown-{number}", "body": body}
            for number, body in enumerate(bodies)
        ]
    }


@pytest.mark.parametrize("shape", ["own", "envelope", "s3"])
def test_row_49_every_shape_of_a_waiting_upload_is_processed(world: Harness, photo: bytes, shape: str) -> None:
    job = world.put("my photo+1.jpg", photo, prompt="wood")
    event = s3_event(job)
    message = {"own": {"job": job.as_dict()}, "envelope": envelope(event, Killed()), "s3": event}[shape]

    world.send(message)
    world.drain()

    assert list(world.outputs()) == ["my photo+1.jpg.png"]
    assert world.waiting() == []


def test_row_50_an_envelope_without_a_response_is_processed(world: Harness, photo: bytes) -> None:
    letter = envelope(s3_event(world.put("a.jpg", photo, prompt="wood")), Killed())
    del letter["responsePayload"], letter["responseContext"]
    letter["requestContext"]["condition"] = "EventAgeExceeded"

    world.send(letter)
    world.drain()

    assert list(world.outputs()) == ["a.jpg.png"]


def test_an_envelope_with_several_uploads_becomes_one_message_each(world: Harness, photo: bytes) -> None:
    jobs = [world.put(f"{number}.jpg", photo, prompt="wood") for number in range(3)]

    world.send(envelope(s3_event(*jobs), Killed()))
    world.drain()

    assert len(world.outputs()) == 3
    assert world.charged() == 3


@pytest.mark.parametrize(
    "body",
    ["no json", "[]", "{}", '{"job": {}}', '{"job": {"bucket": "other", "key": "a"}}', '{"job": 7}', "x" * 200_000],
    ids=["text", "list", "empty", "no-key", "other-bucket", "number", "huge"],
)
def test_rows_51_53_a_malformed_message_is_dead_lettered_at_once_with_its_text(world: Harness, body: str) -> None:
    answer = world.invoke(world.retry_function, batch(body))

    assert answer == {"batchItemFailures": []}
    [letter] = world.dead_letters()
    assert letter["job"] is None
    assert letter["reason"]["code"] == "malformed_message"
    assert letter["body"] == body[: len(letter["body"])]
    assert len(letter["body"]) >= min(len(body), 50_000)


def test_rows_53_54_only_what_has_to_come_back_is_reported(world: Harness, photo: bytes) -> None:
    done = world.put("done.jpg", photo, prompt="wood")
    waits = world.put("waits.jpg", photo, prompt="forbidden")
    world.gateway.faults([{"kind": "status", "status": 503, "match": "forbidden"}])

    answer = world.invoke(
        world.retry_function,
        batch(json.dumps({"job": done.as_dict()}), "broken", json.dumps({"job": waits.as_dict()})),
    )

    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-2"}]}
    assert list(world.outputs()) == ["done.jpg.png"]


def test_rows_54_55_all_failing_with_dead_receipt_handles_is_an_answer_and_no_exception(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any, **__: Any) -> Any:
        raise ClientError({"Error": {"Code": "InternalServerError"}}, "UpdateItem")

    monkeypatch.setattr(world.app.ledger._client, "update_item", down)
    jobs = [world.put(f"{number}.jpg", photo, prompt="wood") for number in range(2)]

    answer = world.invoke(world.retry_function, batch(*(json.dumps({"job": job.as_dict()}) for job in jobs)))

    assert [failure["itemIdentifier"] for failure in answer["batchItemFailures"]] == ["message-0", "message-1"]
    assert world.gateway.calls() == []


def test_row_58_an_upload_that_can_not_be_enqueued_fails_the_trigger(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lambda then sends the event to RetryQueue itself."""

    def down(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "ServiceUnavailable"}}, "SendMessage")

    world.gateway.faults([{"kind": "status", "status": 503}])
    job = world.put("a.jpg", photo, prompt="wood")
    with monkeypatch.context() as patched:
        patched.setattr(world.app.queues._client, "send_message", down)
        with pytest.raises(ClientError):
            world.invoke(world.trigger_function, s3_event(job))
    world.send(envelope(s3_event(job), Killed()))
    world.drain()

    assert list(world.outputs()) == ["a.jpg.png"]
    assert world.charged() == 1


def test_row_59_a_moved_back_done_upload_is_left_alone(world: Harness, photo: bytes) -> None:
    job = world.upload("a.jpg", photo, prompt="wood")

    world.send({"job": job.as_dict(), "reason": {"code": "outcome_unknown"}, "failed_at": "2026-01-01T00:00:00.000Z"})
    world.drain()

    assert len(world.gateway.calls()) == 1


def test_row_59_a_moved_back_rejection_is_tried_again_and_may_fail_again(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes
) -> None:
    world.upload("a.jpg", photo)
    world.redrive()
    world.drain()
    assert [letter["reason"]["code"] for letter in world.dead_letters()] == ["missing_prompt"]

    environment.setenv("DEFAULT_PROMPT", "plain white")
    world.restart()
    world.redrive()
    world.drain()

    assert list(world.outputs()) == ["a.jpg.png"]
    assert world.dead_letters() == []


def test_row_59_moved_back_after_its_attempts_an_upload_gets_as_many_again(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes
) -> None:
    environment.setenv("MAX_ATTEMPTS", "2")
    world.gateway.faults([{"kind": "status", "status": 500, "times": 3}])
    world.upload("a.jpg", photo, prompt="wood")
    world.drain()
    assert [letter["reason"]["attempts"] for letter in world.dead_letters()] == [2]

    world.redrive()
    world.drain()

    assert list(world.outputs()) == ["a.jpg.png"]
    assert world.charged() == 1


def test_a_duplicate_event_of_a_rejected_upload_sends_no_second_letter(world: Harness, photo: bytes) -> None:
    job = world.upload("a.jpg", photo)

    world.notify(job)

    assert len(world.dead_letters()) == 1


def test_a_moved_back_malformed_message_is_read_again(world: Harness, photo: bytes) -> None:
    job = world.put("a.jpg", photo, prompt="wood")

    world.send({"job": None, "reason": {}, "failed_at": "…", "body": json.dumps({"job": job.as_dict()})})
    world.drain()

    assert list(world.outputs()) == ["a.jpg.png"]


def test_a_waiting_upload_keeps_its_message_hidden_until_its_time(world: Harness, photo: bytes) -> None:
    world.gateway.faults([{"kind": "status", "status": 429, "retry_after": "120"}])
    world.send({"job": world.put("a.jpg", photo, prompt="wood").as_dict()})

    world.retry_once()

    due = world.next_due()
    assert due is not None
    assert 110 < due - world.now() < 140


def test_a_job_for_an_object_that_never_was_is_superseded(world: Harness) -> None:
    world.send({"job": Job(INPUT, "never.jpg").as_dict()})
    world.drain()

    assert (world.waiting(), world.dead_letters(), world.gateway.calls()) == ([], [], [])
