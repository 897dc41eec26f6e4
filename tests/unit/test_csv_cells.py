import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backdrop_cli.csv_cells import plain, protected
from backdrop_cli.tables import read_rows


@pytest.mark.parametrize("cell", ["=1+2.jpg", "+1", "-x", "@SUM", "\t=1", "\r=1", "'=1", "''-"])
def test_what_a_spreadsheet_would_take_for_a_formula_begins_with_an_apostrophe(cell: str) -> None:
    assert protected(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "red.jpg", "it's = 1", "'twas", "a-b"])
def test_everything_else_stays(cell: str) -> None:
    assert protected(cell) == cell
    assert plain(cell) == cell


@given(st.text("'=+-@\t\ra", max_size=5))
def test_what_was_protected_is_read_as_it_was(cell: str) -> None:
    assert plain(protected(cell)) == cell


def test_a_table_is_read_without_the_apostrophes() -> None:
    [row] = read_rows(io.BytesIO(b"file,prompt\n'=1+2.jpg,'- moss\n"), "file", lambda *_: None)
    assert row.cells == {"file": "=1+2.jpg", "prompt": "- moss"}
