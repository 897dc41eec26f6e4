"""`backdrop quote` and `backdrop backfill`: what is in the bucket already, and all that is new into RetryQueue."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import click
from rich.table import Table

from backdrop.errors import PermanentFailure
from backdrop.job import Job
from backdrop.reconcile import enqueue
from backdrop_cli.deployment import Deployment
from backdrop_cli.forecast import Quote, in_words, offer
from backdrop_cli.headers import START_BYTES, counted_reasons, reasons_in
from backdrop_cli.options import CliContext, common, examples, spending
from backdrop_cli.page import counted
from backdrop_cli.progress import Step, bar, streamed
from backdrop_cli.uploads import Stage, UploadView, asks_for, prefix_of, seen, still_to_buy

MOST_NAMED = 100
_BY_ITS_BYTES = ("unsupported_media_type", "too_large")


@dataclass(frozen=True)
class QuoteLine:
    """An upload; of a new one, how many images it asks for or why it can't succeed."""

    upload: UploadView
    images: int = 0
    """That are still to be bought."""
    invalid: str = ""
    to_prepare: tuple[str, ...] = ()
    """What `submit` would have done to it, as far as its first bytes tell."""

    @property
    def is_begun(self) -> bool:
        """Whether it needs nothing: it is over, or on its way, or can't succeed."""
        return bool(self.invalid) or self.upload.stage not in (Stage.NEW, Stage.STUCK)


def survey(deployment: Deployment, prefix: str, reads: bool = False) -> Iterator[QuoteLine]:
    """All that is under a prefix of the input bucket. New uploads are looked at just as the functions will.

    With `reads`, their first bytes are read as well, for what `submit` would have prepared.
    """

    def look(upload: UploadView) -> QuoteLine:
        if upload.stage is Stage.STUCK:
            return QuoteLine(upload, still_to_buy(upload.record))
        if upload.stage is not Stage.NEW:
            return QuoteLine(upload)
        images, invalid = asks_for(deployment, upload.listed.job)
        to_prepare = (
            _to_prepare(deployment, upload.listed.job) if reads and (images or invalid in _BY_ITS_BYTES) else ()
        )
        return QuoteLine(upload, images, invalid, to_prepare)

    return streamed(look, seen(deployment, prefix))


def _to_prepare(deployment: Deployment, job: Job) -> tuple[str, ...]:
    try:
        start = deployment.storage.read_start(job.bucket, job.key, START_BYTES)
    except PermanentFailure:
        return ()
    return reasons_in(start, job.size or 0) if start else ()


@dataclass(frozen=True)
class QuoteSummary:
    """What a survey came to, with the cost of all that is new."""

    stages: Counter[str]
    invalid: Counter[str]
    invalid_keys: list[str]
    """The first of them."""
    to_prepare: list[tuple[str, ...]]
    """Of each photo that would profit from `submit`'s preparing: what would be done."""
    cost: Quote

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return {str(stage): self.stages[stage] for stage in Stage} | {
            "invalid": self.invalid.total(),
            "invalid_by_reason": dict(self.invalid),
            "invalid_keys": self.invalid_keys,
            "to_prepare": len(self.to_prepare),
            "to_prepare_by_reason": dict(Counter(reason for reasons in self.to_prepare for reason in reasons)),
            "images": self.cost.images,
            "cost_usd": float(self.cost.usd),
            "seconds": None if self.cost.blocked else round(self.cost.seconds, 1),
        }

    def table(self) -> Table:
        """For people."""
        table = Table.grid(padding=(0, 2))
        for stage in Stage:
            if self.stages[stage] or stage is Stage.NEW:
                cost = in_words(self.cost) if stage is Stage.NEW else ""
                table.add_row(str(stage), str(self.stages[stage]), cost)
        if self.invalid:
            reasons = ", ".join(f"{code} {number}" for code, number in self.invalid.most_common())
            table.add_row("invalid", str(self.invalid.total()), reasons)
        if self.to_prepare:
            why = f"{counted_reasons(self.to_prepare)}; `backdrop submit` prepares such photos before it uploads them"
            table.add_row("unprepared", str(len(self.to_prepare)), why)
        return table


def count(deployment: Deployment, prefix: str, step: Step) -> QuoteSummary:
    """Look at everything, holding no more than a few pages."""
    stages: Counter[str] = Counter()
    invalid: Counter[str] = Counter()
    invalid_keys: list[str] = []
    to_prepare: list[tuple[str, ...]] = []
    calls = images = 0
    for each in survey(deployment, prefix, reads=True):
        step(1)
        if each.to_prepare:
            to_prepare.append(each.to_prepare)
        if each.invalid:
            invalid[each.invalid] += 1
            if len(invalid_keys) < MOST_NAMED:
                invalid_keys.append(each.upload.listed.job.key)
            continue
        stages[each.upload.stage] += 1
        images += each.images
        calls += each.images > 0
    return QuoteSummary(stages, invalid, invalid_keys, to_prepare, offer(deployment, calls, images))


_PLACE = click.argument("place", default="", metavar="[s3://BUCKET/PREFIX]")


@examples(
    "backdrop quote",
    "backdrop quote s3://my-photos/spring/",
)
@click.command()
@_PLACE
@common
@click.pass_obj
def quote(context: CliContext, place: str) -> None:
    """Say what is new, done and invalid in the bucket, and what the new photos would cost and take."""
    deployment = context.deployment
    with bar(context.stderr, "Looking", None) as step:
        found = count(deployment, prefix_of(deployment, place), step)
    context.answer(found.as_dict(), found.table())


@examples(
    "backdrop backfill spring/ --ask-above-usd 1",
    "backdrop backfill --yes",
)
@click.command()
@_PLACE
@spending
@common
@click.pass_obj
def backfill(context: CliContext, place: str) -> int:
    """Have everything done that is new in the bucket: photos that were there before, or whose events were lost.

    Nothing is copied or written to the bucket. After an interruption the same command goes on.
    """
    deployment = context.deployment
    prefix = prefix_of(deployment, place)
    with bar(context.stderr, "Looking", None) as step:
        found = count(deployment, prefix, step)
    context.stderr.print(found.table())
    new = found.stages[Stage.NEW] + found.stages[Stage.STUCK]
    if new and not context.agreed(found.cost):
        context.remark("Nothing was enqueued.")
        return 2
    owner = f"backfill/{uuid4().hex[:8]}"

    def put(each: QuoteLine) -> int:
        if each.is_begun:
            return 0
        enqueue(each.upload.listed.job, deployment.queues, deployment.ledger, deployment.clock, owner)
        return 1

    enqueued = 0
    with bar(context.stderr, "Enqueuing", new) as step:
        for one in streamed(put, survey(deployment, prefix) if new else ()):
            enqueued += one
            step(one)
    context.answer({**found.as_dict(), "enqueued": enqueued}, f"{counted(enqueued, 'upload')} put into RetryQueue.")
    return 0
