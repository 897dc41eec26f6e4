"""Workers that wake late, or have a wrong clock, buy nothing twice and lose nothing."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from backdrop import bootstrap
from backdrop.clock import Clock
from tests.integration.harness import Harness


def test_row_40_a_worker_that_wakes_after_its_lease_can_not_start_a_call(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first worker sleeps before its CALLING write while a second one does the work."""
    job = harness.put("a.jpg", photo, prompt="wood")
    storage = harness.services.storage
    real = storage.link

    def slow_link(*arguments: Any) -> str:
        monkeypatch.setattr(storage, "link", real)
        harness.advance(200)
        harness.notify(job)
        return real(*arguments)

    monkeypatch.setattr(storage, "link", slow_link)
    harness.notify(job)
    harness.drain()

    assert len(harness.gateway.calls()) == 1
    assert harness.charged() == 1


def test_row_40_a_late_answer_is_still_the_truth(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose lease ran out during its call writes PAID; whoever took over stores that and buys nothing."""
    harness.gateway.settings(honours_idempotency_keys=False)
    job = harness.put("a.jpg", photo, prompt="wood")
    gateway = harness.services.gateway
    real = gateway.send

    def slow_send(*arguments: Any) -> Any:
        monkeypatch.setattr(gateway, "send", real)
        answer = real(*arguments)
        harness.advance(200)
        taken_over = harness.services.ledger.claim(job, "somebody else", 150)
        assert taken_over.state == "CALLING"
        return answer

    monkeypatch.setattr(gateway, "send", slow_send)
    harness.notify(job)
    harness.drain()

    assert len(harness.gateway.calls()) == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


@pytest.mark.parametrize("skew", [300.0, -300.0])
def test_row_41_a_worker_with_a_wrong_clock_does_not_take_over_a_running_call(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch, skew: float
) -> None:
    """Two workers, one clock minutes off; DynamoDB's Date header tells both the same time."""
    monkeypatch.setattr(bootstrap, "Clock", Clock)
    job = harness.put("a.jpg", photo, prompt="wood")
    harness.restart()
    off = {"now": 0.0}
    skewed = SimpleNamespace(time=lambda: time.time() + off["now"], sleep=time.sleep)
    monkeypatch.setattr("backdrop.clock.time", skewed)
    gateway = harness.services.gateway
    real = gateway.send

    def send(*arguments: Any) -> Any:
        monkeypatch.setattr(gateway, "send", real)
        harness.restart()
        off["now"] = skew
        harness.notify(job)  # a second worker, in a process of its own
        off["now"] = 0.0
        return real(*arguments)

    monkeypatch.setattr(gateway, "send", send)
    harness.notify(job)

    assert len(harness.gateway.calls()) == 1
