"""A photo beside its upload: whether the very same was uploaded before, and how far it is."""

from dataclasses import dataclass, replace
from os.path import commonprefix
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from backdrop.aws_errors import status_of
from backdrop.batches import METADATA
from backdrop.job import Job
from backdrop.reconcile import YOUNGEST_SECONDS
from backdrop.s3_objects import identity
from backdrop.states import State
from backdrop.upload import Record
from backdrop_cli.deployment import Deployment
from backdrop_cli.photos import Photo
from backdrop_cli.uploads import Stage, records_of, stage_of

REPLACED = "replaced"
MOST_PAGES, KEYS_A_PAGE = 2, 100  # of a listing: so many, and one more for so many keys


@dataclass(frozen=True)
class Submitted:
    """A photo with its upload; `job` is None while it is not there, `record` while the ledger doesn't know it."""

    photo: Photo
    job: Job | None = None
    record: Record | None = None
    seen_at: float = 0.0
    """When this was so, in epoch seconds."""
    modified: float = 0.0
    """When it was uploaded, in epoch seconds; 0 for just now."""
    there: Job | None = None
    """What is in the bucket under its key, whether it is this photo's upload or another."""
    is_gone: bool = False
    """Whether it was replaced or deleted before anybody looked at it."""
    is_new: bool = False
    """Whether it was uploaded, or enqueued, by this very command."""
    results: tuple[Path, ...] = ()
    trouble: str = ""
    """Why a result could not be written to this machine."""
    unreadable: str = ""
    """Why it could not be prepared, and was left out."""

    @property
    def is_missing(self) -> bool:
        """Whether nothing will become of it by itself: it isn't there, or nobody knows that it is."""
        if self.job is None:
            return True
        if self.record is None:
            return self.seen_at - self.modified > YOUNGEST_SECONDS
        return stage_of(self.record, self.seen_at) in (Stage.NEW, Stage.STUCK)

    @property
    def status(self) -> str:
        """In a user's words."""
        if self.job is None:
            return "not uploaded"
        if self.is_gone:
            return REPLACED
        if self.record is None:
            return "uploaded" if self.is_new else Stage.WAITING
        return REPLACED if self.record.state is State.SUPERSEDED else stage_of(self.record, self.seen_at)

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        record = self.record
        return {
            "path": str(self.photo.path),
            "line": self.photo.line or None,
            "key": self.photo.key,
            "job_id": self.job.id if self.job else None,
            "submitted": self.is_new,
            "prepared": list(self.photo.plan.reasons) if self.photo.plan else [],
            "status": self.status,
            "trouble": self.trouble or self.unreadable or None,
            "results": [str(path) for path in self.results],
            "outputs": list(record.stored) if record else [],
            "cost_usd": float(record.cost_usd or 0) if record else 0.0,
            "reason": record.reason if record else None,
        }


def free_keys(deployment: Deployment, keys: list[str]) -> set[str]:
    """Those of `keys` that a listing shows to be free, for which nothing has to be looked at one by one.

    It ends where it would take more requests than it saves: among many other objects, some free keys are not told.
    """
    pages = deployment.s3.get_paginator("list_objects_v2").paginate(
        Bucket=deployment.settings.input_bucket,
        Prefix=commonprefix(keys),  # noqa: RUF071 - of characters is meant
    )
    there: set[str] = set()
    for number, page in enumerate(pages, start=1):
        listed = [entry["Key"] for entry in page.get("Contents", [])]
        there.update(listed)
        if page["IsTruncated"] and number >= MOST_PAGES + len(keys) // KEYS_A_PAGE:
            last = listed[-1].encode()  # S3 lists keys by their bytes
            return {key for key in keys if key.encode() < last} - there
    return set(keys) - there


def looked(deployment: Deployment, photo: Photo) -> Submitted:
    """The photo, with its upload if the very same was uploaded before."""
    s3, bucket = deployment.s3, deployment.settings.input_bucket
    try:
        found = s3.head_object(Bucket=bucket, Key=photo.key, ChecksumMode="ENABLED")
    except ClientError as error:
        if status_of(error) != 404:
            raise
        return Submitted(photo)
    version_id, etag, modified = identity(found)
    there = Job(bucket, photo.key, version_id, etag, found["ContentLength"], modified)
    other = Submitted(photo, there=there)
    if _asked(found["Metadata"]) != _asked(photo.metadata):
        return other
    if photo.plan is None:  # otherwise the metadata names the file that it was made from
        if found["ContentLength"] != photo.path.stat().st_size:
            return other
        if not photo.is_in(found.get("ChecksumSHA256"), etag):
            return other
    return replace(other, job=there, modified=found["LastModified"].timestamp())


def _asked(metadata: dict[str, str]) -> dict[str, str]:
    """What metadata asks for, whichever time it does."""
    return {name: value for name, value in metadata.items() if name not in ("again", "tag", METADATA)}


def with_records(deployment: Deployment, submitted: list[Submitted]) -> list[Submitted]:
    """The same with what the ledger knows of them now."""
    known = records_of(deployment, [each.job.id for each in submitted if each.job])
    now = deployment.clock.now()
    return [replace(each, record=known.get(each.job.id) if each.job else None, seen_at=now) for each in submitted]
