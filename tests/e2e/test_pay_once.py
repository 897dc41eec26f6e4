"""Paid once, whatever is delivered twice or dies, on the deployed local stack."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from backdrop.job import Job
from tests.aws_events import s3_event
from tests.e2e.deployed import Deployed
from tools.local_stack import LocalStack
from tools.polling import until

PHOTO = (Path(__file__).parents[2] / "tools" / "samples" / "mug.jpg").read_bytes()


@pytest.fixture
def short_functions(stack: LocalStack) -> Iterator[None]:
    """A dead worker's lease lasts as long as its function may run: 150 s are too long for a test."""
    set_times(stack, function=30, gateway=10, visibility=60)
    yield
    set_times(stack, function=150, gateway=100, visibility=180)


def set_times(stack: LocalStack, *, function: int, gateway: int, visibility: int) -> None:
    functions = stack.client("lambda")
    for logical_id in ("ReplaceBackgroundFunction", "RetryFunction"):
        name = stack.outputs[f"{logical_id}Name"]
        variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        variables["GATEWAY_TIMEOUT_SECONDS"] = str(gateway)
        functions.update_function_configuration(
            FunctionName=name, Timeout=function, Environment={"Variables": variables}
        )
    stack.client("sqs").set_queue_attributes(
        QueueUrl=stack.outputs["RetryQueueUrl"], Attributes={"VisibilityTimeout": str(visibility)}
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
    keys = [call["idempotency_key"] for call in deployed.gateway.calls()]
    assert len(keys) == 1, keys
    assert deployed.dead_letters() == []


def workers_of(stack: LocalStack) -> set[int]:
    """Processes that run functions of this stack's emulator."""
    emulator, _ = json.loads((stack.home / "processes.json").read_text())["emulator"]
    if not Path("/proc/self/stat").exists():
        shown = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
        return {int(pid) for pid, parent in map(str.split, shown.stdout.splitlines()) if int(parent) == emulator}
    workers = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            parent = stat.read_text().rpartition(")")[2].split()[1]  # the second field behind the name; see proc(5)
            workers |= {int(stat.parent.name)} if int(parent) == emulator else set()
    return workers


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

    workers = workers_of(deployed.stack)
    assert workers
    for pid in workers:
        os.kill(pid, signal.SIGKILL)

    deployed.until_stored("a.jpg.png", seconds=120)
    deployed.until_finished(1, seconds=30)
    assert deployed.charged() == 1
    assert deployed.dead_letters() == []
