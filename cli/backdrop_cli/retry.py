"""`backdrop retry`: one more look, now, at uploads that wait, are stuck or were never noticed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

import click

from backdrop.job import Job
from backdrop.upload import Record
from backdrop_cli.deployment import Deployment
from backdrop_cli.forecast import in_words, offer
from backdrop_cli.lookup import uploads_called
from backdrop_cli.options import CliContext, common, examples, spending
from backdrop_cli.page import counted
from backdrop_cli.progress import bar, side_by_side
from backdrop_cli.uploads import NO_PHOTO, Stage, Unnoticed, asks_for, prefix_of, seen, stage_of, unnoticed

LETTER_SECONDS = 14 * 86400.0
"""For so long SQS keeps a dead letter, as the template says."""
_WHY_NOT = {
    Stage.DONE: "it is done",
    Stage.RUNNING: "it is being worked on",
    Stage.FAILED: "it failed: `backdrop resume` tries it again",
}


@dataclass(frozen=True)
class _Named:
    job: Job
    record: Record | None
    stage: Stage

    @property
    def why_not(self) -> str:
        if self.job.is_skipped and self.record is None:
            return f"it is {NO_PHOTO}"
        return "" if self.job.failed_at else _WHY_NOT.get(self.stage, "")


@examples(
    "backdrop retry spring/red.jpg",
    "backdrop retry spring/ --yes",
)
@click.command()
@click.argument("names", nargs=-1, metavar="[KEY|JOB_ID|FOLDER/]...")
@spending
@common
@click.pass_obj
def retry(context: CliContext, names: tuple[str, ...]) -> int:
    """Have uploads looked at now that wait, are stuck or were never noticed; dead letters are `resume`'s.

    Without names, all of them but photos of more than a day ago that were never noticed, which are `backfill`'s. An
    upload goes on from where it stood, so what was paid is not bought again. A failed one whose dead letter is more
    than 14 days old, and so gone, is tried again, too, when it is named.
    """
    deployment = context.deployment
    with bar(context.stderr, "Looking", None) as step:
        named = []
        for each in _named(deployment, names):
            named.append(each)
            step(1)
    wanted = [each for each in named if not each.why_not]
    to_buy = [each for each in wanted if each.stage in (Stage.NEW, Stage.FAILED)]
    images = [asks_for(deployment, each.job)[0] for each in to_buy]
    most = offer(deployment, len(list(filter(None, images))), sum(images))
    if to_buy:
        context.remark(f"Never noticed, or failed long ago: {len(to_buy)}. At most: {in_words(most)}.")
    if not context.agreed(most):
        context.remark("Nothing was sent.")
        return 2
    with bar(context.stderr, "Sending", len(wanted)) as step:
        side_by_side(lambda each: deployment.queues.retry(each.job, 0), wanted, step)
    left = {each.job.key: each.why_not for each in named if each.why_not}
    context.answer(
        {"retried": [each.job.key for each in wanted], "not_retried": left},
        f"{counted(len(wanted), 'upload')} will be looked at now.",
        *(f"Not {key}: {why}." for key, why in left.items()),
    )
    return int(any(each.why_not and each.stage is not Stage.DONE for each in named))


def _named(deployment: Deployment, names: tuple[str, ...]) -> Iterator[_Named]:
    now = deployment.clock.now()
    for name in names or ("",):
        if not name or name.endswith("/"):
            for view in seen(deployment, prefix_of(deployment, name)):
                if view.stage in (Stage.DONE, Stage.FAILED, Stage.RUNNING):
                    continue
                is_old = unnoticed(view.stage, now - view.listed.modified) is Unnoticed.UNTOUCHED
                if name or view.stage is not Stage.NEW or not is_old:
                    yield _one(view.listed.job, view.record, now)
        else:
            newest = uploads_called(deployment, name)[0]
            yield _one(newest.job, newest.record, now)


def _one(job: Job, record: Record | None, now: float) -> _Named:
    stage = stage_of(record, now)
    if stage is Stage.FAILED and record and record.failed_at:
        failed_at = datetime.fromisoformat(record.failed_at).timestamp()
        if now - failed_at > LETTER_SECONDS:
            job = replace(job, failed_at=record.failed_at)
    return _Named(job, record, stage)
