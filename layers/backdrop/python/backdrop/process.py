"""From a job to stored results: the one path behind every handler.

claim → look at the upload → slot → CALLING → call → PAID → fetch and store → DONE. Whatever interrupts it, the next
attempt goes on from what the ledger says. A new upload has no claim of its own: CALLING, or whatever is written first,
is refused when the ledger knows the upload, and then it is claimed.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from backdrop.aws_errors import in_short, is_throttled
from backdrop.batches import shard_of
from backdrop.call import Purchase
from backdrop.claimed_upload import ClaimedUpload, FailedForGood, HandedOff, best_effort
from backdrop.clock import iso_time
from backdrop.delivery import LINK_LIFE_SECONDS, store
from backdrop.errors import KnownUpload, PermanentFailure, Postponed, Superseded, Unchanged, Unreadable
from backdrop.events_in import Malformed
from backdrop.job import Job
from backdrop.log import logger
from backdrop.purchase import buy, replay
from backdrop.services import Services
from backdrop.states import State
from backdrop.storage import EncodedKey
from backdrop.upload import Record

REFUSAL_PATIENCE_SECONDS = 180.0  # of S3, since the first look; grants and states of KMS keys take minutes to spread
REFUSAL_RETRY_SECONDS = 30.0


@dataclass(frozen=True)
class Outcome:
    """What became of a job. `due_at` is when to look again, in epoch seconds; None when nothing is left to do."""

    job: Job
    state: str
    due_at: float | None = None
    outputs: tuple[dict[str, Any], ...] = ()


def identified(job: Job, services: Services) -> Job:
    """The job with the identity of this very upload, so that a retry is about it whatever becomes of its object."""
    logger.set_correlation_id(job.id)
    return services.storage.resolve(job)


def run(job: Job, services: Services, owner: str, ends_at: float, *, is_new: bool = False) -> Outcome:
    """Process one job as far as it goes now; one that can't succeed is dead-lettered.

    `owner` is unique to this job in this invocation, which is over at `ends_at` (epoch seconds) at the latest. With
    `is_new` the upload is most likely a new one, and the first write of a new one is its claim.
    Anything unexpected, AWS faults included, is raised: the job then has to be tried again.
    """
    logger.set_correlation_id(job.id)
    if job.is_skipped:
        logger.info("skipped: a folder marker, an empty object, a prompt.txt or a system's file", key=job.key)
        return Outcome(job, "SKIPPED")
    try:
        if not job.is_identified:
            raise Superseded("the object is gone")
        record = _process(job, services, owner, ends_at, is_new)
    except Postponed as wait:
        logger.info("postponed", key=job.key, why=str(wait), seconds=round(wait.due_at - services.clock.now(), 1))
        services.metrics.postponed(wait.reason)
        return Outcome(job, "WAITING", wait.due_at)
    except EncodedKey as other:
        logger.info("there is no such key; going on with it decoded", key=job.key)
        return run(other.job, services, owner, ends_at, is_new=is_new)
    except Superseded as reason:
        logger.info("superseded", key=job.key, why=str(reason))
        return Outcome(job, State.SUPERSEDED)
    except HandedOff:
        return Outcome(job, "WAITING")
    if record.state is State.REJECTED and not record.dead_lettered:
        if record.owner != owner and record.lease_until > services.clock.now():
            return Outcome(job, "WAITING", record.lease_until)  # another worker is sending the dead letter
        _dead_letter(record, services)
    _tell_batch(record, services)
    logger.info("finished", key=job.key, state=record.state, attempts=record.calls_sent, usd=record.cost_usd)
    return Outcome(job, record.state, outputs=record.stored)


def dead_letter_malformed(malformed: Malformed, services: Services) -> None:
    """Dead-letter what is no upload."""
    logger.error("malformed message", why=malformed.message)
    reason = services.queues.dead_letter_malformed(malformed, iso_time(services.clock.now()))
    services.metrics.dead_lettered(reason["code"])
    services.events.failed(None, reason)


def _dead_letter(record: Record, services: Services) -> None:
    job = Job(record.bucket, record.key, record.version_id, record.etag, modified=record.modified)
    reason, failed_at = record.reason or {}, record.failed_at or ""
    services.queues.dead_letter(job, reason, failed_at, record.history)
    logger.error("dead-lettered", key=job.key, reason=reason)
    services.metrics.dead_lettered(reason["code"])
    services.events.failed(record, reason)
    services.ledger.mark_dead_lettered(record.id, failed_at)


def _tell_batch(record: Record, services: Services) -> None:
    """Count an upload that has ended in its batch; whoever counts the last one publishes the batch's end."""
    batch = services.batches.ended(record)
    if batch:
        services.events.batch_finished(batch, services.clock.now() - batch.created_at)
        services.batches.mark_told(batch.id)
        logger.info("batch finished", batch=batch.id, states=batch.states, usd=batch.cost_usd)


def _with_batch(claimed: ClaimedUpload) -> Record:
    """The record with its batch, also of an upload that ends before its metadata was read.

    Raises Postponed when S3 refuses the metadata; after REFUSAL_PATIENCE_SECONDS the batch stays None.
    """
    record = claimed.record
    if record.batch is not None:
        return record
    metadata = claimed.services.storage.metadata(claimed.job)
    if metadata is not None:
        return replace(record, batch=shard_of(metadata))
    if _is_patient(claimed):
        raise _refused(claimed, "S3 refuses to tell whether it is of a batch")
    return record


