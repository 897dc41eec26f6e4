"""The parts of the command `backdrop` that need no stack."""

import base64
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import chain
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from backdrop.request import read_request
from backdrop.settings import Settings
from backdrop_cli.commands import cli
from backdrop_cli.finding import find
from backdrop_cli.forecast import duration, quote
from backdrop_cli.mistakes import doubled, refuse
from backdrop_cli.options import CliContext, common
from backdrop_cli.photos import Photo
from backdrop_cli.progress import bar, side_by_side, streamed
from backdrop_cli.submission import Submitted

JPEG = b"\xff\xd8\xff" + bytes(100)
NOON = 1_700_049_600.0  # of a UTC day


def keys(photos: list[Photo]) -> list[str]:
    return [photo.key for photo in photos]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "shoes"
    for name in ("red.jpg", "sub/blue.jpg", ".hidden.jpg", ".git/x.jpg"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(JPEG)
    (top / "notes.txt").write_text("no photo")
    return top


def test_folder_keeps_its_name_and_tree_and_what_is_no_photo_is_counted(folder: Path) -> None:
    (folder / "red.jpg.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "sub" / "gone\nsince.jpg.2.webp").write_bytes(JPEG)
    (folder / "scan.jfif").write_bytes(JPEG)
    (folder / "scan.jfif.png").write_bytes(JPEG)
    (folder / "results").mkdir()
    (folder / "results" / "fetched.jpg").write_bytes(JPEG)
    (folder / "link").symlink_to(folder / "sub")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "sub" / "large.jpg").write_bytes(JPEG + bytes(25 * 2**20))

    found = find([folder], "spring/", "snow", {}, out=folder / "results")

    assert keys(found.photos) == ["spring/shoes/red.jpg", "spring/shoes/scan.jfif", "spring/shoes/sub/blue.jpg"]
    assert {why: len(paths) for why, paths in found.left_alone.items()} == {
        "neither JPEG, PNG nor WebP": 1,
        "called like a result": 3,
        "a link to a folder": 1,
        "neither a file nor a folder": 1,
        "larger than 25 MiB": 1,
    }


def test_single_photo_is_uploaded_by_its_name_and_named_when_it_is_none(folder: Path) -> None:
    assert keys(find([folder / "sub" / "blue.jpg"], "", "snow", {}).photos) == ["blue.jpg"]
    (folder / "red.jpg.png").write_bytes(JPEG)
    named = [folder / "red.jpg", folder / "red.jpg.png"]  # as a shell's * names them
    assert keys(find(named, "", "snow", {}).photos) == ["red.jpg"]
    assert keys(find(named[1:], "", "snow", {}).photos) == ["red.jpg.png"]
    with pytest.raises(click.UsageError, match=r"notes\.txt: neither JPEG"):
        find([folder / "notes.txt"], "", "snow", {})


SYSTEM_FILES = (".DS_Store", "._red.jpg", "Thumbs.db", "desktop.ini", "~$red.jpg", "THUMBS.DB")


@pytest.mark.parametrize("name", SYSTEM_FILES)
def test_what_systems_leave_behind_is_not_uploaded(folder: Path, name: str) -> None:
    """cases: what systems leave behind; second opinion: hidden files of a folder. Whatever their bytes are."""
    (folder / name).write_bytes(JPEG)

    whole = find([folder], "", "snow", {})
    assert keys(whole.photos) == ["shoes/red.jpg", "shoes/sub/blue.jpg"]
    assert folder / name not in chain.from_iterable(whole.left_alone.values())

    named = find([folder / name, folder / "red.jpg"], "", "snow", {})  # as a shell's * names them
    assert keys(named.photos) == ["red.jpg"]
    assert named.left_alone == {"no photo by its name": [folder / name]}


def test_a_prompt_txt_that_a_shell_names_beside_its_photos_is_no_photo(folder: Path) -> None:
    (folder / "prompt.txt").write_text("snow")
    found = find([folder / "prompt.txt", folder / "red.jpg"], "", None, {})
    assert [photo.metadata for photo in found.photos] == [{"prompt": "snow"}]


@pytest.mark.parametrize("to", ["._", "~$", "a/._"])
def test_a_prefix_that_would_make_photos_be_skipped_is_refused(folder: Path, to: str) -> None:
    with pytest.raises(click.UsageError, match="doesn't take"):
        find([folder / "red.jpg"], to, "snow", {})


@pytest.mark.parametrize("to", ["a..b/", "a/...", "..", "a/.", ".../"])
def test_a_prefix_that_only_looks_like_a_dot_segment_is_taken(folder: Path, to: str) -> None:
    """cases: dot segments."""
    assert keys(find([folder / "red.jpg"], to, "snow", {}).photos) == [f"{to}red.jpg"]


def test_a_prompt_txt_beside_a_photo_that_shows_nothing_is_none(folder: Path) -> None:
    """cases: invisible prompt."""
    (folder / "prompt.txt").write_text("\ufeffsnow", encoding="utf-8")
    (folder / "sub" / "prompt.txt").write_text("\u200b\u2060\n", encoding="utf-8")
    assert [photo.metadata for photo in find([folder], "", None, {}).photos] == [{"prompt": "snow"}] * 2


def test_two_photos_for_one_key_are_refused(folder: Path) -> None:
    (folder / "sub" / "red.jpg").write_bytes(JPEG)
    found = find([folder / "red.jpg", folder / "sub" / "red.jpg"], "", "snow", {})
    with pytest.raises(click.UsageError, match=r"'red\.jpg'"):
        refuse(list(doubled(found.photos)), None)


@pytest.mark.parametrize("prompt", ["a beach", "à midi", "line one\nline two", "=?utf-8?q?no?=", "日本"])
def test_prompt_arrives_as_it_was_written(folder: Path, prompt: str) -> None:
    [photo, _] = find([folder], "", prompt, {"n": "2"}).photos

    assert all(value.isascii() and value.isprintable() for value in photo.metadata.values())
    assert read_request(photo.metadata, lambda: "", "").prompt == prompt
    assert photo.images == 2


def test_nearest_prompt_file_within_the_folder_serves_a_photo_without_another(folder: Path) -> None:
    (folder.parent / "prompt.txt").write_text("outside")
    assert not any(photo.has_prompt for photo in find([folder], "", None, {}).photos)

    (folder / "prompt.txt").write_text("snow\n", encoding="utf-8-sig")
    (folder / "sub" / "prompt.txt").write_text("à midi", encoding="utf-8")
    red, blue = find([folder], "", None, {}).photos
    assert red.metadata == {"prompt": "snow"}
    assert blue.metadata == {"prompt-b64": base64.b64encode("à midi".encode()).decode()}
    assert find([folder], "", "moss", {}).photos[0].metadata == {"prompt": "moss"}


@pytest.mark.parametrize(
    ("prompt", "options", "says"),
    [
        ("x" * 2001, {}, "2001 characters"),
        ("é" * 1000, {}, "prompt.txt in the bucket"),
        ("snow", {"size": "large"}, "WIDTHxHEIGHT"),
        ("  ", {}, "empty"),
        ("\u200b\u3164", {}, "empty"),  # cases: invisible prompt
        ("\udcff", {}, "not UTF-8"),
    ],
)
def test_what_the_functions_would_refuse_is_refused_before_the_upload(
    folder: Path, prompt: str, options: dict[str, str], says: str
) -> None:
    with pytest.raises(click.UsageError, match=says):
        find([folder], "", prompt, options)


def test_quote_follows_the_pace(settings: Settings) -> None:
    fast = replace(settings, requests_per_minute=600, daily_image_limit=0)
    offer = quote(fast, 10_000, 20_000, 0, NOON)
    assert (offer.images, offer.usd) == (20_000, Decimal("600.00"))
    assert offer.seconds == pytest.approx(1050)


def test_quote_waits_for_the_days_that_the_limit_needs(settings: Settings) -> None:
    fast = replace(settings, requests_per_minute=600, daily_image_limit=1000)
    # 100 are bought today: 900 more, the next 1,000 after midnight, and 100 on the day after.
    assert quote(fast, 2000, 2000, 100, NOON).seconds == pytest.approx(43_200 + 86_400 + 100 * 0.105)


def test_quote_of_more_than_a_day_goes_through_the_night_without_a_limit(settings: Settings) -> None:
    slow = replace(settings, requests_per_minute=1, daily_image_limit=0)
    assert quote(slow, 3000, 3000, 0, NOON).seconds == pytest.approx(3000 * 63)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "1 second"), (40, "40 seconds"), (600, "10 minutes"), (3 * 3600, "3 hours"), (9 * 86400, "9 days")],
)
def test_durations_are_round(seconds: float, words: str) -> None:
    assert duration(seconds) == f"about {words}"


