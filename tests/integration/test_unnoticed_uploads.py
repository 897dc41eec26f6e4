"""What people see of objects that the ledger doesn't know."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from freezegun import freeze_time

from backdrop_cli.deployment import Deployment
from tests.integration.conftest import Run
from tests.integration.harness import Harness
from tests.integration.test_operators_commands import said


@pytest.fixture
def there(harness: Harness, photo: bytes) -> None:
    """One photo of two days ago, one of an hour ago, one of now, and two objects that are no photos."""
    for key, hours in {"old.jpg": 48, "lost.jpg": 1, "now.jpg": 0}.items():
        with freeze_time(datetime.now(UTC) - timedelta(hours=hours), tick=True):
            harness.put(key, photo, prompt="snow")
    harness.put("shoes/", b"")
    harness.put(".DS_Store", b"Bud1")


def test_status_says_what_becomes_of_each(there: None, run: Run, deployment: Deployment) -> None:
    found = run("status")
    assert {name: found[name] for name in ("new", "lost", "untouched", "skipped")} == {
        "new": 3,
        "lost": 1,
        "untouched": 1,
        "skipped": 2,
    }
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in said(deployment, "status").splitlines()}
    assert lines["just"] == "uploaded 1"
    assert "1 of the new and stuck" in lines["lost"]
    assert "1 of the new and stuck" in lines["untouched"]
    assert lines["skipped"].startswith("2, no photo: a folder marker")


def test_show_says_why_the_ledger_does_not_know_an_upload(there: None, deployment: Deployment) -> None:
    for key, why in {
        "now.jpg": "new; it was just uploaded",
        "lost.jpg": "new; its event or message was lost",
        "old.jpg": "new; it is more than a day old",
        ".DS_Store": "skipped; no photo",
        "shoes/": "skipped; no photo",
    }.items():
        assert f"not in the ledger: {why}" in said(deployment, "show", key)


def test_what_is_no_photo_is_not_retried(there: None, run: Run) -> None:
    assert "no photo" in run("retry", ".DS_Store", code=1)["not_retried"][".DS_Store"]


def test_submit_has_looked_at_what_the_reconciler_would_look_at(there: None, run: Run, photo: bytes) -> None:
    for name in ("lost.jpg", "now.jpg"):
        Path(name).write_bytes(photo)
    found = run("submit", "lost.jpg", "now.jpg", "--prompt", "snow")
    assert {each["key"]: each["submitted"] for each in found["photos"]} == {
        "lost.jpg": True,
        "now.jpg": False,
    }
