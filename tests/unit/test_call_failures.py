"""What a call that brought no image means for its upload."""

from dataclasses import replace

import pytest

from backdrop.call import Call
from backdrop.call_failures import MAX_CONFLICTS, FailedCall, Limits, decide
from backdrop.errors import (
    AccountFault,
    BadRequestError,
    CallFailed,
    FailureFacts,
    GatewayBusy,
    GatewayError,
    NeverSent,
    NoImage,
    OutcomeUnknown,
)
from backdrop.photo_link import LinkState
from backdrop.states import State
from backdrop.upload import Record

NOW, NEXT_LOOK = 1_000.0, 1_060.0
RETRY, PARK = Limits(max_attempts=3, replays_allowed=1), Limits(max_attempts=3, replays_allowed=0)
CALLING = Record(
    id="id",
    bucket="in",
    key="a.jpg",
    version_id="1",
    etag="e",
    state=State.CALLING,
    owner="o",
    lease_until=0.0,
    created_at=0.0,
    updated_at=0.0,
    expires_at=0,
    calls_sent=1,
    call=Call("key", "generations", "{}", 0.0, 0.0),
    images=2,
)
REPLAYED = replace(CALLING, calls_sent=2, failed_attempts=1, unsettled_images=2)
LOST = replace(CALLING, calls_sent=2, unanswered=1, unsettled_images=2)
PAID = replace(LOST, paid_at=900.0)
DOCUMENTED = FailureFacts(is_documented=True, request_id="r1")


def failed(error: GatewayError, record: Record = CALLING, **more: bool | LinkState) -> FailedCall:
    facts = {"is_replay": record.calls_sent > 1, "is_probe": False, "is_paused": False} | more
    return FailedCall(error, record, next_look=NEXT_LOOK, now=NOW, **facts)  # type: ignore[arg-type]


def in_short(call: FailedCall, limits: Limits) -> str:
    """What is decided, in words: the rejection or the wait, the next call's key, whether images are given back."""
    decision = decide(call, limits)
    if decision.rejected:
        what = f"{decision.rejected.code}, billed {decision.rejected.billed}"
    else:
        assert decision.why
        assert decision.due_at >= NOW
        what = ("wait for the pause" if decision.due_at == NEXT_LOOK else "wait") + (
            ", same call" if decision.record.call else ", new call"
        )
    return what + (", refund" if decision.is_refunded else "")


@pytest.mark.parametrize(
    ("call", "under_retry", "under_park"),
    [
        pytest.param(failed(NoImage("no image")), "no_image_returned, billed yes", None, id="200 without an image"),
        pytest.param(
            failed(OutcomeUnknown("cut")), "wait, same call", "outcome_unknown, billed unknown", id="no answer"
        ),
        pytest.param(
            failed(OutcomeUnknown("cut"), LOST), "outcome_unknown, billed unknown", None, id="no answer twice"
        ),
        pytest.param(
            failed(OutcomeUnknown("cut"), REPLAYED, is_probe=True, is_paused=True),
            "wait for the pause, same call",
            "outcome_unknown, billed unknown",
            id="a probe's replay without an answer",
        ),
        pytest.param(
            failed(OutcomeUnknown("cut"), PAID), "outcome_unknown, billed yes", None, id="lost images, no answer"
        ),
        pytest.param(
            failed(CallFailed(502, "bad", "", FailureFacts())),
            "wait, same call",
            "outcome_unknown, billed unknown",
            id="a proxy's 502",
        ),
        pytest.param(
            failed(CallFailed(503, "busy", "", DOCUMENTED)),
            "wait, same call",
            "wait, same call",
            id="the gateway's 503",
        ),
        pytest.param(
            failed(CallFailed(503, "busy", "", DOCUMENTED), replace(REPLAYED, failed_attempts=2)),
            "attempts_exhausted, billed unknown",
            None,
            id="the last attempt",
        ),
        pytest.param(
            failed(CallFailed(503, "busy", "", DOCUMENTED), replace(REPLAYED, failed_attempts=2), is_probe=True),
            "wait, same call",
            None,
            id="a probe is no attempt",
        ),
        pytest.param(
            failed(CallFailed(500, "bad", "", DOCUMENTED), replace(REPLAYED, failure_request_id="r1")),
            "wait, new call",
            None,
            id="the stored failure again",
        ),
        pytest.param(failed(BadRequestError(400, "no")), "rejected_by_gateway, billed no, refund", None, id="400"),
        pytest.param(
            failed(BadRequestError(400, "no"), LOST),
            "rejected_by_gateway, billed unknown, refund",
            None,
            id="a replay's 400",
        ),
        pytest.param(
            failed(BadRequestError(400, "no"), PAID),
            "result_unavailable, billed yes, refund",
            None,
            id="lost images, 400",
        ),
        pytest.param(
            failed(BadRequestError(400, "no"), LOST, link=LinkState.DEAD),
            "wait, new call, refund",
            None,
            id="a dead link",
        ),
        pytest.param(
            failed(BadRequestError(400, "no photo", "", True)),
            "wait, new call, refund",
            None,
            id="the photo was not fetched",
        ),
        pytest.param(failed(BadRequestError(409, "runs"), LOST), "wait, same call, refund", None, id="409"),
        pytest.param(
            failed(BadRequestError(409, "runs"), replace(LOST, conflicts=MAX_CONFLICTS)),
            "outcome_unknown, billed unknown, refund",
            None,
            id="409 for ever",
        ),
        pytest.param(
            failed(AccountFault(402, "empty"), is_paused=True), "wait for the pause, new call, refund", None, id="402"
        ),
        pytest.param(
            failed(AccountFault(402, "empty"), LOST, is_paused=True),
            "wait for the pause, same call, refund",
            None,
            id="a replay's 402",
        ),
        pytest.param(
            failed(AccountFault(404, "no"), replace(CALLING, forbidden_responses=2)),
            "rejected_by_gateway, billed no, refund",
            None,
            id="404 for this one alone",
        ),
        pytest.param(failed(GatewayBusy(429, "slow")), "wait, new call, refund", None, id="429"),
        pytest.param(failed(GatewayBusy(429, "slow"), LOST), "wait, same call, refund", None, id="a replay's 429"),
        pytest.param(failed(NeverSent("no way")), "wait, new call, refund", None, id="no connection"),
    ],
)
def test_what_is_decided(call: FailedCall, under_retry: str, under_park: str | None) -> None:
    """`under_park` is left out where it makes no difference, or there is nothing to repeat under it."""
    assert in_short(call, RETRY) == under_retry
    if under_park is not None:
        assert in_short(call, PARK) == under_park


def test_what_may_have_been_charged_is_noted_and_what_was_not_is_no_attempt() -> None:
    assert decide(failed(OutcomeUnknown("cut")), RETRY).record.unsettled_images == 2
    assert decide(failed(CallFailed(502, "bad", "", FailureFacts())), RETRY).record.unsettled_images == 2
    for error in (AccountFault(402, "empty"), NeverSent("no way")):
        left = decide(failed(error), RETRY).record
        assert (left.calls_sent, left.failed_attempts, left.unsettled_images) == (0, 0, 0)


def test_a_wait_is_as_long_as_the_gateway_asks() -> None:
    assert decide(failed(GatewayBusy(429, "slow", "", 500.0)), RETRY).due_at == NOW + 500
    asks = FailureFacts(retry_after=400.0, is_documented=True)
    assert decide(failed(CallFailed(503, "busy", "", asks)), RETRY).due_at == NOW + 400
