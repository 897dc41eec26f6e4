"""What is wrong with photos that were asked for, told all at once and before anything is uploaded."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from backdrop.errors import PermanentFailure
from backdrop.job import PROMPT_FILE
from backdrop.result_storage import check_result_key
from backdrop_cli.deployment import Deployment
from backdrop_cli.page import counted
from backdrop_cli.photos import Photo

MOST_NAMED = 5


@dataclass(frozen=True)
class Mistake:
    """Why nothing is uploaded, without a full stop; `line` is that of the table, 0 without one."""

    message: str
    line: int = 0


def refuse(mistakes: list[Mistake], table: Path | None) -> None:
    """Raises UsageError with all mistakes of a table, or with the first few of named files; not without any."""
    if not mistakes:
        return
    if table is None:
        messages = list(dict.fromkeys(f"{each.message}." for each in mistakes))
        more = [f"And {len(messages) - MOST_NAMED} more."] * (len(messages) > MOST_NAMED)
        raise click.UsageError(" ".join(messages[:MOST_NAMED] + more))
    lines = [f"  line {each.line}: {each.message}." for each in sorted(mistakes, key=lambda each: each.line)]
    raise click.UsageError("\n".join([f"{table} has {counted(len(lines), 'mistake')}; nothing was uploaded:", *lines]))


def mistakes_in(deployment: Deployment, photos: list[Photo]) -> list[Mistake]:
    """What would make uploads fail for certain, or replace each other."""
    return [*doubled(photos), *_failing(deployment, photos)]


def doubled(photos: list[Photo]) -> Iterator[Mistake]:
    """The photos that would get a key that another has already."""
    first: dict[str, Photo] = {}
    for photo in photos:
        other = first.setdefault(photo.key, photo)
        if other is photo:
            continue
        if photo.line:
            yield Mistake(f"it would become {photo.key!r}, as line {other.line} does; give one a variant", photo.line)
        else:
            yield Mistake(
                f"More than one of the photos would become {photo.key!r}: {other.path}, {photo.path}. Upload them with"
                " different --to"
            )


def _failing(deployment: Deployment, photos: list[Photo]) -> Iterator[Mistake]:
    limit = deployment.settings.daily_image_limit
    for photo in photos:
        try:
            check_result_key(photo.key, photo.images)
            if 0 < limit < photo.images:
                yield Mistake(f"n is {photo.images}; DailyImageLimit allows {limit} in a whole day", photo.line)
            if not _has_prompt(deployment, photo):
                yield Mistake(_no_prompt(photo), photo.line)
        except PermanentFailure as rejected:
            yield Mistake(f"{photo.path}: {rejected.message}", photo.line)


def _has_prompt(deployment: Deployment, photo: Photo) -> bool:
    if photo.has_prompt or deployment.settings.default_prompt:
        return True
    return bool(deployment.prompts.find(deployment.settings.input_bucket, photo.key))


def _no_prompt(photo: Photo) -> str:
    where = "Fill in its cell, say" if photo.line else "Say"
    return f"{photo.path} has no prompt. {where} --prompt, or write one into {photo.path.parent / PROMPT_FILE}"
