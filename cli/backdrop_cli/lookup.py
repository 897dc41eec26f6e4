"""Single uploads, as people name them: by key, or by the job id that alarms, events and log lines tell."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import click
from boto3.dynamodb.types import TypeDeserializer

from backdrop.job import Job
from backdrop.ledger_items import record_of
from backdrop.s3_objects import identity
from backdrop.upload import Record
from backdrop_cli.deployment import Deployment
from backdrop_cli.uploads import prefix_of

_JOB_ID = re.compile(r"[0-9a-f]{32}")
_NOT_SHOWN = ("call", "owner")  # the call's body has the prompt and the photo's link in it


@dataclass(frozen=True)
class KnownUpload:
    """An upload and its ledger item as DynamoDB has it, which is empty while the ledger doesn't know it."""

    job: Job
    stored: dict[str, Any]
    is_current: bool
    """Whether it is what is under its key now."""
    uploaded_at: float
    """In epoch seconds."""

    @property
    def item(self) -> dict[str, Any]:
        """The ledger item by its own names."""
        return plain_item(self.stored)

    @property
    def record(self) -> Record | None:
        """The ledger item as the functions see it."""
        return record_of(self.stored) if self.stored else None


def uploads_called(deployment: Deployment, name: str) -> list[KnownUpload]:
    """The uploads of a key, the newest first, or the one with a job id. Raises UsageError when there is none.

    Of a key's uploads those are found whose versions S3 still has; by its job id, every one that the ledger has.
    """
    found = [
        KnownUpload(job, stored_item(deployment, job.id), is_current, uploaded_at)
        for job, is_current, uploaded_at in _versions(deployment, prefix_of(deployment, name))
    ]
    if not found and _JOB_ID.fullmatch(name):
        stored = stored_item(deployment, name)
        if stored:
            record = record_of(stored)
            job = Job(record.bucket, record.key, record.version_id, record.etag, modified=record.modified)
            is_current = deployment.storage.resolve(Job(job.bucket, job.key)).id == job.id
            found = [KnownUpload(job, stored, is_current, record.created_at)]
    if not found:
        raise click.UsageError(f"There is no upload {name}. Name it by its whole key, or by its job id of 32 digits.")
    return found


def stored_item(deployment: Deployment, item_id: str) -> dict[str, Any]:
    """An item of the ledger table; empty when there is none."""
    answer = deployment.dynamodb.get_item(
        TableName=deployment.settings.ledger_table, Key={"id": {"S": item_id}}, ConsistentRead=True
    )
    return answer.get("Item", {})


def plain_item(stored: dict[str, Any]) -> dict[str, Any]:
    """An item by the ledger's own names, as JSON can hold it, without what must not be shown."""
    return {
        name: _plain(TypeDeserializer().deserialize(value)) for name, value in stored.items() if name not in _NOT_SHOWN
    }


def _versions(deployment: Deployment, key: str) -> Iterator[tuple[Job, bool, float]]:
    bucket = deployment.settings.input_bucket
    for page in deployment.s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key):
        for entry in page.get("Versions", []):
            if entry["Key"] != key:
                return  # keys are sorted: this one comes before those that begin with it
            version_id, etag, modified = identity(entry)
            job = Job(bucket, key, version_id, etag, entry["Size"], modified)
            yield job, entry["IsLatest"], entry["LastModified"].timestamp()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value
