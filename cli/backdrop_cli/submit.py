"""`backdrop submit`: photos up, with a quote before; with --wait, results down."""

import io
import shlex
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
from botocore.exceptions import ClientError, HTTPClientError

from backdrop.aws_errors import status_of
from backdrop.errors import PermanentFailure
from backdrop.job import PROMPT_FILE, Job, known_version
from backdrop.reconcile import enqueue
from backdrop.request import MAX_IMAGES
from backdrop.s3_objects import identity
from backdrop.states import State
from backdrop.upload import Record
from backdrop_cli.deployment import THREADS, Deployment
from backdrop_cli.failures import ADVICE
from backdrop_cli.follow import below, fetch, follow
from backdrop_cli.forecast import PaceNow, in_words, offer
from backdrop_cli.options import CliContext, common, spending
from backdrop_cli.page import counted, dollars
from backdrop_cli.photos import Found, Photo, digests, find, with_plans
from backdrop_cli.preparing import MAX_SIDE, Unreadable, counted_reasons, prepared
from backdrop_cli.progress import bar, side_by_side
from backdrop_cli.uploads import Stage, records_of, stage_of, still_to_buy

ON_ITS_WAY_SECONDS = 300.0  # an upload that the ledger doesn't know is on its ordinary way for so long
REPLACED = "replaced"
_AGAIN = {404, 409, 412, 500, 502, 503, 504}  # 404: what was to be replaced is gone
MOST_TRIES = 5
MOST_NAMED = 5


@dataclass(frozen=True)
class Submitted:
    """A photo with its upload; `job` is None while it is not there, `record` while the ledger doesn't know it."""

    photo: Photo
    job: Job | None = None
    record: Record | None = None
    seen_at: float = 0.0
    """When this was so, in epoch seconds."""
    modified: float = 0.0
    """When it was uploaded, in epoch seconds; 0 for just now."""
    there: Job | None = None
    """What is in the bucket under its key, whether it is this photo's upload or another."""
    is_gone: bool = False
    """Whether it was replaced or deleted before anybody looked at it."""
    is_new: bool = False
    """Whether it was uploaded, or enqueued, by this very command."""
    results: tuple[Path, ...] = ()
    trouble: str = ""
    """Why a result could not be written to this machine."""
    unreadable: str = ""
    """Why it could not be prepared, and was left out."""

    @property
    def is_missing(self) -> bool:
        """Whether nothing will become of it by itself: it isn't there, or nobody knows that it is."""
        if self.job is None:
            return True
        if self.record is None:
            return self.seen_at - self.modified > ON_ITS_WAY_SECONDS
        return stage_of(self.record, self.seen_at) in (Stage.NEW, Stage.STUCK)

    @property
    def status(self) -> str:
        """In a user's words."""
        if self.job is None:
            return "not uploaded"
        if self.is_gone:
            return REPLACED
        if self.record is None:
            return "uploaded" if self.is_new else Stage.WAITING
        return REPLACED if self.record.state is State.SUPERSEDED else stage_of(self.record, self.seen_at)

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        record = self.record
        return {
            "path": str(self.photo.path),
            "key": self.photo.key,
            "job_id": self.job.id if self.job else None,
            "submitted": self.is_new,
            "prepared": list(self.photo.plan.reasons) if self.photo.plan else [],
            "status": self.status,
            "trouble": self.trouble or self.unreadable or None,
            "results": [str(path) for path in self.results],
            "outputs": list(record.stored) if record else [],
            "cost_usd": float(record.cost_usd or 0) if record else 0.0,
            "reason": record.reason if record else None,
        }