def test_stream_of_a_million_is_never_more_than_a_few_ahead() -> None:
    drawn = 0

    def million() -> Iterator[int]:
        nonlocal drawn
        for number in range(1_000_000):
            drawn += 1
            yield number

    stream = streamed(lambda number: number * 2, million())
    first = [next(stream) for _ in range(1000)]
    stream.close()  # type: ignore[attr-defined]

    assert first == [number * 2 for number in range(1000)]
    assert drawn <= 1100


def test_first_error_ends_the_work_and_nothing_new_begins() -> None:
    done = []

    def work(number: int) -> None:
        if number == 3:
            raise ValueError("three")
        time.sleep(0.001)
        done.append(number)

    context = CliContext()
    with pytest.raises(ValueError, match="three"), bar(context.stderr, "Working", 10_000) as step:
        side_by_side(work, range(10_000), step)
    assert len(done) < 5_000


def test_common_options_stand_before_or_behind_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-environment-1")
    seen: list[CliContext] = []

    @click.group()
    @common
    def group() -> None: ...

    @group.command()
    @common
    @click.pass_obj
    def command(context: CliContext) -> None:
        seen.append(context)

    for arguments in (
        ["--stack", "shop", "--region", "eu-given-1", "command", "--json"],
        ["command", "--stack", "shop", "--json", "--region", "eu-given-1"],
        ["--stack", "no", "--json", "command", "--stack", "shop", "--region", "eu-given-1"],
    ):
        assert CliRunner().invoke(group, arguments, catch_exceptions=False).exit_code == 0
    CliRunner().invoke(group, ["command"])

    assert [(each.stack, each.region, each.json) for each in seen] == [
        *[("shop", "eu-given-1", True)] * 3,
        ("backdrop", "eu-environment-1", False),
    ]


