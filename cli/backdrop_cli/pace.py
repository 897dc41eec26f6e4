"""`backdrop pace`: the rate limiter as it is, and what waits in the queues."""

from typing import Any, Literal

import click

from backdrop.clock import iso_time
from backdrop.pace_item import PACE_ID
from backdrop_cli.deployment import Deployment
from backdrop_cli.forecast import pace_now
from backdrop_cli.lookup import plain_item, stored_item
from backdrop_cli.options import CliContext, common, examples
from backdrop_cli.page import counted, dollars

_Counted = Literal[
    "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"
]
_COUNTS: dict[str, _Counted] = {
    "due": "ApproximateNumberOfMessages",
    "hidden": "ApproximateNumberOfMessagesNotVisible",
    "delayed": "ApproximateNumberOfMessagesDelayed",
}

_NOTHING_YET = {"day": None, "images": 0, "failures": 0, "failing_since": None, "last_failure": None,
                "paused_since": None, "pause_reason": None, "probe_at": None}  # fmt: skip


@examples(
    "backdrop pace",
    "backdrop pace --json",
)
@click.command()
@common
@click.pass_obj
def pace(context: CliContext) -> None:
    """Show whether calls get through, what was bought today, and how many messages are in the queues.

    JSON has the ledger's own names; times there are microseconds since 1970.
    """
    deployment = context.deployment
    settings, now = deployment.settings, deployment.clock.now()
    item, seen = _NOTHING_YET | plain_item(stored_item(deployment, PACE_ID)), pace_now(deployment)
    queues = {
        "retry_queue": _messages(deployment, settings.retry_queue_url),
        "dead_letter_queue": _messages(deployment, settings.dead_letter_queue_url),
    }
    limit = f"of {counted(settings.daily_image_limit, 'image')}" if settings.daily_image_limit else "without a limit"
    spent = dollars(float(settings.price_per_image_usd) * seen.bought_today)
    lines = [f"Today: {counted(seen.bought_today, 'image')} bought or reserved, {spent}, {limit}."]
    if seen.paused_since:
        lines.append(
            f"Paused since {iso_time(seen.paused_since)}; the next call may be tried {_at(seen.probe_at, now)}."
        )
    if seen.is_blocked:
        said = seen.block_in_words(now)
        lines.append(f"{said[0].upper()}{said[1:]}.")
    else:
        lines.append(f"Calls get through, at most {settings.requests_per_minute} a minute.")
    if seen.queue_ends_at > now:
        lines.append(f"The last of those that wait for a slot has its turn {_at(seen.queue_ends_at, now)}.")
    for name, counts in queues.items():
        title = "RetryQueue" if name == "retry_queue" else "DeadLetterQueue"
        lines.append(f"{title}: {', '.join(f'{number} {what}' for what, number in counts.items())}.")
    item.pop("id", None)
    context.answer(item | {"requests_per_minute": settings.requests_per_minute} | queues, *lines)


def _at(when: float, now: float) -> str:
    return "now" if when <= now else f"at {iso_time(when)}"


def _messages(deployment: Deployment, url: str) -> dict[str, Any]:
    """Messages by whether they are due, hidden (waiting or in work), or delayed."""
    found = deployment.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(_COUNTS.values()))["Attributes"]
    return {what: int(found[name]) for what, name in _COUNTS.items()}
