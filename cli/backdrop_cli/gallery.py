"""`backdrop gallery`: what became of the uploads, to look at, on one page that needs no network."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import click
from botocore.exceptions import ClientError

from backdrop.aws_errors import status_of
from backdrop.errors import PermanentFailure
from backdrop.job import Job, has_dot_segment
from backdrop.request import read_request
from backdrop.results import MAX_RESULT_BYTES
from backdrop.upload import Record
from backdrop_cli.decisions import decided
from backdrop_cli.deployment import Deployment
from backdrop_cli.options import CliContext, common, examples
from backdrop_cli.page import Image, NoImage, Pair, Totals, before_after, counted, dollars, embedded, side_for
from backdrop_cli.pixels import without_remarks
from backdrop_cli.progress import bar, streamed
from backdrop_cli.uploads import Stage, prefix_of, seen

MOST_BYTES = MAX_RESULT_BYTES  # more than an upload may have, too
_BILLED = {"no": "not billed", "yes": "billed", "unknown": "perhaps billed"}


def prompt_of(
    record: Record | None,
    metadata: Mapping[str, str],
    folder_prompt: Callable[[], str],
    default_prompt: str,
    missing: int = 0,
) -> str | None:
    """The prompt that an upload was sent with, empty when it had none; None when that can't be told any more.

    prompt.txt and DefaultPrompt may say something else since. The ledger keeps a digest of what was sent.
    """
    if record and (record.reason or {}).get("code") == "missing_prompt":
        return ""
    of_the_prompt = {name: value for name, value in metadata.items() if name in ("prompt", "prompt-b64")}
    try:
        prompt = read_request(of_the_prompt, folder_prompt, default_prompt, missing).prompt
    except PermanentFailure:
        return None
    sent = record.prompt_sha256 if record else None
    return prompt if sent in (None, hashlib.sha256(prompt.encode()).hexdigest()) else None


def failure_of(record: Record) -> str:
    """Why an upload failed, and whether it was billed; empty for one that is done."""
    if record.reason is None:
        return ""
    code, message = record.reason.get("code", "unknown"), record.reason.get("message", "")
    return f"{code}: {message} ({_BILLED.get(record.reason.get('billed', ''), 'perhaps billed')})"


class GalleryBuilder:
    """Looks at uploads; `side` is that of the pictures, see `embedded`."""

    def __init__(self, deployment: Deployment, side: int) -> None:
        self._deployment = deployment
        self._side = side

    def pair(self, job: Job, record: Record) -> Pair:
        """An upload that is over, with its pictures."""
        version: dict[str, Any] = {"VersionId": job.version_id} if job.version_id else {"IfMatch": f'"{job.etag}"'}
        found, before = self._picture(job.key, Bucket=job.bucket, **version)
        failure = failure_of(record)
        return Pair(
            before=before,
            after=tuple(
                self._picture(output["key"], result_of=record, Bucket=output["bucket"])[1] for output in record.stored
            ),
            prompt=self._prompt(job, record, found),
            seconds=None if failure else record.updated_at - record.created_at,
            cost_usd=None if record.cost_usd is None else float(record.cost_usd),
            failure=failure,
            verdict=decided(self._deployment, [output["key"] for output in record.stored]) or "",
        )

    def _prompt(self, job: Job, record: Record, found: Any) -> str | None:
        if found is None:
            return None
        return prompt_of(
            record,
            found["Metadata"],
            lambda: self._deployment.prompts.find(job.bucket, job.key),
            self._deployment.settings.default_prompt,
            found.get("MissingMeta", 0),
        )

    def _picture(self, key: str, result_of: Record | None = None, **where: Any) -> tuple[Any, Image | NoImage]:
        """What S3 says about an object, None when it can't be had; and its picture."""
        if has_dot_segment(key):
            return None, NoImage(key, "S3 can't be asked for it by this key.")
        try:
            found = self._deployment.s3.get_object(Key=key, **where)
        except ClientError as error:
            why = _why_not(error)
            if not why:
                raise
            return None, NoImage(key, why)
        with found["Body"] as body:
            if result_of and found["Metadata"].get("job-id") != (result_of.result_of or result_of.id):
                return found, NoImage(key, "Another upload's result is there now.")
            if found["ContentLength"] > MOST_BYTES:
                return found, NoImage(key, f"It is too large to be shown here: {found['ContentLength']} bytes.")
            data = body.read()
        return found, embedded(data, key, self._side)


