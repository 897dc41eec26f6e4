"""Failures show every dead letter, and resume loses none and says what it may buy."""

import json
from typing import Any

import click
import pytest
from moto.backends import get_backend

from backdrop.states import State
from backdrop_cli.deployment import Deployment
from tests.aws_events import s3_event
from tests.integration.command_line import command
from tests.integration.conftest import Run
from tests.integration.harness import Harness
from tests.integration.stack import INPUT


def test_two_dead_letters_of_one_upload_and_odd_ones_are_shown_and_resumed(
    run: Run, harness: Harness, photo: bytes
) -> None:
    job = harness.upload("red.jpg", photo)
    [dead_letter] = harness.dead_letters()
    odd = [
        "no JSON",
        '{"job": "x"}',
        '{"job": {"key": "", "id": "x"}}',
        '{"job": {"key": "a"}}',
        '{"reason": "x"}',
        '{"reason": {"code": ["x"]}}',
        "[]",
    ]
    for body in (json.dumps(dead_letter), json.dumps({"job": dead_letter["job"]}), *odd):
        harness.sqs.send_message(QueueUrl=harness.dead_letter_url, MessageBody=body)

    shown = run("failures")
    codes = [each["reason"]["code"] for each in shown]
    assert sorted(codes) == ["malformed_message"] * 7 + ["missing_prompt"] * 2 + ["unexpected"]
    assert {each["body"] for each in shown if each["reason"]["code"] == "malformed_message"} == set(odd)

    harness.put("prompt.txt", b"snow")
    harness.advance(61)
    assert run("resume", "red.jpg")["resumed"] == ["red.jpg"] * 3
    harness.drain()
    record = harness.record(job)
    assert record is not None
    assert record.state is State.DONE
    assert harness.charged() == 1
    assert run("resume")["resumed"] == [None] * 7, "they come back, one by one"


def test_a_notification_that_sqs_moved_away_is_resumed_as_its_upload(run: Run, harness: Harness, photo: bytes) -> None:
    """RetryFunction could never read it to an end, so it is what S3 sent and no dead_letter."""
    job = harness.put("red.jpg", photo, prompt="snow")
    harness.sqs.send_message(QueueUrl=harness.dead_letter_url, MessageBody=json.dumps(s3_event(job)))

    [shown] = run("failures")
    assert (shown["key"], shown["reason"]["code"]) == ("red.jpg", "unexpected")
    assert "1 image" in run("resume", "--ask-above-images", 0, code=2)
    assert run("resume", "red.jpg")["resumed"] == ["red.jpg"]
    harness.drain()
    assert (harness.charged(), harness.dead_letters()) == (1, [])


def test_resume_asks_for_what_a_notification_of_a_bucket_without_versions_will_buy(
    run: Run, harness: Harness, photo: bytes
) -> None:
    harness.s3.delete_bucket(Bucket=INPUT)
    harness.s3.create_bucket(Bucket=INPUT)
    job = harness.put("red.jpg", photo, prompt="snow", n="8")
    harness.sqs.send_message(QueueUrl=harness.dead_letter_url, MessageBody=json.dumps(s3_event(job)))

    assert "8 images" in run("resume", "--ask-above-images", 7, code=2)


def test_resume_interrupted_between_its_two_steps_loses_nothing_and_buys_once(
    run: Run, harness: Harness, photo: bytes, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.upload("red.jpg", photo)
    harness.put("prompt.txt", b"snow")
    harness.advance(61)

    def ended(**_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(deployment.sqs, "delete_message", ended)
        with pytest.raises((KeyboardInterrupt, click.Abort)):
            run("resume")
    assert (len(harness.waiting()), len(harness.dead_letters())) == (1, 1)

    harness.drain()
    for message in get_backend("sqs")["123456789012"]["us-east-1"].queues["backdrop-dead-letters"]._messages:
        message.visible_at = 0  # two minutes later
    run("resume")
    harness.drain()
    assert (harness.charged(), harness.dead_letters()) == (1, [])


def test_resume_asks_for_all_images_that_it_can_buy(run: Run, harness: Harness, photo: bytes) -> None:
    harness.upload("red.jpg", photo, n="8")
    harness.upload("blue.jpg", photo, prompt="snow", n="9")  # will fail again
    harness.put("prompt.txt", b"snow")

    assert "8 images" in run("resume", "--ask-above-images", 7, code=2)
    assert harness.waiting() == []
    assert len(run("failures")) == 2, "they were put back"


def test_dead_letters_that_somebody_else_looks_at_are_not_taken_for_none(
    run: Run, harness: Harness, photo: bytes, deployment: Deployment
) -> None:
    harness.upload("red.jpg", photo)
    harness.sqs.receive_message(QueueUrl=harness.dead_letter_url, VisibilityTimeout=60)

    done = command(deployment, "failures")
    assert "1 dead letter more is being looked at" in done.output
    assert "Nothing has failed" not in done.output
    assert run("failures", code=1) == []
    assert run("failures", "other.jpg", code=1) == []
