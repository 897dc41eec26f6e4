"""Tables as people and programs write them: CSV by comma, semicolon or tab, a row at a time."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from backdrop_cli.csv_cells import plain

MOST_CHARACTERS = 1_000_000
"""Of one line: a file without line ends is no table."""
_DELIMITERS = (",", ";", "\t")
_DELIMITER_LINE = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)  # Excel's own way to say which it is
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_NOT_UTF_8 = re.compile("[\udc80-\udcff]")  # what `surrogateescape` makes of such bytes
_SAVE_AS = "save it as CSV UTF-8"

Wrong = Callable[[int, str], None]
"""Hears of a line, the head's being 1, and what is wrong with it, in a sentence without its full stop."""


@dataclass(frozen=True)
class Row:
    """A line of a table, by the names of its columns in lower case; `line` is where it begins in the file."""

    line: int
    cells: dict[str, str]


def column_name(text: str) -> str:
    """A column's name as it is compared: neither case nor the blanks around it matter."""
    return text.strip().casefold()


def read_rows(file: BinaryIO, required: str, wrong: Wrong) -> Iterator[Row]:
    """The rows of a table that has a column `required`; empty ones are passed over. What can't be read goes to `wrong`.

    UTF-8, with or without a mark. The delimiter is told by the head.
    """
    mark = file.read(2)
    file.seek(0)
    if mark in _UTF_16_MARKS:
        wrong(1, f"the table is UTF-16: {_SAVE_AS}")
        return
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    lines = _Lines(text)
    try:
        yield from _rows(lines, required, wrong)
    except _TooLong:
        wrong(lines.number, f"the line has more than {MOST_CHARACTERS} characters: is this a table?")
    finally:
        text.detach()


def table_rows(path: Path, required: str, wrong: Wrong) -> Iterator[Row]:
    """As `read_rows`, of the file at `path`. Raises OSError."""
    with path.open("rb") as file:
        yield from read_rows(file, required, wrong)


class _TooLong(Exception):
    pass


class _Lines:
    """The lines of a text, counted; the first can be looked at beforehand."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._ahead: str | None = None
        self.number = 0

    def peek(self) -> str:
        if self._ahead is None:
            self._ahead = self._read()
        return self._ahead

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.peek()
        self._ahead = None
        if not line:
            raise StopIteration
        self.number += 1
        return line

    def _read(self) -> str:
        line = self._text.readline(MOST_CHARACTERS)
        if len(line) >= MOST_CHARACTERS:
            self.number += 1
            raise _TooLong
        return line


def _rows(lines: _Lines, required: str, wrong: Wrong) -> Iterator[Row]:
    said = _DELIMITER_LINE.fullmatch(lines.peek())
    if said:
        next(lines)
    delimiter = said[1] if said and said[1] in _DELIMITERS else _delimiter(lines.peek(), required)
    found = _records(lines, delimiter, wrong)
    line, head = next(found, (1, []))
    columns = [column_name(name) for name in head]
    for name in sorted({name for name in columns if name and columns.count(name) > 1}):
        wrong(line, f"two columns are called {name!r}")
        return
    if required not in columns:
        there = ", ".join(filter(None, columns)) or "nothing"
        wrong(line, f"there is no column {required!r}; the head has: {there}")
        return
    for line, cells in found:
        unnamed = [cell for column, cell in zip(columns, cells, strict=False) if cell and not column]
        if unnamed or any(cells[len(columns) :]):
            wrong(line, "there is something behind the last column. Put a cell that has a comma into double quotes")
        elif any(cells):
            padded = [*cells, *[""] * (len(columns) - len(cells))]
            yield Row(line, {column: cell for column, cell in zip(columns, padded, strict=False) if column})


def _records(lines: _Lines, delimiter: str, wrong: Wrong) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line that it begins in, blanks around its cells taken away."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = lines.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            wrong(line, f"it can't be read: {_in_words(str(error))}")
            if "field limit" in str(error):
                return  # everything behind an open quote would be wrong, too
            continue
        if any(map(_NOT_UTF_8.search, cells)):
            wrong(line, f"it is not UTF-8: {_SAVE_AS}")
            continue
        yield line, [plain(cell.strip()) for cell in cells]


def _in_words(error: str) -> str:
    if "end of data" in error or "field limit" in error:
        return "a double quote is opened and never closed"
    if "expected after" in error:
        return "behind a closing double quote comes something else; a quote within a cell is written twice"
    return error


def _delimiter(head: str, required: str) -> str:
    """The one by which the head has the required column or, as it may be missing, most columns."""

    def columns(delimiter: str) -> tuple[bool, int]:
        try:
            cells = next(csv.reader([head], delimiter=delimiter), [])
        except csv.Error:
            return False, 0
        return required in map(column_name, cells), len(cells)

    return max(_DELIMITERS, key=columns)
