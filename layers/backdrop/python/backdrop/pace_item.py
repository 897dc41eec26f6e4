"""The item in the ledger table that all workers share: what the rate limiter and its circuit breaker know.

Attributes: `next_slot`, and `slot_before`, what it was when a free slot was taken last; `queue_tail`, `retry_tail`,
`held_until`; `day`, `images` bought or reserved that day, `returned` (the slots whose images were given back last);
`day_tail`, the last place on a later day, `promised_images` of that day, and `least_wanted`, the fewest images that an
upload which sleeps wants; `failures` in a row, counted in images, since `failing_since`, the last of them
`last_failure`; and during a pause `paused_since`, `pause_reason`, `probe_at`, `probe_step`. Times are epoch
microseconds: 30,000 calls a minute are 2 ms apart.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PACE_ID = "pace"
SECOND = 1_000_000  # microseconds
_KEY: dict[str, Any] = {"id": {"S": PACE_ID}}


@dataclass(frozen=True)
class Slot:
    """The right to make one call at `at`, with `images` reserved on `day`; the call itself leaves at `leaves_at`.

    Times are epoch seconds.
    """

    id: str
    at: float
    leaves_at: float
    images: int
    day: str
    is_probe: bool
    failures_before: int


class PaceItem:
    """The item as it was last seen; every write sees it anew."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table
        self.seen: dict[str, Any] = {}
        self.is_new = False
        """Whether it was seen since whoever asks began."""

    @property
    def held_until(self) -> float:
        """Before this time nothing is called, in epoch seconds."""
        return float(self.seen.get("held_until", 0)) / SECOND

    def look(self) -> None:
        """Read the item."""
        before = self.seen
        answer = self._client.get_item(TableName=self._table, Key=_KEY, ConsistentRead=True)
        if self.seen is before:  # else a look from the worker's start was slow, and a write has seen it since
            self._see(answer.get("Item", {}))

    def refresh(self) -> bool:
        """Look at the item before sending anybody away because of an old look. False when the look is new."""
        if self.is_new:
            return False
        self.look()
        return True

    def _see(self, item: dict[str, Any]) -> None:
        self.seen = {name: int(value["N"]) if "N" in value else value.get("S") for name, value in item.items()}
        self.is_new = True

    def update(self, expression: str, values: dict[str, Any], condition: str | None = None) -> bool:
        """One conditional write; either way `seen` is the item as it is now. False when the condition refused it."""
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "Key": _KEY,
            "UpdateExpression": expression,
            "ExpressionAttributeValues": {
                name: {"S": value} if isinstance(value, str) else {"N": str(value)} for name, value in values.items()
            },
            "ReturnValues": "ALL_NEW",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if condition:
            arguments["ConditionExpression"] = condition
        if "#day" in expression + (condition or ""):
            arguments["ExpressionAttributeNames"] = {"#day": "day"}
        try:
            self._see(self._client.update_item(**arguments)["Attributes"])
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            self._see(error.response.get("Item", {}))  # type: ignore[arg-type]
            return False
        return True


def units(seconds: float) -> int:
    """Seconds as the item keeps them."""
    return round(seconds * SECOND)
