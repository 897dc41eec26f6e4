"""How long the gateway asks to wait, in all forms in which it may say so."""

from datetime import UTC, datetime

import pytest

from backdrop.errors import (
    CallFailed,
    GatewayBusy,
    GatewayError,
)
from backdrop.gateway_errors import retry_after
from backdrop.settings import Settings
from tests.unit.gateway_calls import answering, error_of

NOW = datetime(2026, 11, 22, 8, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param(None, None, id="absent"),
        pytest.param("30", 30.0, id="seconds"),
        pytest.param(" 30 ", 30.0, id="blanks"),
        pytest.param("2.5", 2.5, id="fraction"),
        pytest.param("0", 1.0, id="zero"),
        pytest.param("-30", 1.0, id="negative"),
        pytest.param("86400", 900.0, id="a day"),
        pytest.param("9" * 30, 900.0, id="ages"),
        pytest.param("Sun, 22 Nov 2026 08:02:00 GMT", 120.0, id="date"),
        pytest.param("Sun, 22 Nov 2026 10:02:00 +0200", 120.0, id="date of another zone"),
        pytest.param("Sun, 22 Nov 2026 08:02:00 -0000", 120.0, id="date without a zone"),
        pytest.param("Sunday, 22-Nov-26 08:02:00 GMT", 120.0, id="date of RFC 850"),
        pytest.param("Sun, 22 Nov 2026 07:00:00 GMT", 1.0, id="date in the past"),
        pytest.param("Mon, 23 Nov 2026 08:00:00 GMT", 900.0, id="date of tomorrow"),
        pytest.param("", None, id="empty"),
        pytest.param("soon", None, id="garbage"),
        pytest.param("nan", None, id="no number"),
        pytest.param("inf", None, id="endless"),
        pytest.param("Sun, 99 Nov 2026 08:02:00 GMT", None, id="no date"),
        pytest.param(f"Sun, 22 Nov {'9' * 30} 08:02:00 GMT", None, id="a year that no machine knows"),
    ],
)
def test_retry_after_in_all_its_forms(header: str | None, seconds: float | None) -> None:
    """Row 18."""
    assert retry_after(header, NOW) == seconds


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_reaches_whoever_waits(settings: Settings, status: int) -> None:
    """Row 18."""
    error = error_of(settings, answering(status, retry_after="7"))
    absent = error_of(settings, answering(status))
    assert [_asked_to_wait(error), _asked_to_wait(absent)] == [7.0, None]


def _asked_to_wait(error: GatewayError) -> float | None:
    if isinstance(error, CallFailed):
        return error.facts.retry_after
    assert isinstance(error, GatewayBusy)
    return error.retry_after
