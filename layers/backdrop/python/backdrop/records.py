"""Reading many uploads' records at once, for the reconciler and the command line."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backdrop.clock import Clock
from backdrop.errors import Throttled
from backdrop.ledger_items import attributes, record_of
from backdrop.states import State
from backdrop.upload import Record

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_BATCH = 100  # keys of one BatchGetItem
_BATCH_RETRY_SECONDS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)  # before each request for what the last one left out


@dataclass(frozen=True)
class Sleeper:
    """An upload that waits for a later day: the images that it wants, when it wakes, and its message."""

    images: int
    due_at: float
    """Epoch seconds."""
    receipt_handle: str | None


class Records:
    """The records in the ledger table."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def known(self, ids: list[str]) -> dict[str, Record]:
        """The records of up to a thousand uploads, by id; those that the ledger doesn't know are left out.

        Raises Throttled when DynamoDB hands out too few of them.
        """
        found: dict[str, Record] = {}
        for start in range(0, len(ids), _BATCH):
            wanted: Any = {self._table: {"Keys": [{"id": {"S": job_id}} for job_id in ids[start : start + _BATCH]]}}
            for seconds in _BATCH_RETRY_SECONDS:
                self._clock.sleep_until(self._clock.now() + seconds)
                answer = self._client.batch_get_item(RequestItems=wanted)
                records = (record_of(item) for item in answer["Responses"].get(self._table, []))
                found.update((record.id, record) for record in records)
                wanted = answer.get("UnprocessedKeys")
                if not wanted:
                    break
            else:
                raise Throttled("DynamoDB asks for fewer reads", self._clock.now())
        return found

    def all(self) -> Iterator[Record]:
        """Every record, in no order: a scan of the whole table, for receipts."""
        for page in self._client.get_paginator("scan").paginate(TableName=self._table):
            yield from (record_of(item) for item in page["Items"] if "state" in item)

    def sleepers(self) -> Iterator[Sleeper]:
        """The uploads that wait for a later day, in no order: a scan of the whole table."""
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "FilterExpression": "images_later > :zero AND #state IN (:claimed, :unknown)",
            "ProjectionExpression": "images_later, receipt_handle, due_at",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": attributes({":zero": 0, ":claimed": State.CLAIMED, ":unknown": State.UNKNOWN}),
        }
        while True:
            page = self._client.scan(**arguments)
            for item in page["Items"]:
                handle = item.get("receipt_handle", {}).get("S")
                yield Sleeper(int(item["images_later"]["N"]), float(item["due_at"]["N"]), handle)
            if "LastEvaluatedKey" not in page:
                return
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]
