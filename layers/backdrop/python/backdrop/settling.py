"""What a call that brought no image means for its upload, for the wallet and for everybody's pace."""

from dataclasses import replace
from typing import Any, NoReturn

from backdrop.attempt import Attempt, best_effort
from backdrop.errors import (
    AccountFault,
    GatewayError,
    NeverSent,
    NoImage,
    NotYet,
    OutcomeUnknown,
    Paused,
    Refused,
    Rejected,
    TryLater,
)
from backdrop.job import Purchase
from backdrop.ledger import State
from backdrop.log import logger
from backdrop.pace import Slot
from backdrop.queues import backoff

RATE_LIMIT_SECONDS = 5.0  # everybody waits this long after a 429 that doesn't say how long
RETRY_SECONDS = (2.0, 300.0)  # least and most of the backoff after a failed call
REPLAY_SECONDS = 5.0
CONFLICT_SECONDS = (15.0, 240.0)
MAX_CONFLICTS = 5
MAX_FAULTS = 3


def settle(attempt: Attempt, error: GatewayError, slot: Slot, is_replay: bool) -> NoReturn:
    """Write what is known about the call, and wait (NotYet) or give up (Rejected)."""
    status: int | None = getattr(error, "status", None)
    what = f"{type(error).__name__} {status}" if status else type(error).__name__
    attempt.app.metrics.gateway_failed(what)
    logger.warning("gateway call failed", outcome=what, detail=str(error), attempts=attempt.record.attempts)
    attempt.record = replace(attempt.record, history=attempt.record.noting(attempt.app.clock.now(), what))
    if isinstance(error, NoImage):
        _no_image(attempt, error, slot)
    if isinstance(error, OutcomeUnknown):
        _outcome_unknown(attempt, error, slot, what, is_replay)

    # From here on it is certain that this call was not charged.
    attempt.unused = slot
    back: dict[str, Any] = {"state": State.CLAIMED, "call": None, "idempotency_key": None}
    if is_replay:  # it says nothing about the first call
        back = {"state": State.UNKNOWN, "replays": attempt.record.replays - 1}
    if isinstance(error, Refused):
        _refused(attempt, error, slot, is_replay, back)
    if isinstance(error, AccountFault):
        _account_fault(attempt, error, slot, is_replay, back)
    _try_again(attempt, error, slot, what, is_replay, back)


def _no_image(attempt: Attempt, error: NoImage, slot: Slot) -> NoReturn:
    with best_effort("tell the pace keeper"):
        attempt.app.pace.answered(slot)
    cost = str(attempt.app.settings.price_per_image_usd * attempt.record.images)
    attempt.paid(Purchase(attempt.record.idempotency_key or "", (), False, "", cost, attempt.app.clock.now()))
    raise Rejected("no_image_returned", str(error), 200, "yes")


def _outcome_unknown(attempt: Attempt, error: OutcomeUnknown, slot: Slot, what: str, is_replay: bool) -> NoReturn:
    attempt.app.metrics.outcome_unknown()
    is_down = _failed(attempt, slot, what)
    if slot.is_probe and is_replay and attempt.record.attempts < attempt.app.settings.max_attempts:
        attempt.record = replace(attempt.record, replays=attempt.record.replays - 1)  # it found out for others, too
    if not attempt.may_replay:
        raise attempt.unknown(str(error))
    soon = NotYet(str(error), attempt.app.clock.now() + REPLAY_SECONDS)
    attempt.wait(_paused(attempt, error) if is_down else soon, state=State.UNKNOWN)


def _refused(attempt: Attempt, error: Refused, slot: Slot, is_replay: bool, back: dict[str, Any]) -> NoReturn:
    with best_effort("tell the pace keeper"):
        attempt.app.pace.answered(slot)
    now, record = attempt.app.clock.now(), attempt.record
    if is_replay and error.status == 409:
        conflicts = record.conflicts + 1
        if conflicts > MAX_CONFLICTS:
            raise attempt.unknown("the gateway says that the first call is still running, again and again")
        due_at = now + backoff(conflicts, *CONFLICT_SECONDS)
        attempt.wait(NotYet(str(error), due_at), conflicts=conflicts, **back)
    if is_replay and record.paid_at:
        raise Rejected("result_unavailable", str(error), error.status, "yes")
    if is_replay and record.call and now > record.call.image_link_dies_at:
        # The gateway would have known a call that it charged; it tried a new one and the photo's link was dead.
        back |= {"state": State.CLAIMED, "call": None, "idempotency_key": None}
        attempt.wait(NotYet("the first call was not charged", now), **back)
    # A gateway that knows the first call would have answered with it; one that doesn't tells nothing about it.
    raise Rejected("rejected_by_gateway", str(error), error.status, "unknown" if is_replay else "no")


def _account_fault(
    attempt: Attempt, error: AccountFault, slot: Slot, is_replay: bool, back: dict[str, Any]
) -> NoReturn:
    # Outside of a pause others' calls get through: if this one's never do, it is the photo or the prompt.
    faults = attempt.record.faults + (error.status in (403, 404) and not slot.is_probe and not is_replay)
    if faults >= MAX_FAULTS:
        raise Rejected("rejected_by_gateway", str(error), error.status)
    with best_effort("pause all calls"):
        attempt.app.pace.pause(slot, str(error.status))
    attempt.wait(_paused(attempt, error), attempts=attempt.record.attempts - 1, faults=faults, turn_at=0.0, **back)


def _try_again(
    attempt: Attempt, error: GatewayError, slot: Slot, what: str, is_replay: bool, back: dict[str, Any]
) -> NoReturn:
    is_down = _failed(attempt, slot, what)
    strikes = attempt.record.strikes
    asked = 0.0
    if isinstance(error, NeverSent):
        back["attempts"] = attempt.record.attempts - 1
    elif isinstance(error, TryLater):
        asked = error.retry_after or 0.0
        if error.status == 429:
            with best_effort("push everybody back"):
                attempt.app.pace.push_back(asked or RATE_LIMIT_SECONDS)
        elif not slot.is_probe:
            strikes += 1
    if strikes >= attempt.app.settings.max_attempts:
        message = f"{strikes} calls failed; the last: {error}"
        if is_replay:
            raise attempt.unknown(message)
        raise Rejected("attempts_exhausted", message, getattr(error, "status", None))
    if is_down:
        attempt.wait(_paused(attempt, error), strikes=strikes, turn_at=0.0, **back)
    due_at = attempt.app.clock.now() + max(asked, backoff(strikes, *RETRY_SECONDS))
    attempt.wait(NotYet(str(error), due_at), strikes=strikes, **back)


def _paused(attempt: Attempt, error: GatewayError) -> Paused:
    return Paused(str(error), attempt.app.pace.next_look())


def _failed(attempt: Attempt, slot: Slot, what: str) -> bool:
    """Tell the pace keeper of a failure that may mean an outage; whether all calls are paused."""
    with best_effort("tell the pace keeper"):
        return attempt.app.pace.failed(slot, what)
    return False
