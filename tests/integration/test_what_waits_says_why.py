"""Row 77: while no call gets through, the command line names the last refusal, and promises no time."""

import json
from pathlib import Path

import pytest

from tests.integration.conftest import Run
from tests.integration.world import World


def answered(world: World, status: int, code: str, times: int = 0) -> None:
    body = json.dumps({"error": {"message": "No.", "code": code}})
    world.gateway.faults([{"kind": "status", "status": status, "body": body, "times": times}])


def test_a_quota_behind_a_429_is_told_as_money(run: Run, world: World, photo: bytes) -> None:
    """Cases: quota behind a 429, eight times; status said that all would be finished in seconds."""
    answered(world, 429, "insufficient_quota")
    for number in range(3):
        world.upload(f"{number}.jpg", photo, prompt="wood")
    world.drain(seconds=300)

    said = run("status")

    assert said["last_failure"] == "429 insufficient_quota"
    assert said["paused"] == "429 insufficient_quota"
    assert said["failing_since"] is not None
    assert said["finished_at"] is None
    assert said["waiting"] == 3


@pytest.mark.parametrize(("status", "code"), [(429, "rate_limited"), (503, "capacity_exceeded"), (522, "")])
def test_a_failure_is_named_before_it_leads_to_a_pause(
    run: Run, world: World, photo: bytes, status: int, code: str
) -> None:
    answered(world, status, code)
    world.upload("a.jpg", photo, prompt="wood")

    said = run("status")

    assert said["last_failure"] == f"{status} {code}".strip()
    assert said["paused"] is None
    assert said["finished_at"] is None
    assert said["waiting_for"] == {"after a failed call": 1}


def test_when_calls_get_through_again_nothing_is_said_of_the_failures(run: Run, world: World, photo: bytes) -> None:
    answered(world, 503, "capacity_exceeded", times=2)
    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    said = run("status")

    assert (said["last_failure"], said["failing_since"], said["done"]) == (None, None, 1)


def test_a_success_that_left_before_the_first_failure_does_not_hide_it(run: Run, world: World, photo: bytes) -> None:
    app = world.app
    early = app.pace.take(1, 0.0)
    world.advance(5)
    answered(world, 503, "capacity_exceeded", times=1)
    world.upload("a.jpg", photo, prompt="wood")
    app.pace.succeeded(early)

    assert run("status")["last_failure"] == "503 capacity_exceeded"


def test_receipts_tell_what_may_have_been_charged(
    environment: pytest.MonkeyPatch, run: Run, world: World, photo: bytes, tmp_path: Path
) -> None:
    environment.setenv("MAX_ATTEMPTS", "2")
    world.gateway.faults([{"kind": "status_after_charge", "status": 502, "times": 2}])
    world.upload("lost.jpg", photo, prompt="wood")
    world.drain()
    world.upload("good.jpg", photo, prompt="wood")

    rows = {row["key"]: row for row in run("receipt")}

    assert (rows["lost.jpg"]["billed"], rows["lost.jpg"]["unsettled_images"]) == ("unknown", 2)
    assert (rows["lost.jpg"]["images"], rows["lost.jpg"]["cost_usd"], rows["lost.jpg"]["paid_at"]) == (0, 0.0, None)
    assert (rows["good.jpg"]["billed"], rows["good.jpg"]["unsettled_images"]) == ("yes", 0)
