"""Batches: uploads that were submitted together, and the moment when the last of them has ended.

A batch has one item in the ledger table, and one more for each UPLOADS_OF_A_SHARD of its uploads: its shards. A shard
holds the uploads that have not ended, by a hash of their keys, and the sums of those that have. Each upload's metadata
names its shard. A write takes an upload out of those that have not ended and adds it to the sums, so none is counted
twice, and every step can be repeated: whoever finds the shard empty closes it, whoever finds all shards closed has the
batch's sums. The function that ends an upload does so after the ledger says how it ended, and does it again for every
duplicate of its message; a worker that is killed in between leaves its message.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from backdrop.clock import Clock
from backdrop.ledger import KEEP_DAYS
from backdrop.ledger_items import refused_item
from backdrop.states import State
from backdrop.upload import Record

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

UPLOADS_OF_A_SHARD = 100  # an item of 2 KB, which each of its uploads writes once
METADATA = "batch"
"""Of an upload's metadata: the shard that it is in."""
ENDS = (State.DONE, State.REJECTED, State.SUPERSEDED, State.UNCHANGED)
_SHARD = re.compile(r"[0-9a-f]{16}\.[0-9]{1,5}", re.ASCII)


@dataclass(frozen=True)
class FinishedBatch:
    """What became of a batch. Sums are those of the uploads' receipts."""

    id: str
    manifest: str | None
    """The table that was submitted, as its name was given."""
    prefix: str
    """What all of its keys begin with, to the last slash."""
    created_at: float
    """Epoch seconds."""
    states: dict[str, int]
    """How many uploads ended in each of ENDS."""
    images: int
    cost_usd: Decimal
    unsettled_images: int


def shard_of(metadata: Mapping[str, str]) -> str:
    """The shard that an upload's metadata names; empty for none. What is no shard's name harms no upload."""
    shard = metadata.get(METADATA, "")
    return shard if _SHARD.fullmatch(shard) else ""


def shard_name(batch_id: str, index: int) -> str:
    """The shard of a batch's upload number `index`, as its metadata names it."""
    return f"{batch_id}.{index // UPLOADS_OF_A_SHARD}"


