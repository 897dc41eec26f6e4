"""`backdrop quote` and `backdrop backfill`: what is in the bucket already, and all that is new into RetryQueue."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import click
from rich.table import Table

from backdrop.reconcile import enqueue
from backdrop_cli.deployment import Deployment
from backdrop_cli.forecast import Quote, in_words, offer
from backdrop_cli.options import CliContext, common, examples, spending
from backdrop_cli.page import counted
from backdrop_cli.progress import Step, bar, streamed
from backdrop_cli.uploads import Stage, UploadView, asks_for, prefix_of, seen, still_to_buy

MOST_NAMED = 100


@dataclass(frozen=True)
class QuoteLine:
    """An upload; of a new one, how many images it asks for or why it can't succeed."""

    upload: UploadView
    images: int = 0
    """That are still to be bought."""
    invalid: str = ""

    @property
    def is_begun(self) -> bool:
        """Whether it needs nothing: it is over, or on its way, or can't succeed."""
        return bool(self.invalid) or self.upload.stage not in (Stage.NEW, Stage.STUCK)


def survey(deployment: Deployment, prefix: str) -> Iterator[QuoteLine]:
    """All that is under a prefix of the input bucket. New uploads are looked at just as the functions will."""

    def look(upload: UploadView) -> QuoteLine:
        if upload.stage is Stage.STUCK:
            return QuoteLine(upload, still_to_buy(upload.record))
        if upload.stage is Stage.NEW:
            return QuoteLine(upload, *asks_for(deployment, upload.listed.job))
        return QuoteLine(upload)

    return streamed(look, seen(deployment, prefix))


@dataclass(frozen=True)
class QuoteSummary:
    """What a survey came to, with the cost of all that is new."""

    stages: Counter[str]
    invalid: Counter[str]
    invalid_keys: list[str]
    """The first of them."""
    cost: Quote

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return {str(stage): self.stages[stage] for stage in Stage} | {
            "invalid": self.invalid.total(),
            "invalid_by_reason": dict(self.invalid),
            "invalid_keys": self.invalid_keys,
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
        return table


def count(deployment: Deployment, prefix: str, step: Step) -> QuoteSummary:
    """Look at everything, holding no more than a few pages."""
    stages: Counter[str] = Counter()
    invalid: Counter[str] = Counter()
    invalid_keys: list[str] = []
    calls = images = 0
    for each in survey(deployment, prefix):
        step(1)
        if each.invalid:
            invalid[each.invalid] += 1
            if len(invalid_keys) < MOST_NAMED:
                invalid_keys.append(each.upload.listed.job.key)
            continue
        stages[each.upload.stage] += 1
        images += each.images
        calls += each.images > 0
    return QuoteSummary(stages, invalid, invalid_keys, offer(deployment, calls, images))


_PLACE = click.argument("place", default="", metavar="[s3://BUCKET/PREFIX]")


@examples(
    "backdrop quote",
    "backdrop quote s3://backdrop-input-123456789012/spring/",
)
@click.command()
@_PLACE
@common
@click.pass_obj
def quote(setting: CliContext, place: str) -> None:
    """Say what is new, done and invalid in the bucket, and what the new photos would cost and take."""
    deployment = setting.deployment
    with bar(setting.aside, "Looking", None) as step:
        found = count(deployment, prefix_of(deployment, place), step)
    setting.answer(found.as_dict(), found.table())


@examples(
    "backdrop backfill spring/ --ask-above-usd 1",
    "backdrop backfill --yes",
)
@click.command()
@_PLACE
@spending
@common
@click.pass_obj
def backfill(setting: CliContext, place: str) -> int:
    """Have everything done that is new in the bucket: photos that were there before, or whose events were lost.

    Nothing is copied or written to the bucket. After an interruption the same command goes on.
    """
    deployment = setting.deployment
    prefix = prefix_of(deployment, place)
    with bar(setting.aside, "Looking", None) as step:
        found = count(deployment, prefix, step)
    setting.aside.print(found.table())
    new = found.stages[Stage.NEW] + found.stages[Stage.STUCK]
    if new and not setting.agreed(found.cost):
        setting.remark("Nothing was enqueued.")
        return 2
    owner = f"backfill/{uuid4().hex[:8]}"

    def put(each: QuoteLine) -> int:
        if each.is_begun:
            return 0
        enqueue(each.upload.listed.job, deployment.queues, deployment.ledger, deployment.clock, owner)
        return 1

    enqueued = 0
    with bar(setting.aside, "Enqueuing", new) as step:
        for one in streamed(put, survey(deployment, prefix) if new else ()):
            enqueued += one
            step(one)
    setting.answer({**found.as_dict(), "enqueued": enqueued}, f"{counted(enqueued, 'upload')} put into RetryQueue.")
    return 0
