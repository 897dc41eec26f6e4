"""AWS on simulated time, with the limits that matter and a count of what is billed.

Times and limits are AWS's published ones or typical measurements of a quiet region; each says where it is from.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from botocore.exceptions import ClientError

from tools.simulation.connection import Connection, Result
from tools.simulation.simulated_table import SimulatedTable, write_units
from tools.simulation.simulated_time import SimulatedTime

SECONDS = {"dynamodb": 0.006, "s3 read": 0.025, "s3 write": 0.045, "sqs": 0.010, "events": 0.015, "fetch": 0.3}
COLD_START_SECONDS = 1.2
ITEM_WRITES_A_SECOND = (
    1000.0  # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
)
CONCURRENT_EXECUTIONS = (
    1000  # an account's default; https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
)
NEW_WORKERS_A_SECOND = 100.0  # 1,000 every ten seconds for each function
POLLERS_AT_FIRST, POLLERS_A_SECOND = (
    5,
    5.0,
)  # 300 more a minute; https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html


@dataclass(frozen=True)
class TableLimits:
    """What a table takes in a second, in write and read units; each partition has an equal share of both."""

    write_units: float
    read_units: float
    partitions: int


# An account's default for a table that has grown with its load, and what a new one takes at once.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html
GROWN_TABLE, NEW_TABLE = TableLimits(40_000, 40_000, 1), TableLimits(4_000, 12_000, 4)


@dataclass
class Bill:
    """What AWS counts."""

    counts: Counter[str] = field(default_factory=Counter)
    lambda_seconds: float = 0.0
    most: Counter[str] = field(default_factory=Counter)
    """The most of something at one time."""

    def peak(self, what: str, value: float) -> None:
        """Note a new height."""
        self.most[what] = max(self.most[what], int(value))


class TokenBucket:
    """A limit of so many a second, with `size` at once."""

    def __init__(self, time: SimulatedTime, a_second: float, size: float) -> None:
        self._time, self._a_second, self._size = time, a_second, size
        self._tokens, self._at = size, time.now

    def take(self, tokens: int = 1) -> bool:
        """Whether there were as many tokens."""
        now = self._time.now
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._a_second)
        self._at = now
        if self._tokens < tokens:
            return False
        self._tokens -= tokens
        return True


class QuietRegion:
    """A `Connection` to AWS on a good day: only DynamoDB refuses, more writes than it takes to one item or to a table.

    Reads are counted as one unit each.
    """

    def __init__(self, time: SimulatedTime, bill: Bill, table: TableLimits) -> None:
        self._time, self._bill = time, bill
        self._of_the_pace = TokenBucket(time, ITEM_WRITES_A_SECOND, ITEM_WRITES_A_SECOND / 10)
        self._writes, self._reads = (
            [TokenBucket(time, units / table.partitions, units / table.partitions) for _ in range(table.partitions)]
            for units in (table.write_units, table.read_units)
        )
        self._seconds: Counter[int] = Counter()

    def now(self) -> float:
        """Simulated epoch seconds."""
        return self._time.now

    def call(
        self,
        service: str,
        operation: str,
        apply: Callable[[], Result],
        about: str = "",
        written: Mapping[str, Any] | None = None,
    ) -> Result:
        """As `Connection`'s."""
        if written is not None:
            units = write_units(written)
            self._admit(about, operation, self._writes, units)
            self._bill.counts["dynamodb write units"] += units
        elif service == "dynamodb":
            self._admit(about, operation, self._reads, 1)
        counted, seconds = _BILLED[service, operation]
        if counted:
            self._bill.counts[counted] += 1
        self._time.sleep(SECONDS[seconds])
        return apply()

    def _admit(self, item_id: str, operation: str, partitions: list[TokenBucket], needed: int) -> None:
        """As boto3's standard mode: three more tries, then the error."""
        # Nothing else is written by more than one worker at a time.
        is_pace = item_id == "pace" and partitions is self._writes
        partition = partitions[crc32(item_id.encode()) % len(partitions)]
        for tries in range(4):
            if (not is_pace or self._of_the_pace.take()) and partition.take(needed):
                if is_pace:
                    self._bill.counts["writes of the pace"] += 1
                    self._seconds[int(self._time.now)] += 1
                    self._bill.peak("writes of the pace", self._seconds[int(self._time.now)])
                return
            refused = "writes of the pace" if is_pace else "writes" if partitions is self._writes else "reads"
            self._bill.counts[f"{refused} refused"] += 1
            self._time.sleep(random.uniform(0, min(20, 2**tries)))
        raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, operation)


_BILLED = {
    ("dynamodb", "GetItem"): ("dynamodb reads", "dynamodb"),
    ("dynamodb", "BatchGetItem"): ("dynamodb reads", "dynamodb"),
    ("dynamodb", "PutItem"): ("", "dynamodb"),
    ("dynamodb", "UpdateItem"): ("", "dynamodb"),
    ("s3", "GetObject"): ("s3 reads", "s3 read"),
    ("s3", "HeadObject"): ("s3 reads", "s3 read"),
    ("s3", "ListObjectsV2"): ("s3 lists", "s3 read"),
    ("s3", "ListObjectVersions"): ("s3 lists", "s3 read"),
    ("s3", "PutObject"): ("s3 writes", "s3 write"),
    ("sqs", "SendMessage"): ("sqs requests", "sqs"),
    ("sqs", "ChangeMessageVisibility"): ("sqs requests", "sqs"),
    ("events", "PutEvents"): ("events", "events"),
}
"""What is counted of each operation, and whose time it takes."""


class SimulatedDynamoDB:
    """The client of one table."""

    def __init__(self, table: SimulatedTable, connection: Connection) -> None:
        self.table = table
        self._connection = connection

    def get_item(self, **arguments: Any) -> Any:
        """As DynamoDB's."""
        return self._connection.call(
            "dynamodb", "GetItem", lambda: self.table.get_item(**arguments), arguments["Key"]["id"]["S"]
        )

    def batch_get_item(self, **arguments: Any) -> Any:
        """As DynamoDB's."""
        return self._connection.call("dynamodb", "BatchGetItem", lambda: self.table.batch_get_item(**arguments))

    def scan(self, **arguments: Any) -> Any:
        """As DynamoDB's."""
        return self._connection.call("dynamodb", "Scan", lambda: self.table.scan(**arguments))

    def put_item(self, **arguments: Any) -> Any:
        """As DynamoDB's."""
        item = arguments["Item"]
        return self._connection.call(
            "dynamodb", "PutItem", lambda: self.table.put_item(**arguments), item["id"]["S"], item
        )

    def update_item(self, **arguments: Any) -> Any:
        """As DynamoDB's."""
        item_id = arguments["Key"]["id"]["S"]
        there = self.table.items.get(item_id, {})
        return self._connection.call(
            "dynamodb", "UpdateItem", lambda: self.table.update_item(**arguments), item_id, there
        )


class SimulatedEvents:
    """EventBridge's client; `published` are the entries that came through."""

    def __init__(self, published: list[dict[str, Any]], connection: Connection) -> None:
        self._published = published
        self._connection = connection

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        """As EventBridge's."""

        def publish() -> dict[str, Any]:
            self._published.extend(Entries)
            return {"FailedEntryCount": 0}

        return self._connection.call("events", "PutEvents", publish, Entries[0]["DetailType"])