@click.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--prompt", "-p", metavar="TEXT", help="The background. Without it: the prompt.txt nearest to a photo.")
@click.option("--n", type=click.IntRange(1, MAX_IMAGES), help=f"Images of each photo, 1 to {MAX_IMAGES}.")
@click.option("--size", metavar="WxH", help="Of the results, in pixels, as in 1024x1024.")
@click.option("--to", default="", metavar="PREFIX", help="Put into the keys before the photos' names, as in spring/.")
@click.option(
    "--max-side",
    type=click.IntRange(64, 65_000),
    default=MAX_SIDE,
    show_default=True,
    metavar="PIXELS",
    help="Make photos smaller whose longer side is above this.",
)
@click.option(
    "--prepare/--no-prepare",
    "prepares",
    default=True,
    help="Whether to turn photos upright, and to convert HEIC, TIFF, BMP, GIF, AVIF, CMYK and 16 bit, and what is too"
    " large, to sRGB JPEG (PNG with transparency).  [default: prepare]",
)
@click.option("--again", is_flag=True, help="Upload, and buy, also what was submitted before just like this.")
@click.option("--wait", is_flag=True, help="Wait for the end and download the results, next to the photos.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER", help="Download to this folder instead."
)
@spending
@common
@click.pass_obj
def submit(
    setting: CliContext,
    photos: tuple[Path, ...],
    prompt: str | None,
    n: int | None,
    size: str | None,
    to: str,
    max_side: int,
    prepares: bool,
    again: bool,
    wait: bool,
    out: Path | None,
) -> int:
    """Upload PHOTOS, files or whole folders, for a new background.

    A folder keeps its tree. What was submitted before with the same prompt is not uploaded, and not bought, again;
    so after an interruption the same command goes on.
    """
    deployment = setting.deployment
    options = ({"n": str(n)} if n and n > 1 else {}) | ({"size": size} if size else {})
    if again:
        options["again"] = uuid4().hex[:16]  # without it, the result that is there would do
    found = find(photos, to, prompt, options, out, prepares)
    if prepares:
        with bar(setting.aside, "Reading", len(found.photos)) as step, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd photos would get into the bar
            found = with_plans(found, max_side, step)
    for why, paths in found.left_alone.items():
        names = ", ".join(map(str, paths[:MOST_NAMED])) + " …" * (len(paths) > MOST_NAMED)
        setting.remark(f"Left alone: {counted(len(paths), 'file')}, {why}: {names}")
    if not found.photos and not found.unreadable:
        raise click.UsageError("There is no photo among these.")
    if 0 < deployment.settings.daily_image_limit < (n or 1):
        raise click.UsageError(f"--n is {n}; DailyImageLimit allows fewer in a whole day.")
    _check_prompts(deployment, found.photos)

    with bar(setting.aside, "Looking", len(found.photos)) as step:
        submitted = side_by_side(lambda photo: _looked(deployment, photo), found.photos, step)
    _say_what_it_replaces(setting, submitted)
    if again:
        submitted = [Submitted(each.photo, there=each.there) for each in submitted]
    submitted = _with_records(deployment, submitted)
    missing = [each for each in submitted if each.is_missing]
    _say_what_is_there(setting, submitted)

    if missing:
        unpaid = [each for each in missing if still_to_buy(each.record)]
        cost = offer(deployment, len(unpaid), sum(each.photo.images for each in unpaid))
        setting.remark(f"To buy: {in_words(cost)}.")
        if not setting.agreed(cost):
            setting.remark("Nothing was uploaded.")
            return 2
    begun: dict[str, Submitted] = {}
    try:
        _send(setting, deployment, missing, begun)
    except BaseException:
        if again:
            setting.remark(f"{len(begun)} of {len(missing)} were submitted again.")
            for command in _commands_for([each.photo for each in missing if each.photo.key not in begun]):
                setting.remark(f"For the rest, with your other options: {command}")
        raise
    submitted = [begun.get(each.photo.key, each) for each in submitted]
    if wait:
        submitted = _waited(setting, deployment, submitted, out)
    return _report(setting, submitted, found, out if wait else None, wait)


def _commands_for(photos: list[Photo]) -> list[str]:
    """What submits just these again, under their keys."""
    by_place: dict[str, list[str]] = {}
    for photo in photos:
        by_place.setdefault(photo.place, []).append(str(photo.path))
    return [
        shlex.join(["backdrop", "submit", "--again", *(["--to", place] if place else []), "--", *paths])
        for place, paths in by_place.items()
    ]


def _check_prompts(deployment: Deployment, photos: list[Photo]) -> None:
    """Raises UsageError when a photo would fail for the lack of a prompt."""
    if deployment.settings.default_prompt:
        return
    for photo in photos:
        try:
            has_one = photo.has_prompt or deployment.prompts.find(deployment.settings.input_bucket, photo.key)
        except PermanentFailure as rejected:
            raise click.UsageError(f"In the bucket, {rejected.message}.") from None
        if not has_one:
            raise click.UsageError(
                f"{photo.path} has no prompt. Say --prompt, or write one into {photo.path.parent / PROMPT_FILE}."
            )


