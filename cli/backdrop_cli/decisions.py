"""What a reviewer decided on a result: tags of the result's object, which `export --approved` reads."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import click
from botocore.exceptions import ClientError

from backdrop.aws_errors import status_of
from backdrop.job import has_dot_segment, known_version
from backdrop_cli.deployment import THREADS, Deployment

REVIEW_TAG, BY_TAG, AT_TAG = "backdrop-review", "backdrop-review-by", "backdrop-review-at"
APPROVED, REJECTED, UNDECIDED = "approved", "rejected", "undecided"
MOST_COUNTED = 1000
_MOST_TAGS = 10  # of an object; https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
_MOST_CHARACTERS = 256  # of a tag's value
_NOT_IN_TAGS = re.compile(r"[^\w\s+\-=.:/@]")


@dataclass(frozen=True)
class Decision:
    """`verdict` is APPROVED or REJECTED; `by` the ARN of who decided, `at` the time as ISO 8601 in UTC."""

    verdict: str
    by: str = ""
    at: str = ""

    @property
    def name(self) -> str:
        """Who decided, as short as it can be told: the last part of the ARN."""
        return re.split(r"[/:]", self.by)[-1] or "somebody"


@dataclass(frozen=True)
class Tagged:
    """A version of a result with its tags; `others` are those that are not of a decision."""

    key: str
    version_id: str | None
    decision: Decision | None
    others: tuple[tuple[str, str], ...] = ()


def read(deployment: Deployment, key: str) -> Tagged | None:
    """A result's current version with its tags; None when it is not there."""
    try:
        answer = deployment.s3.get_object_tagging(Bucket=deployment.settings.output_bucket, Key=key)
    except ClientError as error:
        if status_of(error) == 404:
            return None
        raise
    tags = {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}
    verdict, by, at = (tags.pop(name, "") for name in (REVIEW_TAG, BY_TAG, AT_TAG))
    decision = Decision(verdict, by, at) if verdict in (APPROVED, REJECTED) else None
    return Tagged(key, known_version(answer.get("VersionId")), decision, tuple(tags.items()))


def write(deployment: Deployment, tagged: Tagged, decision: Decision | None) -> None:
    """Put a decision on just the version that was read, or take it away; other tags stay.

    Raises UsageError when S3 allows no more tags.
    """
    where: dict[str, Any] = {"Bucket": deployment.settings.output_bucket, "Key": tagged.key}
    if tagged.version_id:
        where["VersionId"] = tagged.version_id
    tags = dict(tagged.others)
    if decision:
        own = {REVIEW_TAG: decision.verdict, BY_TAG: decision.by, AT_TAG: decision.at}
        tags |= {name: value for name, value in own.items() if value}
    if len(tags) > _MOST_TAGS:
        raise click.UsageError(f"{tagged.key} has {len(tagged.others)} tags of its own; S3 allows {_MOST_TAGS} in all.")
    if tags:
        tag_set: Any = [{"Key": name, "Value": value} for name, value in tags.items()]
        deployment.s3.put_object_tagging(**where, Tagging={"TagSet": tag_set})
    else:
        deployment.s3.delete_object_tagging(**where)


def taggable(arn: str) -> str:
    """An ARN as a tag's value may be: without characters that S3 refuses, the end of it if it is too long."""
    return _NOT_IN_TAGS.sub("_", arn)[-_MOST_CHARACTERS:]


def verdict_of(decisions: Sequence[Decision | None]) -> str:
    """Of a photo with one result or several: APPROVED when one is, REJECTED when all are, otherwise empty."""
    verdicts = [each.verdict if each else "" for each in decisions]
    if APPROVED in verdicts:
        return APPROVED
    return REJECTED if verdicts and set(verdicts) == {REJECTED} else ""


def decided(deployment: Deployment, keys: Sequence[str]) -> str | None:
    """What was decided on an upload's results, as `verdict_of`; None when the caller may not read their tags."""
    try:
        tagged = [read(deployment, key) for key in keys if not has_dot_segment(key)]
    except ClientError as error:
        if status_of(error) == 403:
            return None
        raise
    return verdict_of([each.decision if each else None for each in tagged])


def reviewed(deployment: Deployment, uploads: Sequence[Sequence[str]]) -> dict[str, int] | None:
    """How many uploads are approved, rejected and undecided, each given by its results' keys.

    One request a result, so None for more than MOST_COUNTED uploads; and when the caller may not read their tags.
    """
    if len(uploads) > MOST_COUNTED:
        return None
    with ThreadPoolExecutor(THREADS) as pool:
        verdicts = list(pool.map(lambda keys: decided(deployment, keys), uploads))
    if None in verdicts:
        return None
    return {verdict or UNDECIDED: verdicts.count(verdict) for verdict in (APPROVED, REJECTED, "")}
