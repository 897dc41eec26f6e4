"""An upload is paid once, however often and whenever it is delivered."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.aws_events import s3_event
from tests.integration.harness import Harness

AT_REST: list[Any] = []


def test_row_1_the_same_event_twice_is_paid_once(harness: Harness, photo: bytes) -> None:
    job = harness.upload("a.jpg", photo, prompt="wood")

    harness.notify(job)

    assert harness.charged() == 1
    assert len(harness.gateway.calls()) == 1
    assert harness.waiting() == AT_REST


@pytest.mark.parametrize("workers", [2, 10])
def test_row_2_the_same_event_at_once_is_paid_once(harness: Harness, photo: bytes, workers: int) -> None:
    harness.gateway.settings(latency_seconds=0.3)
    job = harness.put("a.jpg", photo, prompt="wood")
    harness.services  # noqa: B018 - workers of one process share it; ten of them would build ten
    ready = threading.Barrier(workers)

    def deliver() -> None:
        ready.wait()
        harness.notify(job)

    with ThreadPoolExecutor(workers) as pool:
        for future in [pool.submit(deliver) for _ in range(workers)]:
            future.result()
    harness.drain()

    assert harness.charged() == 1
    assert len(harness.gateway.calls()) == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_row_2_the_same_event_during_the_call_makes_no_call_of_its_own(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = harness.put("a.jpg", photo, prompt="wood")
    gateway = harness.services.gateway
    real = gateway.send

    def send(*arguments: Any) -> Any:
        monkeypatch.setattr(gateway, "send", real)
        harness.notify(job)
        return real(*arguments)

    monkeypatch.setattr(gateway, "send", send)
    harness.notify(job)
    harness.drain()

    assert len(harness.gateway.calls()) == 1
    assert harness.charged() == 1


def test_row_3_put_and_complete_multipart_of_one_object_are_one_job(harness: Harness, photo: bytes) -> None:
    job = harness.put("a.jpg", photo, prompt="wood")
    event = s3_event(job, job)
    event["Records"][1]["eventName"] = "ObjectCreated:CompleteMultipartUpload"

    harness.invoke(harness.trigger_function, event)

    assert harness.charged() == 1


def test_row_52_a_retry_message_delivered_twice_is_paid_once(harness: Harness, photo: bytes) -> None:
    job = harness.put("a.jpg", photo, prompt="wood")
    harness.services.queues.retry(job, 0)
    harness.services.queues.retry(job, 0)

    harness.drain()

    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_a_duplicate_that_meets_a_running_worker_costs_nothing_and_comes_to_rest(
    harness: Harness, photo: bytes
) -> None:
    job = harness.put("a.jpg", photo, prompt="wood")
    harness.services.ledger.claim(job, "a running worker", 150)

    harness.notify(job)
    assert harness.gateway.calls() == []
    harness.drain()

    assert harness.charged() == 1
    assert harness.waiting() == AT_REST
