"""One worker's go at one upload that it has claimed: the ledger's record, and the ways to leave it."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from backdrop.call import Purchase
from backdrop.errors import PermanentFailure, Postponed
from backdrop.job import Job
from backdrop.log import logger
from backdrop.pace_item import Slot
from backdrop.services import Services
from backdrop.upload import Record

STORING_SECONDS = 10.0  # kept free after a gateway call for writing PAID and, mostly, for storing the result
UNRECORDED_SECONDS = 15.0


class FailedForGood(Exception):
    """A call after which the upload can't succeed; `record` is what it leaves."""

    def __init__(self, rejected: PermanentFailure, record: Record) -> None:
        super().__init__(str(rejected))
        self.rejected = rejected
        self.record = record


class HandedOff(Exception):
    """The rest of the work is in a new message."""


@contextmanager
def best_effort(what: str) -> Iterator[None]:
    """For effects whose failure must not undo what is known by now."""
    try:
        yield
    except (Postponed, BotoCoreError, ClientError) as error:
        logger.warning(f"could not {what}", error=type(error).__name__)


class ClaimedUpload:
    """`record` is what the ledger holds; the invocation is over at `ends_at`, in epoch seconds."""

    def __init__(self, job: Job, services: Services, record: Record, ends_at: float) -> None:
        self.job = job
        self.services = services
        self.record = record
        self.ends_at = ends_at
        self.uncharged_slot: Slot | None = None
        """A slot whose images were not charged; given back once the ledger says so."""

    def save(self, after: Record) -> None:
        """Write what the record is from here on."""
        self.record = self.services.ledger.write(self.record, after)

    def postponed(self, wait: Postponed, after: Record | None = None) -> Postponed:
        """`wait`, to be raised, after `after` is written and the upload released until it is due."""
        self.release(wait.due_at, after or self.record)
        self.report_wait()
        return wait

    def report_wait(self) -> None:
        """Measure how long the upload has been waiting."""
        now = self.services.clock.now()
        paid_seconds = now - self.record.paid_at if self.record.paid_at else 0.0
        self.services.metrics.waiting(now - self.record.created_at, paid_seconds)

    def release(self, due_at: float, after: Record) -> None:
        """Write `after` and release the upload until `due_at`."""
        self.record = self.services.ledger.release(self.record, after, due_at)
        self._give_back()

    def paid(self, purchase: Purchase) -> None:
        """Write PAID; with the ledger down, a message keeps the purchase until it is back.

        Raises HandedOff then. Inline images are too large for a message: the same call brings them again.
        """
        was_paid = bool(self.record.paid_at)
        handed = False
        try:
            self.record = self.services.ledger.paid(self.record, purchase)
        except (BotoCoreError, ClientError) as error:
            if purchase.inline:
                raise
            logger.error("PAID could not be written; a message keeps the purchase", error=type(error).__name__)
            self.services.queues.retry(self.job, UNRECORDED_SECONDS, purchase)
            handed = True
        logger.info("paid", images=self.record.images, usd=purchase.cost_usd, request_id=purchase.request_id)
        if not was_paid:
            self.services.metrics.bought(self.record.images, purchase.cost_usd)
        if handed:
            raise HandedOff

    def done(self) -> Record:
        """Nothing is left to do."""
        self.release(0.0, self.record.done())
        return self.record

    def reject(self, rejected: PermanentFailure, after: Record | None = None) -> Record:
        """Write why the upload can't succeed, with `after`, what its last call left.

        The lease stays until the dead letter is in its queue, so that a duplicate doesn't send a second one.
        """
        record = (after or self.record).rejected(rejected, self.services.clock.now())
        try:
            self.save(record)
        except (BotoCoreError, ClientError):
            self.save(record)  # once more: what is known now would be a guess later
        self._give_back()
        return self.record

    @property
    def may_replay(self) -> bool:
        """Whether a call of unknown outcome may be sent again."""
        return self.record.unanswered <= self.services.settings.replays_allowed

    def _give_back(self) -> None:
        if self.uncharged_slot:
            slot, self.uncharged_slot = self.uncharged_slot, None
            with best_effort("give back the day's images"):
                self.services.rate_limiter.refund(slot)
