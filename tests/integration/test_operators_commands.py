"""What the runbook's commands show and do: `show`, `retry`, `pace`, `logs`."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from backdrop.clock import utc_day
from backdrop.states import State
from backdrop_cli.deployment import Deployment
from tests.integration.command_line import command
from tests.integration.conftest import Run
from tests.integration.harness import Harness


def said(deployment: Deployment, *arguments: str) -> str:
    done = command(deployment, *arguments, standalone_mode=False)
    assert done.exception is None
    return done.stdout


def test_an_upload_is_shown_by_its_key_and_by_its_job_id(
    run: Run, harness: Harness, photo: bytes, deployment: Deployment
) -> None:
    first = harness.upload("shoes/red.jpg", photo, prompt="snow")
    job = harness.upload("shoes/red.jpg", photo, prompt="a secret wish")
    harness.upload("shoes/red.jpg.jpg", photo, prompt="another's")

    found = run("show", "shoes/red.jpg")
    assert (found["id"], found["state"], found["status"], found["is_current"]) == (job.id, "DONE", "done", True)
    assert (found["attempts"], found["cost_usd"], found["images"]) == (1, "0.03", 1)
    assert [each["id"] for each in found["earlier"]] == [first.id]
    old = run("show", first.id)
    assert (old["key"], old["is_current"], old["earlier"]) == ("shoes/red.jpg", False, [])
    assert "another object is under its key" in said(deployment, "show", first.id)
    shown = said(deployment, "show", "shoes/red.jpg")
    assert "DONE: done" in shown
    assert "shoes/red.jpg.png" in shown
    assert "$0.03" in shown
    assert "secret wish" not in json.dumps(found) + shown


def test_an_upload_that_failed_is_shown_with_its_reason(run: Run, harness: Harness, photo: bytes) -> None:
    harness.upload("red.jpg", photo)
    found = run("show", "red.jpg")
    assert (found["state"], found["status"], found["reason"]["code"]) == ("REJECTED", "failed", "missing_prompt")


def test_an_upload_that_the_ledger_does_not_know_is_shown_and_one_that_is_nowhere_is_not(
    run: Run, harness: Harness, photo: bytes
) -> None:
    job = harness.put("red.jpg", photo, prompt="snow")
    found = run("show", "red.jpg")
    assert (found["id"], found["key"], found["state"], found["status"]) == (job.id, "red.jpg", None, "new")
    assert "There is no upload blue.jpg" in run("show", "blue.jpg", code=2)
    assert "There is no upload" in run("show", "0" * 32, code=2)


def test_uploads_are_listed_by_state(run: Run, harness: Harness, photo: bytes, deployment: Deployment) -> None:
    failed = harness.upload("red.jpg", photo)
    harness.upload("blue.jpg", photo, prompt="snow")
    assert [each["id"] for each in run("show", "--state", "REJECTED")] == [failed.id]
    lines = said(deployment, "show", "--state", "REJECTED").splitlines()
    assert lines[0].startswith(f"{failed.id}  red.jpg  since ")
    assert lines[0].endswith("missing_prompt")
    assert "Name an upload" in run("show", "red.jpg", "--state", "DONE", code=2)


def test_what_the_gateway_answered_instead_of_an_image_is_written_as_it_was(
    harness: Harness, run: Run, photo: bytes, deployment: Deployment
) -> None:
    harness.gateway.faults([{"kind": "empty"}])
    harness.upload("red.jpg", photo, prompt="snow")
    assert json.loads(said(deployment, "show", "red.jpg", "--answer"))["data"] == []
    harness.upload("blue.jpg", photo, prompt="snow")
    assert "No answer is kept" in run("show", "blue.jpg", "--answer", code=2)


def test_an_upload_that_waits_is_looked_at_now(run: Run, harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "status", "status": 402}])
    job = harness.upload("red.jpg", photo, prompt="snow")
    assert run("show", "red.jpg")["waits_for"] == "pause"
    harness.sqs.purge_queue(QueueUrl=harness.retry_url)
    harness.advance(3600)

    assert run("show", "red.jpg")["status"] == "stuck"
    assert run("retry", "red.jpg")["retried"] == ["red.jpg"]
    harness.drain()
    record = harness.record(job)
    assert record is not None
    assert (record.state, harness.charged()) == (State.DONE, 1)
    assert run("retry", "red.jpg", job.id) == {"retried": [], "not_retried": {"red.jpg": "it is done"}}


def test_what_was_never_noticed_is_looked_at_and_asked_for_like_every_purchase(
    run: Run, harness: Harness, photo: bytes
) -> None:
    for number in range(3):
        harness.put(f"shoes/{number}.jpg", photo, prompt="snow")
    assert "more than is bought without asking" in run("retry", "shoes/", "--ask-above-images", 2, code=2)
    assert len(run("retry", "shoes/")["retried"]) == 3
    harness.drain()
    assert harness.charged() == 3
    assert run("retry", "shoes/")["retried"] == []


def test_without_names_what_was_never_noticed_within_a_day_is_left_to_backfill(
    run: Run, harness: Harness, photo: bytes
) -> None:
    harness.put("old.jpg", photo, prompt="snow")
    harness.advance(2 * 86400)
    harness.put("lost.jpg", photo, prompt="snow")
    harness.set_modified("lost.jpg", harness.now() - 600)

    assert run("retry")["retried"] == ["lost.jpg"]
    harness.drain()
    assert harness.charged() == 1
    assert run("retry", "old.jpg")["retried"] == ["old.jpg"]


def test_dead_letters_are_left_to_resume_until_sqs_has_deleted_them(run: Run, harness: Harness, photo: bytes) -> None:
    job = harness.upload("red.jpg", photo)
    left = run("retry", "red.jpg", code=1)
    assert left == {"retried": [], "not_retried": {"red.jpg": "it failed: `backdrop resume` tries it again"}}

    harness.put("prompt.txt", b"snow")
    harness.advance(15 * 86400)
    assert run("retry", "red.jpg")["retried"] == ["red.jpg"]
    harness.drain()
    record = harness.record(job)
    assert record is not None
    assert record.state is State.DONE


def test_the_pace_has_the_ledgers_names_and_the_queues(
    run: Run, harness: Harness, photo: bytes, deployment: Deployment
) -> None:
    harness.upload("red.jpg", photo, prompt="snow")
    found = run("pace")
    assert (found["images"], found["failures"], found["requests_per_minute"]) == (1, 0, 6000)
    assert found["retry_queue"] == {"due": 0, "hidden": 0, "delayed": 0}
    assert "Calls get through, at most 6000 a minute." in said(deployment, "pace")

    harness.gateway.faults([{"kind": "status", "status": 402, "times": 99}])
    harness.upload("blue.jpg", photo, prompt="snow")
    assert run("pace")["pause_reason"].startswith("402")
    shown = said(deployment, "pace")
    assert "Calls fail since" in shown
    assert "top it up" in shown
    assert "Paused since" in shown


@pytest.fixture
def log_lines(deployment: Deployment, harness: Harness) -> Any:
    """Writes lines as a function's."""

    def write(function: str, *lines: str) -> None:
        group = f"/aws/lambda/backdrop-{function}"
        deployment.logs.create_log_stream(logGroupName=group, logStreamName=f"{len(lines)}")
        deployment.logs.put_log_events(
            logGroupName=group,
            logStreamName=f"{len(lines)}",
            logEvents=[
                {"timestamp": int(time.time() * 1000) + number, "message": line} for number, line in enumerate(lines)
            ],
        )

    for function in ("replace-background", "retry", "reconcile"):
        deployment.logs.create_log_group(logGroupName=f"/aws/lambda/backdrop-{function}")
    return write


