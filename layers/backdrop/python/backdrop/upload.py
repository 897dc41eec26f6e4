"""What the ledger holds of one upload, and its moves from one state to the next.

Nothing here reads or writes anything; everything else speaks of an upload in these types. `job` says which
upload is meant, `call` what is sent and bought, `states` what may follow what.
"""

from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any

from backdrop.call import Call, Order
from backdrop.clock import iso_time
from backdrop.errors import CurrentResults, PermanentFailure, Reason
from backdrop.failure_codes import FailureCode
from backdrop.states import NEXT, ImpossibleMove, State

HISTORY_LENGTH = 20
REPLAY_KNOWN = "replay answered with the stored answer"
REPLAY_NEW = "replay answered without a word of an earlier call"
"""Lines of a history that tell whether a gateway honours idempotency keys."""
STUCK_SECONDS = 600.0
"""An upload this long past its time is stuck: its message is lost."""


@dataclass(frozen=True)
class Record:
    """The stored state of one upload. Times are epoch seconds."""

    id: str
    bucket: str
    key: str
    version_id: str | None
    etag: str | None
    state: State
    owner: str
    lease_until: float
    created_at: float
    updated_at: float
    expires_at: int
    modified: int | None = None
    """With `etag`, what tells uploads of a key apart where the bucket keeps no versions."""
    due_at: float = 0.0
    """When the upload is next looked at; 0 while a worker is on it."""
    queue_position: float = 0.0
    """Its place in the queue for slots; 0 for none."""
    images_later: int = 0
    """Images that it waits for until a later day, having no room in today's DailyImageLimit; its place is `due_at`."""
    receipt_handle: str | None = None
    """Of the message that sleeps until then, by which it can be woken."""
    calls_sent: int = 0
    """Calls sent, answered or not."""
    failed_attempts: int = 0
    """Calls that count against MaxAttempts: answered 408 or 5xx, and not the probe of a pause."""
    idempotency_key_number: int = 0
    unanswered: int = 0
    """How often `call` was sent and brought no complete answer."""
    failure_request_id: str | None = None
    """The gateway's id of the last answer to `call` that reported a failure."""
    unsettled_images: int = 0
    """Images of calls that may have been charged although nothing came of them."""
    forbidden_responses: int = 0
    """Calls answered 403 or 404 while others' calls went through."""
    conflicts: int = 0
    """Replays answered 409: the first call may still be running."""
    call: Call | None = None
    source_modified: float = 0.0
    fingerprint: str | None = None
    """Of what the result is made from; see `inspection`."""
    again: str = ""
    """The upload's metadata of that name."""
    result_of: str | None = None
    """Of an UNCHANGED upload: the id of the one that its results were bought for."""
    result_at: float = 0.0
    """Of an UNCHANGED upload: when its results were stored."""
    tag: str = ""
    """The upload's metadata of that name."""
    batch: str | None = None
    """The shard of a batch that it is counted in; empty for none, None before its metadata was read."""
    redriven: int = 0
    """How often its dead letter was moved back; before its batch was known, no batch has counted it."""
    prompt_sha256: str | None = None
    prompt_length: int = 0
    model: str | None = None
    images: int = 0
    idempotency_key: str | None = None
    links: tuple[str, ...] = ()
    answered_inline: bool = False
    request_id: str | None = None
    cost_usd: str | None = None
    paid_at: float = 0.0
    link_failures: int = 0
    outputs: tuple[dict[str, Any] | None, ...] = ()
    """By index of the image; None for one that is not stored yet."""
    reason: dict[str, Any] | None = None
    failed_at: str | None = None
    rejected_in: State | None = None
    """The state that a moved-back dead letter goes on from."""
    dead_lettered: bool = False
    reenqueued: int = 0
    """How often the reconciler has sent a message for it."""
    history: tuple[str, ...] = ()

    @property
    def stored(self) -> tuple[dict[str, Any], ...]:
        """The outputs that are there."""
        return tuple(output for output in self.outputs if output)

    @property
    def batch_id(self) -> str:
        """Of the batch that it is counted in; empty for none."""
        return (self.batch or "").partition(".")[0]

    @property
    def bought_images(self) -> int:
        """The images that its receipt says were bought."""
        return self.images if self.paid_at else 0

    @property
    def cost(self) -> Decimal:
        """What its receipt says that they cost, in dollars."""
        return Decimal(self.cost_usd or 0)

    @property
    def is_finished(self) -> bool:
        """Nothing is left to do, unless a dead letter is moved back."""
        return self.state in (State.DONE, State.REJECTED, State.UNCHANGED)

    @property
    def is_over(self) -> bool:
        """Nothing more will become of it by itself: finished, replaced, or rejected with its dead letter sent."""
        if self.state is State.REJECTED:
            return self.dead_lettered
        return self.state in (State.DONE, State.SUPERSEDED, State.UNCHANGED)

    def is_stuck(self, now: float) -> bool:
        """Whether an upload that is not over should have been looked at long ago, so that its message must be lost."""
        return now - max(self.due_at, self.lease_until, self.updated_at) > STUCK_SECONDS

    def noted(self, now: float, what: str) -> "Record":
        """With one more line of history, the oldest dropped."""
        return replace(self, history=(*self.history, f"{iso_time(now)} {what}")[-HISTORY_LENGTH:])

    def noted_once(self, now: float, what: str) -> "Record":
        """As `noted`, but what the last line says already is not said again: it tells since when."""
        is_there = self.history and self.history[-1].partition(" ")[2] == what
        return self if is_there else self.noted(now, what)

    # A call

    def with_call(self, call: Call, order: Order, now: float) -> "Record":
        """A new call, with an idempotency key that was never used, is about to be sent."""
        return self._to(
            State.CALLING,
            call=call,
            idempotency_key=call.idempotency_key,
            idempotency_key_number=self.idempotency_key_number + 1,
            calls_sent=self.calls_sent + 1,
            images_later=0,
            receipt_handle=None,
            queue_position=now,  # it counts as a retry, should it have to call again
            unanswered=0,
            conflicts=0,
            failure_request_id=None,
            **vars(order),
        )

    def with_replay(self, now: float) -> "Record":
        """The call of unknown outcome is about to be sent again, with its key and body."""
        return self._to(
            State.CALLING,
            calls_sent=self.calls_sent + 1,
            queue_position=now,
            images_later=0,
            receipt_handle=None,
        )

    def with_unanswered_call(self, is_excused: bool = False) -> "Record":
        """The call was sent and no complete answer came; an excused one doesn't count."""
        return self._to(
            State.UNKNOWN,
            unanswered=self.unanswered + (not is_excused),
            unsettled_images=self.unsettled_images + self.images,
        )

    def with_failed_call(self, request_id: str, is_probe: bool) -> "Record":
        """The call was answered with a failure, which may hide a charge; a probe's is no attempt."""
        return self._to(
            State.UNKNOWN,
            failure_request_id=request_id or None,
            failed_attempts=self.failed_attempts + (not is_probe),
            unsettled_images=self.unsettled_images + self.images,
        )

    def with_uncharged_call(self, is_replay: bool) -> "Record":
        """The call was not charged: a first one was never made, and what a replay repeated is as unknown as before."""
        return self._to(State.UNKNOWN) if is_replay else self.needing_new_call()

    def needing_new_call(self) -> "Record":
        """The next call has a new idempotency key."""
        return self._to(State.CLAIMED, call=None, idempotency_key=None)

    def with_lost_images(self, unanswered: int) -> "Record":
        """Paid, but the images were in an answer that a crash or S3 has swallowed: only the same call brings them."""
        return self._to(State.UNKNOWN, unanswered=unanswered)

    # The end

    def done(self) -> "Record":
        """All that was bought is stored, or a newer upload's result is."""
        return self._to(State.DONE, call=None)

    def unchanged(self, results: CurrentResults) -> "Record":
        """The results that are there were made from the same photo for the same request."""
        return self._to(
            State.UNCHANGED,
            outputs=results.outputs,
            result_of=results.job_id,
            result_at=results.stored_at,
        )

    def superseded(self) -> "Record":
        """Its object is gone or replaced. A call that may have been charged is kept."""
        return self._to(State.SUPERSEDED)

    def current_again(self) -> "Record":
        """Its successor was deleted. A call that may have been charged is still to be repeated."""
        if self.state is not State.SUPERSEDED:
            return self
        return self._to(State.UNKNOWN if self.call else State.CLAIMED)

    def reconsidered(self) -> "Record":
        """The results that it took for its own were replaced."""
        return self._to(State.CLAIMED, outputs=(), result_of=None, result_at=0.0)

    def rejected(self, rejected: PermanentFailure, now: float) -> "Record":
        """It can't succeed by itself. A dead letter that is moved back goes on from `rejected_in`."""
        billed = "unknown" if rejected.billed == "no" and self.unsettled_images else rejected.billed
        reason = Reason(rejected.code, rejected.message, rejected.http_status, self.calls_sent, billed)
        record = replace(self, rejected_in=State.CLAIMED, call=None, idempotency_key=None)
        if rejected.billed == "yes" and rejected.code != FailureCode.OUTCOME_UNKNOWN:
            record = replace(self, rejected_in=State.PAID)
        elif rejected.billed != "no":
            record = replace(self, rejected_in=State.UNKNOWN)  # with its call, to be repeated
        record = replace(
            record._to(State.REJECTED),
            due_at=0.0,
            reason=asdict(reason),
            tag=rejected.tag or self.tag,
            batch=self.batch if rejected.batch is None else rejected.batch,
            failed_at=iso_time(now),
            dead_lettered=False,
        )
        return record.noted(now, rejected.code)

    def reopened(self, owner: str, lease_until: float, may_be_unanswered: int) -> "Record":
        """Its dead letter was moved back. No more than `may_be_unanswered` calls count as unanswered from here on."""
        return self._to(
            self.rejected_in or State.CLAIMED,
            owner=owner,
            lease_until=lease_until,
            unanswered=min(self.unanswered, may_be_unanswered),
            failed_attempts=0,
            forbidden_responses=0,
            conflicts=0,
            link_failures=0,
            reason=None,
            failed_at=None,
            rejected_in=None,
            dead_lettered=False,
            redriven=self.redriven + (self.batch is not None),
        )

    def _to(self, state: State, **changes: Any) -> "Record":
        if state not in NEXT[self.state]:
            raise ImpossibleMove(f"an upload can't go from {self.state} to {state}")
        return replace(self, state=state, **changes)
