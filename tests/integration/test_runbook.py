"""Each command of the runbook, run in the situation that its section is about."""

import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from backdrop_cli.deployment import Deployment
from tests.integration.command_line import command, deployed
from tests.integration.harness import Harness

pytestmark = pytest.mark.usefixtures("one_day")

RUNBOOK = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text()
KEY = "shoes/red.jpg"
ELSEWHERE = ("doctor", "reconcile")
"""Commands that need a deployed stack: tests/e2e."""
SENT = "1 upload will be looked at now"
SECTIONS = re.findall(r"^## ([a-z-]+)$", RUNBOOK, re.M)


def commands_of(section: str) -> list[str]:
    """The commands that people see: not those for the AWS CLI."""
    text = RUNBOOK.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    seen = re.sub(r"<details>.*?</details>", "", text, flags=re.S)
    blocks = re.findall(r"^```sh\n(.*?)^```$", seen, re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line.startswith("backdrop ")]


def dead_letters(harness: Harness, photo: bytes) -> dict[str, str]:
    harness.gateway.faults([{"kind": "empty", "times": 9}])
    harness.upload(KEY, photo, prompt="snow")
    return {"failures": "no_image_returned", "show --state REJECTED": KEY, "show shoes/red.jpg --answer": '"data":'}


def oldest_waiting(harness: Harness, photo: bytes) -> dict[str, str]:
    harness.gateway.faults([{"kind": "status", "status": 402}])
    harness.upload(KEY, photo, prompt="snow")
    harness.sqs.purge_queue(QueueUrl=harness.retry_url)
    harness.advance(7 * 3600)
    return {
        "pace": "Paused since",
        "status": "stuck",
        "show shoes/red.jpg": "402",
        "retry": "1 upload will be looked at",
    }


def unknown_outcomes(harness: Harness, photo: bytes) -> dict[str, str]:
    harness.gateway.faults([{"kind": "drop_after_charge", "times": 9}])
    harness.upload(KEY, photo, prompt="snow")
    return {"show --state UNKNOWN": KEY, "failures": "There is no such dead letter"}


def paid_not_stored(harness: Harness, photo: bytes) -> dict[str, str]:
    link = f"{harness.gateway.base_url.removesuffix('/v1')}/media/none.png"
    harness.gateway.faults([{"kind": "link", "url": link}])
    harness.upload(KEY, photo, prompt="snow")
    return {"show --state PAID": KEY, "show shoes/red.jpg": link, "retry": SENT}


def account_paused(harness: Harness, photo: bytes) -> dict[str, str]:
    harness.gateway.faults([{"kind": "status", "status": 402}])
    harness.upload(KEY, photo, prompt="snow")
    return {"pace": "Calls fail since", "show --state CLAIMED": KEY, "retry": SENT}


def daily_limit_reached(harness: Harness, photo: bytes) -> dict[str, str]:
    harness.upload("hats/blue.jpg", photo, prompt="snow", tag="acme")
    harness.upload(KEY, photo, prompt="snow")
    return {
        "pace": "1 image bought or reserved, $0.03, of 1 image.",
        "status": "DailyImageLimit",
        "receipt --by tag": "acme",
    }


def only_log_lines(harness: Harness, photo: bytes) -> dict[str, str]:
    harness.upload(KEY, photo, prompt="snow")
    return {}


SITUATIONS: dict[str, Callable[[Harness, bytes], dict[str, str]]] = {
    "dead-letters": dead_letters,
    "oldest-waiting": oldest_waiting,
    "unknown-outcomes": unknown_outcomes,
    "paid-not-stored": paid_not_stored,
    "account-paused": account_paused,
    "daily-limit-reached": daily_limit_reached,
    "dropped-events": only_log_lines,
    "unexpected-errors": only_log_lines,
    "reconcile-fails": only_log_lines,
}


@pytest.fixture
def deployment(harness: Harness, environment: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Deployment:
    """With every text that the runbook looks for in every log."""
    if "daily-limit-reached" in request.node.name:
        environment.setenv("DAILY_IMAGE_LIMIT", "1")
    deployment = deployed()
    texts = re.findall(r'--text (?:"(.*?)"|(\S+))', RUNBOOK)
    lines = [f"here it says {quoted or word}" for quoted, word in texts]
    for function in ("replace-background", "retry", "reconcile"):
        group = f"/aws/lambda/backdrop-{function}"
        deployment.logs.create_log_group(logGroupName=group)
        deployment.logs.create_log_stream(logGroupName=group, logStreamName="stream")
        events = [{"timestamp": int(time.time() * 1000), "message": line} for line in lines]
        deployment.logs.put_log_events(logGroupName=group, logStreamName="stream", logEvents=events)  # type: ignore[arg-type]
    return deployment


@pytest.mark.parametrize("section", SITUATIONS)
def test_every_command_of_a_section_works_in_its_situation(
    harness: Harness, deployment: Deployment, photo: bytes, section: str
) -> None:
    expected = SITUATIONS[section](harness, photo)
    commands = [line for line in commands_of(section) if shlex.split(line)[1] not in ELSEWHERE]
    for line in commands:
        done = command(deployment, *shlex.split(line)[1:], standalone_mode=False)
        assert (done.exception, done.return_value or 0) == (None, 0), (line, done.output, done.exception)
        text = re.search(r'--text "?(.*?)"?$', line)
        if text:
            assert f"here it says {text[1]}" in done.output, line
        words = next((says for start, says in expected.items() if line.removeprefix("backdrop ") == start), None)
        words = words or next((says for start, says in expected.items() if line.startswith(f"backdrop {start} ")), "")
        assert words in done.output, line
        if line.startswith("backdrop resume"):
            harness.drain()


def test_every_alarm_has_a_situation_and_the_runbook_no_function_of_a_shell() -> None:
    assert set(SITUATIONS) == set(SECTIONS)
    assert re.findall(r"^\s*\w+ *\(\) *\{", RUNBOOK, re.M) == []
    assert all(commands_of(section) for section in SECTIONS)
