"""`backdrop show`: what the ledger holds of one upload, or which uploads are in a state."""

import sys
from collections.abc import Iterator
from typing import Any

import click

from backdrop.clock import iso_time
from backdrop.states import State
from backdrop_cli.deployment import Deployment
from backdrop_cli.forecast import pace_now
from backdrop_cli.lookup import KnownUpload, plain_item, stored_item, uploads_called
from backdrop_cli.options import CliContext, common, examples
from backdrop_cli.page import counted, dollars
from backdrop_cli.uploads import NO_PHOTO, WAITS, Stage, stage_of, unnoticed, waits_for


@examples(
    "backdrop show spring/red.jpg",
    "backdrop show --state PAID",
)
@click.command()
@click.argument("name", metavar="[KEY|JOB_ID]", default="")
@click.option("--state", type=click.Choice([str(state) for state in State]), help="List all uploads in this state.")
@click.option("--answer", is_flag=True, help="Write what the gateway answered instead of an image (kept for 7 days).")
@common
@click.pass_obj
def show(context: CliContext, name: str, state: str | None, answer: bool) -> int:
    """Show what the ledger holds of an upload: its state, calls, results, cost, and what went wrong when.

    JSON has the ledger's own names; `earlier` has the key's uploads before this one.
    """
    deployment = context.deployment
    if bool(name) == bool(state):
        raise click.UsageError("Name an upload, by its key or job id, or a --state.")
    if state:
        items = list(_in_state(deployment, state))
        context.answer(items, *map(_line, items), f"{counted(len(items), 'upload')} in {state}.")
        return 0
    newest, *earlier = uploads_called(deployment, name)
    if answer:
        kept = stored_item(deployment, f"answer-{newest.job.id}")
        if not kept:
            raise click.UsageError(f"No answer is kept for {name}: there was an image, or it is more than a week ago.")
        sys.stdout.buffer.write(kept["answer"]["B"])
        return 0
    data = _data(deployment, newest)
    shown = [newest.job.key, *_lines(data)]
    if earlier:
        states = (f"{each.job.id} ({each.item.get('state') or 'not in the ledger'})" for each in earlier)
        shown.append(f"Earlier: {', '.join(states)}")
    context.answer(data | {"earlier": [each.item or _unknown(each) for each in earlier]}, *shown)
    return 0


def _in_state(deployment: Deployment, state: str) -> Iterator[dict[str, Any]]:
    pages = deployment.dynamodb.get_paginator("scan").paginate(
        TableName=deployment.settings.ledger_table,
        FilterExpression="#state = :state",
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues={":state": {"S": state}},
    )
    for page in pages:
        yield from map(plain_item, page["Items"])


def _line(item: dict[str, Any]) -> str:
    last = item["history"][-1] if item.get("history") else ""
    return f"{item['id']}  {item['key']}  since {iso_time(item['created_at'])}  {last}".rstrip()


def _unknown(upload: KnownUpload) -> dict[str, Any]:
    return upload.job.as_dict() | {"state": None}


def _data(deployment: Deployment, upload: KnownUpload) -> dict[str, Any]:
    now = deployment.clock.now()
    record = upload.record
    stage = stage_of(record, now)
    waits = None
    if record and stage is Stage.WAITING:
        waits = waits_for(record, pace_now(deployment), deployment.settings.daily_image_limit, now)
    is_skipped = upload.job.is_skipped and not record
    return (upload.item or _unknown(upload)) | {
        "status": "skipped" if is_skipped else str(stage),
        "because": NO_PHOTO if is_skipped else unnoticed(stage, now - upload.uploaded_at),
        "waits_for": waits,
        "is_current": upload.is_current,
    }


_TIMES = ("created_at", "updated_at", "due_at", "lease_until", "paid_at")
_ROWS = {
    "id": "job id",
    "version_id": "version",
    "created_at": "first seen",
    "updated_at": "last written",
    "due_at": "looks again",
    "attempts": "calls sent",
    "request_id": "the gateway's id",
    "model": "model",
    "tag": "tag",
    "images": "images",
    "paid_at": "paid",
    "unsettled_images": "perhaps charged",
}
"""By the ledger's names, in the order in which they are shown; what is empty is left out."""


def _lines(data: dict[str, Any]) -> Iterator[str]:
    """A title and a value each, none of them wrapped: links and ids are there to be copied."""
    state = f"{data['state'] or 'not in the ledger'}: {data['status']}"
    if data["waits_for"]:
        state += f", {WAITS[data['waits_for']]}"
    if data["because"]:
        state += f"; {data['because']}"
    rows = [("state", state if data["is_current"] else f"{state}; another object is under its key, or none")]
    for name, title in _ROWS.items():
        if value := data.get(name):
            rows.append((title, iso_time(value) if name in _TIMES else str(value)))
    if data.get("cost_usd"):
        rows.append(("cost", dollars(float(data["cost_usd"]))))
    rows += [("result", output["key"]) for output in filter(None, data.get("outputs", []))]
    rows += [("link", link) for link in data.get("links", [])]
    if reason := data.get("reason"):
        rows.append(("failed", f"{reason['code']}: {reason['message']} (billed: {reason.get('billed')})"))
    rows += [("history", line) for line in data.get("history", [])]
    return (f"  {title:<17}{value}" for title, value in rows)