def test_log_lines_of_one_upload_are_shown_in_their_order_and_others_by_a_text(
    run: Run, harness: Harness, red: Path, deployment: Deployment, log_lines: Any
) -> None:
    job = harness.upload("red.jpg", red.read_bytes(), prompt="snow")
    line = {"level": "INFO", "message": "gateway call failed", "correlation_id": job.id, "detail": "503"}
    log_lines("replace-background", json.dumps(line), json.dumps(line | {"correlation_id": "another"}))
    log_lines(
        "retry", json.dumps({"_aws": {}, "correlation_id": job.id}), "Task timed out", json.dumps({"message": job.id})
    )

    found = run("logs", "red.jpg")
    assert [(each["function"], each["message"]) for each in found] == [
        ("replace-background", "gateway call failed"),
        ("retry", job.id),
    ]
    assert found[0]["detail"] == "503"
    assert (
        said(deployment, "logs", job.id)
        .splitlines()[0]
        .endswith("replace-background  INFO  gateway call failed  detail=503")
    )
    assert len(run("logs", "--text", "gateway call failed")) == 2
    assert [each["message"] for each in run("logs", "--text", "Task timed out", "--function", "retry")] == [
        "Task timed out"
    ]
    assert run("logs", "--text", "Task timed out", "--function", "reconcile") == []
    assert "no such line" in said(deployment, "logs", "--text", "nothing like it")


def test_receipts_are_summed_by_tag_folder_and_day(
    run: Run, harness: Harness, photo: bytes, deployment: Deployment
) -> None:
    harness.upload("shoes/red.jpg", photo, prompt="snow", n="3", tag="acme")
    harness.upload("shoes/blue.jpg", photo, prompt="snow", tag="acme")
    harness.upload("hat.jpg", photo, prompt="snow")
    harness.gateway.faults([{"kind": "status", "status": 500}])
    harness.upload("odd.jpg", photo, prompt="snow")
    harness.upload("none.jpg", photo)

    none = {"tag": None, "uploads": 2, "images": 1, "cost_usd": 0.03, "unsettled_images": 1}
    acme = {"tag": "acme", "uploads": 2, "images": 4, "cost_usd": 0.12, "unsettled_images": 0}
    assert run("receipt", "--by", "tag") == [none, acme]
    assert [(each["folder"], each["images"]) for each in run("receipt", "--by", "folder")] == [("", 1), ("shoes/", 4)]
    [day] = run("receipt", "--by", "day")
    assert (day["day"], day["images"], day["cost_usd"]) == (utc_day(harness.now()), 5, 0.15)
    assert run("receipt", "--by", "tag", "--since", "2100-01-01") == []
    assert said(deployment, "receipt", "--by", "tag").splitlines()[-1] == "acme,2,4,0.12,0"


def test_status_counts_each_folder_and_each_tag(
    run: Run, harness: Harness, photo: bytes, deployment: Deployment
) -> None:
    harness.upload("shoes/red.jpg", photo, prompt="snow", tag="acme")
    harness.upload("shoes/blue.jpg", photo)
    harness.put("hat.jpg", photo, prompt="snow")
    assert run("status", "--by", "folder")["by_folder"] == {"shoes/": {"done": 1, "failed": 1}, "": {"new": 1}}
    assert run("status", "--by", "tag")["by_tag"] == {"acme": {"done": 1}, "": {"failed": 1, "new": 1}}
    assert "by_tag" not in run("status")
    assert re.search(r"^shoes/ +0 +1 +1$", said(deployment, "status", "--by", "folder"), re.M)
