"""The review page's parts by themselves: the board, what a pair waits for, the cache on disk, how often is asked."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backdrop.job import Job
from backdrop_cli.decisions import APPROVED, REJECTED, Decision, taggable, verdict_of
from backdrop_cli.review.board import Board
from backdrop_cli.review.pairs import Asked, Pair, Picture, Result, Status, totals
from backdrop_cli.review.pictures import Cache
from backdrop_cli.review.watch import busy_seconds
from backdrop_cli.uploads import Stage

YES, NO = Decision(APPROVED, "arn:aws:iam::1:user/ana", "2026-11-30T12:00:00Z"), Decision(REJECTED)


def pair(key: str = "a.jpg", *decisions: Decision | None, **changes: Any) -> Pair:
    results = tuple(Result(Picture("out", f"{key}.{i}.png", "1"), each) for i, each in enumerate(decisions))
    return replace(Pair(Job("in", key, "1"), stage=Stage.DONE, asked=Asked("x"), results=results), **changes)


@pytest.mark.parametrize(
    ("decisions", "status"),
    [
        ((None,), Status.UNDECIDED),
        ((YES,), Status.APPROVED),
        ((NO,), Status.REJECTED),
        ((NO, YES, NO), Status.APPROVED),
        ((NO, None), Status.UNDECIDED),
        ((NO, NO), Status.REJECTED),
        ((), Status.UNDECIDED),
    ],
)
def test_one_approved_result_approves_the_photo_and_all_have_to_be_rejected(decisions: Any, status: Status) -> None:
    assert pair("a.jpg", *decisions).status is status


def test_nothing_is_decided_on_what_failed_or_is_on_its_way() -> None:
    assert pair("a.jpg", YES, stage=Stage.FAILED).status is Status.FAILED
    assert {pair("a.jpg", stage=stage).status for stage in (Stage.NEW, Stage.WAITING, Stage.RUNNING, Stage.STUCK)} == {
        Status.ON_ITS_WAY
    }
    assert totals([pair("a.jpg", YES), pair("b.jpg", stage=Stage.NEW)]).over == 1
    assert verdict_of([]) == ""


def test_another_decision_or_another_version_is_not_what_was_seen() -> None:
    seen = pair("a.jpg", None).seen
    assert pair("a.jpg", None).seen == seen
    assert pair("a.jpg", YES).seen != seen
    assert pair("a.jpg", None, results=(Result(Picture("out", "a.jpg.0.png", "2")),)).seen != seen


@pytest.mark.parametrize(
    ("by", "name"),
    [
        ("arn:aws:iam::123:user/team/ana", "ana"),
        ("arn:aws:sts::123:assumed-role/role/ben@example.com", "ben@example.com"),
        ("arn:aws:iam::123:root", "root"),
        ("", "somebody"),
    ],
)
def test_who_decided_is_told_by_name(by: str, name: str) -> None:
    assert Decision(APPROVED, by).name == name


def test_an_arn_fits_into_a_tag() -> None:
    assert taggable("arn:aws:sts::1:assumed-role/r/a,b'<ü>") == "arn:aws:sts::1:assumed-role/r/a_b__ü_"
    assert taggable("x" * 300 + "/ana") == "x" * 252 + "/ana"


def test_a_look_that_began_before_a_decision_does_not_hide_it() -> None:
    board = Board()
    before = pair("a.jpg", None)
    board.put(before)
    decided = pair("a.jpg", YES)
    board.put(decided)
    assert board.replace(before, replace(before, asked=Asked("y"))) == decided
    assert board.get(before.id) == decided


def test_a_page_is_told_what_changed_since_it_was_made_and_nothing_else() -> None:
    board, told = Board(), []
    board.put(pair("a.jpg"), pair("b.jpg"))
    number = board.number
    with board.listening(lambda: told.append(board.number)):
        board.put(pair("a.jpg"))
        assert board.since(number).changed == ()
        board.put(pair("b.jpg", YES))
        board.keep_only({pair("b.jpg").id})
    news = board.since(number)
    assert [each.job.key for each in news.changed] == ["b.jpg"]
    assert news.gone == (pair("a.jpg").id,)
    assert told[-1] == news.number
    assert not board.has_listeners


def test_the_cache_stays_within_its_bytes_and_forgets_what_was_not_read_for_longest(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", most_bytes=1000)
    for number in range(10):
        cache.keep(f"{number}", bytes(90))
        os.utime(tmp_path / "cache" / f"{number}", (number, number))
    assert cache.read("0") == bytes(90)  # and so it is the newest
    cache.keep("more", bytes(200))
    names = {path.name for path in (tmp_path / "cache").iterdir()}
    assert {"0", "more", "9"} <= names
    assert "1" not in names
    assert sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) <= 1000
    assert cache.read("1") is None
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0, "only its owner can read it"


def test_a_full_disk_or_a_deleted_cache_is_no_trouble(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    (tmp_path / "cache").rmdir()
    cache.keep("a", b"x")
    assert cache.read("a") is None


def test_what_moves_is_looked_at_less_often_the_more_there_is_and_the_longer_nothing_changes() -> None:
    assert busy_seconds(1, 0) == pytest.approx(2, abs=0.1)
    assert [round(busy_seconds(10, in_vain)) for in_vain in (0, 2, 4, 20)] == [2, 3, 6, 10]
    assert busy_seconds(10_000, 20) == busy_seconds(10_000, 0) == 22
