"""What alarms and the dashboard read is what the functions tell, and the runbook knows every alarm."""

import inspect
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from cfnlint.decode.cfn_yaml import load as load_yaml

from backdrop.errors import NotYet
from backdrop.metrics import NAMESPACE, Metrics
from tools.translated import TEMPLATE

RUNBOOK = TEMPLATE.parent / "docs" / "runbook.md"
Read = tuple[str, frozenset[str]]
"""A metric's name and the names of its dimensions."""


@cache
def resources() -> dict[str, Any]:
    resources: dict[str, Any] = load_yaml(str(TEMPLATE))["Resources"]
    return resources


def alarms() -> dict[str, Any]:
    """By logical id."""
    return {
        name: resource["Properties"]
        for name, resource in resources().items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }


def suffix(alarm: Any) -> str:
    """An alarm's name behind the stack's."""
    name: str = alarm["AlarmName"]["Fn::Sub"]
    assert name.startswith("${AWS::StackName}-")
    return name.removeprefix("${AWS::StackName}-")


def dashboard() -> Any:
    """The body with each ${Name} as the text Name."""
    body: str = resources()["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    return json.loads(re.sub(r"\$\{([\w:.]+)\}", r"\1", body))


def read_by_the_dashboard() -> Iterator[Read]:
    for widget in dashboard()["widgets"]:
        above: list[str] = []
        for row in widget["properties"].get("metrics", []):
            options = row[-1] if isinstance(row[-1], dict) else {}
            if "expression" in options:
                yield from searched(options["expression"])
                continue
            # "." repeats what stands above, "..." all of it.
            # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
            texts = [text for text in row if isinstance(text, str)]
            if texts == ["..."]:
                texts = above
            above = [above[index] if text == "." else text for index, text in enumerate(texts)]
            namespace, name, *dimensions = above
            if namespace == NAMESPACE:
                assert dimensions[1] == "AWS::StackName"
                yield name, frozenset(dimensions[::2])


def searched(expression: str) -> Iterator[Read]:
    found = re.fullmatch(
        r"""SEARCH\('\{(\w+),([\w,]+)\} MetricName="(\w+)" Stack="AWS::StackName"', '\w+', \d+\)""", expression
    )
    assert found, expression
    assert found[1] == NAMESPACE
    yield found[3], frozenset(found[2].split(","))


def read_by_alarms() -> Iterator[Read]:
    for alarm in alarms().values():
        if alarm["Namespace"] == NAMESPACE:
            values = {dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]}
            assert values["Stack"] == {"Ref": "AWS::StackName"}
            yield alarm["MetricName"], frozenset(values)


def published(capsys: pytest.CaptureFixture[str]) -> set[Read]:
    """What all public methods of Metrics write."""
    metrics = Metrics("backdrop")
    for name, method in inspect.getmembers(metrics, inspect.ismethod):
        if not name.startswith("_"):
            arguments = inspect.signature(method).parameters.values()
            method(*("1" if argument.annotation is str else 1 for argument in arguments))
    directives = [
        directive
        for line in capsys.readouterr().out.splitlines()
        for directive in json.loads(line)["_aws"]["CloudWatchMetrics"]
    ]
    assert {directive["Namespace"] for directive in directives} == {NAMESPACE}
    return {
        (metric["Name"], frozenset(dimensions))
        for directive in directives
        for dimensions in directive["Dimensions"]
        for metric in directive["Metrics"]
    }


def test_what_alarms_and_the_dashboard_read_is_published(capsys: pytest.CaptureFixture[str]) -> None:
    read = {*read_by_alarms(), *read_by_the_dashboard()}
    assert len(read) > 5
    assert read - published(capsys) == set()


def test_everything_published_is_read_by_an_alarm_or_the_dashboard(capsys: pytest.CaptureFixture[str]) -> None:
    assert published(capsys) - {*read_by_alarms(), *read_by_the_dashboard()} == set()


def test_reasons_that_alarms_wait_for_are_reasons_to_postpone() -> None:
    waited_for = {
        dimension["Value"]
        for alarm in alarms().values()
        for dimension in alarm["Dimensions"]
        if dimension["Name"] == "Reason"
    }
    assert waited_for
    assert waited_for <= {kind.reason for kind in NotYet.__subclasses__()}


def test_every_alarm_is_on_the_dashboard() -> None:
    [shown] = [widget["properties"]["alarms"] for widget in dashboard()["widgets"] if widget["type"] == "alarm"]
    assert sorted(shown) == sorted(f"{name}.Arn" for name in alarms())


def test_failed_calls_are_read_from_the_log_groups_of_the_functions_that_call() -> None:
    [query] = [widget["properties"]["query"] for widget in dashboard()["widgets"] if widget["type"] == "log"]
    read = set(re.findall(r"SOURCE '(\w+)'", query))
    may_call = [resources()[name]["Properties"] for name in ("ReplaceBackgroundFunction", "RetryFunction")]
    assert read == {properties["LoggingConfig"]["LogGroup"]["Ref"] for properties in may_call}


def test_every_widget_has_a_place_of_its_own() -> None:
    places = [
        (x, y)
        for widget in dashboard()["widgets"]
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24  # columns of a dashboard


@pytest.mark.parametrize("name", alarms())
def test_every_alarm_tells_the_topic_and_is_quiet_without_data(name: str) -> None:
    alarm = alarms()[name]
    assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}]
    assert alarm["TreatMissingData"] == "notBreaching"
    assert alarm["AlarmDescription"]


@pytest.mark.parametrize("name", alarms())
def test_every_alarm_has_its_section_in_the_runbook(name: str) -> None:
    headings = re.findall(r"^## (\S+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert headings.count(suffix(alarms()[name])) == 1
