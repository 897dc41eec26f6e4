"""Row 77: while no call gets through, the last refusal is named, and no time is promised."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backdrop.settings import Settings
from backdrop.upload import Record
from backdrop_cli import submit as submit_module
from backdrop_cli.deployment import Deployment
from backdrop_cli.forecast import pace_now
from tests.integration.command_line import command
from tests.integration.conftest import Run
from tests.integration.day_and_pace import until_midnight
from tests.integration.harness import Harness
from tests.integration.stack import INPUT, OUTPUT
from tests.unit.test_operators_view import dashboard

pytestmark = pytest.mark.usefixtures("one_day")

Say = Callable[..., str]


@pytest.fixture
def say(deployment: Deployment) -> Say:
    """Runs a command; what it says to people, on one line."""

    def say(*arguments: str) -> str:
        done = command(deployment, *arguments, standalone_mode=False)
        return " ".join(done.output.split())

    return say


def answered(harness: Harness, status: int, code: str | None, times: int = 0, **more: str) -> None:
    body = json.dumps({"error": {"message": "No.", "code": code, **more}})
    harness.gateway.faults([{"kind": "status", "status": status, "body": body, "times": times}])


def test_a_quota_behind_a_429_is_told_as_money(run: Run, say: Say, harness: Harness, photo: bytes) -> None:
    """Cases: quota behind a 429, eight times; status said that all would be finished in seconds."""
    answered(harness, 429, "insufficient_quota", times=8)
    for number in range(3):
        harness.upload(f"{number}.jpg", photo, prompt="wood")
    harness.drain(seconds=300)

    said = run("status")
    assert said["last_failure"] == said["paused"] == "429 insufficient_quota"
    assert said["failing_since"].startswith("20")
    assert (said["finished_at"], said["seconds_left"]) == (None, None)
    assert (said["waiting"], said["waiting_for"]) == (3, {"pause": 3})
    shown = say("status")
    assert re.search(r"calls fail since \d\d:\d\d \(for \d minutes\): 429 insufficient_quota, .*no money", shown)
    assert "go on by themselves" in shown
    assert "finished" not in shown

    harness.drain()
    assert run("status")["done"] == 3


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, {"code": "1113", "type": "insufficient_balance"}),
        (429, {"code": "insufficient quota"}),
        (400, {"code": None, "type": "Insufficient-Credits"}),
    ],
)
def test_money_is_named_whichever_field_says_so_and_however_it_is_written(
    say: Say, harness: Harness, photo: bytes, status: int, error: dict[str, Any]
) -> None:
    answered(harness, status, **error)
    harness.upload("a.jpg", photo, prompt="wood")

    assert "no money" in say("status")


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (401, "invalid_api_key", "the key is refused"),
        (402, "insufficient_credits", "no money"),
        (404, "model_not_found", "GatewayModel"),
    ],
)
def test_an_account_fault_is_named(
    run: Run, say: Say, harness: Harness, photo: bytes, status: int, code: str, says: str
) -> None:
    answered(harness, status, code)
    harness.upload("a.jpg", photo, prompt="wood")

    assert run("status")["last_failure"] == f"{status} {code}"
    assert says in say("status")


@pytest.mark.parametrize(("status", "code"), [(429, "rate_limited"), (503, "capacity_exceeded"), (522, "")])
def test_a_failure_is_named_before_it_leads_to_a_pause(
    run: Run, say: Say, harness: Harness, photo: bytes, status: int, code: str
) -> None:
    answered(harness, status, code)
    harness.upload("a.jpg", photo, prompt="wood")

    said = run("status")

    assert said["last_failure"] == f"{status} {code}".strip()
    assert said["paused"] is None
    assert (said["finished_at"], said["seconds_left"]) == (None, None)
    assert said["waiting_for"] == {"retry": 1}
    assert said["retries_by_failure"] == {str(status): 1}
    assert f"for another try, after {status}" in say("status")


@pytest.mark.parametrize("fault", [{"kind": "drop"}, {"kind": "drop_after_charge"}])
def test_a_call_without_an_answer_is_named(say: Say, harness: Harness, photo: bytes, fault: dict[str, Any]) -> None:
    harness.gateway.faults([{**fault, "times": 0}])
    harness.upload("a.jpg", photo, prompt="wood")

    assert re.search("no answer, calls are sent and bring no complete answer", say("status"))


def test_when_calls_get_through_again_nothing_is_said_of_the_failures(run: Run, harness: Harness, photo: bytes) -> None:
    answered(harness, 503, "capacity_exceeded", times=2)
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    said = run("status")

    assert (said["last_failure"], said["failing_since"], said["done"]) == (None, None, 1)


def test_a_success_that_left_before_the_first_failure_does_not_hide_it(
    run: Run, harness: Harness, photo: bytes
) -> None:
    services = harness.services
    early = services.rate_limiter.acquire(1, 0.0)
    harness.advance(5)
    answered(harness, 503, "capacity_exceeded", times=1)
    harness.upload("a.jpg", photo, prompt="wood")
    services.rate_limiter.breaker.succeeded(early)

    assert run("status")["last_failure"] == "503 capacity_exceeded"


def test_nobody_is_promised_a_time_for_more_while_calls_fail(
    run: Run, say: Say, harness: Harness, photo: bytes, red: Path
) -> None:
    answered(harness, 503, "capacity_exceeded")
    harness.upload("a.jpg", photo, prompt="wood")
    harness.advance(60)
    harness.put("new.jpg", photo, prompt="wood")

    assert run("quote")["seconds"] is None
    for shown in (say("quote"), say("submit", "photos", "--prompt", "snow"), say("backfill")):
        assert "once calls get through again (503 capacity_exceeded, " in shown
        assert not re.search(r"second|minute", shown)


def test_uploads_wait_for_the_day_when_its_images_are_bought(
    environment: pytest.MonkeyPatch, run: Run, say: Say, harness: Harness, photo: bytes, deployment: Deployment
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "1")
    deployment.__dict__["settings"] = Settings.from_environment(os.environ)
    until_midnight(harness, 80000)
    for number in range(3):
        harness.upload(f"{number}.jpg", photo, prompt="wood")

    said = run("status")
    assert (said["done"], said["waiting_for"]) == (1, {"daily_limit": 2})
    assert "for the next UTC day (DailyImageLimit) 2" in say("status")


def test_uploads_wait_for_their_slot(environment: pytest.MonkeyPatch, run: Run, harness: Harness, photo: bytes) -> None:
    environment.setenv("REQUESTS_PER_MINUTE", "1")
    for number in range(3):
        harness.upload(f"{number}.jpg", photo, prompt="wood")

    assert run("status")["waiting_for"] == {"slot": 2}


def test_a_paid_upload_waits_for_its_result_and_one_that_aws_refuses_for_aws(
    run: Run, harness: Harness, photo: bytes
) -> None:
    harness.gateway.faults([{"where": "media", "kind": "status", "status": 503, "times": 0}])
    harness.upload("a.jpg", photo, prompt="wood")
    assert run("status")["waiting_for"] == {"result": 1}

    harness.gateway.faults([])
    harness.s3.delete_bucket(Bucket=OUTPUT)
    harness.upload("b.jpg", photo, prompt="wood")
    assert run("status")["waiting_for"] == {"result": 1, "aws": 1}


def test_waiting_for_results_says_once_what_is_in_the_way(
    harness: Harness, red: Path, photo: bytes, deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where no bar can be drawn, each new title is a line of its own: no second may bring one."""
    answered(harness, 429, "insufficient_quota")
    harness.upload("a.jpg", photo, prompt="wood")

    def looked_at_for_a_while(deployment: Deployment, jobs: Any, tell: Callable[[list[Record], Any], None]) -> set[str]:
        for _ in range(30):
            harness.advance(7)
            tell([], pace_now(deployment))
        return set()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(submit_module, "follow", looked_at_for_a_while)
    done = command(deployment, "submit", "photos", "--prompt", "snow", "--wait")

    [line] = [line for line in done.output.splitlines() if "calls fail" in line]
    assert re.search(r"since \d\d:\d\d: 429 insufficient_quota, .*no money", line)


