"""What a call that brought no image means for its upload: a pure decision from what is known about the call.

Three things can be known of the money: the call was not charged, it was (`NoImage`), or it may have been. Only what was
not charged may be followed by a call with a new idempotency key; what may have been is repeated with its key and body.
"""

from dataclasses import dataclass, replace

from backdrop.errors import (
    AccountFault,
    BadRequestError,
    CallFailed,
    GatewayBusy,
    GatewayError,
    NeverSent,
    NoImage,
    OutcomeUnknown,
    PermanentFailure,
)
from backdrop.failure_codes import Billed, FailureCode
from backdrop.photo_link import LinkState
from backdrop.queues import backoff
from backdrop.upload import Record

RETRY_SECONDS = (2.0, 300.0)  # least and most of the backoff after a failed call
REPLAY_SECONDS = 5.0
CONFLICT_SECONDS = (15.0, 240.0)
MAX_CONFLICTS = 5
MAX_FORBIDDEN_RESPONSES = 3
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
    link: LinkState = LinkState.WORKS
    """What S3 says of the photo's link in a refused replay."""


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

    record: Record
    """What the call leaves."""
    due_at: float = 0.0
    why: str = ""
    is_pause: bool = False
    is_refunded: bool = False
    """The call was certainly not charged: the images that it reserved are free again."""
    rejected: PermanentFailure | None = None


def decide(call: FailedCall, limits: Limits) -> Decision:
    """What to do after a failed call."""
    error = call.error
    if isinstance(error, NoImage):
        return Decision(call.record, rejected=PermanentFailure(FailureCode.NO_IMAGE_RETURNED, str(error), 200))
    if isinstance(error, OutcomeUnknown):
        return _unanswered(call, error, limits)
    if isinstance(error, CallFailed):
        return _may_be_charged(call, error, limits)
    if isinstance(error, BadRequestError):
        return _refused(call, error, limits)
    if isinstance(error, AccountFault):
        return _account_fault(call, error)
    return _not_charged(call, error)


def _unanswered(call: FailedCall, error: OutcomeUnknown, limits: Limits) -> Decision:
    """Nobody knows what became of it: the same call finds out, or it is left to people."""
    # A probe's answer gets lost like all others during an outage, which says nothing about this upload.
    is_excused = not limits.parks and call.is_probe and call.is_replay and call.record.calls_sent < limits.max_attempts
    record = call.record.with_unanswered_call(is_excused)
    if record.unanswered > limits.replays_allowed:
        return Decision(record, rejected=outcome_unknown(record, str(error)))
    return _wait(call, record, call.now + REPLAY_SECONDS)


def _may_be_charged(call: FailedCall, error: CallFailed, limits: Limits) -> Decision:
    """The gateway, or a proxy before it, says that the call failed, which may hide a charge."""
    before, facts = call.record, error.facts
    record = before.with_failed_call(facts.request_id, call.is_probe)
    if limits.parks and not (error.status in _PARKED_BUT and facts.is_documented):
        record = replace(record, unanswered=record.unanswered + 1)
        return Decision(record, rejected=outcome_unknown(record, str(error), error.status))
    if record.failed_attempts >= limits.max_attempts:
        billed: Billed | None = "yes" if record.paid_at else None
        message = f"{record.failed_attempts} calls failed; the last: {error}"
        rejected = PermanentFailure(FailureCode.ATTEMPTS_EXHAUSTED, message, error.status, billed)
        return Decision(record, rejected=rejected)
    is_same_answer = bool(facts.request_id) and facts.request_id == before.failure_request_id
    if call.is_replay and (facts.is_replayed or is_same_answer) and not record.paid_at:
        record = record.needing_new_call()  # the gateway answers this key with the stored failure for ever
    return _wait(
        call, record, call.now + max(facts.retry_after or 0.0, backoff(record.failed_attempts, *RETRY_SECONDS))
    )


