"""Backfill takes up what nobody noticed, each upload once."""

import json

import click
import pytest

from backdrop.job import Job
from backdrop.states import State
from backdrop_cli.deployment import Deployment
from tests.integration.command_line import command, deployed
from tests.integration.conftest import Run
from tests.integration.harness import Harness
from tests.integration.stack import INPUT

pytestmark = pytest.mark.usefixtures("one_day")


def test_backfill_takes_up_an_upload_whose_message_is_lost(run: Run, harness: Harness, photo: bytes) -> None:
    job = harness.put("red.jpg", photo, prompt="snow")
    held = harness.services.ledger.claim(job, "a worker", 0.0)
    harness.services.ledger.release(held, held, harness.now())
    assert run("quote")["waiting"] == 1
    harness.advance(2 * 86400)

    assert run("quote")["stuck"] == 1
    assert run("status")["stuck"] == 1
    assert run("backfill")["enqueued"] == 1
    assert run("backfill")["enqueued"] == 0
    harness.drain()
    record = harness.record(job)
    assert record is not None
    assert record.state is State.DONE


def test_backfill_after_an_interruption_finds_only_the_rest_new(
    run: Run, harness: Harness, photo: bytes, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        harness.put(f"{number:02}.jpg", photo, prompt="snow")
    send, sent = deployment.queues.retry, []

    def interrupted(job: Job, seconds: float) -> None:
        send(job, seconds)
        sent.append(job)
        if len(sent) == 10:
            raise KeyboardInterrupt

    monkeypatch.setattr(deployment.queues, "retry", interrupted)
    with pytest.raises((KeyboardInterrupt, click.Abort)):
        run("backfill")
    monkeypatch.setattr(deployment.queues, "retry", send)

    assert run("quote")["new"] <= 31, "what was enqueued is marked"
    run("backfill")
    harness.drain()
    assert (len(harness.outputs()), harness.charged()) == (40, 40)


def test_what_can_not_be_read_or_can_not_succeed_is_invalid_and_the_rest_is_quoted(
    run: Run, harness: Harness, photo: bytes, environment: pytest.MonkeyPatch
) -> None:
    harness.put("red.jpg", photo, prompt="snow", n="3")
    harness.put("too many.jpg", photo, prompt="snow", n="8")
    harness.s3.put_object(Bucket=INPUT, Key="old.jpg", Body=photo, Metadata={"prompt": "x"}, StorageClass="GLACIER")
    harness.put("no prompt.jpg", photo)
    environment.setenv("DAILY_IMAGE_LIMIT", "5")

    found = json.loads(command(deployed(), "quote", "--json").stdout)

    assert (found["new"], found["images"], found["cost_usd"]) == (1, 3, 0.09)
    assert found["invalid_by_reason"] == {"invalid_option": 1, "unreadable": 1, "missing_prompt": 1}