def test_every_command_explains_itself() -> None:
    for name, command in cli.commands.items():
        shown = CliRunner().invoke(cli, [name, "--help"])
        assert shown.exit_code == 0
        assert all(option.help for option in command.params if isinstance(option, click.Option)), name
        for leaf in command.commands.values() if isinstance(command, click.Group) else [command]:
            assert (leaf.epilog or "").count("\n  backdrop ") >= 2, f"{leaf.name} ends with two examples"


@pytest.mark.parametrize("to", ["/spring/", "../spring/", "a/../b/"])
def test_prefix_that_leads_out_of_a_folder_is_refused(folder: Path, to: str) -> None:
    with pytest.raises(click.UsageError, match="beginning of a key"):
        find([folder], to, "snow", {})


def test_prompt_is_compared_and_sent_without_the_blanks_around_it(folder: Path) -> None:
    assert find([folder], "", " snow\n", {}).photos[0].metadata == {"prompt": "snow"}


def test_photo_that_is_not_uploaded_says_so(folder: Path) -> None:
    [photo, _] = find([folder], "", "snow", {}).photos
    assert Submitted(photo).as_dict()["status"] == "not uploaded"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("click.shell_completion.BashComplete._check_version", lambda self: None)
    monkeypatch.setenv("_BACKDROP_COMPLETE", f"{shell}_source")
    with pytest.raises(SystemExit):
        cli.main([], prog_name="backdrop", standalone_mode=False)
    assert "_BACKDROP_COMPLETE" in capsys.readouterr().out

    monkeypatch.setenv("_BACKDROP_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", "backdrop receipt --m")
    monkeypatch.setenv("COMP_CWORD", "--m" if shell == "fish" else "2")
    with pytest.raises(SystemExit):
        cli.main([], prog_name="backdrop", standalone_mode=False)
    assert "--manifest" in capsys.readouterr().out
