"""`submit --notify`: what a command uploads is a batch, of which one event tells that all of it has ended."""

from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from backdrop.batches import METADATA, shard_name
from backdrop.job import Job
from backdrop.s3_objects import S3Objects
from backdrop_cli.deployment import Deployment
from backdrop_cli.options import CliContext
from backdrop_cli.page import counted
from backdrop_cli.progress import no_step, side_by_side
from backdrop_cli.submission import Submitted, free_keys

ROOM = {METADATA: f"{'0' * 16}.{'0' * 5}"}
"""Metadata as long as a batch's will be, so that whatever has no room beside it is told before anything is uploaded."""


@dataclass(frozen=True)
class Batch:
    """`uploads` is everything that the command sends; what is in the bucket already is no part of the batch."""

    id: str
    uploads: list[Submitted]


def begin_batch(context: CliContext, missing: list[Submitted], manifest: Path | None) -> Batch | None:
    """Write a batch of what is to be uploaded into the ledger; None when nothing is."""
    keys = [each.photo.key for each in missing if each.job is None]
    if not keys:
        context.remark("Nothing is uploaded, so there is no batch whose end could be told.")
        return None
    batch_id = uuid4().hex[:16]
    context.deployment.batches.create(batch_id, keys, str(manifest) if manifest else None)
    shards = {key: shard_name(batch_id, index) for index, key in enumerate(keys)}
    context.remark(f"Batch {batch_id}: `Background Batch Finished` tells when {counted(len(keys), 'upload')} ended.")
    return Batch(batch_id, [_of_shard(each, shards.get(each.photo.key)) for each in missing])


def _of_shard(each: Submitted, shard: str | None) -> Submitted:
    if shard is None:
        return each
    return replace(each, photo=replace(each.photo, metadata=each.photo.metadata | {METADATA: shard}))


def end_batch(context: CliContext, batch: Batch, begun: dict[str, Submitted]) -> None:
    """Take out of the batch what was not uploaded after all, of which no function would ever hear."""
    absent = [
        each
        for each in batch.uploads
        if each.job is None and (each.photo.key not in begun or begun[each.photo.key].unreadable)
    ]
    if not absent:
        return
    try:
        gone, has_ended = _withdrawn(context.deployment, absent)
        there = [each for each in batch.uploads if each.job is None and each.photo.key not in gone]
        if has_ended and there:
            # A function has to look at one of those that have ended: it finds that nothing is left, and tells.
            key = there[0].photo.key
            known = begun[key].job if key in begun else None
            bucket = context.deployment.settings.input_bucket
            job = known or context.deployment.storage.resolve(Job(bucket, key))
            context.deployment.queues.retry(job, 0)
    except (ClientError, BotoCoreError) as error:
        context.remark(f"What was not uploaded is still in batch {batch.id}, so its end is never told: {error}")


def _withdrawn(deployment: Deployment, absent: list[Submitted]) -> tuple[set[str], bool]:
    """What of `absent` is not in the bucket and was taken out, and whether nothing of the batch is left to end."""
    free = free_keys(deployment, [each.photo.key for each in absent])

    def is_absent(each: Submitted) -> bool:
        """A put that was interrupted, or whose answer got lost, may have taken place."""
        if each.photo.key in free:
            return True
        found = S3Objects(deployment.s3).head(deployment.settings.input_bucket, each.photo.key)
        return found is None or found["Metadata"].get(METADATA) != each.photo.metadata[METADATA]

    by_shard: dict[str, list[str]] = {}
    for each, gone in zip(absent, side_by_side(is_absent, absent, no_step), strict=True):
        if gone:
            by_shard.setdefault(each.photo.metadata[METADATA], []).append(each.photo.key)
    ended = [deployment.batches.withdraw(shard, keys) for shard, keys in by_shard.items()]
    return {key for keys in by_shard.values() for key in keys}, any(ended)
