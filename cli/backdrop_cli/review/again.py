"""Another try for a photo with another prompt: what it costs, and the new version that asks for it."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import click
from botocore.exceptions import ClientError

from backdrop.aws_errors import status_of
from backdrop.batches import METADATA
from backdrop.job import has_dot_segment
from backdrop.request import clean_prompt
from backdrop_cli.deployment import Deployment
from backdrop_cli.forecast import in_words, offer, pace_now
from backdrop_cli.page import counted
from backdrop_cli.photos import metadata_for
from backdrop_cli.review.pairs import Pair
from backdrop_cli.uploads import Stage

_KEPT = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "StorageClass")
_REPLACED = ("prompt", "prompt-b64", "again", METADATA)
_KEPT_KEY = ("ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled")


class NotAgain(Exception):
    """The photo can't be asked for again; the message says why."""


@dataclass(frozen=True)
class Price:
    """What a new version of a photo will buy, also in words, and what today's limit says to it."""

    images: int
    usd: str
    words: str
    today: str


def price(deployment: Deployment, pair: Pair) -> Price:
    """Of another try, with today's limit in words. Raises NotAgain while a try is on its way."""
    if pair.stage not in (Stage.DONE, Stage.FAILED):
        raise NotAgain("It is on its way. Look at what comes of that first.")
    n = pair.asked.n if pair.asked else ""
    images = int(n) if n.isdigit() else 1
    cost = offer(deployment, 1, images)
    bought, limit = pace_now(deployment).bought_today, deployment.settings.daily_image_limit
    if not limit:
        today = f"{counted(bought, 'image')} bought today; there is no daily limit."
    elif bought + images > limit:
        today = f"{bought} of today's {counted(limit, 'image')} are bought: this one waits for the next UTC day."
    else:
        today = f"{bought} of today's {counted(limit, 'image')} are bought."
    return Price(images, str(cost.usd), in_words(cost), today)


def ask_again(deployment: Deployment, pair: Pair, prompt: str) -> None:
    """Make a new version of the photo that asks for `prompt`; bytes, options and the rest are the photo's.

    Raises NotAgain.
    """
    job, s3 = pair.job, deployment.s3
    if has_dot_segment(job.key):
        raise NotAgain("S3 can't be asked for this photo by its key.")
    try:
        found = s3.head_object(Bucket=job.bucket, Key=job.key)
    except ClientError as error:
        if status_of(error) in (400, 404):
            raise NotAgain("The photo is not there any more, or only its uploader can read it.") from None
        raise
    if found["ETag"].strip('"') != job.etag or (job.version_id and found.get("VersionId") != job.version_id):
        raise NotAgain("Somebody has uploaded this photo anew. Look at what comes of that first.")
    options = {name: value for name, value in found["Metadata"].items() if name not in _REPLACED}
    if not clean_prompt(prompt):
        raise NotAgain("The prompt has no visible character.")
    try:
        metadata = metadata_for(clean_prompt(prompt), options | {"again": uuid4().hex[:16]})
    except click.UsageError as error:
        raise NotAgain(error.message) from None
    source = {"Bucket": job.bucket, "Key": job.key} | ({"VersionId": job.version_id} if job.version_id else {})
    kept: dict[str, Any] = {name: found[name] for name in _KEPT if name in found}  # type: ignore[literal-required]
    if str(found.get("ServerSideEncryption", "")).startswith("aws:kms"):
        kept |= {name: found[name] for name in _KEPT_KEY if name in found}  # type: ignore[literal-required]
    try:
        deployment.s3_once.copy_object(
            Bucket=job.bucket,
            Key=job.key,
            CopySource=source,  # type: ignore[arg-type]
            CopySourceIfMatch=found["ETag"],
            MetadataDirective="REPLACE",
            Metadata=metadata,
            **kept,
        )
    except ClientError as error:
        if status_of(error) in (404, 412):
            raise NotAgain("The photo was replaced or deleted just now.") from None
        raise