class Batches:
    """The batches' items in the ledger table."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def create(self, batch_id: str, keys: list[str], manifest: str | None) -> None:
        """Write a batch of `keys`, in their order, before any of them is uploaded."""
        expires_at = {"N": str(int(self._clock.now()) + KEEP_DAYS * 86400)}
        shards = [keys[start : start + UPLOADS_OF_A_SHARD] for start in range(0, len(keys), UPLOADS_OF_A_SHARD)]
        for number, some in enumerate(shards):
            self._client.put_item(
                TableName=self._table,
                Item={
                    "id": {"S": f"batch-{batch_id}.{number}"},
                    "pending": {"SS": [_entry(key, 0) for key in some]},
                    "expires_at": expires_at,
                },
            )
        self._client.put_item(
            TableName=self._table,
            Item={
                "id": {"S": f"batch-{batch_id}"},
                "shards": {"N": str(len(shards))},
                "open_shards": {"SS": [str(number) for number in range(len(shards))]},
                "manifest": {"S": manifest or ""},
                "prefix": {"S": _common_folder(keys)},
                "created_at": {"N": str(self._clock.now())},
                "expires_at": expires_at,
            },
        )

    def withdraw(self, shard: str, keys: Iterable[str]) -> bool:
        """Take keys out of a batch that were not uploaded after all; whether nothing of the batch is left to end."""
        entries = [_entry(key, 0) for key in keys]
        item = self._update(shard, "DELETE pending :entries", "attribute_exists(id)", {":entries": {"SS": entries}})
        return bool(item) and "pending" not in item and self._finished(shard) is not None

    def ended(self, record: Record) -> FinishedBatch | None:
        """Count an upload that has ended, if it is of a batch; the batch, if that was the last and nobody told yet."""
        if not record.batch:
            return None
        item = self._count(record)
        if not item or "pending" in item:  # the former: of another stack that reads this bucket, or of long ago
            return None
        return self._finished(record.batch)

    def reopened(self, rejected: Record) -> None:
        """A dead letter is about to be moved back, so its upload has not ended any more; call it before the record."""
        if not rejected.batch:
            return
        self._count(rejected)  # whoever rejected it may not have come to it
        again = replace(rejected, redriven=rejected.redriven + 1)
        entries = {":entries": {"SS": [_entry_of(again)]}, ":counted": {"SS": [_entry_of(rejected)]}}
        self._update(
            rejected.batch,
            f"DELETE counted :counted ADD pending :entries, {_add_sums(rejected)}",
            "contains(counted, :entry)",
            entries | {":entry": {"S": _entry_of(rejected)}} | _sums(rejected, -1),
        )

    def mark_told(self, batch_id: str) -> None:
        """Note that everybody knows that the batch has ended."""
        now = {":now": {"N": str(self._clock.now())}}
        self._update(batch_id, "SET told_at = :now", "attribute_exists(id)", now)

    def _count(self, record: Record) -> dict[str, Any]:
        """The shard, with the upload counted by now; empty when there is no such shard."""
        entry = _entry_of(record)
        return self._update(
            record.batch or "",
            "DELETE pending :entries ADD "
            + ("counted :entries, " if record.state is State.REJECTED else "")  # of those that can be moved back
            + _add_sums(record),
            "contains(pending, :entry)",
            {":entries": {"SS": [entry]}, ":entry": {"S": entry}} | _sums(record, 1),
        )

    def _finished(self, shard: str) -> FinishedBatch | None:
        """The batch, when its `shard` was the last that had uploads that have not ended, and nobody has told it yet."""
        batch_id, _, number = shard.rpartition(".")
        closed = {":closed": {"SS": [number]}}
        batch = self._update(batch_id, "DELETE open_shards :closed", "attribute_exists(id)", closed)
        if not batch or "open_shards" in batch or "told_at" in batch:
            return None
        shards = []
        for index in range(int(batch["shards"]["N"])):
            key: Any = {"id": {"S": f"batch-{batch_id}.{index}"}}
            item = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")
            if not item or "pending" in item:  # the latter: a dead letter was moved back; its upload's end tells
                return None
            shards.append(item)

        def total(name: str) -> Decimal:
            return sum((Decimal(item[name]["N"]) for item in shards if name in item), Decimal(0))

        return FinishedBatch(
            batch_id,
            batch["manifest"]["S"] or None,
            batch["prefix"]["S"],
            float(batch["created_at"]["N"]),
            {state: int(total(state)) for state in ENDS},
            int(total("images")),
            total("cost_usd"),
            int(total("unsettled_images")),
        )

    def _update(self, name: str, expression: str, condition: str, values: dict[str, Any]) -> dict[str, Any]:
        """The item after the update, or as it is where the condition refuses it; empty when there is none."""
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key={"id": {"S": f"batch-{name}"}},
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            return refused_item(error)
        return answer["Attributes"]


def _add_sums(record: Record) -> str:
    return f"{record.state} :one, images :images, cost_usd :cost, unsettled_images :unsettled"


def _sums(record: Record, times: int) -> dict[str, Any]:
    """What an upload adds to the sums, `times` 1 or -1."""
    values: dict[str, int | Decimal] = {
        ":one": 1,
        ":images": record.bought_images,
        ":cost": record.cost,
        ":unsettled": record.unsettled_images,
    }
    return {name: {"N": str(times * value)} for name, value in values.items()}


def _entry_of(record: Record) -> str:
    return _entry(record.key, record.redriven)


def _entry(key: str, redriven: int) -> str:
    """What stands for an upload in its shard: another text each time that its dead letter was moved back, so that a
    worker that comes late does not count what has begun anew."""
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return f"{digest}.{redriven}" if redriven else digest


def _common_folder(keys: list[str]) -> str:
    first, last = min(keys), max(keys)  # what these two share, all between them do
    end = next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    folder, slash, _ = first[:end].rpartition("/")
    return folder + slash
