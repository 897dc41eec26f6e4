"""`backdrop receipt`: what was bought, when and for how much, from the ledger."""

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from backdrop.clock import iso_time
from backdrop.upload import Record
from backdrop_cli.csv_cells import protected
from backdrop_cli.deployment import Deployment
from backdrop_cli.manifest import FILE
from backdrop_cli.options import CliContext, common, examples
from backdrop_cli.page import counted, dollars
from backdrop_cli.receipt_sums import GROUPS, Sum, summed
from backdrop_cli.receipt_table import COLUMNS as TABLE_COLUMNS
from backdrop_cli.receipt_table import row_receipts

COLUMNS = (
    *("paid_at", "key", "version_id", "state", "images", "cost_usd", "model", "request_id", "job_id", "outputs"),
    *("billed", "unsettled_images", "tag", "batch"),
)


def bought(deployment: Deployment, key: str | None, since: float) -> Iterator[Record]:
    """The records of what was paid for or may have been, by key, by time or both; the whole ledger is read."""
    for record in deployment.records.all():
        if not (record.paid_at or record.unsettled_images) or key not in (None, record.key):
            continue
        if (record.paid_at or record.updated_at) >= since:
            yield record


def _row(record: Record) -> dict[str, Any]:
    return {
        "paid_at": iso_time(record.paid_at) if record.paid_at else None,
        "key": record.key,
        "version_id": record.version_id,
        "state": str(record.state),
        "images": record.bought_images,
        "cost_usd": float(record.cost_usd or 0),
        "model": record.model,
        "request_id": record.request_id,
        "job_id": record.id,
        "outputs": [output["key"] for output in record.stored],
        "billed": "yes" if record.paid_at else "unknown",
        "unsettled_images": record.unsettled_images,
        "tag": record.tag or None,
        "batch": record.batch_id or None,
    }


@examples(
    "backdrop receipt --since 2026-11-01 > receipts.csv",
    "backdrop receipt --manifest shop.csv --to spring/ > results.csv",
)
@click.command()
@click.argument("key", required=False)
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="Only what was paid since then, in UTC.",
)
@click.option("--by", type=click.Choice(list(GROUPS)), help="Sums instead of uploads.")
@click.option(
    "--manifest",
    "table",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.csv",
    help="What became of the rows of a table, beside its columns.",
)
@click.option("--to", default="", metavar="PREFIX", help="That the table was submitted with.")
@common
@click.pass_obj
def receipt(
    context: CliContext, key: str | None, since: datetime | None, by: str | None, table: Path | None, to: str
) -> None:
    """List what was bought: for the upload KEY, since a day, or all. CSV, or with --json a JSON array.

    An upload that was replaced or deleted since is listed, too, for 400 days. `unsettled_images` may have been charged
    in addition: those of calls that failed or had no answer. A gateway that honours idempotency keys charges none.
    """
    if table:
        if key or since or by:
            raise click.UsageError("--manifest goes with --to alone: it is about the uploads that are there now.")
        _rows_of_table(context, table, to)
        return
    start = since.replace(tzinfo=UTC).timestamp() if since else 0.0
    records = sorted(bought(context.deployment, key, start), key=lambda record: record.paid_at)
    if by:
        _write(context, summed(records, by))
    else:
        _write(context, list(map(_row, records)), COLUMNS)
    total = Sum()
    for record in records:
        total.add(record)
    said = f"{counted(total.uploads, 'upload')}, {counted(total.images, 'image')}, {dollars(float(total.cost_usd))}"
    if total.unsettled_images:
        most = float(context.deployment.settings.price_per_image_usd) * total.unsettled_images
        said += f", and up to {counted(total.unsettled_images, 'image')}, {dollars(most)}, that may have been charged"
    context.remark(f"{said}.")


def _rows_of_table(context: CliContext, table: Path, to: str) -> None:
    rows = list(row_receipts(context.deployment, table, to))
    if context.json:
        _write(context, [{"line": each.row.line, "row": each.row.cells} | each.as_dict() for each in rows])
    else:
        _write(context, [each.row.cells | each.as_dict() for each in rows], (FILE, *TABLE_COLUMNS))
    states = Counter(each.as_dict()["state"] for each in rows)
    cost = sum(each.as_dict()["cost_usd"] for each in rows)
    counts = ", ".join(f"{number} {state}" for state, number in states.most_common())
    context.remark(f"{counted(len(rows), 'row')}: {counts}; {dollars(cost)}.")


def _write(context: CliContext, rows: list[dict[str, Any]], columns: tuple[str, ...] = ()) -> None:
    """As CSV, `columns` naming what a table without rows has, or as JSON."""
    if context.json:
        json.dump(rows, sys.stdout, ensure_ascii=False, indent=2)
        sys.stdout.write("\n")
        return
    writer = csv.DictWriter(sys.stdout, list(rows[0]) if rows else columns)
    writer.writeheader()
    for row in rows:
        cells = {name: " ".join(value) if isinstance(value, list) else value for name, value in row.items()}
        writer.writerow({name: protected(value) if isinstance(value, str) else value for name, value in cells.items()})
