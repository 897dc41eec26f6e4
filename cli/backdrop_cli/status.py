"""`backdrop status`: how far the uploads are, and what they have cost today."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table

from backdrop.clock import iso_time
from backdrop.job import Job
from backdrop_cli.decisions import MOST_COUNTED, UNDECIDED, reviewed
from backdrop_cli.deployment import Deployment
from backdrop_cli.forecast import PaceNow, Quote, duration, pace_now, quote
from backdrop_cli.options import CliContext, common, examples
from backdrop_cli.page import counted, dollars
from backdrop_cli.printable import printable
from backdrop_cli.receipt_sums import folder_of
from backdrop_cli.uploads import (
    NO_PHOTO,
    WAITS,
    Stage,
    Unnoticed,
    UploadView,
    last_failure,
    prefix_of,
    seen,
    still_to_buy,
    unnoticed,
    waits_for,
)

WATCH_SECONDS = 2.0
GROUPS: dict[str, Callable[[UploadView], str]] = {
    "folder": lambda upload: folder_of(upload.listed.job.key),
    "tag": lambda upload: upload.record.tag if upload.record else "",
}


@dataclass
class Tally:
    """Uploads by stage, the failed ones by reason, and the images that are still to be bought.

    Those that are new or stuck are counted in `unnoticed`, too, by what becomes of them.
    """

    stages: Counter[Stage] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)
    """Uploads that wait, by what for: keys of WAITS."""
    retries: Counter[str] = field(default_factory=Counter)
    """Those of them that wait for another try, by what went wrong last."""
    groups: dict[str, Counter[Stage]] = field(default_factory=dict)
    """The stages by folder or tag, if that was asked for; tags are known once the ledger knows an upload."""
    unnoticed: Counter[Unnoticed | None] = field(default_factory=Counter)
    skipped: int = 0
    """Objects that are no photos."""
    calls_left: int = 0
    images_left: int = 0
    results: list[list[str]] = field(default_factory=list)
    """The result keys of uploads that are done; no more than it takes to know that there are too many to look at."""


def tally(deployment: Deployment, prefix: str, pace: PaceNow, by: str | None = None) -> Tally:
    """Count the uploads under `prefix`, `by` one of GROUPS as well.

    One that the ledger doesn't know the options of is counted as one image.
    """
    counts, now = Tally(), deployment.clock.now()

    def skip(_job: Job) -> None:
        counts.skipped += 1

    for upload in seen(deployment, prefix, skip):
        counts.stages[upload.stage] += 1
        if by:
            counts.groups.setdefault(GROUPS[by](upload), Counter())[upload.stage] += 1
        record, lost = upload.record, unnoticed(upload.stage, now - upload.listed.modified)
        counts.unnoticed[lost] += 1
        if upload.stage is Stage.FAILED and record:
            counts.reasons[(record.reason or {}).get("code", "unknown")] += 1
        elif lost is Unnoticed.UNTOUCHED:
            continue
        elif upload.stage is Stage.DONE:
            if record and len(counts.results) <= MOST_COUNTED:
                counts.results.append([str(output["key"]) for output in record.stored])
        else:
            images = still_to_buy(record)
            counts.calls_left += images > 0
            counts.images_left += images
            if upload.stage is Stage.WAITING and record:
                why = waits_for(record, pace, deployment.settings.daily_image_limit, now)
                counts.waits[why] += 1
                if why == "retry":
                    counts.retries[last_failure(record)] += 1
    return counts


@examples(
    "backdrop status spring/",
    "backdrop status --watch",
)
@click.command()
@click.argument("prefix", default="")
@click.option("--watch", is_flag=True, help="Look again every two seconds, until everything is done or failed.")
@click.option("--by", type=click.Choice(list(GROUPS)), help="Count each folder's, or each tag's, as well.")
@common
@click.pass_obj
def status(context: CliContext, prefix: str, watch: bool, by: str | None) -> None:
    """Show how far the uploads under PREFIX are."""
    deployment = context.deployment
    prefix = prefix_of(deployment, prefix)
    if not watch:
        context.answer(*_look(deployment, prefix, by, counts_decisions=True))
        return
    if context.json:
        raise click.UsageError("--watch is for people; a script asks again.")
    with Live(console=context.out, auto_refresh=False) as live:
        while True:
            data, shown = _look(deployment, prefix, by)
            live.update(shown, refresh=True)
            if not data["new"] - data["untouched"] + data["waiting"] + data["running"] + data["stuck"]:
                return
            time.sleep(WATCH_SECONDS)


def _look(
    deployment: Deployment, prefix: str, by: str | None, counts_decisions: bool = False
) -> tuple[dict[str, Any], RenderableType]:
    pace = pace_now(deployment)
    counts, now = tally(deployment, prefix, pace, by), deployment.clock.now()
    left = quote(deployment.settings, counts.calls_left, counts.images_left, pace.bought_today, now)
    if prefix and left.calls:  # others may stand before them
        left = replace(left, seconds=max(left.seconds, pace.queue_ends_at - now))
    data, shown = _data(deployment, counts, pace, left, now), _shown(deployment, counts, pace, left, now)
    if counts_decisions:
        data["reviewed"] = counted_decisions = reviewed(deployment, counts.results)
        if counted_decisions and counted_decisions[UNDECIDED] < len(counts.results):
            shown = Group(
                shown, "review  " + ", ".join(f"{number} {what}" for what, number in counted_decisions.items())
            )
    if by:
        data[f"by_{by}"] = {name: dict(stages) for name, stages in counts.groups.items()}
        shown = Group(shown, _grouped(counts.groups))
    return data, shown


def _grouped(groups: dict[str, Counter[Stage]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    present = [stage for stage in Stage if any(stages[stage] for stages in groups.values())]
    for title in ("", *present):
        table.add_column(str(title), justify="right" if title else "left")
    for name, stages in sorted(groups.items()):
        table.add_row(printable(name) or "–", *(str(stages[stage]) for stage in present))
    return table


def _data(deployment: Deployment, counts: Tally, pace: PaceNow, left: Quote, now: float) -> dict[str, Any]:
    settings = deployment.settings
    return {str(stage): counts.stages[stage] for stage in Stage} | {
        "lost": counts.unnoticed[Unnoticed.LOST],
        "untouched": counts.unnoticed[Unnoticed.UNTOUCHED],
        "skipped": counts.skipped,
        "failed_by_reason": dict(counts.reasons),
        "paused": pace.pause_reason if pace.paused_since else None,
        "failing_since": iso_time(pace.blocked_since) if pace.blocked_since else None,
        "last_failure": pace.refusal or None,
        "images_today": pace.bought_today,
        "spent_today_usd": round(float(settings.price_per_image_usd) * pace.bought_today, 4),
        "daily_image_limit": settings.daily_image_limit,
        "waiting_for": dict(counts.waits),
        "retries_by_failure": dict(counts.retries),
        "images_left": left.images,
        "cost_left_usd": float(left.usd),
        "seconds_left": None if pace.is_blocked else round(left.seconds, 1),
        "finished_at": iso_time(now + left.seconds) if left.calls and not pace.is_blocked else None,
    }


def _shown(deployment: Deployment, counts: Tally, pace: PaceNow, left: Quote, now: float) -> RenderableType:
    settings = deployment.settings
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    for stage in Stage:
        if counts.stages[stage] or stage not in (Stage.NEW, Stage.STUCK):
            table.add_row(str(stage), str(counts.stages[stage]))
    if just := counts.unnoticed[Unnoticed.ON_ITS_WAY]:
        table.add_row("  just uploaded", str(just))
    if lost := counts.unnoticed[Unnoticed.LOST]:
        search = "looked for every quarter of an hour, and now by `backdrop retry`"
        table.add_row("lost", f"{lost} of the new and stuck; {search}")
    if old := counts.unnoticed[Unnoticed.UNTOUCHED]:
        table.add_row("untouched", f"{old} of the new and stuck; `backdrop backfill` has them done")
    if counts.skipped:
        table.add_row("skipped", f"{counts.skipped}, {NO_PHOTO}")
    for why, number in (counts.waits - Counter({"retry": counts.waits["retry"]})).most_common():
        table.add_row(f"  {WAITS[why]}", str(number))
    for failure, number in counts.retries.most_common():
        table.add_row(f"  {WAITS['retry']}, after {failure}", str(number))
    for code, number in counts.reasons.most_common():
        table.add_row(f"  {code}", str(number))
    limit = settings.daily_image_limit
    spent = dollars(float(settings.price_per_image_usd) * pace.bought_today)
    table.add_row("today", f"{counted(pace.bought_today, 'image')}, {spent}, of {limit or 'any number of'} images")
    if pace.is_blocked and (left.calls or pace.paused_since):
        then = "Uploads wait and go on by themselves"
        if pace.probe_at > now and pace.paused_since:
            then += f"; the next call is tried after {datetime.fromtimestamp(pace.probe_at).astimezone():%H:%M:%S}"
        table.add_row("paused" if pace.paused_since else "blocked", f"{pace.block_in_words(now)}. {then}.")
    elif left.calls:
        at = datetime.fromtimestamp(now + left.seconds).astimezone()
        table.add_row("finished", f"{duration(left.seconds)} from now ({at:%Y-%m-%d %H:%M}), at the present pace")
    return Group(table)
