"""How far the reconciler is in the input bucket's list, which may take it several runs; kept in the ledger table."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_CURSOR: dict[str, Any] = {"id": {"S": "reconcile"}}
_LISTING: dict[str, Any] = {"id": {"S": "reconcile-listing"}}


@dataclass(frozen=True)
class Listing:
    """How far the reconciler is in going through the input bucket, in pages of its list."""

    pages: int
    """So far this time."""
    last_pages: int
    """The last time that it came to the end; 0 for never."""
    at: int
    """When it last went on, in epoch seconds."""


class ReconcileProgress:
    """Two items of the ledger table."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def cursor(self) -> dict[str, str] | None:
        """Where the last reconcile run stopped listing; None for the beginning."""
        item = self._client.get_item(TableName=self._table, Key=_CURSOR).get("Item", {})
        return {name: value["S"] for name, value in item.items() if name != "id"} or None

    def save_cursor(self, cursor: dict[str, str] | None) -> None:
        """Remember where to go on; None for the beginning."""
        marks: dict[str, Any] = {name: {"S": value} for name, value in (cursor or {}).items()}
        self._client.put_item(TableName=self._table, Item=_CURSOR | marks)

    def listing(self) -> Listing:
        """How far the reconciler is."""
        item = self._client.get_item(TableName=self._table, Key=_LISTING).get("Item", {})
        names = ("pages", "last_pages", "at")
        return Listing(*(int(item[name]["N"]) if name in item else 0 for name in names))

    def save_listing(self, listing: Listing) -> None:
        """Remember it."""
        marks: dict[str, Any] = {name: {"N": str(value)} for name, value in vars(listing).items()}
        self._client.put_item(TableName=self._table, Item=_LISTING | marks)
