"""Promises of the template that CloudFormation would only tell at deploy time."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.template import source, template
from tools.bench import play
from tools.bench.scenario import VISIBILITY_SECONDS
from tools.simulation import functions as simulated

PARAMETERS = {
    "GatewayBaseUrl": "https://api.aigateway.sh/v1",
    "GatewayApiKeyParameter": "/backdrop/gateway-api-key",
    "GatewayModel": "ideogram/ideogram-v3-replace-background",
    "GatewayRoute": "generations",
    "GatewayPath": "",
    "GatewayExtraFields": "{}",
    "GatewayExtraHeaders": "{}",
    "GatewayTimeoutSeconds": 100,
    "RequestsPerMinute": 60,
    "DailyImageLimit": 1000,
    "PricePerImageUsd": "0.03",
    "DefaultPrompt": "",
    "MaxAttempts": 6,
    "OnUnknownOutcome": "retry",
    "RetryConcurrency": 20,
    "NotifyQueue": "false",
    "Architecture": "x86_64",
    "AlarmEmail": "",
}
OUTPUTS = {
    "InputBucketName",
    "OutputBucketName",
    "RetryQueueUrl",
    "DeadLetterQueueUrl",
    "LedgerTableName",
    "ReplaceBackgroundFunctionName",
    "RetryFunctionName",
    "ReconcileFunctionName",
}
LOGICAL_IDS = {
    "InputBucket",
    "OutputBucket",
    "RetryQueue",
    "DeadLetterQueue",
    "LedgerTable",
    "ReplaceBackgroundFunction",
    "RetryFunction",
    "ReconcileFunction",
}


def references(part: Any) -> Iterator[str]:
    """The logical ids that a part of the template refers to."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "Ref":
                yield value
            elif name == "Fn::GetAtt":
                yield value[0] if isinstance(value, list) else value.split(".")[0]
            elif name == "Fn::Sub":
                text = value if isinstance(value, str) else value[0]
                yield from (found.split(".")[0] for found in re.findall(r"\$\{([\w.:]+)\}", text))
            elif name == "DependsOn":
                yield from ([value] if isinstance(value, str) else value)
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_no_resource_depends_on_itself_in_a_circle() -> None:
    resources = template()["Resources"]
    depends = {name: set(references(resource)) & set(resources) for name, resource in resources.items()}
    while depends:
        free = {name for name, needs in depends.items() if not needs}
        assert free, f"these depend on each other in a circle: {sorted(depends)}"
        depends = {name: needs - free for name, needs in depends.items() if name not in free}


def test_every_parameter_of_the_contract_is_there_with_its_default_and_a_description() -> None:
    parameters = source()["Parameters"]
    assert {name: parameters[name]["Default"] for name in PARAMETERS} == PARAMETERS
    assert all(parameter["Description"] for parameter in parameters.values())


def test_every_parameter_has_a_default() -> None:
    """`sam deploy` with nothing but overrides works."""
    assert [name for name, parameter in source()["Parameters"].items() if "Default" not in parameter] == []


def test_outputs_and_logical_ids_are_those_of_the_contract() -> None:
    assert set(source()["Outputs"]) == OUTPUTS
    assert set(source()["Resources"]) >= LOGICAL_IDS


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://api.aigateway.sh/v1", True),
        ("https://gateway.example:8443/v1", True),
        ("http://127.0.0.1:8787/v1", True),
        ("http://localhost/v1", True),
        ("http://127.0.0.2:8787/v1", True),
        ("http://[::1]:8787/v1", True),
        ("http://host.docker.internal:8787/v1", True),
        ("http://api.aigateway.sh/v1", False),
        ("http://127.0.0.1.evil.example/v1", False),
        ("http://127.0.0.1@evil.example/v1", False),
        ("https://user:word@api.aigateway.sh/v1", False),
        ("ftp://api.aigateway.sh/v1", False),
    ],
)
def test_plain_http_is_for_a_gateway_on_this_machine_only(url: str, allowed: bool) -> None:
    pattern = source()["Parameters"]["GatewayBaseUrl"]["AllowedPattern"]
    assert bool(re.search(pattern, url)) is allowed