def _is_patient(claimed: ClaimedUpload) -> bool:
    return claimed.services.clock.now() - claimed.record.created_at < REFUSAL_PATIENCE_SECONDS


def _refused(claimed: ClaimedUpload, why: str) -> Postponed:
    return claimed.postponed(Postponed(why, claimed.services.clock.now() + REFUSAL_RETRY_SECONDS))


def _process(job: Job, services: Services, owner: str, ends_at: float, is_new: bool) -> Record:
    lease_seconds = ends_at - services.clock.now()
    if is_new:
        with suppress(KnownUpload):  # of a duplicate event
            return _work_on(ClaimedUpload(job, services, services.ledger.unseen(job, owner, lease_seconds), ends_at))
        lease_seconds = ends_at - services.clock.now()
    if job.purchase:
        _record_travelled_purchase(job, job.purchase, services)
    record = services.ledger.claim(job, owner, lease_seconds)
    if record.state is State.REJECTED and job.failed_at is not None and job.failed_at == record.failed_at:
        services.batches.reopened(record)
        # Whoever moved it back asked for one replay, also under `park`.
        record = services.ledger.reopen(
            record, owner, lease_seconds, may_be_unanswered=services.settings.replays_allowed
        )
    if record.is_finished:
        return record
    return _work_on(ClaimedUpload(job, services, record, ends_at))


def _work_on(claimed: ClaimedUpload) -> Record:
    try:
        try:
            return _go_on(claimed)
        except EncodedKey:
            claimed.release(0.0, claimed.record.superseded())
            raise
        except Superseded:
            claimed.release(0.0, _with_batch(claimed).superseded())
            _tell_batch(claimed.record, claimed.services)
            raise
        except Unchanged as unchanged:
            return _unchanged(claimed, unchanged)
        except Unreadable as unreadable:
            if unreadable.may_pass and _is_patient(claimed):
                raise _refused(claimed, str(unreadable)) from None
            return claimed.reject(unreadable, _with_batch(claimed))
        except FailedForGood as failed:
            return claimed.reject(failed.rejected, failed.record)
        except PermanentFailure as rejected:
            return claimed.reject(rejected)
    except (Postponed, Superseded, HandedOff):
        raise
    except Exception as error:
        _interrupted(claimed, error)
        raise


def _unchanged(claimed: ClaimedUpload, found: Unchanged) -> Record:
    """End an upload whose result is there, and look again: each side of a race writes first, then looks."""
    claimed.release(0.0, claimed.record.unchanged(found.results))
    n, again = len(found.results.outputs), ""
    if not claimed.services.result_storage.current_results(claimed.job.key, n, found.fingerprint, again):
        # Another upload's result came between the look and the write; `ResultStorage.store` tells of the reverse.
        wait = Postponed("the key's result was replaced meanwhile", claimed.services.clock.now())
        raise claimed.postponed(wait, claimed.record.reconsidered())
    return claimed.record


def _interrupted(claimed: ClaimedUpload, error: Exception) -> None:
    """Leave the upload as far as it came, and write down what is in its way: it may be there for long.

    CALLING stays CALLING, so nothing is forgotten. Without this the next try would wait for the lease.
    """
    now, record = claimed.services.clock.now(), claimed.record
    if not is_throttled(error):
        record = record.noted_once(now, f"interrupted: {in_short(error)}")
    claimed.report_wait()
    with best_effort("give back the lease"):
        claimed.release(now, record)


def _record_travelled_purchase(job: Job, purchase: Purchase, services: Services) -> None:
    """Write PAID from a message that kept it while the ledger was down; the lease of that time means nothing now."""
    record = services.ledger.read(job.id)
    if record and record.idempotency_key == purchase.idempotency_key and record.state not in (State.PAID, State.DONE):
        services.ledger.paid(record, purchase, lease_until=0.0)


def _go_on(claimed: ClaimedUpload) -> Record:
    """From where the upload stands to DONE."""
    record = claimed.record
    if record.state is State.PAID and record.answered_inline:
        # The images were in an answer that a crash or S3 has swallowed; only the same call brings them again.
        is_fresh = claimed.services.clock.now() - record.paid_at < LINK_LIFE_SECONDS
        may_ask = is_fresh and record.calls_sent < claimed.services.settings.max_attempts
        claimed.save(
            record.with_lost_images(unanswered=1 if may_ask else 1 + claimed.services.settings.replays_allowed)
        )
    if record.state is State.SUPERSEDED and record.call:
        claimed.save(record.current_again())  # its call may have been charged
    if record.state is State.CALLING:
        claimed.services.metrics.outcome_unknown()  # a worker died, or could not write what it knew
        claimed.save(record.with_unanswered_call())  # told once, however long it waits from here on
    inline: tuple[bytes, ...] = ()
    if claimed.record.state is State.UNKNOWN:
        inline = replay(claimed)
    elif claimed.record.state is not State.PAID:
        inline = buy(claimed)
    return store(claimed, inline)
