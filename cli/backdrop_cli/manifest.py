"""A table of photos, a row for each result that is wanted: `submit --manifest`."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from unicodedata import category, normalize

import click

from backdrop.request import clean_prompt
from backdrop_cli.finding import BROKEN, Found, is_broken, why_not
from backdrop_cli.mistakes import Mistake
from backdrop_cli.photos import Photo, checked, photo_of
from backdrop_cli.preparing import renamed
from backdrop_cli.progress import Step, no_step
from backdrop_cli.prompt_templates import BadTemplate, filled, names_of
from backdrop_cli.tables import Row, table_rows

FILE, PROMPT, VARIANT = "file", "prompt", "variant"
OPTIONS = ("n", "size", "tag")
"""Columns that are an upload's metadata, by the same names."""
_NO_VARIANT = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')


def read_manifest(
    table: Path,
    to: str,
    prompt: str | None,
    options: Mapping[str, str],
    prepares: bool = False,
    step: Step = no_step,
) -> Found:
    """The photos of a table's rows, and in `mistakes` everything that is wrong with the others.

    `prompt` and `options` hold where a row has none of its own. A photo that is broken is left out, as in a folder.
    """
    found, prompt = Found(), checked(to, prompt)

    def wrong(line: int, message: str) -> None:
        found.mistakes.append(Mistake(message, line))

    for row in table_rows(table, FILE, wrong):
        step(1)
        try:
            photo = _photo(row, table.parent, to, prompt, options)
            why = why_not(photo.path, prepares)
            if is_broken(photo.path, why):
                found.unreadable[photo.path] = BROKEN
            elif why:
                raise _Refused(f"{row.cells[FILE]}: {why}")
            else:
                found.photos.append(photo)
        except (_Refused, BadTemplate) as error:
            wrong(row.line, str(error))
        except click.UsageError as error:
            wrong(row.line, error.message.rstrip("."))
    return found


class _Refused(Exception):
    """A row that nothing can be made of; the message says why."""


def _photo(row: Row, base: Path, to: str, prompt: str | None, options: Mapping[str, str]) -> Photo:
    path, name = _file(row.cells[FILE], base)
    variant = row.cells.get(VARIANT, "")
    if _NO_VARIANT.search(variant):
        raise _Refused(f"the variant is {variant!r}; it becomes part of a file's name, so it can't have any of that")
    template = clean_prompt(row.cells.get(PROMPT, "")) or prompt
    values = names_of(path) | {column: cell for column, cell in row.cells.items() if column != PROMPT}
    asked = dict(options) | {column: row.cells[column] for column in OPTIONS if row.cells.get(column)}
    if asked.get("n") == "1":
        del asked["n"]  # as if nothing had been said, so that it is the same upload
    key = f"{to}{with_variant(name, variant)}"
    wanted = photo_of(path, key, filled(template, values) if template else None, base, asked)
    return replace(wanted, variant=variant, line=row.line)


def keys_of(row: Row, to: str) -> list[str]:
    """The keys that a row's upload can have: its own, and those of what preparing makes of such a file."""
    name = PurePosixPath(PureWindowsPath(row.cells[FILE]).as_posix())
    key = normalize("NFC", f"{to}{with_variant(name, row.cells.get(VARIANT, ''))}")
    return list(dict.fromkeys((key, renamed(key, "jpg"), renamed(key, "png"))))


def with_variant(path: PurePosixPath, variant: str) -> PurePosixPath:
    """As in `shoes/red.beach.jpg`."""
    return path.with_stem(f"{path.stem}.{variant}") if variant else path


def _file(cell: str, base: Path) -> tuple[Path, PurePosixPath]:
    """The file that a cell names, and its path below the table's folder."""
    if not cell:
        raise _Refused("there is no file in it")
    if any(category(character) == "Cc" for character in cell):
        raise _Refused(f"the file's name has control characters: {cell!r}")
    if PureWindowsPath(cell).drive or cell.startswith(("/", "\\")):
        raise _Refused(f"{cell}: write the path from the table's folder on")
    for name in _spellings(cell):
        if ".." in name.parts:
            raise _Refused(f"{cell}: the file is not below the table's folder")
        path = base / name
        try:
            if path.is_dir():
                raise _Refused(f"{cell} is a folder; a row is for one photo")
            if path.exists():
                return path, name
        except OSError as error:
            raise _Refused(f"{cell}: {error.strerror}") from None
    raise _Refused(f"there is no file {cell}")


def _spellings(cell: str) -> Iterator[PurePosixPath]:
    """In composed and in decomposed Unicode, as it is written and with Windows' separators."""
    cells = [cell, PureWindowsPath(cell).as_posix()][os.name == "nt" :]
    return map(PurePosixPath, dict.fromkeys(normalize(form, cell) for cell in cells for form in ("NFC", "NFD")))
