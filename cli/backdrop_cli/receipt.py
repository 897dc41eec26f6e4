"""`backdrop receipt`: what was bought, when and for how much, from the ledger."""

import csv
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from backdrop.clock import iso_time
from backdrop.upload import Record
from backdrop_cli.deployment import Deployment
from backdrop_cli.options import CliContext, common, examples
from backdrop_cli.page import counted, dollars

COLUMNS = (
    *("paid_at", "key", "version_id", "state", "images", "cost_usd", "model", "request_id", "job_id", "outputs"),
    *("billed", "unsettled_images", "tag"),
)


def bought(deployment: Deployment, key: str | None, since: float) -> Iterator[Record]:
    """The records of what was paid for or may have been, by key, by time or both; the whole ledger is read."""
    for record in deployment.ledger.all():
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
        "images": record.images if record.paid_at else 0,
        "cost_usd": float(record.cost_usd or 0),
        "model": record.model,
        "request_id": record.request_id,
        "job_id": record.id,
        "outputs": [output["key"] for output in record.stored],
        "billed": "yes" if record.paid_at else "unknown",
        "unsettled_images": record.unsettled_images,
        "tag": record.tag or None,
    }


def _as_text(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula gets an apostrophe; keys are whatever somebody uploads.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


@examples(
    "backdrop receipt spring/red.jpg",
    "backdrop receipt --since 2026-11-01 > receipts.csv",
)
@click.command()
@click.argument("key", required=False)
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="Only what was paid since then, in UTC.",
)
@common
@click.pass_obj
def receipt(setting: CliContext, key: str | None, since: datetime | None) -> None:
    """List what was bought: for the upload KEY, since a day, or all. CSV, or with --json a JSON array.

    An upload that was replaced or deleted since is listed, too, for 400 days. `unsettled_images` may have been charged
    in addition: those of calls that failed or had no answer. A gateway that honours idempotency keys charges none.
    """
    start = since.replace(tzinfo=UTC).timestamp() if since else 0.0
    rows = sorted(
        (_row(record) for record in bought(setting.deployment, key, start)), key=lambda row: row["paid_at"] or ""
    )
    if setting.json:
        json.dump(rows, sys.stdout, ensure_ascii=False, indent=2)
        sys.stdout.write("\n")
    else:
        writer = csv.DictWriter(sys.stdout, COLUMNS)
        writer.writeheader()
        for row in rows:
            cells = {**row, "outputs": " ".join(row["outputs"])}
            writer.writerow({name: _as_text(value) for name, value in cells.items()})
    images, usd = sum(row["images"] for row in rows), sum(row["cost_usd"] for row in rows)
    said = f"{counted(len(rows), 'upload')}, {counted(images, 'image')}, {dollars(usd)}"
    if unsettled := sum(row["unsettled_images"] for row in rows):
        most = float(setting.deployment.settings.price_per_image_usd) * unsettled
        said += f", and up to {counted(unsettled, 'image')}, {dollars(most)}, that may have been charged"
    setting.remark(f"{said}.")
