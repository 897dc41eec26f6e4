"""`backdrop submit`: photos up, with a quote before; with --wait, results down."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from botocore.exceptions import ClientError

from backdrop.job import PROMPT_FILE, Job
from backdrop.ledger import Record, State
from backdrop.prompts import FolderPrompts
from backdrop.storage import identity
from tools.cli.deployment import THREADS, Deployment
from tools.cli.failures import ADVICE
from tools.cli.follow import fetch, follow
from tools.cli.forecast import PaceNow, in_words, offer
from tools.cli.options import Setting, common, spending
from tools.cli.photos import Photo, find
from tools.cli.progress import bar, side_by_side
from tools.cli.uploads import Stage, records_of, stage_of
from tools.page import counted, dollars


@dataclass(frozen=True)
class Submitted:
    """A photo with its upload; `job` is None while it is not there, `record` while the ledger doesn't know it."""

    photo: Photo
    job: Job | None = None
    record: Record | None = None
    is_new: bool = False
    """Whether it was uploaded by this very command."""
    results: tuple[Path, ...] = ()

    @property
    def status(self) -> str:
        """In a user's words."""
        if self.job is None:
            return "not uploaded"
        if self.record is None:
            return "uploaded" if self.is_new else Stage.WAITING
        return Stage.WAITING if self.record.state is State.SUPERSEDED else stage_of(self.record, 0.0)

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        record = self.record
        return {
            "path": str(self.photo.path),
            "key": self.photo.key,
            "job_id": self.job.id if self.job else None,
            "uploaded": self.is_new,
            "status": self.status,
            "results": [str(path) for path in self.results],
            "outputs": list(record.stored) if record else [],
            "cost_usd": float(record.cost_usd or 0) if record else 0.0,
            "reason": record.reason if record else None,
        }


@click.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--prompt", "-p", metavar="TEXT", help="The background. Without it: the prompt.txt nearest to a photo.")
@click.option("--n", type=click.IntRange(1, 8), help="Images of each photo, 1 to 8.")
@click.option("--size", metavar="WxH", help="Of the results, in pixels, as in 1024x1024.")
@click.option("--to", default="", metavar="PREFIX", help="Put into the keys before the photos' names, as in spring/.")
@click.option("--again", is_flag=True, help="Upload, and buy, also what was submitted before just like this.")
@click.option("--wait", is_flag=True, help="Wait for the end and download the results, next to the photos.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER", help="Download to this folder instead."
)
@spending
@common
@click.pass_obj
def submit(
    setting: Setting,
    photos: tuple[Path, ...],
    prompt: str | None,
    n: int | None,
    size: str | None,
    to: str,
    again: bool,
    wait: bool,
    out: Path | None,
) -> int:
    """Upload PHOTOS, files or whole folders, for a new background.

    A folder keeps its tree. What was submitted before with the same prompt is not uploaded, and not bought, again;
    so after an interruption the same command goes on.
    """
    deployment = setting.deployment
    options = ({"n": str(n)} if n else {}) | ({"size": size} if size else {})
    found = find(photos, to, prompt, options)
    for why, number in found.left_alone.items():
        setting.remark(f"Left alone: {counted(number, 'file')}, {why}.")
    if not found.photos:
        raise click.UsageError("There is no photo among these.")
    _check_prompts(deployment, found.photos)

    with bar(setting.aside, "Looking", len(found.photos)) as step:
        look = (lambda photo: Submitted(photo)) if again else (lambda photo: _looked(deployment, photo))
        submitted = side_by_side(look, found.photos, step)
    submitted = _with_records(deployment, submitted)
    missing = [each for each in submitted if each.job is None]
    _say_what_is_there(setting, submitted)

    if missing:
        cost = offer(deployment, len(missing), sum(each.photo.images for each in missing))
        setting.remark(f"To buy: {in_words(cost)} at the present pace.")
        if not setting.agreed(cost):
            setting.remark("Nothing was uploaded.")
            return 2
        with bar(setting.aside, "Uploading", len(missing)) as step:
            uploaded = side_by_side(
                lambda each: replace(each, job=upload(deployment, each.photo), is_new=True), missing, step
            )
        by_key = {each.photo.key: each for each in uploaded}
        submitted = [by_key.get(each.photo.key, each) for each in submitted]
    if wait:
        submitted = _waited(setting, deployment, submitted, out)
    return _report(setting, submitted, wait, out)


def _check_prompts(deployment: Deployment, photos: list[Photo]) -> None:
    """Raises UsageError when a photo would fail for the lack of a prompt."""
    if deployment.settings.default_prompt:
        return
    prompts = FolderPrompts(deployment.storage, deployment.clock)
    for photo in photos:
        if not photo.has_prompt and not prompts.find(deployment.settings.input_bucket, photo.key):
            raise click.UsageError(
                f"{photo.path} has no prompt. Say --prompt, or write one into {photo.path.parent / PROMPT_FILE}."
            )


