"""Paid once, whatever is delivered twice or dies, on the deployed local stack."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backdrop.job import Job
from tests.e2e.deployed import Deployed
from tests.integration.world import s3_event
from tools.local_stack import LocalStack, until

PHOTO = (Path(__file__).parents[2] / "tools" / "samples" / "mug.jpg").read_bytes()


@pytest.fixture
def short_functions(stack: LocalStack) -> Iterator[None]:
    """A dead worker's lease lasts as long as its function may run: 150 s are too long for a test."""
    functions = stack.client("lambda")
    names = [stack.outputs[f"{name}FunctionName"] for name in ("ReplaceBackground", "Retry")]
    for name in names:
        functions.update_function_configuration(FunctionName=name, Timeout=30)
    stack.client("sqs").set_queue_attributes(
        QueueUrl=stack.outputs["RetryQueueUrl"], Attributes={"VisibilityTimeout": "60"}
    )
    yield
    for name in names:
        functions.update_function_configuration(FunctionName=name, Timeout=150)
    stack.client("sqs").set_queue_attributes(
        QueueUrl=stack.outputs["RetryQueueUrl"], Attributes={"VisibilityTimeout": "900"}
    )


def test_one_event_delivered_ten_times_at_once_is_charged_once(deployed: Deployed) -> None:
    deployed.gateway.settings(latency_seconds=1.0)
    version = deployed.put("a.jpg", PHOTO, prompt="wood")
    event = json.dumps(s3_event(Job(deployed.input_bucket, f"{deployed.folder}a.jpg", version, "etag", len(PHOTO))))

    def deliver(_: int) -> None:
        deployed.functions.invoke(
            FunctionName=deployed.stack.outputs["ReplaceBackgroundFunctionName"], InvocationType="Event", Payload=event
        )

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(deliver, range(10)))

    deployed.until_stored("a.jpg.png")
    deployed.until_finished(1, seconds=30)
    deployed.until_retry_queue_is_empty(seconds=150)
    assert deployed.charged() == 1
    assert len(deployed.gateway.calls()) == 1
    assert deployed.dead_letters() == []


def workers_of(stack: LocalStack) -> set[int]:
    """Processes that run functions of this stack's emulator."""
    emulator = json.loads((stack.home / "pids.json").read_text())["emulator"]
    children = subprocess.run(["pgrep", "-P", str(emulator)], capture_output=True, text=True, check=False)
    return {int(pid) for pid in children.stdout.split()}


@pytest.mark.usefixtures("short_functions")
@pytest.mark.parametrize("when", ["during-the-call", "after-the-charge"])
def test_a_worker_killed_with_sigkill_ends_done_and_is_charged_once(deployed: Deployed, when: str) -> None:
    if when == "during-the-call":
        deployed.gateway.settings(latency_seconds=4.0)
    else:
        deployed.gateway.faults([{"kind": "hang_after_charge", "seconds": 20}])
    deployed.put("a.jpg", PHOTO, prompt="wood")
    if when == "during-the-call":
        until("a call", deployed.gateway.calls)
    else:
        until("a charge", deployed.gateway.charges)

    for pid in workers_of(deployed.stack):
        os.kill(pid, signal.SIGKILL)

    deployed.until_stored("a.jpg.png", seconds=120)
    deployed.until_finished(1, seconds=30)
    assert deployed.charged() == 1
    assert deployed.dead_letters() == []


def test_an_upload_whose_notification_was_lost_is_found_and_a_second_run_buys_nothing(deployed: Deployed) -> None:
    notifications = deployed.s3.get_bucket_notification_configuration(Bucket=deployed.input_bucket)
    notifications.pop("ResponseMetadata")
    deployed.s3.put_bucket_notification_configuration(Bucket=deployed.input_bucket, NotificationConfiguration={})
    try:
        deployed.put("lost.jpg", PHOTO, prompt="wood")
    finally:
        deployed.s3.put_bucket_notification_configuration(
            Bucket=deployed.input_bucket, NotificationConfiguration=notifications
        )

    def found() -> bool:
        deployed.reconcile()
        return any(item["key"].endswith("lost.jpg") for item in deployed.records())

    until("the lost upload in the ledger, two minutes after it came", found, seconds=180, every=10)
    deployed.until_stored("lost.jpg.png")
    deployed.until_finished(1, seconds=30)

    assert deployed.reconcile()["enqueued"] == 0
    assert deployed.charged() == 1
