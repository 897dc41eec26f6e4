"""Forty uploads while AWS fails a hundred times: microburst, a proxy of other authors, between the functions and moto.

It answers in the words of AWS that botocore knows, breaks connections, and lets writes through whose answers get lost.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.endpoint
import httpx
import pytest

from backdrop import bootstrap
from tests.integration.harness import Harness
from tools.files import ROOT

pytestmark = pytest.mark.skipif("SECOND_OPINION" not in os.environ, reason="half a minute: make second-opinion")
MICROBURST = "microburst==0.10.0"
UPLOADS = 40
SIGNED = {"authorization": "AWS4-HMAC-SHA256"}
"""The functions' own requests: links for the gateway carry their signature elsewhere."""
LOST = {"response": {"abort_bytes": 0}}
"""It took place, and nobody hears of it."""
RULES: list[dict[str, Any]] = [
    {"service": "dynamodb", "times": 25, "error": {"code": "ProvisionedThroughputExceededException"}},
    {"service": "dynamodb", "times": 15, "error": {"code": "InternalServerError", "status": 500}},
    {"service": "dynamodb", "times": 10, "reset": True},
    {"service": "dynamodb", "operation": "UpdateItem", "times": 10, **LOST},
    {"service": "dynamodb", "operation": "PutItem", "times": 10, **LOST},
    {"service": "s3", "headers": SIGNED, "times": 10, "error": {"code": "SlowDown", "status": 503}},
    {"service": "s3", "headers": SIGNED, "times": 10, "error": {"code": "InternalError", "status": 500}},
    {"service": "s3", "operation": "PutObject", "headers": SIGNED, "times": 5, **LOST},
    {"service": "sqs", "times": 5, "error": {"code": "RequestThrottled", "status": 403}},
    {"service": "sqs", "operation": "SendMessage", "times": 3, **LOST},
    {"service": "events", "times": 5, "error": {"code": "InternalException", "status": 500}},
    {"service": "ssm", "times": 1, "error": {"code": "ThrottlingException", "status": 400}},
]


@pytest.fixture(scope="module")
def proxy(aws: str) -> Iterator[str]:
    folder = ROOT / ".local" / "microburst"
    if not (folder / "bin" / "microburst").exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
            subprocess.run([str(folder / "bin" / "pip"), "install", MICROBURST], check=True, capture_output=True)
        except subprocess.CalledProcessError:
            pytest.skip("pip could not install microburst")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(folder / "bin" / "microburst"), "--upstream", aws, "--port", str(port), "--no-resign"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            with suppress(httpx.HTTPError):
                if httpx.get(f"{url}/_microburst/health").is_success:
                    break
            time.sleep(0.1)
        yield url
    finally:
        running.terminate()
        running.wait()


@pytest.fixture
def behind(proxy: str, harness: Harness, environment: pytest.MonkeyPatch) -> Harness:
    """A stack whose functions reach AWS by the proxy alone; boto3's waits between its tries are left out."""
    environment.setenv("AWS_ENDPOINT_URL", proxy)
    for name in ("RETRY_QUEUE_URL", "DEAD_LETTER_QUEUE_URL"):
        url = httpx.URL(harness.retry_url if name.startswith("RETRY") else harness.dead_letter_url)
        environment.setenv(name, str(url.copy_with(host="127.0.0.1", port=httpx.URL(proxy).port)))
    environment.setattr(bootstrap, "boto3", boto3)
    environment.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=lambda _: None))
    harness.restart()
    return harness


def test_rows_83_84_forty_uploads_among_a_hundred_faults_are_charged_and_stored_once(
    behind: Harness, proxy: str, photo: bytes
) -> None:
    rules = [{"probability": 0.3, **rule} for rule in RULES]
    httpx.post(f"{proxy}/_microburst/rules", json=rules).raise_for_status()

    jobs = [behind.upload(f"{number}.jpg", photo, prompt="wood") for number in range(UPLOADS)]
    behind.drain(seconds=86_400)

    fired = httpx.get(f"{proxy}/_microburst/fired", params={"limit": 1000}).json()
    assert len(fired) >= 100
    assert behind.dead_letters() == []
    assert (behind.charged(), len(behind.output_keys())) == (UPLOADS, UPLOADS)
    assert {record.state for job in jobs if (record := behind.record(job))} == {"DONE"}