def _looked(deployment: Deployment, photo: Photo) -> Submitted:
    """The photo, with its upload if the very same was uploaded before."""
    s3, bucket = deployment.s3, deployment.settings.input_bucket
    try:
        found = s3.head_object(Bucket=bucket, Key=photo.key, ChecksumMode="ENABLED")
    except ClientError as error:
        if status_of(error) != 404:
            raise
        return Submitted(photo)
    version_id, etag, modified = identity(found)
    there = Job(bucket, photo.key, version_id, etag, found["ContentLength"], modified)
    other = Submitted(photo, there=there)
    if _asked(found["Metadata"]) != _asked(photo.metadata):
        return other
    if photo.plan is None:  # otherwise the metadata names the file that it was made from
        if found["ContentLength"] != photo.path.stat().st_size:
            return other
        sha256, md5 = photo.digests()
        if found.get("ChecksumSHA256") != sha256 and etag != md5:
            return other
    return replace(other, job=there, modified=found["LastModified"].timestamp())


def _asked(metadata: dict[str, str]) -> dict[str, str]:
    """What metadata asks for, whichever time it does."""
    return {name: value for name, value in metadata.items() if name != "again"}


def _begun(deployment: Deployment, submitted: Submitted) -> Submitted:
    """Upload what is not there, and have looked at what is there unnoticed."""
    if submitted.job is None:
        try:
            job = upload(deployment, submitted.photo, submitted.there)
        except Unreadable as error:
            return replace(submitted, unreadable=str(error))
        return replace(submitted, job=job, is_new=True)
    owner = f"submit/{uuid4().hex[:8]}"
    enqueue(submitted.job, deployment.queues, deployment.ledger, deployment.clock, owner)
    return replace(submitted, record=None, is_new=True)


def upload(deployment: Deployment, photo: Photo, replaces: Job | None = None) -> Job:
    """Put a photo into the input bucket, prepared if it needs that, in place of what is known to be there.

    A put whose answer gets lost is not sent again unseen: each would be an upload of its own, and bought. Raises
    Unreadable for a photo that can't be prepared.
    """
    data = prepared(photo.path, photo.plan) if photo.plan else None
    there, tries = replaces, 0
    while True:
        try:
            return _put(deployment, photo, data, there)
        except (ClientError, HTTPClientError) as error:
            tries += 1
            if tries == MOST_TRIES or (isinstance(error, ClientError) and status_of(error) not in _AGAIN):
                raise
        time.sleep(tries - 1.0)
        found = _looked(deployment, photo)
        if found.job and (replaces is None or found.job.id != replaces.id):
            return found.job
        there = found.there


def _put(deployment: Deployment, photo: Photo, data: bytes | None, replaces: Job | None) -> Job:
    bucket = deployment.settings.input_bucket
    condition: dict[str, Any] = {"IfMatch": f'"{replaces.etag}"'} if replaces else {"IfNoneMatch": "*"}
    with photo.path.open("rb") if data is None else io.BytesIO(data) as body:
        answer = deployment.s3_once.put_object(
            Bucket=bucket,
            Key=photo.key,
            Body=body,
            Metadata=photo.metadata,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=digests(body)[0],  # by which a bucket with a KMS key, too, tells what it has
            **condition,
        )
    version_id = known_version(answer.get("VersionId"))
    return deployment.storage.resolve(Job(bucket, photo.key, version_id, answer["ETag"].strip('"')))


def _send(setting: CliContext, deployment: Deployment, missing: list[Submitted], begun: dict[str, Submitted]) -> None:
    """Begin what is missing; `begun` has by key what is, also after an interruption."""

    def begin(each: Submitted) -> None:
        begun[each.photo.key] = _begun(deployment, each)

    if missing:
        with bar(setting.aside, "Uploading", len(missing)) as step, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as above
            side_by_side(begin, missing, step)


def _with_records(deployment: Deployment, submitted: list[Submitted]) -> list[Submitted]:
    known = records_of(deployment, [each.job.id for each in submitted if each.job])
    now = deployment.clock.now()
    return [replace(each, record=known.get(each.job.id) if each.job else None, seen_at=now) for each in submitted]


def _say_what_is_there(setting: CliContext, submitted: list[Submitted]) -> None:
    there = Counter(each.status for each in submitted if not each.is_missing)
    unnoticed = sum(each.is_missing and each.job is not None for each in submitted)
    if unnoticed:
        setting.remark(f"In the bucket, but unnoticed: {counted(unnoticed, 'photo')}.")
    if there[Stage.DONE]:
        setting.remark(f"Done before: {counted(there[Stage.DONE], 'photo')}. (--again buys them again.)")
    on_their_way = there[Stage.WAITING] + there[Stage.RUNNING]
    if on_their_way:
        setting.remark(f"On their way already: {counted(on_their_way, 'photo')}.")
    if there[Stage.FAILED]:
        setting.remark(f"Failed before: {counted(there[Stage.FAILED], 'photo')}. `backdrop resume` tries them again.")


