"""What the ledger's item of day and pace holds, and the end of a day."""

from typing import Any

from tests.integration.harness import Harness
from tests.integration.stack import TABLE


def pace_item(harness: Harness) -> dict[str, Any]:
    item = harness.dynamodb.get_item(TableName=TABLE, Key={"id": {"S": "pace"}}).get("Item", {})
    return {name: next(iter(value.values())) for name, value in item.items()}


def until_midnight(harness: Harness, before: float) -> None:
    """Move the clock to `before` seconds ahead of the next UTC midnight."""
    harness.advance(86400 - harness.now() % 86400 - before)


def stay_within_a_day(harness: Harness) -> None:
    """In a day's last hour, move the clock past its end: what a test buys is to count for one day."""
    left = 86400 - harness.now() % 86400
    if left < 3600:
        harness.advance(left + 1)
