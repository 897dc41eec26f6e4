"""What a call that brought no image means for its upload: a pure decision from what is known about the call.

Three things can be known of the money: the call was not charged, it was (`NoImage`), or it may have been. Only what was
not charged may be followed by a call with a new idempotency key; what may have been is repeated with its key and body.
"""

from dataclasses import dataclass
from typing import Any

from backdrop.errors import (
    AccountFault,
    Billed,
    CallFailed,
    GatewayBusy,
    GatewayError,
    NeverSent,
    NoImage,
    OutcomeUnknown,
    Refused,
    Rejected,
)
from backdrop.ledger import Record, State
from backdrop.queues import backoff

RETRY_SECONDS = (2.0, 300.0)  # least and most of the backoff after a failed call
REPLAY_SECONDS = 5.0
CONFLICT_SECONDS = (15.0, 240.0)
MAX_CONFLICTS = 5
MAX_FAULTS = 3
_PARKED_BUT = {500, 503}  # what `park` tries again when the gateway itself said it


@dataclass(frozen=True)
class FailedCall:
    """One failed call; `record` is the upload's while it was made, `now` and `next_look` are epoch seconds."""

    error: GatewayError
    record: Record
    is_replay: bool
    is_probe: bool
    is_paused: bool
    """All calls are paused, because of this failure or before it."""
    next_look: float
    """When an upload that waits for the end of a pause should look again."""
    now: float


@dataclass(frozen=True)
class Limits:
    """The settings that decide."""

    max_attempts: int
    replays_allowed: int

    @property
    def parks(self) -> bool:
        """Whether a call of unknown outcome is left to people."""
        return self.replays_allowed == 0


@dataclass(frozen=True)
class Decision:
    """What becomes of the upload. Without `rejected` it waits until `due_at` (epoch seconds)."""

    changes: dict[str, Any]
    """Of the record."""
    due_at: float = 0.0
    why: str = ""
    is_pause: bool = False
    is_refunded: bool = False
    """The call was certainly not charged: the images that it reserved are free again."""
    rejected: Rejected | None = None


def decide(call: FailedCall, limits: Limits) -> Decision:
    """What to do after a failed call."""
    error = call.error
    if isinstance(error, NoImage):
        return Decision({}, rejected=Rejected("no_image_returned", str(error), 200, "yes"))
    if isinstance(error, OutcomeUnknown):
        return _unanswered(call, error, limits)
    if isinstance(error, CallFailed):
        return _may_be_charged(call, error, limits)
    if isinstance(error, Refused):
        return _refused(call, error, limits)
    if isinstance(error, AccountFault):
        return _account_fault(call, error)
    return _not_charged(call, error)


def _unanswered(call: FailedCall, error: OutcomeUnknown, limits: Limits) -> Decision:
    """Nobody knows what became of it: the same call finds out, or it is left to people."""
    record = call.record
    # A probe's answer gets lost like all others during an outage, which says nothing about this upload.
    is_excused = call.is_probe and call.is_replay and record.attempts < limits.max_attempts
    unanswered = record.unanswered + (not is_excused)
    changes: dict[str, Any] = {
        "state": State.UNKNOWN,
        "unsettled_images": record.unsettled_images + record.images,
        "unanswered": unanswered,
    }
    if unanswered > limits.replays_allowed:
        return Decision(changes, rejected=outcome_unknown(record, str(error)))
    return _wait(call, changes, call.now + REPLAY_SECONDS)


def _may_be_charged(call: FailedCall, error: CallFailed, limits: Limits) -> Decision:
    """The gateway, or a proxy before it, says that the call failed, which may hide a charge."""
    record, facts = call.record, error.facts
    changes: dict[str, Any] = {
        "state": State.UNKNOWN,
        "unsettled_images": record.unsettled_images + record.images,
        "failure_request_id": facts.request_id or None,
        "strikes": record.strikes + (not call.is_probe),
    }
    if limits.parks and not (error.status in _PARKED_BUT and facts.is_documented):
        changes["unanswered"] = record.unanswered + 1
        return Decision(changes, rejected=outcome_unknown(record, str(error), error.status))
    if changes["strikes"] >= limits.max_attempts:
        billed: Billed = "yes" if record.paid_at else "unknown"
        message = f"{changes['strikes']} calls failed; the last: {error}"
        return Decision(changes, rejected=Rejected("attempts_exhausted", message, error.status, billed))
    is_same_answer = bool(facts.request_id) and facts.request_id == record.failure_request_id
    if call.is_replay and (facts.is_replayed or is_same_answer):
        changes |= NEW_CALL  # the gateway keeps the failure with the key, which so brings nothing any more
    return _wait(call, changes, call.now + max(facts.retry_after or 0.0, backoff(changes["strikes"], *RETRY_SECONDS)))


