"""What was bought, summed up by tag, folder or day."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from backdrop.clock import utc_day
from backdrop.upload import Record


def folder_of(key: str) -> str:
    """As in `spring/shoes/`; empty for what is in no folder."""
    folder, slash, _ = key.rpartition("/")
    return folder + slash


GROUPS: dict[str, Callable[[Record], str]] = {
    "tag": lambda record: record.tag,
    "folder": lambda record: folder_of(record.key),
    "day": lambda record: utc_day(record.paid_at or record.updated_at),
    "batch": lambda record: record.batch_id,
}
"""Days are UTC: that of the purchase, or of the last call that may have been charged."""


@dataclass
class Sum:
    """Of a group's uploads."""

    uploads: int = 0
    images: int = 0
    cost_usd: Decimal = Decimal(0)
    unsettled_images: int = 0

    def add(self, record: Record) -> None:
        """One more upload."""
        self.uploads += 1
        self.images += record.bought_images
        self.cost_usd += record.cost
        self.unsettled_images += record.unsettled_images


def summed(records: Iterable[Record], by: str) -> list[dict[str, Any]]:
    """A row for each group, in order; `by` is one of GROUPS, and the name of the first column."""
    sums: dict[str, Sum] = {}
    for record in records:
        sums.setdefault(GROUPS[by](record), Sum()).add(record)
    none = None if by in ("tag", "batch") else ""
    return [{by: name or none} | vars(each) | {"cost_usd": float(each.cost_usd)} for name, each in sorted(sums.items())]
