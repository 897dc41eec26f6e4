"""A manifest's rows beside what became of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backdrop.job import Job
from backdrop.upload import Record
from backdrop_cli.deployment import Deployment
from backdrop_cli.manifest import FILE, keys_of
from backdrop_cli.mistakes import Mistake, refuse
from backdrop_cli.progress import streamed
from backdrop_cli.tables import Row, table_rows
from backdrop_cli.uploads import records_of

COLUMNS = ("key", "state", "images", "cost_usd", "results", "reason")
NOT_UPLOADED, NOT_SEEN = "not uploaded", "not in the ledger yet"
_AT_ONCE = 1000


@dataclass(frozen=True)
class RowReceipt:
    """A row and the upload that is under its key now, if there is one."""

    row: Row
    key: str
    job: Job | None
    record: Record | None = None

    def as_dict(self) -> dict[str, Any]:
        """What became of it, by COLUMNS."""
        record = self.record
        missing = NOT_SEEN if self.job else NOT_UPLOADED
        return {
            "key": self.key,
            "state": str(record.state) if record else missing,
            "images": record.bought_images if record else 0,
            "cost_usd": float(record.cost_usd or 0) if record else 0.0,
            "results": [output["key"] for output in record.stored] if record else [],
            "reason": (record.reason or {}).get("code") if record else None,
        }


def row_receipts(deployment: Deployment, table: Path, to: str) -> Iterator[RowReceipt]:
    """What became of each row of a table that was submitted with `to`. Raises UsageError for a table with mistakes.

    The photos need not be on this machine any more.
    """
    mistakes: list[Mistake] = []
    rows = list(table_rows(table, FILE, lambda line, message: mistakes.append(Mistake(message, line))))
    refuse(mistakes, table)

    def found(row: Row) -> RowReceipt:
        keys = keys_of(row, to)
        for key in keys:
            job = deployment.storage.resolve(Job(deployment.settings.input_bucket, key))
            if job.is_identified:
                return RowReceipt(row, key, job)
        return RowReceipt(row, keys[0], None)

    some: list[RowReceipt] = []
    for each in streamed(found, rows):
        some.append(each)
        if len(some) == _AT_ONCE:
            yield from _with_records(deployment, some)
            some = []
    yield from _with_records(deployment, some)


def _with_records(deployment: Deployment, some: list[RowReceipt]) -> Iterator[RowReceipt]:
    known = records_of(deployment, list({each.job.id for each in some if each.job}))
    for each in some:
        yield RowReceipt(each.row, each.key, each.job, known.get(each.job.id) if each.job else None)
