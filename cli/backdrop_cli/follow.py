"""Uploads on their way: waiting for the end, and fetching what came out."""

import math
import os
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from uuid import uuid4

from backdrop.job import Job
from backdrop.result_storage import RESULT_SUFFIX
from backdrop.upload import Record
from backdrop_cli.deployment import Deployment
from backdrop_cli.forecast import PaceNow, pace_now
from backdrop_cli.uploads import records_of

UNKNOWN_SECONDS = 60.0  # from then on it is asked whether what the ledger doesn't know was replaced or deleted
_LOOK_EVERY_SECONDS = 1.0
_ITS_TIME_SECONDS = 2.0  # a file system's times may be rounded
_RESERVED = re.compile(r"CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³]", re.IGNORECASE)
_SECONDS_AN_UPLOAD = 0.002  # ten thousand are looked at every 20 seconds: reading costs, too


def follow(
    deployment: Deployment,
    jobs: Iterable[Job],
    tell: Callable[[list[Record], PaceNow], None],
    seconds: float = math.inf,
) -> set[str]:
    """Wait until all uploads are over, or for `seconds`.

    `tell` hears of those that have just ended, and of the pace, at every look. Returns the ids of those that the
    ledger will never know: in a bucket without versions, what was replaced or deleted before anybody looked at it.
    """
    by_id = {job.id: job for job in jobs}
    pending, gone = list(by_id), set[str]()
    begun_at = time.monotonic()
    while pending and time.monotonic() < begun_at + seconds:
        known = records_of(deployment, pending)
        ended = [record for record in known.values() if record.is_over]
        over = {record.id for record in ended}
        if time.monotonic() - begun_at > UNKNOWN_SECONDS:
            gone |= {job_id for job_id in set(pending) - known.keys() if _is_gone(deployment, by_id[job_id])}
        pending = [job_id for job_id in pending if job_id not in over | gone]
        tell(ended, pace_now(deployment))
        if pending:
            time.sleep(_LOOK_EVERY_SECONDS + _SECONDS_AN_UPLOAD * len(pending))
    return gone


def _is_gone(deployment: Deployment, job: Job) -> bool:
    if job.version_id:
        return False  # its event names it, whatever became of it
    return deployment.storage.resolve(Job(job.bucket, job.key)).id != job.id


def below(folder: Path, key: str, windows: bool = os.name == "nt") -> Path:
    """Where a key's file goes below a folder, never beside it. On Windows, what its names can't have is `%3A` and such.

    Raises OSError for a key that no file can be called like.
    """
    parts = key.split("/")
    if not all(parts) or {".", ".."} & set(parts) or "\0" in key:
        raise OSError(f"no file can be called {key!r}")
    return folder.joinpath(*(map(_windows_name, parts) if windows else parts))


def _windows_name(name: str) -> str:
    """https://learn.microsoft.com/windows/win32/fileio/naming-a-file"""
    name = re.sub(r'[<>:"\\|?*\x00-\x1f]|[. ]$', lambda found: f"%{ord(found[0]):02X}", name)
    return f"%{ord(name[0]):02X}{name[1:]}" if _RESERVED.fullmatch(name.partition(".")[0].rstrip()) else name


def fetch(deployment: Deployment, record: Record, beside: Path) -> list[Path]:
    """Download an upload's results, as `beside` with what their keys have behind the upload's.

    A file that is newer than the purchase was worked on since, and stays. A result that was deleted, or replaced by a
    later upload's, is left out. Raises OSError when a file can't be written.
    """
    fetched = []
    for output in record.stored:
        suffix = str(output["key"]).removeprefix(record.key)
        if not re.fullmatch(RESULT_SUFFIX, suffix):
            continue
        path = beside.with_name(beside.name + suffix)
        if _is_there(path, output["bytes"], _made_at(record)) or _download(deployment, record, output["key"], path):
            fetched.append(path)
    return fetched


def _made_at(record: Record) -> float:
    """What the file of a result is dated, in epoch seconds."""
    return record.paid_at or record.result_at


def _is_there(path: Path, size: int, paid_at: float) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    is_it = status.st_size == size and int(status.st_mtime) == int(paid_at)
    return is_it or status.st_mtime > paid_at + _ITS_TIME_SECONDS


def _download(deployment: Deployment, record: Record, key: str, path: Path) -> bool:
    s3 = deployment.s3
    try:
        answer = s3.get_object(Bucket=deployment.settings.output_bucket, Key=key)
    except s3.exceptions.NoSuchKey:
        return False
    with answer["Body"] as body:
        if answer["Metadata"].get("job-id") != (record.result_of or record.id):
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{uuid4().hex[:8]}.part")
        try:
            part.write_bytes(body.read())
            os.utime(part, (_made_at(record), _made_at(record)))  # which upload's it is, for the next time
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return True
