"""What is in the input bucket beside what the ledger says about it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

import click

from backdrop.errors import PermanentFailure, Superseded
from backdrop.inspection import fingerprint, inspect
from backdrop.job import Job
from backdrop.reconcile import OLDEST_SECONDS, YOUNGEST_SECONDS
from backdrop.states import State
from backdrop.storage import Listed
from backdrop.upload import Record
from backdrop_cli.deployment import THREADS, Deployment
from backdrop_cli.forecast import PaceNow

_GONE = "gone meanwhile"
_UNCHANGED = "unchanged: its result is there"


class Stage(StrEnum):
    """How far an upload is, in a user's words."""

    NEW = "new"
    """The ledger doesn't know it: just uploaded, or there before Backdrop was."""
    WAITING = "waiting"
    RUNNING = "running"
    STUCK = "stuck"
    """It should have been looked at long ago: its message is lost."""
    DONE = "done"
    FAILED = "failed"


class Unnoticed(StrEnum):
    """What becomes of an upload that is new or stuck, by its age: as the reconciler has it."""

    ON_ITS_WAY = "it was just uploaded"
    LOST = "its event or message was lost; that is looked for every quarter of an hour, and now by `backdrop retry`"
    UNTOUCHED = "it is more than a day old, and `backdrop backfill` has it done"


NO_PHOTO = "no photo: a folder marker, an empty object, a prompt.txt, or what a system left behind as .DS_Store is"
"""Of an object that is skipped."""


@dataclass(frozen=True)
class UploadView:
    """A current object of the input bucket, with its record if there is one."""

    listed: Listed
    record: Record | None
    stage: Stage


def stage_of(record: Record | None, now: float) -> Stage:
    """The stage behind a record."""
    if record is None or record.state is State.SUPERSEDED:  # current after all, so its successor was deleted
        return Stage.NEW
    if record.is_over:
        return Stage.FAILED if record.state is State.REJECTED else Stage.DONE
    if record.lease_until > now:
        return Stage.RUNNING
    return Stage.STUCK if record.is_stuck(now) else Stage.WAITING


def unnoticed(stage: Stage, age_seconds: float) -> Unnoticed | None:
    """What becomes of an upload that nobody works on and no message is about; None for every other."""
    if stage not in (Stage.NEW, Stage.STUCK):
        return None
    if age_seconds > OLDEST_SECONDS:
        return Unnoticed.UNTOUCHED
    return Unnoticed.LOST if stage is Stage.STUCK or age_seconds > YOUNGEST_SECONDS else Unnoticed.ON_ITS_WAY


def waits_for(record: Record, pace: PaceNow, daily_limit: int, now: float) -> str:
    """What an upload that waits is waiting for, as far as its record and the pace tell: a key of WAITS."""
    if last_failure(record).startswith("interrupted:") and record.due_at <= now:
        return "aws"
    if record.paid_at:
        return "result"
    if pace.paused_since:
        return "pause"
    if record.images_later or 0 < daily_limit < pace.bought_today + still_to_buy(record):
        return "daily_limit"
    if record.queue_position > now:
        return "slot"
    return "retry" if record.history else "look"


WAITS = {
    "aws": "for AWS, which refused or failed",
    "result": "for a paid result, which could not be fetched or stored yet",
    "pause": "for calls to get through",
    "daily_limit": "for the next UTC day (DailyImageLimit)",
    "slot": "for a slot (RequestsPerMinute)",
    "retry": "for another try",
    "look": "to be looked at again",
}
"""What uploads wait for, in words. Four of them are reasons of the metric Postponed."""
_CALLS = {"OutcomeUnknown": "no answer", "NeverSent": "no connection", "KeyThrottled": "no connection"}


def last_failure(record: Record) -> str:
    """The last line of an upload's history without its time: a call's status, or what else went wrong."""
    what = record.history[-1].partition(" ")[2] if record.history else ""
    kind, _, status = what.partition(" ")
    return status if status.isdigit() else _CALLS.get(kind, what)


def still_to_buy(record: Record | None) -> int:
    """How many images an upload that is not over will buy; 1 while the ledger doesn't know."""
    if record and (record.paid_at or record.state is State.REJECTED):  # the latter: only its dead letter is missing
        return 0
    return record.images or 1 if record else 1


def asks_for(deployment: Deployment, job: Job) -> tuple[int, str]:
    """How many images a new call for an upload buys, or 0 and why there will be none; as the functions look at it."""
    try:
        upload, request = inspect(job, deployment.storage, deployment.prompts, deployment.settings)
        made_from = fingerprint(upload, request, deployment.settings)
        if deployment.result_storage.current_results(job.key, request.n, made_from, request.again):
            return 0, _UNCHANGED
    except PermanentFailure as rejected:
        return 0, rejected.code
    except Superseded:
        return 0, _GONE
    return request.n, ""


def prefix_of(deployment: Deployment, place: str) -> str:
    """The prefix of `s3://bucket/prefix` or of a bare one. Raises UsageError for another bucket than the stack's."""
    if not place.startswith("s3://"):
        return place
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    if bucket != deployment.settings.input_bucket:
        raise click.UsageError(
            f"{bucket} is not this stack's input bucket, which is {deployment.settings.input_bucket}. A stack can be"
            " deployed with ExistingInputBucket (docs/existing-bucket.md)."
        )
    return prefix


def seen(
    deployment: Deployment, prefix: str, skipped: Callable[[Job], None] = lambda _job: None
) -> Iterator[UploadView]:
    """All uploads under `prefix`, a page of the listing at a time; of folder markers and the like `skipped` hears."""
    bucket = deployment.settings.input_bucket
    cursor: dict[str, str] | None = None
    while True:
        page, cursor = deployment.storage.list_uploads(bucket, cursor, prefix)
        for upload in page:
            if upload.job.is_skipped:
                skipped(upload.job)
        page = [upload for upload in page if not upload.job.is_skipped]
        known = records_of(deployment, [upload.job.id for upload in page])
        now = deployment.clock.now()
        for upload in page:
            record = known.get(upload.job.id)
            yield UploadView(upload, record, stage_of(record, now))
        if cursor is None:
            return


def records_of(deployment: Deployment, ids: list[str]) -> dict[str, Record]:
    """The records of job ids, each named once, read side by side; those that the ledger doesn't know are left out."""
    chunks = [ids[start : start + 100] for start in range(0, len(ids), 100)]
    found: dict[str, Record] = {}
    with ThreadPoolExecutor(THREADS) as pool:
        for some in pool.map(deployment.records.known, chunks):
            found.update(some)
    return found