def test_the_retry_queue_hides_messages_a_little_longer_than_a_function_runs() -> None:
    """Lambda refuses less; what it has no room for waits as long, which the simulation plays."""
    function_seconds = source()["Globals"]["Function"]["Timeout"]
    visibility = source()["Resources"]["RetryQueue"]["Properties"]["VisibilityTimeout"]
    assert function_seconds < visibility <= 1.2 * function_seconds
    assert (function_seconds, visibility) == (play.FUNCTION_SECONDS, VISIBILITY_SECONDS)
    assert (function_seconds, visibility) == (simulated.FUNCTION_SECONDS["retry"], simulated.VISIBILITY_SECONDS)
    redrive = source()["Resources"]["RetryQueue"]["Properties"]["RedrivePolicy"]
    assert redrive["maxReceiveCount"] == play.MOST_RECEIVES == 1000, "SQS takes no more"


def test_a_call_at_its_longest_fits_into_an_invocation() -> None:
    longest_call = source()["Parameters"]["GatewayTimeoutSeconds"]["MaxValue"]
    assert longest_call + 25 <= source()["Globals"]["Function"]["Timeout"]


def test_failed_events_of_the_trigger_go_to_the_retry_queue_at_once() -> None:
    config = source()["Resources"]["ReplaceBackgroundFunction"]["Properties"]["EventInvokeConfig"]
    assert config["MaximumRetryAttempts"] == 0
    assert config["DestinationConfig"]["OnFailure"]["Destination"] == {"Fn::GetAtt": ["RetryQueue", "Arn"]}


def test_every_check_that_is_skipped_says_why() -> None:
    skipped = [
        (name, skip)
        for name, resource in source()["Resources"].items()
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
    ]
    assert [(name, skip["id"]) for name, skip in skipped if len(skip.get("comment", "").split()) < 5] == []


def test_row_64_no_function_reserves_concurrency() -> None:
    """A new account has ten concurrent executions in all and can't reserve any."""
    functions = [
        resource for resource in template()["Resources"].values() if resource["Type"] == "AWS::Lambda::Function"
    ]
    assert len(functions) == 3
    assert not [function for function in functions if "ReservedConcurrentExecutions" in function["Properties"]]


def test_only_the_function_that_renews_its_own_messages_may_feed_itself() -> None:
    """Lambda stops a chain of about 16 messages through one function: for an upload that waits, after ten weeks."""
    resources = template()["Resources"]
    allowed = [name for name, each in resources.items() if each.get("Properties", {}).get("RecursiveLoop") == "Allow"]
    assert allowed == ["RetryFunction"]


def test_a_raised_daily_limit_is_looked_for_every_five_minutes_whatever_the_reconcilers_schedule() -> None:
    rule = source()["Resources"]["WakeRule"]
    assert "Condition" not in rule
    assert rule["Properties"]["ScheduleExpression"] == "rate(5 minutes)"
    [target] = rule["Properties"]["Targets"]
    assert json.loads(target["Input"]) == {"only": "wake"}


def test_every_schedule_may_invoke_its_function_whenever_it_is_there() -> None:
    resources = source()["Resources"]
    permissions = {
        (resource["Properties"]["SourceArn"]["Fn::GetAtt"][0], resource["Properties"]["FunctionName"]["Ref"]): resource
        for resource in resources.values()
        if resource["Type"] == "AWS::Lambda::Permission" and "events" in resource["Properties"]["Principal"]
    }
    scheduled = {name: rule for name, rule in resources.items() if "ScheduleExpression" in rule.get("Properties", {})}
    assert len(scheduled) == 2
    for name, rule in scheduled.items():
        [target] = rule["Properties"]["Targets"]
        permission = permissions[name, target["Arn"]["Fn::GetAtt"][0]]
        assert permission.get("Condition") == rule.get("Condition")


def test_layers_go_with_the_stack() -> None:
    layers = [each for each in template()["Resources"].values() if each["Type"] == "AWS::Lambda::LayerVersion"]
    assert [each.get("DeletionPolicy") for each in layers] == ["Delete", "Delete"]
