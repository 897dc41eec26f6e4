"""The promise that nothing is lost: recent uploads against the ledger, what is missing or stuck into RetryQueue.

S3 notifications have no dead-letter queue, so a lost one is found here.
"""

import math
from dataclasses import dataclass, replace

from botocore.exceptions import ClientError

from backdrop.aws_errors import in_short, is_throttled
from backdrop.clock import Clock
from backdrop.errors import Postponed, Throttled
from backdrop.job import Job
from backdrop.ledger import Ledger
from backdrop.log import logger
from backdrop.queues import Queues
from backdrop.reconcile_progress import Listing
from backdrop.services import Services
from backdrop.states import State

YOUNGEST_SECONDS = 120.0  # younger uploads are on their ordinary way
OLDEST_SECONDS = 24 * 3600.0
ENQUEUED_SECONDS = 3600.0  # an upload that was enqueued is left alone this long, then twice, four times as long
MESSAGE_DELAY_SECONDS = 10.0  # the message shows up when the mark is made, which would hold up the retry function
LEAST_PAGES = 50  # of the bucket's list, a thousand versions each, that a run looks through
ONCE_THROUGH_SECONDS = 4 * 3600.0  # longer lists: six times while an upload is recent
SAVING_SECONDS = 15.0  # kept free at the end of an invocation


@dataclass
class Reconciled:
    """What one run saw; `complete` when it came to the end of the bucket."""

    listed: int = 0
    recent: int = 0
    enqueued: int = 0
    complete: bool = False


def pages_of_a_run(listing: Listing, now: float) -> float:
    """How many pages of the bucket's list a run should look through: each costs a request, new uploads or not."""
    pages = max(listing.pages, listing.last_pages)
    if not (pages and listing.at):
        return math.inf
    return max(LEAST_PAGES, math.ceil(pages * (now - listing.at) / ONCE_THROUGH_SECONDS))


def reconcile(services: Services, owner: str, ends_at: float, *, in_parts: bool) -> Reconciled:
    """List the input bucket by pages until its end or shortly before `ends_at`; the next run goes on there.

    `in_parts`: a long list is gone through by several runs.
    """
    seen = Reconciled()
    waiting = paid = 0.0
    try:
        cursor, listing, started = services.progress.cursor(), services.progress.listing(), services.clock.now()
        most = pages_of_a_run(listing, started) if in_parts else math.inf
        pages, so_far = 0, listing.pages if cursor else 0
        while not seen.complete and pages < most and services.clock.now() < ends_at - SAVING_SECONDS:
            pages += 1
            page, cursor = services.storage.list_uploads(services.settings.input_bucket, cursor)
            now = services.clock.now()
            recent = [
                upload
                for upload in page
                if YOUNGEST_SECONDS <= now - upload.modified <= OLDEST_SECONDS and not upload.job.is_skipped
            ]
            known = services.records.known([upload.job.id for upload in recent])
            for upload in recent:
                record = known.get(upload.job.id)
                # One that was replaced is listed when its successor was deleted: it is current again.
                if record is not None and record.is_over and record.state is not State.SUPERSEDED:
                    continue
                waiting = max(waiting, now - upload.modified)
                if record is not None and record.paid_at:
                    paid = max(paid, now - record.paid_at)
                if record is None or record.is_stuck(now):
                    enqueue(upload.job, services.queues, services.ledger, services.clock, owner)
                    logger.warning(
                        "enqueued: its notification or message was lost",
                        key=upload.job.key,
                        correlation_id=upload.job.id,
                    )
                    seen.enqueued += 1
            seen.listed += len(page)
            seen.recent += len(recent)
            seen.complete = cursor is None
            services.progress.save_cursor(cursor)
        so_far += pages
        services.progress.save_listing(
            Listing(0 if seen.complete else so_far, so_far if seen.complete else listing.last_pages, int(started))
        )
    except (ClientError, Throttled) as error:
        if not isinstance(error, Throttled) and not is_throttled(error):
            raise
        logger.info("postponed to the next run", why=f"AWS asks for fewer requests: {in_short(error)}")
        services.metrics.postponed(Throttled.reason)
    services.metrics.waiting(waiting, paid)
    logger.info("reconciled", listed=seen.listed, recent=seen.recent, enqueued=seen.enqueued, complete=seen.complete)
    return seen


def enqueue(job: Job, queues: Queues, ledger: Ledger, clock: Clock, owner: str) -> None:
    """Put an upload into RetryQueue, and a mark into the ledger, so that it is left alone for a while."""
    queues.retry(job, MESSAGE_DELAY_SECONDS)
    try:
        record = ledger.claim(job, owner, 0.0)
        if not record.is_finished:
            alone = ENQUEUED_SECONDS * 2**record.reenqueued
            after = replace(record.current_again(), reenqueued=record.reenqueued + 1)
            ledger.release(record, after, clock.now() + alone)
    except Postponed:
        pass  # somebody is on it after all; the message finds nothing to do
