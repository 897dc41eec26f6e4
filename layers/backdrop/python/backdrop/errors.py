"""What can go wrong with an upload, as types with a meaning.

    BackdropError
    ├── Postponed              nothing is wrong: come back at a time that is known
    │   ├── NoSlotFree         no slot is free: the upload's place in the queue
    │   ├── Paused             the account or the gateway is at fault, and all calls wait
    │   ├── DailyLimitReached
    │   ├── Throttled          AWS asks for fewer requests
    │   └── KnownUpload        taken for new, and the ledger knows it: claim it
    ├── PermanentFailure       this upload can't succeed by itself: dead-letter it with the reason
    │   └── Unreadable         S3 will not give an object to the functions
    ├── Superseded             the upload is gone or replaced by a newer one: nothing to do
    ├── Unchanged              the result that is there was made from the very same: nothing to buy
    ├── NotPublished           EventBridge did not take an event
    ├── NotConfigured          a setting of the function is missing or makes no sense
    ├── GatewayError           what one gateway call came to
    │   ├── NeverSent          no connection was made                      → not charged
    │   │   └── KeyThrottled   SSM asks for fewer requests for the gateway key
    │   ├── GatewayBusy        429, or a proxy that did not reach it       → not charged
    │   ├── AccountFault       401 to 404, or no money: key, wallet, model → not charged
    │   ├── BadRequestError    400, 409, 413, 415, 422: this very request  → not charged
    │   ├── CallFailed         408, 500, 502 and every other 5xx           → a proxy may hide a charge
    │   ├── NoImage            200 without an image                        → taken as charged
    │   └── OutcomeUnknown     sent, but no complete answer                → nobody knows
    └── ResultError            a paid result could not be fetched from its link
        ├── ResultUnreachable  it may work later
        └── ResultUnusable     403, 404, 410, a refused address or hostile bytes

Messages go to logs and dead letters: never put a key, a link or a prompt into one.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from backdrop.failure_codes import Billed, FailureCode


class BackdropError(Exception):
    """Base of everything that Backdrop raises on purpose."""


class Postponed(BackdropError):
    """Come back at `due_at` (epoch seconds)."""

    reason: ClassVar[str] = "retry"
    """As a dimension of the metric Postponed."""

    def __init__(self, why: str, due_at: float) -> None:
        super().__init__(why)
        self.due_at = due_at


class NoSlotFree(Postponed):
    """No slot is free; `due_at` is the upload's place in the queue."""

    reason = "slot"

    def __init__(self, due_at: float) -> None:
        super().__init__("waiting for a slot", due_at)


class Paused(Postponed):
    """All calls wait until the gateway takes them again."""

    reason = "pause"


class DailyLimitReached(Postponed):
    """The images of the day's DailyImageLimit are bought."""

    reason = "daily_limit"


class Throttled(Postponed):
    """AWS asks for fewer requests."""

    reason = "throttled"


class KnownUpload(Postponed):
    """The upload was taken for new, and the ledger knows it."""


@dataclass(frozen=True)
class Reason:
    """Why an upload was dead-lettered: the `reason` of a dead letter."""

    code: FailureCode
    message: str
    http_status: int | None = None
    attempts: int = 0
    billed: Billed = "no"


class PermanentFailure(BackdropError):
    """The upload can't succeed by itself. `billed` when it is other than what the code says."""

    def __init__(
        self, code: FailureCode, message: str, http_status: int | None = None, billed: Billed | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.http_status = http_status
        self.billed = billed or code.billed
        self.tag = ""
        self.batch: str | None = None
        """These two of an upload that was refused before its record had them; None: its metadata was not read."""


class Unreadable(PermanentFailure):
    """S3 will not give an object to the functions; `may_pass` when that is up to a KMS key, whose state may change."""

    def __init__(self, message: str, http_status: int, *, may_pass: bool = False) -> None:
        super().__init__(FailureCode.UNREADABLE, message, http_status)
        self.may_pass = may_pass


class Superseded(BackdropError):
    """The object was deleted, or a newer version of the same key has replaced it."""


@dataclass(frozen=True)
class CurrentResults:
    """The results that a key has: `outputs` as a record's, the job id of the upload that they were made for, and when
    they were stored, in epoch seconds."""

    outputs: tuple[dict[str, Any], ...]
    job_id: str
    stored_at: float


class Unchanged(BackdropError):
    """The key's current results were made from the same photo for the same request, `fingerprint`."""

    def __init__(self, results: CurrentResults, fingerprint: str) -> None:
        super().__init__("the result that is there was made from the same photo for the same request")
        self.results = results
        self.fingerprint = fingerprint


class NotPublished(BackdropError):
    """EventBridge did not take an event; the message is its code."""


class NotConfigured(BackdropError):
    """A setting is missing or makes no sense; the message names it."""


class GatewayError(BackdropError):
    """One gateway call did not bring an image."""


class NeverSent(GatewayError):
    """No connection was made, so nothing can have been charged."""


class KeyThrottled(NeverSent):
    """SSM asks for fewer requests, so the gateway key is not at hand."""


class AnsweredError(GatewayError):
    """The gateway answered with an error `status`; `code` is its own code for it, opaque and short, or empty."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class GatewayBusy(AnsweredError):
    """The gateway was not reached or has no time, and has charged nothing. `retry_after` is in seconds."""

    def __init__(self, status: int, message: str, code: str = "", retry_after: float | None = None) -> None:
        super().__init__(status, message, code)
        self.retry_after = retry_after


class AccountFault(AnsweredError):
    """Every call would fail like this one until somebody corrects the key, the wallet or the model's name."""


class BadRequestError(AnsweredError):
    """The gateway does not want this request; `photo_not_fetched` when its own download of the photo failed."""

    def __init__(self, status: int, message: str, code: str = "", photo_not_fetched: bool = False) -> None:
        super().__init__(status, message, code)
        self.photo_not_fetched = photo_not_fetched


@dataclass(frozen=True)
class FailureFacts:
    """What an answer that reports a failure tells besides its status."""

    retry_after: float | None = None
    """Seconds."""
    request_id: str = ""
    is_replayed: bool = False
    """A header says that this is the stored answer to an earlier call with the same idempotency key."""
    is_documented: bool = False
    """The body is the gateway's own error object, so no proxy in between has made the answer up."""


class CallFailed(AnsweredError):
    """The answer says that the call failed, which is no proof that nothing was charged."""

    def __init__(self, status: int, message: str, code: str = "", facts: FailureFacts = FailureFacts()) -> None:
        super().__init__(status, message, code)
        self.facts = facts


class NoImage(GatewayError):
    """The gateway said 200 and sent no image; `answer` is the start of what it sent, for people and never for a log."""

    def __init__(self, message: str, answer: bytes = b"") -> None:
        super().__init__(message)
        self.answer = answer


class OutcomeUnknown(GatewayError):
    """The request was sent and no complete answer came."""


class ResultError(BackdropError):
    """A paid result could not be fetched."""


class ResultUnreachable(ResultError):
    """The link did not answer properly; it may later."""


class ResultUnusable(ResultError):
    """The link is dead, leads somewhere it must not, or what it serves is no image."""
