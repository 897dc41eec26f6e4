"""One time for all workers."""

import time
from email.utils import formatdate

import pytest

from backdrop.clock import Clock, iso_time, utc_day


@pytest.mark.parametrize("off_by", [300, -300, 5, -5])
def test_a_machine_whose_clock_is_off_takes_over_the_time_of_aws(off_by: float) -> None:
    """Row 41."""
    clock = Clock()
    clock.observe(formatdate(time.time() + off_by, usegmt=True))
    assert clock.now() - time.time() == pytest.approx(off_by, abs=1.5)


@pytest.mark.parametrize("off_by", [0, 1])
def test_the_whole_seconds_of_a_date_header_do_not_move_a_clock_that_is_right(off_by: float) -> None:
    clock = Clock()
    clock.observe(formatdate(time.time() + off_by, usegmt=True))
    assert clock.now() - time.time() == pytest.approx(0, abs=0.1)


def test_a_clock_that_was_mended_is_believed_again() -> None:
    clock = Clock()
    clock.observe(formatdate(time.time() + 300, usegmt=True))
    clock.observe(formatdate(time.time(), usegmt=True))
    assert clock.now() - time.time() == pytest.approx(0, abs=1.5)


def test_an_answer_without_a_date_changes_nothing() -> None:
    clock = Clock()
    clock.observe(None)
    assert clock.now() - time.time() == pytest.approx(0, abs=0.1)


def test_waiting_for_a_time_that_is_over_returns_at_once() -> None:
    clock = Clock()
    clock.sleep_until(clock.now() - 1000)


@pytest.mark.parametrize(
    ("at", "text", "day"),
    [
        (0.0, "1970-01-01T00:00:00.000Z", "1970-01-01"),
        (1_795_305_599.9994, "2026-11-21T23:59:59.999Z", "2026-11-21"),
        (1_795_305_600.0, "2026-11-22T00:00:00.000Z", "2026-11-22"),
        (1_795_309_200.25, "2026-11-22T01:00:00.250Z", "2026-11-22"),
    ],
)
def test_times_and_days_are_in_utc(at: float, text: str, day: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        assert iso_time(at) == text
        assert utc_day(at) == day
    finally:
        monkeypatch.undo()
        time.tzset()
