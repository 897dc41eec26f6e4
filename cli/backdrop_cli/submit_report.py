"""What `submit` says: before it uploads, and at the end."""

import shlex
from collections import Counter
from pathlib import Path

from backdrop_cli.failures import advice
from backdrop_cli.finding import Found
from backdrop_cli.headers import counted_reasons
from backdrop_cli.mistakes import MOST_NAMED
from backdrop_cli.options import CliContext
from backdrop_cli.page import counted, dollars
from backdrop_cli.photos import Photo
from backdrop_cli.submission import REPLACED, Submitted
from backdrop_cli.uploads import Stage


def say_what_is_there(context: CliContext, submitted: list[Submitted]) -> None:
    """What was submitted before, by how far it is."""
    there = Counter(each.status for each in submitted if not each.is_missing)
    unnoticed = sum(each.is_missing and each.job is not None for each in submitted)
    if unnoticed:
        context.remark(f"In the bucket, but unnoticed: {counted(unnoticed, 'photo')}.")
    if there[Stage.DONE]:
        context.remark(f"Done before: {counted(there[Stage.DONE], 'photo')}. (--again buys them again.)")
    on_their_way = there[Stage.WAITING] + there[Stage.RUNNING]
    if on_their_way:
        context.remark(f"On their way already: {counted(on_their_way, 'photo')}.")
    if there[Stage.FAILED]:
        context.remark(f"Failed before: {counted(there[Stage.FAILED], 'photo')}. `backdrop resume` tries them again.")


def say_what_it_replaces(context: CliContext, submitted: list[Submitted]) -> None:
    """The keys under which something else is in the bucket."""
    keys = [each.photo.key for each in submitted if each.there and each.job is None]
    if keys:
        names = ", ".join(keys[:MOST_NAMED]) + " …" * (len(keys) > MOST_NAMED)
        context.remark(f"In the bucket is something else under {counted(len(keys), 'key')}, to be replaced: {names}")


def ways_to_the_rest(photos: list[Photo], table: Path | None) -> list[str]:
    """What submits just these again, under their keys."""
    if table:
        return [f"the lines {', '.join(str(photo.line) for photo in photos)} of {table}, behind its head"]
    by_place: dict[str, list[str]] = {}
    for photo in photos:
        by_place.setdefault(photo.place, []).append(str(photo.path))
    return [
        shlex.join(["backdrop", "submit", "--again", *(["--to", place] if place else []), "--", *paths])
        for place, paths in by_place.items()
    ]


def report(
    context: CliContext,
    submitted: list[Submitted],
    found: Found,
    out: Path | None,
    waited: bool,
    batch_id: str | None,
) -> int:
    """Say what became of everything; returns the exit code."""
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
        lines.append(f"{len(plans)} of {uploaded} prepared: {counted_reasons(plan.reasons for plan in plans)}.")
    if waited:
        lines.append(f"{counted(len(results), 'result')} {f'in {out}' if out else 'beside the photos'}.")
        lines.append(f"Bought: {dollars(bought)}.")
    elif uploaded:
        lines.append("`backdrop status` shows how far they are; the same command with --wait fetches the results.")
    context.answer(
        {
            "photos": [each.as_dict() for each in submitted],
            "submitted": uploaded,
            "cost_usd": round(bought, 4),
            "prepared": len(plans),
            "batch_id": batch_id,
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
        return f"Failed: {path}: {code}: {reason.get('message', '').rstrip('.')}. {advice(code)}"
    return ""
