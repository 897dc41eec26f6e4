"""Photos into the input bucket, each once."""

import io
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from botocore.exceptions import ClientError, HTTPClientError

from backdrop.aws_errors import status_of
from backdrop.job import Job, known_version
from backdrop.reconcile import enqueue
from backdrop_cli.deployment import Deployment
from backdrop_cli.headers import Unreadable
from backdrop_cli.options import CliContext
from backdrop_cli.photos import Photo, checksum_of
from backdrop_cli.preparing import Plan, prepared
from backdrop_cli.progress import bar, no_step, side_by_side
from backdrop_cli.submission import Submitted, looked

MOST_TRIES = 5
_AGAIN = {404, 409, 412, 500, 502, 503, 504}  # 404: what was to be replaced is gone
Prepare = Callable[[Path, Plan], bytes]


def send(context: CliContext, deployment: Deployment, missing: list[Submitted], begun: dict[str, Submitted]) -> None:
    """Begin what is missing; `begun` has by key what is, also after an interruption."""

    if not missing:
        return
    by_file: dict[Path, list[Submitted]] = {}
    for each in missing:
        by_file.setdefault(each.photo.path, []).append(each)
    with bar(context.stderr, "Uploading", len(missing)) as step:

        def variants(several: list[Submitted]) -> None:
            prepare = cache(prepared)  # of one file, which is decoded once
            for each in several:
                begun[each.photo.key] = begin(deployment, each, prepare)
                step(1)

        side_by_side(variants, by_file.values(), no_step)


def begin(deployment: Deployment, submitted: Submitted, prepare: Prepare) -> Submitted:
    """Upload what is not there, and have looked at what is there unnoticed."""
    if submitted.job is None:
        try:
            job = upload(deployment, submitted.photo, submitted.there, prepare)
        except Unreadable as error:
            return replace(submitted, unreadable=str(error))
        return replace(submitted, job=job, is_new=True)
    owner = f"submit/{uuid4().hex[:8]}"
    enqueue(submitted.job, deployment.queues, deployment.ledger, deployment.clock, owner)
    return replace(submitted, record=None, is_new=True)


def upload(deployment: Deployment, photo: Photo, replaces: Job | None = None, prepare: Prepare = prepared) -> Job:
    """Put a photo into the input bucket, prepared if it needs that, in place of what is known to be there.

    A put whose answer gets lost is not sent again unseen: each would be an upload of its own, and bought. Raises
    Unreadable for a photo that can't be prepared.
    """
    data = prepare(photo.path, photo.plan) if photo.plan else None
    there, tries = replaces, 0
    while True:
        try:
            return _put(deployment, photo, data, there)
        except (ClientError, HTTPClientError) as error:
            tries += 1
            if tries == MOST_TRIES or (isinstance(error, ClientError) and status_of(error) not in _AGAIN):
                raise
        time.sleep(tries - 1.0)
        found = looked(deployment, photo)
        if found.job and (replaces is None or found.job.id != replaces.id):
            return found.job
        there = found.there


def _put(deployment: Deployment, photo: Photo, data: bytes | None, replaces: Job | None) -> Job:
    bucket = deployment.settings.input_bucket
    condition: dict[str, Any] = {"IfMatch": f'"{replaces.etag}"'} if replaces else {"IfNoneMatch": "*"}
    with photo.path.open("rb") if data is None else io.BytesIO(data) as body:
        answer = deployment.s3_once.put_object(
            Bucket=bucket,
            Key=photo.key,
            Body=body,
            Metadata=photo.metadata,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=checksum_of(body),  # by which a bucket with a KMS key, too, tells what it has
            **condition,
        )
    version_id = known_version(answer.get("VersionId"))
    return deployment.storage.resolve(Job(bucket, photo.key, version_id, answer["ETag"].strip('"')))
