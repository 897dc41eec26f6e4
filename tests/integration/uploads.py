"""Versions of uploads, and how they got there."""

from typing import Any

from tests.integration.conftest import Run
from tests.integration.harness import Harness
from tests.integration.stack import INPUT


def versions(harness: Harness) -> list[str]:
    return [entry["VersionId"] for entry in harness.s3.list_object_versions(Bucket=INPUT).get("Versions", [])]


def submitted_and_done(run: Run, harness: Harness, *more: object) -> Any:
    run("submit", "photos", "--prompt", "snow", *more)
    harness.notify(harness.current("photos/red.jpg"))
    return run("submit", "photos", "--prompt", "snow", "--wait")
