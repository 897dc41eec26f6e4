"""What the command line says about the pace and about calls that fail."""

from dataclasses import replace
from decimal import Decimal

import pytest

from backdrop_cli.forecast import PaceNow, Quote, in_words, meaning_of

NOON = 1_700_049_600.0
WELL = PaceNow(bought_today=0, line_ends_at=0.0)


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        ("429 insufficient_quota", "no money"),
        ("400 billing_hard_limit_reached", "no money"),
        ("403 AccountOverdueError", "no money"),
        ("422 Insufficient-Balance", "no money"),
        ("402", "no money"),
        ("402 something_else", "no money"),
        ("401", "key is refused"),
        ("401 invalid_api_key", "key is refused"),
        ("403 invalid_api_key", "key is refused"),
        ("403", "may not do this"),
        ("403 permission_denied", "may not do this"),
        ("404", "GatewayModel"),
        ("404 model_not_found", "GatewayModel"),
        ("403 model_not_found", "GatewayModel"),
        ("429", "fewer calls"),
        ("429 rate_limit_exceeded", "fewer calls"),
        ("500", "reports failures"),
        ("503 capacity_exceeded", "reports failures"),
        ("408", "reports failures"),
        ("520", "reports failures"),
        ("521", "does not reach the gateway"),
        ("522", "does not reach the gateway"),
        ("530 1033", "does not reach the gateway"),
        ("no connection", "no connection to the gateway"),
        ("no answer", "no complete answer"),
        # What an earlier version wrote:
        ("TryLater 503", "fail"),
        ("", "fail"),
    ],
)
def test_a_failure_is_told_in_words_by_its_code_and_status(failure: str, says: str) -> None:
    assert says in meaning_of(failure)


def test_since_when_calls_fail_is_told_with_how_long_that_is() -> None:
    failing = replace(WELL, failing_since=NOON - 480, last_failure="503")
    assert "(for 8 minutes): 503, the gateway" in failing.block_in_words(NOON)


def test_the_day_is_told_when_it_is_another() -> None:
    failing = replace(WELL, failing_since=NOON - 3 * 86400, last_failure="503")
    assert "2023-11-1" in failing.block_in_words(NOON)
    assert "(for 3 days)" in failing.block_in_words(NOON)


def test_a_pause_that_an_earlier_version_began_is_told_by_its_reason() -> None:
    paused = replace(WELL, paused_since=NOON - 60, pause_reason="402")
    assert paused.is_blocked
    assert (paused.blocked_since, paused.refusal) == (NOON - 60, "402")


def test_an_offer_promises_a_time_only_while_calls_get_through() -> None:
    offer = Quote(2, 3, Decimal("0.09"), 120.0)
    assert in_words(offer) == "3 images, $0.09, about 2 minutes at the present pace"

    words = in_words(replace(offer, blocked="503, the gateway is down"))
    assert words == "3 images, $0.09, once calls get through again (503, the gateway is down)"


def test_an_offer_of_nothing_says_nothing_about_time() -> None:
    nothing = Quote(0, 0, Decimal(0), 0.0)
    assert in_words(nothing) == in_words(replace(nothing, blocked="503")) == "0 images, $0.00"
