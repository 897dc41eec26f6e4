"""Tables of photos: what becomes of each row, and what is said about what can't be used."""

import base64
import tracemalloc
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backdrop_cli.finding import Found, find
from backdrop_cli.manifest import keys_of, read_manifest
from backdrop_cli.prompt_templates import BadTemplate, filled, names_of
from backdrop_cli.tables import Row, read_rows
from tests.unit.test_cli import JPEG

Shop = Callable[..., Found]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Reads a table beside a few photos."""
    for name in ("shoes/red.jpg", "shoes/blue.jpg", "hats/caf\u00e9.jpg", "plain.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(JPEG)
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / "text.jpg").write_text("no photo")

    def read(text: str | bytes, prompt: str | None = "snow", to: str = "", **options: str) -> Found:
        table = tmp_path / "shop.csv"
        table.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_manifest(table, to, prompt, options)

    return read


def wanted(found: Found) -> dict[str, str]:
    assert not found.mistakes
    return {photo.key: photo.metadata.get("prompt", "") for photo in found.photos}


def said(found: Found) -> list[tuple[int, str]]:
    return [(each.line, each.message) for each in found.mistakes]


def rows(data: bytes) -> tuple[list[Row], list[tuple[int, str]]]:
    wrong: list[tuple[int, str]] = []
    return list(read_rows(BytesIO(data), "file", lambda line, message: wrong.append((line, message)))), wrong


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_table_is_read_as_programs_write_it(delimiter: str, mark: str, end: str) -> None:
    """Commas within quotes, as in "a, b; c" are no delimiters."""
    lines = [
        ["file", "Prompt ", "colour"],
        ["shoes/red.jpg", '"a, b; ""c"""', "r\u00f6t"],
        ["", "", ""],
        ["b.jpg", "x"],
    ]
    text = mark + end.join(delimiter.join(line) for line in lines) + end

    found, wrong = rows(text.encode())

    assert wrong == []
    assert found == [
        Row(2, {"file": "shoes/red.jpg", "prompt": 'a, b; "c"', "colour": "r\u00f6t"}),
        Row(4, {"file": "b.jpg", "prompt": "x", "colour": ""}),
    ]


def test_line_numbers_are_those_of_an_editor_also_behind_cells_of_several_lines() -> None:
    found, _ = rows(b'file,prompt\na.jpg,"one\ntwo"\nb.jpg,x\n\nc.jpg,y\n')
    assert [(row.line, row.cells["file"]) for row in found] == [(2, "a.jpg"), (4, "b.jpg"), (6, "c.jpg")]


def test_the_delimiter_may_be_said_in_the_first_line() -> None:
    found, _ = rows(b"sep=;\r\nfile;prompt, please\r\na.jpg;x\r\n")
    assert found == [Row(3, {"file": "a.jpg", "prompt, please": "x"})]