def _refused(call: FailedCall, error: Refused, limits: Limits) -> Decision:
    record = call.record
    changes = _as_before(call)
    if call.is_replay and error.status == 409:
        changes["conflicts"] = conflicts = record.conflicts + 1
        if conflicts > MAX_CONFLICTS:
            message = "the gateway says that the first call is still running, again and again"
            return Decision(changes, is_refunded=True, rejected=outcome_unknown(record, message))
        return Decision(changes, call.now + backoff(conflicts, *CONFLICT_SECONDS), str(error), is_refunded=True)
    if call.is_replay and record.paid_at:
        rejected = Rejected("result_unavailable", str(error), error.status, "yes")
        return Decision(changes, is_refunded=True, rejected=rejected)
    if call.is_replay and record.call and call.now > record.call.image_link_dies_at:
        # The gateway would have known a call that it charged; it tried a new one and the photo's link was dead.
        return Decision(dict(NEW_CALL), call.now, "the first call was not charged", is_refunded=True)
    if error.photo_not_fetched and record.strikes + 1 < limits.max_attempts:
        changes["strikes"] = record.strikes + 1
        due_at = call.now + backoff(changes["strikes"], *RETRY_SECONDS)
        return Decision(changes, due_at, "the gateway could not download the photo", is_refunded=True)
    # A gateway that knows the first call would have answered with it; one that doesn't tells nothing about it.
    billed: Billed = "unknown" if call.is_replay else "no"
    rejected = Rejected("rejected_by_gateway", str(error), error.status, billed)
    return Decision(changes, is_refunded=True, rejected=rejected)


def _account_fault(call: FailedCall, error: AccountFault) -> Decision:
    record = call.record
    changes = _as_before(call) | {"attempts": record.attempts - 1, "turn_at": 0.0}
    changes["faults"] = faults_of(call)
    if changes["faults"] >= MAX_FAULTS:
        rejected = Rejected("rejected_by_gateway", str(error), error.status)
        return Decision(changes | {"attempts": record.attempts}, is_refunded=True, rejected=rejected)
    return Decision(changes, call.next_look, str(error), is_pause=True, is_refunded=True)


def faults_of(call: FailedCall) -> int:
    """How often an upload was answered 403 or 404 outside of pauses, while others' calls got through."""
    alone = getattr(call.error, "status", 0) in (403, 404) and not call.is_probe and not call.is_replay
    return call.record.faults + alone


def _not_charged(call: FailedCall, error: GatewayError) -> Decision:
    record = call.record
    changes = _as_before(call)
    asked, tries = 0.0, record.strikes
    if isinstance(error, NeverSent):
        changes["attempts"] = record.attempts - 1
    elif isinstance(error, GatewayBusy):
        asked = error.retry_after or 0.0
        tries = record.strikes if error.status == 429 else record.attempts
    return _wait(call, changes, call.now + max(asked, backoff(tries, *RETRY_SECONDS)), is_refunded=True)


NEW_CALL: dict[str, Any] = {"state": State.CLAIMED, "call": None, "idempotency_key": None}
"""The next call has a new idempotency key."""


def _as_before(call: FailedCall) -> dict[str, Any]:
    """This call was not charged: what it repeated is as unknown as before, and a first call was never made."""
    return {"state": State.UNKNOWN} if call.is_replay else dict(NEW_CALL)


def _wait(call: FailedCall, changes: dict[str, Any], due_at: float, is_refunded: bool = False) -> Decision:
    if call.is_paused:
        return Decision(changes | {"turn_at": 0.0}, call.next_look, str(call.error), True, is_refunded)
    return Decision(changes, due_at, str(call.error), False, is_refunded)


def outcome_unknown(record: Record, message: str, status: int | None = None) -> Rejected:
    """The rejection of an upload whose call nobody knows the outcome of."""
    return Rejected("outcome_unknown", message, status, billed="yes" if record.paid_at else "unknown")