def _looked(deployment: Deployment, photo: Photo) -> Submitted:
    """The photo, with its upload if the very same was uploaded before."""
    s3, bucket = deployment.s3, deployment.settings.input_bucket
    try:
        there = s3.head_object(Bucket=bucket, Key=photo.key, ChecksumMode="ENABLED")
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        return Submitted(photo)
    if there["Metadata"] != photo.metadata or there["ContentLength"] != photo.path.stat().st_size:
        return Submitted(photo)
    sha256, md5 = photo.digests()
    if there.get("ChecksumSHA256") != sha256 and there["ETag"].strip('"') != md5:
        return Submitted(photo)
    version_id, etag, modified = identity(there)
    return Submitted(photo, Job(bucket, photo.key, version_id, etag, there["ContentLength"], modified))


def upload(deployment: Deployment, photo: Photo) -> Job:
    """Put a photo into the input bucket."""
    bucket = deployment.settings.input_bucket
    with photo.path.open("rb") as body:
        answer = deployment.s3.put_object(
            Bucket=bucket,
            Key=photo.key,
            Body=body,
            Metadata=photo.metadata,
            ChecksumSHA256=photo.digests()[0],  # by which a bucket with a KMS key, too, tells what it has
        )
    return deployment.storage.resolve(Job(bucket, photo.key, answer.get("VersionId"), answer["ETag"].strip('"')))


def _with_records(deployment: Deployment, submitted: list[Submitted]) -> list[Submitted]:
    known = records_of(deployment, [each.job.id for each in submitted if each.job])
    return [replace(each, record=known.get(each.job.id) if each.job else None) for each in submitted]


def _say_what_is_there(setting: Setting, submitted: list[Submitted]) -> None:
    there = Counter(each.status for each in submitted if each.job)
    if there[Stage.DONE]:
        setting.remark(f"Done before: {counted(there[Stage.DONE], 'photo')}. (--again buys them again.)")
    on_their_way = there[Stage.WAITING] + there[Stage.RUNNING]
    if on_their_way:
        setting.remark(f"On their way already: {counted(on_their_way, 'photo')}.")
    if there[Stage.FAILED]:
        setting.remark(f"Failed before: {counted(there[Stage.FAILED], 'photo')}. `backdrop resume` tries them again.")


def _waited(setting: Setting, deployment: Deployment, submitted: list[Submitted], out: Path | None) -> list[Submitted]:
    """Everything to its end, with the results downloaded as they come."""
    by_id = {each.job.id: each for each in submitted if each.job}
    with bar(setting.aside, "Waiting", len(by_id)) as step, ThreadPoolExecutor(THREADS) as pool:

        def fetched(record: Record) -> None:
            each = by_id[record.id]
            beside = out / each.photo.key if out else each.photo.path
            by_id[record.id] = replace(each, record=record, results=tuple(fetch(deployment, record, beside)))
            step(1)

        def tell(ended: list[Record], pace: PaceNow) -> None:
            list(pool.map(fetched, ended))
            if pace.paused_since:
                step(0, f"Paused ({pace.pause_in_words})")
            elif 0 < deployment.settings.daily_image_limit <= pace.bought_today:
                step(0, "Until tomorrow (DailyImageLimit)")
            else:
                step(0, "Waiting")

        follow(deployment, by_id, tell)
    return [by_id.get(each.job.id, each) if each.job else each for each in submitted]


def _report(setting: Setting, submitted: list[Submitted], waited: bool, out: Path | None) -> int:
    failed = [each for each in submitted if each.status == Stage.FAILED]
    spent = sum(float(each.record.cost_usd or 0) for each in submitted if each.record)
    uploaded = sum(each.is_new for each in submitted)
    results = [path for each in submitted for path in each.results]
    lines = [f"{counted(uploaded, 'photo')} uploaded, {len(submitted) - uploaded} were there."]
    if waited:
        lines.append(
            f"{counted(len(results), 'result')} {f'in {out}' if out else 'beside the photos'}, {dollars(spent)}."
        )
    elif uploaded:
        lines.append("`backdrop status` shows how far they are; the same command with --wait fetches the results.")
    for each in failed:
        reason = (each.record.reason if each.record else None) or {}
        code = reason.get("code", "")
        lines.append(f"Failed: {each.photo.path}: {code}: {reason.get('message', '')}. {ADVICE.get(code, '')}")
    setting.answer(
        {"photos": [each.as_dict() for each in submitted], "uploaded": uploaded, "cost_usd": round(spent, 4)}, *lines
    )
    return 1 if failed else 0
