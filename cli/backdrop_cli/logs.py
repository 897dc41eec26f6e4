"""`backdrop logs`: what the functions logged about one upload, or with a text in it."""

import json
from collections.abc import Iterator
from typing import Any

import click

from backdrop.clock import iso_time
from backdrop_cli.deployment import Deployment
from backdrop_cli.lookup import uploads_called
from backdrop_cli.options import CliContext, common, examples

FUNCTIONS = ("replace-background", "retry", "reconcile")
_NOT_SHOWN = ("level", "timestamp", "message", "correlation_id", "service", "location", "xray_trace_id", "cold_start",
              "function_name", "function_memory_size", "function_arn", "function_request_id")  # fmt: skip


@examples(
    "backdrop logs spring/red.jpg",
    "backdrop logs --text 'Task timed out' --hours 24",
)
@click.command()
@click.argument("name", metavar="[KEY|JOB_ID]", default="")
@click.option("--text", metavar="TEXT", help="Lines that have this in them, of whatever upload.")
@click.option("--function", type=click.Choice(FUNCTIONS), help="Of this function only.")
@click.option("--hours", type=click.FloatRange(0, min_open=True), help="How far back.  [default: 1; for an upload all]")
@common
@click.pass_obj
def logs(context: CliContext, name: str, text: str | None, function: str | None, hours: float | None) -> int:
    """Show the log lines of an upload, of all functions, in their order; JSON has the lines as they were written."""
    deployment = context.deployment
    if bool(name) == bool(text):
        raise click.UsageError("Name an upload, by its key or job id, or a --text.")
    now, texts = deployment.clock.now(), [text or ""]
    since = now - (hours or 1) * 3600
    if name:
        found = uploads_called(deployment, name)
        texts = [each.job.id for each in found]
        if not hours:
            since = min((each.item.get("created_at", now) for each in found), default=now) - 3600
    lines = [line for each in texts for line in _lines(deployment, each, function, since)]
    lines.sort(key=lambda line: float(line["logged_at"]))
    if name:
        lines = [line for line in lines if "_aws" not in line]  # metrics
    context.answer(lines, *(map(_shown, lines) if lines else ["There is no such line. (Logs are kept for 30 days.)"]))
    return 0


def _lines(deployment: Deployment, text: str, function: str | None, since: float) -> Iterator[dict[str, Any]]:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    for name in FUNCTIONS if function is None else (function,):
        pages = deployment.logs.get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{deployment.stack}-{name}",
            filterPattern=f'"{quoted}"',
            startTime=int(since * 1000),
        )
        for page in pages:
            for event in page["events"]:
                for message in event["message"].splitlines():
                    if text in message:
                        yield {"function": name, "logged_at": event["timestamp"] / 1000} | _content(message)


def _content(message: str) -> dict[str, Any]:
    try:
        content = json.loads(message)
    except ValueError:
        content = None
    return content if isinstance(content, dict) else {"message": message}


def _shown(line: dict[str, Any]) -> str:
    more = {name: value for name, value in line.items() if name not in (*_NOT_SHOWN, "function", "logged_at")}
    words = [iso_time(line["logged_at"]), line["function"], line.get("level", ""), str(line.get("message", ""))]
    return "  ".join([*filter(None, words), *(f"{name}={_in_short(value)}" for name, value in more.items())])


def _in_short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
