"""What the files of an export are called: as the photos, and no two alike."""

import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from backdrop_cli.follow import below

_BLIND_TO_CASE = ("win32", "darwin")


@dataclass(frozen=True)
class Result:
    """A result in the output bucket, the photo that it was made from, and its number if the photo has several."""

    key: str
    photo: str
    number: str


def names(results: list[Result], extension: str) -> list[str]:
    """What the files are called below the folder: as the photos, with the extension of the form.

    Photos that differ in nothing but their extension keep it, but for the one that has the form's.
    """
    stems = Counter((_without_extension(photo)) for photo in {result.photo for result in results})
    found = []
    for result in results:
        stem = _without_extension(result.photo)
        if stems[stem] > 1 and result.photo != f"{stem}.{extension}":
            stem = result.photo
        found.append(".".join(filter(None, (stem, result.number, extension))))
    return found


def _without_extension(key: str) -> str:
    suffix = PurePosixPath(key.rpartition("/")[2]).suffix
    return key.removesuffix(suffix) if re.fullmatch(r"\.(jpe?g|jfif|png|webp)", suffix, re.IGNORECASE) else key


def paths_of(results: list[Result], out: Path, extension: str) -> dict[Result, Path | str]:
    """Each result's file, or why it can't have one."""
    found: dict[Result, Path | str] = {}
    taken: dict[str, str] = {}
    for result, name in zip(results, names(results, extension), strict=True):
        try:
            path = below(out, name)
        except OSError as error:
            found[result] = str(error)
            continue
        name_there = str(path).casefold() if sys.platform in _BLIND_TO_CASE else str(path)
        other = taken.setdefault(name_there, result.key)
        found[result] = path if other == result.key else f"{path} is what {other} becomes"
    return found
