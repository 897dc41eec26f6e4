"""One worker's go at one upload that it has claimed: the ledger's record, and the ways to leave it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from backdrop.app import App
from backdrop.clock import iso_time
from backdrop.errors import NotYet, Reason, Rejected
from backdrop.job import Job, Purchase
from backdrop.ledger import Record, State
from backdrop.log import logger
from backdrop.pace import Slot

STORING_SECONDS = 10.0  # kept free after a gateway call for writing PAID and, mostly, for storing the result
UNRECORDED_SECONDS = 15.0


class Handed(Exception):
    """The rest of the work is in a new message."""


@contextmanager
def best_effort(what: str) -> Iterator[None]:
    """For effects whose failure must not undo what is known by now."""
    try:
        yield
    except (NotYet, BotoCoreError, ClientError) as error:
        logger.warning(f"could not {what}", error=type(error).__name__)


class Attempt:
    """`record` is what the ledger holds; the invocation is over at `ends_at`, in epoch seconds."""

    def __init__(self, job: Job, app: App, record: Record, ends_at: float) -> None:
        self.job = job
        self.app = app
        self.record = record
        self.ends_at = ends_at
        self.unused: Slot | None = None
        """A slot whose images were not charged; given back once the ledger says so."""

    def save(self, **changes: Any) -> None:
        """Write the record with `changes`."""
        self.record = self.app.ledger.save(self.record, **changes)

    def wait(self, wait: NotYet, **changes: Any) -> NoReturn:
        """Write `changes`, leave the upload until it is due, and raise `wait`."""
        self.let_go(wait.due_at, **changes)
        self.tell_wait()
        raise wait

    def tell_wait(self) -> None:
        """Tell how long the upload has been waiting."""
        now = self.app.clock.now()
        paid_seconds = now - self.record.paid_at if self.record.paid_at else 0.0
        self.app.metrics.waiting(now - self.record.created_at, paid_seconds)

    def let_go(self, due_at: float, **changes: Any) -> None:
        """Release the upload until `due_at`."""
        self.record = self.app.ledger.release(self.record, due_at, **changes)
        self._give_back()

    def paid(self, purchase: Purchase) -> None:
        """Write PAID; with the ledger down, a message keeps the purchase until it is back.

        Raises Handed then. Inline images are too large for a message: the same call brings them again.
        """
        was_paid = bool(self.record.paid_at)
        handed = False
        try:
            self.record = self.app.ledger.paid(self.record, purchase, history=self.record.history)
        except (BotoCoreError, ClientError) as error:
            if purchase.inline:
                raise
            logger.error("PAID could not be written; a message keeps the purchase", error=type(error).__name__)
            self.app.queues.retry(self.job, UNRECORDED_SECONDS, purchase)
            handed = True
        logger.info("paid", images=self.record.images, usd=purchase.cost_usd, request_id=purchase.request_id)
        if not was_paid:
            self.app.metrics.bought(self.record.images, purchase.cost_usd)
        if handed:
            raise Handed

    def done(self) -> Record:
        """Nothing is left to do."""
        self.let_go(0.0, state=State.DONE, call=None)
        return self.record

    def reject(self, rejected: Rejected) -> Record:
        """Write why the upload can't succeed; a dead letter that is moved back goes on from `rejected_in`.

        The lease stays until the letter is in its queue, so that a duplicate doesn't send a second one.
        """
        now = self.app.clock.now()
        billed = "unknown" if rejected.billed == "no" and self.record.unsettled_images else rejected.billed
        reason = Reason(rejected.code, rejected.message, rejected.http_status, self.record.attempts, billed)
        changes: dict[str, Any] = {"rejected_in": State.CLAIMED, "call": None, "idempotency_key": None}
        if rejected.billed == "yes" and rejected.code != "outcome_unknown":
            changes = {"rejected_in": State.PAID}
        elif rejected.billed != "no":
            changes = {"rejected_in": State.UNKNOWN}  # with its call, to be repeated
        changes |= {
            "state": State.REJECTED,
            "due_at": 0.0,
            "reason": asdict(reason),
            "failed_at": iso_time(now),
            "dead_lettered": False,
            "history": self.record.noting(now, rejected.code),
        }
        try:
            self.save(**changes)
        except (BotoCoreError, ClientError):
            self.save(**changes)  # once more: what is known now would be a guess later
        self._give_back()
        return self.record

    @property
    def may_replay(self) -> bool:
        """Whether a call of unknown outcome may be sent again."""
        return self.record.unanswered <= self.app.settings.replays_allowed

    def _give_back(self) -> None:
        if self.unused:
            slot, self.unused = self.unused, None
            with best_effort("give back the day's images"):
                self.app.pace.give_back(slot)
