"""All calls pause when the account or the gateway fails, and probes end the pause."""

from typing import Any

import pytest

from backdrop.errors import Paused
from backdrop.rate_limiter import RateLimiter
from tests.integration.day_and_pace import pace_item
from tests.integration.harness import Harness
from tests.integration.ledger_faults import LedgerFault
from tests.integration.moved_clock import MovedClock
from tests.integration.simulated_lambda import Killed
from tests.integration.stack import TABLE


def test_a_probe_that_pays_ends_the_pause_though_paid_could_not_be_written(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.gateway.faults([{"kind": "status", "status": 402}])
    harness.upload("a.jpg", photo, prompt="wood")
    assert "paused_since" in pace_item(harness)
    LedgerFault(harness, "PAID", 1, monkeypatch)
    harness.advance((harness.next_due() or 0) - harness.now() + 1)
    harness.retry_once()
    assert harness.charged() == 1

    assert "paused_since" not in pace_item(harness)


def test_failures_with_successes_between_them_are_not_ten_in_a_row(harness: Harness) -> None:
    """Calls overlap: each is taken before the one before it is answered, and every second one works."""
    limiter = RateLimiter(harness.dynamodb, TABLE, MovedClock(), 30_000, 0)
    failing, working, paused = limiter.acquire(1, 0.0), limiter.acquire(1, 0.0), []
    for _ in range(15):
        paused.append(limiter.breaker.failed(failing, "503", may_be_charged=True))
        limiter.breaker.succeeded(working)
        failing, working = limiter.acquire(1, 0.0), limiter.acquire(1, 0.0)

    assert not any(paused)


def test_a_probe_waits_as_long_as_a_429_asks(harness: Harness, photo: bytes) -> None:
    limiter = RateLimiter(harness.dynamodb, TABLE, MovedClock(), 60, 0)
    slot = limiter.acquire(1, 0.0)
    limiter.breaker.pause(slot, "429", may_be_charged=False)
    limiter.back_off(600)
    harness.advance(100)

    with pytest.raises(Paused):
        limiter.acquire(1, 0.0)


def test_a_probe_that_is_killed_leaves_the_pause_with_its_next_probe(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.gateway.faults([{"kind": "status", "status": 402}])
    harness.upload("a.jpg", photo, prompt="wood")
    gateway = harness.services.gateway
    real = gateway.send

    def killed(*_: Any) -> Any:
        monkeypatch.setattr(gateway, "send", real)
        raise Killed

    monkeypatch.setattr(gateway, "send", killed)
    harness.upload("b.jpg", photo, prompt="wood")
    started = harness.now()
    harness.drain()

    assert len(harness.outputs()) == 2
    assert harness.now() - started <= 1200
