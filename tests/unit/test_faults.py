"""docs/faults.md against the tests that name its rows."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_NAMED = re.compile(
    r"\brows?[ _](\d+(?:(?:, | and |_and_|_to_|_| to |-)\d+)*)|test_rows?_(\d+(?:_(?:to_|and_)?\d+)*)", re.I
)


def rows_named_in(text: str) -> set[int]:
    """Row numbers in names of tests and in sentences, ranges with all that is in them."""
    rows: set[int] = set()
    for found in _NAMED.finditer(text):
        numbers = found[1] or found[2]
        for first, last in re.findall(r"(\d+)(?:(?:_to_| to |-)(\d+))?", numbers):
            rows |= set(range(int(first), int(last or first) + 1))
    return rows


def test_every_fault_has_a_test_and_every_row_that_a_test_names_is_there() -> None:
    page = (ROOT / "docs" / "faults.md").read_text()
    rows = {int(number) for number in re.findall(r"^\| (\d+) \|", page, re.M)}
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path.name != Path(__file__).name]

    assert rows_named_in("".join(path.read_text() for path in tests)) == rows


def test_rows_are_read_out_of_names_and_sentences() -> None:
    text = "def test_rows_42_to_45_a() Rows 7, 8 and 9. rows_53_54_on row_1_t Rows 32-34"
    assert rows_named_in(text) == {42, 43, 44, 45, 7, 8, 9, 53, 54, 1, 32, 33, 34}