def test_doctor_names_the_failure_and_can_still_buy_one_which_ends_it(
    run: Run, harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered(harness, 503, "capacity_exceeded", times=1)
    harness.upload("a.jpg", photo, prompt="wood")

    [pace] = [each for each in run("doctor") if each["what"] == "pace"]
    assert pace["state"] == "doubt"
    assert "503 capacity_exceeded, the gateway" in pace["says"]

    monkeypatch.setattr("backdrop_cli.doctor.follow", lambda *_: set())  # nobody brings S3's events here
    run("doctor", "--buy-one", code=1)
    assert harness.s3.list_objects_v2(Bucket=INPUT, Prefix="backdrop-doctor/")["KeyCount"] == 1


def test_doctor_says_that_a_pause_is_about_money(run: Run, harness: Harness, photo: bytes) -> None:
    answered(harness, 429, "insufficient_quota")
    harness.upload("a.jpg", photo, prompt="wood")

    [pace] = [each for each in run("doctor", code=1) if each["what"] == "pace"]
    assert pace["state"] == "fault"
    assert "429 insufficient_quota" in pace["says"]
    assert "no money" in pace["says"]


def test_the_dashboard_shows_of_failed_calls_what_the_log_tells(
    harness: Harness, photo: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Its fields and its filter against a line that was really written."""
    [query] = [each["properties"]["query"] for each in dashboard()["widgets"] if each["type"] == "log"]
    [message] = re.findall(r'filter message = "([^"]+)"', query)
    [fields] = re.findall(r"fields ([\w@, ]+)", query)
    answered(harness, 429, "insufficient_quota")
    harness.upload("a.jpg", photo, prompt="wood")
    harness.upload("b.jpg", photo, prompt="wood")
    harness.drain(seconds=60)

    failed = [vars(record) for record in caplog.records if record.getMessage() == message]
    assert len(failed) > 1
    for line in failed:
        assert set(fields.replace(" ", "").split(",")) - {"@timestamp"} <= line.keys()
        assert line["failure"] == "429 insufficient_quota"
    assert len({line["failing_since"] for line in failed}) == 1, "the first failure's time, in each"
    assert failed[0]["failing_since"]


def test_receipts_tell_what_may_have_been_charged(
    environment: pytest.MonkeyPatch, run: Run, say: Say, harness: Harness, photo: bytes
) -> None:
    environment.setenv("MAX_ATTEMPTS", "2")
    harness.gateway.faults([{"kind": "status_after_charge", "status": 502, "times": 2}])
    harness.upload("lost.jpg", photo, prompt="wood")
    harness.drain()
    harness.upload("good.jpg", photo, prompt="wood")

    rows = {row["key"]: row for row in run("receipt")}

    assert (rows["lost.jpg"]["billed"], rows["lost.jpg"]["unsettled_images"]) == ("unknown", 2)
    assert (rows["lost.jpg"]["images"], rows["lost.jpg"]["cost_usd"], rows["lost.jpg"]["paid_at"]) == (0, 0.0, None)
    assert (rows["good.jpg"]["billed"], rows["good.jpg"]["unsettled_images"]) == ("yes", 0)
    shown = say("receipt")
    assert "job_id,outputs,billed,unsettled_images" in shown, "new columns are the last ones"
    assert "2 uploads, 1 image, $0.03, and up to 2 images, $0.06, that may have been charged." in shown
