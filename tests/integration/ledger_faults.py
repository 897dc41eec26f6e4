"""DynamoDB refuses writes of a state, or takes them and its answer gets lost."""

from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.aws_faults import client_of
from tests.integration.harness import Harness


class LedgerFault:
    """Lets DynamoDB writes of one state fail, `times` times."""

    def __init__(self, harness: Harness, state: str, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
        client = client_of(harness, "dynamodb")
        self.left = times
        for name in ("put_item", "update_item"):
            monkeypatch.setattr(client, name, self._failing(getattr(client, name), {"S": state}))

    def _failing(self, real: Any, state: dict[str, str]) -> Any:
        def write(**arguments: Any) -> Any:
            values = arguments.get("Item") or {"state": arguments["ExpressionAttributeValues"].get(":state")}
            if values.get("state") == state and self.left:
                self.left -= 1
                raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "PutItem")
            return real(**arguments)

        return write


def normalised(value: Any) -> Any:
    """Numbers as DynamoDB returns them: leading and trailing zeroes trimmed."""
    if isinstance(value, dict) and set(value) == {"N"}:
        number = Decimal(value["N"])
        return {"N": str(int(number)) if number == number.to_integral_value() else format(number.normalize(), "f")}
    if isinstance(value, dict):
        return {name: normalised(part) for name, part in value.items()}
    if isinstance(value, list):
        return [normalised(part) for part in value]
    return value


def lose_answer(harness: Harness, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DynamoDB takes one write of `state`, its answer gets lost, and boto3's own retry is refused."""
    client, left = client_of(harness, "dynamodb"), [1]

    def losing(real: Any) -> Any:
        def write(**arguments: Any) -> Any:
            answer = real(**arguments)
            written = (
                arguments.get("Item", {}).get("state"),
                arguments.get("ExpressionAttributeValues", {}).get(":state"),
            )
            if {"S": state} in written and left[0]:
                left[0] -= 1
                try:
                    return real(**arguments)
                except ClientError as error:
                    item: Any = error.response
                    item["Item"] = normalised(item["Item"])
                    raise
            return answer

        return write

    for name in ("put_item", "update_item"):
        monkeypatch.setattr(client, name, losing(getattr(client, name)))
