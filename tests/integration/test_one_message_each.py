"""What happens to an upload makes one dead letter, and one message that waits."""

from typing import Any

import pytest

from tests.aws_events import envelope, s3_event
from tests.integration.harness import Harness


def test_a_malformed_record_beside_an_upload_that_waits_is_dead_lettered_once(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "status", "status": 402, "times": 0}])
    job = harness.put("a.jpg", photo, prompt="wood")
    event = s3_event(job, job)
    event["Records"][1]["s3"] = {"nothing": "here"}
    harness.send(envelope(event, RuntimeError()))
    harness.drain(seconds=600)

    assert len(harness.dead_letters()) == 1


def test_two_deliveries_of_a_bad_upload_are_one_dead_letter(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = harness.put("a.jpg", photo)
    queues = harness.services.queues
    real = queues.dead_letter

    def slow(*arguments: Any) -> None:
        monkeypatch.setattr(queues, "dead_letter", real)
        harness.notify(job)
        real(*arguments)

    monkeypatch.setattr(queues, "dead_letter", slow)
    harness.notify(job)
    harness.drain()

    assert len(harness.dead_letters()) == 1


def test_messages_that_nobody_can_serve_are_not_doubled_by_every_reconcile(harness: Harness, photo: bytes) -> None:
    """RetryFunction has more to do than it can: the messages are visible for longer than GRACE_SECONDS, not lost."""
    harness.gateway.faults([{"kind": "status", "status": 503, "times": 0}])
    for number in range(5):
        harness.upload(f"{number}.jpg", photo, prompt="wood")
    for _ in range(23):
        harness.advance(3600)
        harness.invoke(harness.reconcile_function, {})

    assert len(harness.waiting()) <= 5 * 6