@pytest.mark.parametrize(
    ("data", "line", "says"),
    [
        (b"", 1, "no column 'file'; the head has: nothing"),
        (b"photo,prompt\na.jpg,x\n", 1, "no column 'file'; the head has: photo, prompt"),
        (b"file,Colour,colour\n", 1, "two columns are called 'colour'"),
        ("file,prompt\na.jpg,x\n".encode("utf-16"), 1, "UTF-16: save it as CSV UTF-8"),
        (b"file,prompt\na.jpg,x\nb.jpg,r\xf6t\n", 3, "not UTF-8: save it as CSV UTF-8"),
        (b"file,prompt\na.jpg,a beach, at sunset\n", 2, "behind the last column"),
        (b'file,prompt\na.jpg,"a beach\n', 2, "a double quote is opened and never closed"),
        (b'file,prompt\na.jpg,"a" beach\nb.jpg,x\n', 2, "a quote within a cell is written twice"),
        (b'file,prompt\na.jpg,"' + b"x\n" * 100_000, 2, "a double quote is opened and never closed"),
        (b"file,prompt\n" + b"x" * 2_000_000, 2, "is this a table?"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_its_line(data: bytes, line: int, says: str) -> None:
    _, [wrong] = rows(data)
    assert wrong[0] == line
    assert says in wrong[1]


def test_a_row_that_can_not_be_read_does_not_hide_the_next_mistake() -> None:
    found, wrong = rows(b'file,prompt\n"a"x,y\nb.jpg,x,y\nc.jpg,r\xf6t\nd.jpg,z\n')
    assert [line for line, _ in wrong] == [2, 3, 4]
    assert [row.line for row in found] == [5]


@settings(max_examples=500)
@given(st.binary() | st.text('file,;\t"\n\r{}=\x00\ufeffx').map(str.encode))
def test_whatever_the_bytes_are_a_table_is_read_or_refused(data: bytes) -> None:
    """A table of anything ends in rows and sentences, never in a traceback."""
    for start in (b"", b"file,prompt\n", b"\xef\xbb\xbffile;n;prompt\r\n"):
        found, wrong = rows(start + data)
        assert all(row.cells.keys() >= {"file"} for row in found)
        assert all(line >= 1 and message for line, message in wrong)


def test_however_many_rows_a_table_has_few_are_in_memory() -> None:
    data = BytesIO(b"file,prompt\n" + b"shoes/red.jpg,a marble counter\n" * 20_000)
    tracemalloc.start()
    assert sum(1 for _ in read_rows(data, "file", lambda line, message: None)) == 20_000
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 300_000


def test_keys_are_the_paths_from_the_table_on_with_the_variant_before_the_extension(shop: Shop) -> None:
    found = shop("file,variant\nshoes/red.jpg,beach\nshoes/red.jpg,\n./plain.png,a b\n", to="spring/")
    assert list(wanted(found)) == ["spring/shoes/red.beach.jpg", "spring/shoes/red.jpg", "spring/plain.a b.png"]
    assert [photo.line for photo in found.photos] == [2, 3, 4]
    assert found.photos[0].beside.name == "red.beach.jpg"


def test_paths_as_windows_writes_them_and_names_in_either_unicode_form_are_found(shop: Shop) -> None:
    found = shop("file\nshoes\\red.jpg\nhats/cafe\u0301.jpg\n")
    assert list(wanted(found)) == ["shoes/red.jpg", "hats/caf\u00e9.jpg"]


def test_keys_have_slashes_whatever_the_table_has() -> None:
    row = Row(2, {"file": "shoes\\cafe\u0301.heic", "variant": "dusk"})
    assert keys_of(row, "spring/") == [
        f"spring/shoes/caf\u00e9.dusk.{extension}" for extension in ("heic", "jpg", "png")
    ]


def test_a_cell_counts_before_the_option_and_the_option_before_a_prompt_txt(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "shoes" / "prompt.txt").write_text("of the folder")
    table = "file,prompt,n\nshoes/red.jpg,of the cell,3\nshoes/blue.jpg,\u200b,\n"
    assert list(wanted(shop(table, "of the option")).values()) == ["of the cell", "of the option"]
    assert list(wanted(shop(table, None)).values()) == ["of the cell", "of the folder"]
    assert [photo.images for photo in shop(table, n="2").photos] == [3, 2]
    assert [photo.metadata for photo in shop("file,n,tag\nplain.png,1,acme\n", n="2").photos] == [
        {"tag": "acme", "prompt": "snow"}
    ]


def test_prompts_are_filled_from_the_columns_and_the_file(shop: Shop) -> None:
    table = "file,Colour,variant,prompt\nshoes/red.jpg,r\u00f6t,1,\nshoes/blue.jpg,blue,,{{x}} {colour}\n"
    red, blue = shop(table, "{stem} in {folder}, { colour }, {variant}").photos
    assert base64.b64decode(red.metadata["prompt-b64"]).decode() == "red in shoes, r\u00f6t, 1"
    assert blue.metadata["prompt"] == "{x} blue"


def test_prompts_of_folders_are_filled_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "shoes" / "red.jpg"
    path.parent.mkdir()
    path.write_bytes(JPEG)
    [photo] = find([path.parent], "", "{stem} on {folder}", {}).photos
    assert photo.metadata["prompt"] == "red on shoes"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("shoes/green.jpg,,,,,", "there is no file shoes/green.jpg"),
        (",snow,,,,", "there is no file in it"),
        ("shoes,,,,,", "shoes is a folder; a row is for one photo"),
        ("../shop.csv,,,,,", "not below the table's folder"),
        ("..\\shop.csv,,,,,", "not below the table's folder"),
        ("/etc/hosts,,,,,", "from the table's folder on"),
        ("C:\\photos\\red.jpg,,,,,", "from the table's folder on"),
        ("a\x00b.jpg,,,,,", "control characters"),
        (f"{'x' * 300}.jpg,,,,,", "File name too long"),
        ("notes.txt,,,,,", "notes.txt: neither JPEG, PNG nor WebP"),
        ("plain.png,on {color},,,,", "the prompt has {color}; known are {stem}, {folder}, {file}"),
        ("plain.png,{prompt},,,,", "the prompt has {prompt}; known are"),
        ("plain.png,on {colour},,,,", "the prompt has {colour}, which is empty here"),
        (f"plain.png,{'x' * 2001},,,,", "2001 characters"),
        ("plain.png,a\x07b,,,,", "control characters"),
        ("plain.png,,a/b,,,", "the variant is 'a/b'"),
        ("plain.png,,,9,,", "n is '9'; it can be 1 to 8"),
        ("plain.png,,,two,,", "n is 'two'"),
        ("plain.png,,,,large,", "WIDTHxHEIGHT"),
    ],
)
def test_what_is_wrong_with_a_row_is_said_and_the_others_are_looked_at(shop: Shop, row: str, says: str) -> None:
    found = shop(f"file,prompt,variant,n,size,colour\n{row}\nshoes/red.jpg,,,,,\n")
    [(line, message)] = said(found)
    assert (line, [photo.line for photo in found.photos]) == (2, [3])
    assert says in message
    assert not message.endswith(".")


def test_a_file_that_is_only_called_a_photo_is_left_out_as_in_a_folder(shop: Shop, tmp_path: Path) -> None:
    assert said(shop("file\ntext.jpg\n")) == [(2, "text.jpg: neither JPEG, PNG nor WebP")]
    found = read_manifest(tmp_path / "shop.csv", "", "snow", {}, prepares=True)
    assert (said(found), found.unreadable) == (
        [],
        {tmp_path / "text.jpg": "it is called like a photo, but is no picture"},
    )


@pytest.mark.parametrize("text", ["a { b", "a } b", "plain"])
def test_single_braces_stay(text: str) -> None:
    assert filled(text, {}) == text


def test_an_unknown_name_says_which_are_known() -> None:
    with pytest.raises(BadTemplate, match=r"\{color\}; known are \{stem\}, \{folder\}\. Braces themselves"):
        filled("on {color}", names_of(Path("shoes/red.jpg")))
