"""What comes through RetryQueue, in all its shapes, and what a batch answers."""

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backdrop.job import Job
from tests.aws_events import envelope, s3_event, sample
from tests.integration.aws_faults import client_of
from tests.integration.harness import Harness
from tests.integration.simulated_lambda import Killed
from tests.integration.stack import INPUT


def batch(*bodies: str) -> dict[str, Any]:
    """An SQS event with one record a body, in the shape of events/retry_message.json."""
    record = sample("retry_message")["Records"][0]
    record["attributes"]["SentTimestamp"] = str(int(time.time() * 1000))  # one that is days old would be renewed
    return {
        "Records": [
            {**record, "messageId": f"message-{number}", "receiptHandle": f"unknown-{number}", "body": body}
            for number, body in enumerate(bodies)
        ]
    }


@pytest.mark.parametrize("shape", ["own", "envelope", "s3"])
def test_row_49_every_shape_of_a_waiting_upload_is_processed(harness: Harness, photo: bytes, shape: str) -> None:
    job = harness.put("my photo+1.jpg", photo, prompt="wood")
    event = s3_event(job)
    message = {"own": {"job": job.as_dict()}, "envelope": envelope(event, Killed()), "s3": event}[shape]

    harness.send(message)
    harness.drain()

    assert list(harness.outputs()) == ["my photo+1.jpg.png"]
    assert harness.waiting() == []


def test_row_50_an_envelope_without_a_response_is_processed(harness: Harness, photo: bytes) -> None:
    dead_letter = envelope(s3_event(harness.put("a.jpg", photo, prompt="wood")), Killed())
    del dead_letter["responsePayload"], dead_letter["responseContext"]
    dead_letter["requestContext"]["condition"] = "EventAgeExceeded"

    harness.send(dead_letter)
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]


def test_an_envelope_with_several_uploads_becomes_one_message_each(harness: Harness, photo: bytes) -> None:
    jobs = [harness.put(f"{number}.jpg", photo, prompt="wood") for number in range(3)]

    harness.send(envelope(s3_event(*jobs), Killed()))
    harness.drain()

    assert len(harness.outputs()) == 3
    assert harness.charged() == 3


@pytest.mark.parametrize(
    "body",
    ["no json", "[]", "{}", '{"job": {}}', '{"job": {"bucket": "other", "key": "a"}}', '{"job": 7}', "x" * 200_000],
    ids=["text", "list", "empty", "no-key", "other-bucket", "number", "huge"],
)
def test_rows_51_53_a_malformed_message_is_dead_lettered_at_once_with_its_text(harness: Harness, body: str) -> None:
    answer = harness.invoke(harness.retry_function, batch(body))

    assert answer == {"batchItemFailures": []}
    [dead_letter] = harness.dead_letters()
    assert dead_letter["job"] is None
    assert dead_letter["reason"]["code"] == "malformed_message"
    assert dead_letter["body"] == body[: len(dead_letter["body"])]
    assert len(dead_letter["body"]) >= min(len(body), 50_000)


def test_rows_53_54_only_what_has_to_come_back_is_reported(harness: Harness, photo: bytes) -> None:
    done = harness.put("done.jpg", photo, prompt="wood")
    waits = harness.put("waits.jpg", photo, prompt="forbidden")
    harness.gateway.faults([{"kind": "status", "status": 503, "match": "forbidden"}])

    answer = harness.invoke(
        harness.retry_function,
        batch(json.dumps({"job": done.as_dict()}), "broken", json.dumps({"job": waits.as_dict()})),
    )

    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-2"}]}
    assert list(harness.outputs()) == ["done.jpg.png"]


def test_rows_54_55_all_failing_with_dead_receipt_handles_is_an_answer_and_no_exception(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any, **__: Any) -> Any:
        raise ClientError({"Error": {"Code": "InternalServerError"}}, "UpdateItem")

    monkeypatch.setattr(client_of(harness, "dynamodb"), "update_item", down)
    jobs = [harness.put(f"{number}.jpg", photo, prompt="wood") for number in range(2)]

    answer = harness.invoke(harness.retry_function, batch(*(json.dumps({"job": job.as_dict()}) for job in jobs)))

    assert [failure["itemIdentifier"] for failure in answer["batchItemFailures"]] == ["message-0", "message-1"]
    assert harness.gateway.calls() == []


def test_row_58_an_upload_that_can_not_be_enqueued_fails_the_trigger(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lambda then sends the event to RetryQueue itself."""

    def down(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "ServiceUnavailable"}}, "SendMessage")

    harness.gateway.faults([{"kind": "status", "status": 503}])
    job = harness.put("a.jpg", photo, prompt="wood")
    with monkeypatch.context() as patched:
        patched.setattr(client_of(harness, "sqs"), "send_message", down)
        with pytest.raises(ClientError):
            harness.invoke(harness.trigger_function, s3_event(job))
    harness.send(envelope(s3_event(job), Killed()))
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.charged() == 1


def test_row_59_a_moved_back_done_upload_is_left_alone(harness: Harness, photo: bytes) -> None:
    job = harness.upload("a.jpg", photo, prompt="wood")

    harness.send({"job": job.as_dict(), "reason": {"code": "outcome_unknown"}, "failed_at": "2026-01-01T00:00:00.000Z"})
    harness.drain()

    assert len(harness.gateway.calls()) == 1


def test_row_59_a_moved_back_rejection_is_tried_again_and_may_fail_again(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    harness.upload("a.jpg", photo)
    harness.redrive()
    harness.drain()
    assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == ["missing_prompt"]

    environment.setenv("DEFAULT_PROMPT", "plain white")
    harness.restart()
    harness.redrive()
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.dead_letters() == []


def test_row_59_moved_back_after_its_attempts_an_upload_gets_as_many_again(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    environment.setenv("MAX_ATTEMPTS", "2")
    harness.gateway.faults([{"kind": "status", "status": 500, "times": 3}])
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()
    assert [dead_letter["reason"]["attempts"] for dead_letter in harness.dead_letters()] == [2]

    harness.redrive()
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.charged() == 1


def test_a_duplicate_event_of_a_rejected_upload_sends_no_second_dead_letter(harness: Harness, photo: bytes) -> None:
    job = harness.upload("a.jpg", photo)

    harness.notify(job)

    assert len(harness.dead_letters()) == 1


def test_a_moved_back_malformed_message_is_read_again(harness: Harness, photo: bytes) -> None:
    job = harness.put("a.jpg", photo, prompt="wood")

    harness.send({"job": None, "reason": {}, "failed_at": "…", "body": json.dumps({"job": job.as_dict()})})
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]


def test_a_waiting_upload_keeps_its_message_hidden_until_its_time(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "status", "status": 429, "retry_after": "120"}])
    harness.send({"job": harness.put("a.jpg", photo, prompt="wood").as_dict()})

    harness.retry_once()

    due = harness.next_due()
    assert due is not None
    assert 110 < due - harness.now() < 140


def test_a_job_for_an_object_that_never_was_is_superseded(harness: Harness) -> None:
    harness.send({"job": Job(INPUT, "never.jpg").as_dict()})
    harness.drain()

    assert (harness.waiting(), harness.dead_letters(), harness.gateway.calls()) == ([], [], [])