def _why_not(error: ClientError) -> str:
    """Why this one object can't be had; empty when the others can't either."""
    if status_of(error) in (404, 412):  # 412: replaced since it was listed
        return "It is not there any more."
    return "It is in an archive." if error.response["Error"]["Code"] == "InvalidObjectState" else ""


@contextmanager
def _written(path: Path) -> Iterator[TextIO]:
    """A file that takes its place when it is complete. Raises FileError when it can't be written."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("w", encoding="utf-8") as file:
                yield file
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise click.FileError(str(path), error.strerror) from None


def _look(context: CliContext, prefix: str) -> tuple[list[tuple[Job, Record]], Counter[Stage]]:
    """The uploads that are done or failed, by key, and how many of the others are how far."""
    over: list[tuple[Job, Record]] = []
    others: Counter[Stage] = Counter()
    with bar(context.stderr, "Looking", None) as step:
        for upload in seen(context.deployment, prefix):
            if upload.record and upload.stage in (Stage.DONE, Stage.FAILED):
                over.append((upload.listed.job, upload.record))
            else:
                others[upload.stage] += 1
            step(1)
    return over, others


def _write(context: CliContext, over: list[tuple[Job, Record]], out: Path, title: str, note: str) -> Totals:
    looker = GalleryBuilder(context.deployment, side_for(sum(1 + len(record.stored) for _, record in over)))
    with _written(out) as file, bar(context.stderr, "Fetching", len(over)) as step, without_remarks():

        def pairs() -> Iterator[Pair]:
            for pair in streamed(lambda each: looker.pair(*each), over):
                yield pair
                step(1)

        return before_after(file, title, note, pairs())


@examples(
    "backdrop gallery spring/ --out spring.html",
    "backdrop gallery --stack shop-2",
)
@click.command()
@click.argument("prefix", default="")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default="backdrop-gallery.html",
    show_default=True,
    metavar="FILE",
    help="Where to write the page.",
)
@common
@click.pass_obj
def gallery(context: CliContext, prefix: str, out: Path) -> int:
    """Write a page with before and after, prompt and cost of the uploads under PREFIX, and why others failed.

    It is one file with small copies of the pictures in it, and opens without a network.
    """
    deployment = context.deployment
    prefix = prefix_of(deployment, prefix)
    place = f"s3://{deployment.settings.input_bucket}/{prefix}"
    over, others = _look(context, prefix)
    by_stage = ", ".join(f"{others[stage]} {stage}" for stage in Stage if others[stage])
    if not over:
        why = f"Nothing under {place} is done or failed yet: {by_stage}." if others else f"Nothing is under {place}."
        context.remark(f"{why} No page was written.")
        if context.json:
            context.answer({"page": None, "pairs": 0, "failed": 0, "cost_usd": 0.0})
        return 1
    note = f"{place} on {datetime.fromtimestamp(deployment.clock.now(), UTC):%Y-%m-%d at %H:%M} UTC."
    if others:
        note += f" {counted(others.total(), 'upload')} are not shown: {by_stage}."
    totals = _write(context, over, out, f"Backdrop: {prefix or 'before and after'}", note)
    cost = totals.cost_usd or 0.0
    context.answer(
        {"page": str(out), "pairs": totals.photos, "failed": totals.failed, "cost_usd": round(cost, 4)},
        f"{out}: {counted(totals.photos, 'photo')}, {totals.failed} failed, {dollars(cost)}.",
    )
    return 0
