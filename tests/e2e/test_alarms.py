"""From a log line to a mail, on the deployed local stack.

The emulator makes no metrics of log lines, so the tests do.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.deployed import Deployed, Mailbox, subscribed
from tools.local_stack import STACK_NAME
from tools.polling import until

PHOTO = (Path(__file__).parents[2] / "tools" / "samples" / "lamp.webp").read_bytes()


def described(deployed: Deployed, name: str) -> Any:
    [alarm] = deployed.stack.client("cloudwatch").describe_alarms(AlarmNames=[f"{STACK_NAME}-{name}"])["MetricAlarms"]
    return alarm


@pytest.fixture
def mail(deployed: Deployed) -> Iterator[Mailbox]:
    """What the alarm topic publishes."""
    [topic] = described(deployed, "account-paused")["AlarmActions"]
    with subscribed(deployed.stack, topic) as mailbox:
        yield mailbox


def data(line: dict[str, Any]) -> list[dict[str, Any]]:
    """A log line as CloudWatch takes it."""
    [directive] = line["_aws"]["CloudWatchMetrics"]
    [names] = directive["Dimensions"]
    return [
        {
            "MetricName": metric["Name"],
            "Dimensions": [{"Name": name, "Value": line[name]} for name in names],
            "Values": line[metric["Name"]],
            "Unit": metric["Unit"],
        }
        for metric in directive["Metrics"]
    ]


def until_it_goes_off(deployed: Deployed, mail: Mailbox, name: str) -> None:
    """Wait for the alarm and for its mail, with what this test's uploads emitted."""
    alarm = described(deployed, name)
    assert alarm["StateValue"] != "ALARM"

    def found() -> list[dict[str, Any]]:
        # The emulator would take any metric of that name, whatever its dimensions.
        emitted = [datum for line in deployed.metrics() for datum in data(line)]
        return [
            datum
            for datum in emitted
            if (datum["MetricName"], datum["Dimensions"]) == (alarm["MetricName"], alarm["Dimensions"])
        ]

    deployed.stack.client("cloudwatch").put_metric_data(
        Namespace=alarm["Namespace"], MetricData=until("its metric", found)
    )
    until("the alarm", lambda: described(deployed, name)["StateValue"] == "ALARM")

    def is_told() -> bool:
        emitted = [json.loads(message["Message"]) for message in mail.take()]
        return any((each["AlarmName"], each["NewStateValue"]) == (alarm["AlarmName"], "ALARM") for each in emitted)

    until("its mail", is_told)


def test_an_empty_wallet_sets_off_an_alarm(deployed: Deployed, mail: Mailbox) -> None:
    deployed.gateway.settings(wallet_usd=0)
    deployed.put("a.jpg", PHOTO, prompt="wood")
    try:
        until_it_goes_off(deployed, mail, "account-paused")
    finally:
        # It waits for half a minute; gone by then, it calls nobody in a later test.
        deployed.s3.delete_object(Bucket=deployed.input_bucket, Key=f"{deployed.folder}a.jpg")


def test_an_unknown_outcome_sets_off_an_alarm(deployed: Deployed, mail: Mailbox) -> None:
    deployed.gateway.faults([{"kind": "drop_after_charge"}])
    deployed.put("a.jpg", PHOTO, prompt="wood")

    until_it_goes_off(deployed, mail, "unknown-outcomes")
    deployed.until_stored("a.jpg.png")