def _say_what_it_replaces(setting: CliContext, submitted: list[Submitted]) -> None:
    keys = [each.photo.key for each in submitted if each.there and each.job is None]
    if keys:
        names = ", ".join(keys[:MOST_NAMED]) + " …" * (len(keys) > MOST_NAMED)
        setting.remark(f"In the bucket is something else under {counted(len(keys), 'key')}, to be replaced: {names}")


def _waited(
    setting: CliContext, deployment: Deployment, submitted: list[Submitted], out: Path | None
) -> list[Submitted]:
    """Everything to its end, with the results downloaded as they come."""
    by_id = {each.job.id: each for each in submitted if each.job}
    with bar(setting.aside, "Waiting", len(by_id)) as step, ThreadPoolExecutor(THREADS) as pool:

        def fetched(record: Record) -> None:
            each = replace(by_id[record.id], record=record)
            try:
                beside = below(out, each.photo.key) if out else each.photo.path
                by_id[record.id] = replace(each, results=tuple(fetch(deployment, record, beside)))
            except OSError as error:  # the others' results can still be had
                by_id[record.id] = replace(each, trouble=str(error))
            step(1)

        def tell(ended: list[Record], pace: PaceNow) -> None:
            list(pool.map(fetched, ended))
            if pace.is_blocked:
                since = pace.since_in_words(deployment.clock.now())  # not for how long: that would be new each second
                step(0, f"Waiting: calls fail since {since}: {pace.refusal_in_words}")
            elif 0 < deployment.settings.daily_image_limit <= pace.bought_today:
                step(0, "Until tomorrow (DailyImageLimit)")
            else:
                step(0, "Waiting")

        for job_id in follow(deployment, [each.job for each in submitted if each.job], tell):
            by_id[job_id] = replace(by_id[job_id], is_gone=True)
    return [by_id.get(each.job.id, each) if each.job else each for each in submitted]


def _report(setting: CliContext, submitted: list[Submitted], found: Found, out: Path | None, waited: bool) -> int:
    uploaded = sum(each.is_new for each in submitted)
    bought = sum(float(each.record.cost_usd or 0) for each in submitted if each.is_new and each.record)
    results = [path for each in submitted for path in each.results]
    left_out = found.unreadable | {each.photo.path: each.unreadable for each in submitted if each.unreadable}
    wrong = [f"Left out: {path}: {why}." for path, why in left_out.items()]
    wrong += filter(None, map(_trouble, submitted))
    plans = [each.photo.plan for each in submitted if each.is_new and each.photo.plan]
    were_there = sum(each.job is not None and not each.is_new for each in submitted)
    lines = [f"{counted(uploaded, 'photo')} submitted, {were_there} were there."]
    if plans:
        lines.append(f"{len(plans)} of {uploaded} prepared: {counted_reasons(plans)}.")
    if waited:
        lines.append(f"{counted(len(results), 'result')} {f'in {out}' if out else 'beside the photos'}.")
        lines.append(f"Bought: {dollars(bought)}.")
    elif uploaded:
        lines.append("`backdrop status` shows how far they are; the same command with --wait fetches the results.")
    setting.answer(
        {
            "photos": [each.as_dict() for each in submitted],
            "submitted": uploaded,
            "cost_usd": round(bought, 4),
            "prepared": len(plans),
            "left_out": {str(path): why for path, why in left_out.items()},
            "left_alone": {why: list(map(str, paths)) for why, paths in found.left_alone.items()},
        },
        *lines,
        *wrong,
    )
    return 1 if wrong else 0


def _trouble(submitted: Submitted) -> str:
    """What went wrong with a photo, and what to do; empty when nothing did."""
    record, path = submitted.record, submitted.photo.path
    if submitted.trouble:
        return f"Not fetched: {path}: {submitted.trouble}. The same command tries again."
    if submitted.status == REPLACED:
        return f"Replaced: {path}: somebody has uploaded or deleted {submitted.photo.key} since."
    if record and submitted.status == Stage.FAILED:
        reason = record.reason or {}
        code = reason.get("code", "")
        return f"Failed: {path}: {code}: {reason.get('message', '').rstrip('.')}. {ADVICE.get(code, '')}"
    return ""