def _refused(call: FailedCall, error: BadRequestError, limits: Limits) -> Decision:
    before = call.record
    record = before.with_uncharged_call(call.is_replay)
    if call.is_replay and error.status == 409:
        record = replace(record, conflicts=record.conflicts + 1)
        if record.conflicts > MAX_CONFLICTS:
            message = "the gateway says that the first call is still running, again and again"
            return Decision(record, is_refunded=True, rejected=outcome_unknown(record, message))
        due_at = call.now + backoff(record.conflicts, *CONFLICT_SECONDS)
        return Decision(record, due_at, str(error), is_refunded=True)
    if call.is_replay and before.paid_at:
        rejected = PermanentFailure(FailureCode.RESULT_UNAVAILABLE, str(error), error.status)
        return Decision(record, is_refunded=True, rejected=rejected)
    if call.is_replay and call.link is LinkState.DEAD:
        return _not_known(call, record)
    may_pass = error.photo_not_fetched or call.link is LinkState.UNKNOWN
    if may_pass and record.failed_attempts + 1 < limits.max_attempts:
        record = replace(record, failed_attempts=record.failed_attempts + 1)
        due_at = call.now + backoff(record.failed_attempts, *RETRY_SECONDS)
        return Decision(record, due_at, "the gateway could not download the photo", is_refunded=True)
    # A gateway that knows the first call would have answered with it; one that doesn't tells nothing about it.
    billed: Billed = "unknown" if call.is_replay else "no"
    rejected = PermanentFailure(FailureCode.REJECTED_BY_GATEWAY, str(error), error.status, billed)
    return Decision(record, is_refunded=True, rejected=rejected)


def _not_known(call: FailedCall, record: Record) -> Decision:
    """The gateway would have known a call that it charged; it tried a new one, and the photo's link was dead."""
    return Decision(record.needing_new_call(), call.now, "the first call was not charged", is_refunded=True)


def _account_fault(call: FailedCall, error: AccountFault) -> Decision:
    record = replace(
        call.record.with_uncharged_call(call.is_replay),
        forbidden_responses=forbidden_responses_of(call),
        queue_position=0.0,
    )
    if record.forbidden_responses >= MAX_FORBIDDEN_RESPONSES:
        if call.is_replay and call.link is LinkState.DEAD and not record.paid_at:
            return _not_known(call, replace(record, forbidden_responses=0))
        billed: Billed = "yes" if record.paid_at else "unknown" if call.is_replay else "no"
        rejected = PermanentFailure(FailureCode.REJECTED_BY_GATEWAY, str(error), error.status, billed)
        return Decision(record, is_refunded=True, rejected=rejected)
    record = replace(record, calls_sent=record.calls_sent - 1)
    return Decision(record, call.next_look, str(error), is_pause=True, is_refunded=True)


def forbidden_responses_of(call: FailedCall) -> int:
    """How often an upload was answered 403 or 404 outside of pauses, while others' calls got through."""
    alone = getattr(call.error, "status", 0) in (403, 404) and not call.is_probe
    return call.record.forbidden_responses + alone


def _not_charged(call: FailedCall, error: GatewayError) -> Decision:
    record = call.record.with_uncharged_call(call.is_replay)
    asked, tries = 0.0, record.failed_attempts
    if isinstance(error, NeverSent):
        record = replace(record, calls_sent=record.calls_sent - 1)
    elif isinstance(error, GatewayBusy):
        asked = error.retry_after or 0.0
        tries = record.failed_attempts if error.status == 429 else record.calls_sent
    return _wait(call, record, call.now + max(asked, backoff(tries, *RETRY_SECONDS)), is_refunded=True)


def _wait(call: FailedCall, record: Record, due_at: float, is_refunded: bool = False) -> Decision:
    if call.is_paused:
        return Decision(replace(record, queue_position=0.0), call.next_look, str(call.error), True, is_refunded)
    return Decision(record, due_at, str(call.error), False, is_refunded)


def outcome_unknown(record: Record, message: str, status: int | None = None) -> PermanentFailure:
    """The rejection of an upload whose call nobody knows the outcome of."""
    return PermanentFailure(FailureCode.OUTCOME_UNKNOWN, message, status, "yes" if record.paid_at else None)
