"""How soon `submit` uploads once it may; tools/bench/first_upload.py says what that takes."""

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import botocore.client
import pytest

from backdrop_cli.options import CliContext
from tests.integration.conftest import Run
from tests.pictures import turned

LONG = 20.0
PHOTOS = 40


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What AWS was asked, by operation, with "the answer" where somebody agreed."""
    requests: list[str] = []
    client: Any = botocore.client.BaseClient
    call = client._make_api_call

    def noted(self: Any, operation: str, arguments: Any) -> Any:
        requests.append(operation)
        return call(self, operation, arguments)

    def agreed(*_: Any) -> bool:
        requests.append("the answer")
        return True

    monkeypatch.setattr(client, "_make_api_call", noted)
    monkeypatch.setattr(CliContext, "agreed", agreed)
    return requests


def test_between_the_answer_and_the_first_upload_nothing_is_asked(
    run: Run, tmp_path: Path, photo: bytes, requests: list[str]
) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(PHOTOS):
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(photo)

    assert run("submit", "photos", "--prompt", "snow")["submitted"] == PHOTOS

    before, after = (requests[part] for part in halves(requests))
    assert len(before) <= 4, "with more photos, no more requests"
    assert Counter(after) == {"PutObject": PHOTOS}


def halves(requests: list[str]) -> tuple[slice, slice]:
    at = requests.index("the answer")
    return slice(at), slice(at + 1, None)


def test_a_photo_is_prepared_while_another_is_on_its_way(
    run: Run, tmp_path: Path, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain.jpg").write_bytes(photo)
    (tmp_path / "turned.jpg").write_bytes(turned(6))
    client: Any = botocore.client.BaseClient
    call, both_under_way = client._make_api_call, threading.Barrier(2)

    def held(self: Any, operation: str, arguments: Any) -> Any:
        if operation == "PutObject":
            both_under_way.wait(LONG)  # breaks, and fails the command, if one waits for the other's end
        return call(self, operation, arguments)

    monkeypatch.setattr(client, "_make_api_call", held)
    assert run("submit", "plain.jpg", "turned.jpg", "--prompt", "snow")["submitted"] == 2
