"""How long things wait."""

import pytest

from backdrop.queues import MAX_DELAY_SECONDS, MAX_VISIBILITY_SECONDS, _whole, backoff


@pytest.mark.parametrize(
    ("tries", "spread"),
    [(0, 2.0), (1, 4.0), (2, 8.0), (7, 256.0), (8, 300.0), (100, 300.0), (10**6, 300.0)],
)
def test_backoff_doubles_up_to_its_most(tries: int, spread: float) -> None:
    waits = [backoff(tries, 2.0, 300.0) for _ in range(1000)]
    assert all(2.0 <= wait <= 2.0 + spread for wait in waits)
    assert max(waits) > 2.0 + 0.9 * spread


def test_backoff_spreads_uploads_that_failed_together() -> None:
    waits = [backoff(3, 2.0, 300.0) for _ in range(1000)]
    assert min(waits) < 4.0
    assert len(set(waits)) > 900


@pytest.mark.parametrize(
    ("seconds", "most", "whole"),
    [
        pytest.param(0.0, 900, 0, id="now"),
        pytest.param(-3.2, 900, 0, id="over already"),
        pytest.param(0.01, 900, 1, id="rounded up, so that nothing comes back too early"),
        pytest.param(59.0, 900, 59, id="whole already"),
        pytest.param(59.001, 900, 60, id="rounded up"),
        pytest.param(86_400.0, MAX_DELAY_SECONDS, 900, id="the longest delay"),
        pytest.param(86_400.0, MAX_VISIBILITY_SECONDS, 43_000, id="the longest invisibility"),
    ],
)
def test_waits_are_whole_seconds_that_sqs_accepts(seconds: float, most: int, whole: int) -> None:
    """Row 55."""
    result = _whole(seconds, most)
    assert result == whole
    assert isinstance(result, int)
