"""Promises of the template that CloudFormation would only tell at deploy time."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from cfnlint.decode.cfn_yaml import load as load_yaml

from backdrop.settings import Settings
from tools.translated import TEMPLATE, translated

PARAMETERS = {
    "GatewayBaseUrl": "https://api.aigateway.sh/v1",
    "GatewayApiKeyParameter": "/backdrop/gateway-api-key",
    "GatewayModel": "ideogram/ideogram-v3-replace-background",
    "GatewayRoute": "generations",
    "GatewayTimeoutSeconds": 100,
    "RequestsPerMinute": 60,
    "DailyImageLimit": 1000,
    "PricePerImageUsd": "0.03",
    "DefaultPrompt": "",
    "MaxAttempts": 6,
    "OnUnknownOutcome": "retry",
    "RetryConcurrency": 20,
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


@cache
def source() -> Any:
    return load_yaml(str(TEMPLATE))


@cache
def template() -> Any:
    return translated()


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


def test_the_functions_have_every_variable_that_the_settings_read() -> None:
    variables = source()["Globals"]["Function"]["Environment"]["Variables"]
    environment = dict.fromkeys(variables, "1") | {
        "GATEWAY_BASE_URL": "https://gateway.test/v1",
        "GATEWAY_ROUTE": "generations",
        "ON_UNKNOWN_OUTCOME": "retry",
        "INPUT_BUCKET": "in",
        "OUTPUT_BUCKET": "out",
    }
    Settings.from_environment(environment)
    assert variables["AWS_ENDPOINT_URL"] == {"Ref": "AWS::NoValue"}


def test_no_function_has_a_secret_in_its_environment() -> None:
    variables = source()["Globals"]["Function"]["Environment"]["Variables"]
    assert not [name for name in variables if re.search("SECRET|TOKEN|PASSWORD|API_KEY$", name)]


def test_the_retry_queue_hides_messages_six_times_as_long_as_a_function_runs() -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html"""
    function_seconds = source()["Globals"]["Function"]["Timeout"]
    assert source()["Resources"]["RetryQueue"]["Properties"]["VisibilityTimeout"] >= 6 * function_seconds


def test_a_call_at_its_longest_fits_into_an_invocation() -> None:
    longest_call = source()["Parameters"]["GatewayTimeoutSeconds"]["MaxValue"]
    assert longest_call + 25 <= source()["Globals"]["Function"]["Timeout"]


def test_failed_events_of_the_trigger_go_to_the_retry_queue_at_once() -> None:
    config = source()["Resources"]["ReplaceBackgroundFunction"]["Properties"]["EventInvokeConfig"]
    assert config["MaximumRetryAttempts"] == 0
    assert config["DestinationConfig"]["OnFailure"]["Destination"] == {"Fn::GetAtt": ["RetryQueue", "Arn"]}


def statements() -> Iterator[tuple[str, Any]]:
    for name, resource in template()["Resources"].items():
        properties = resource.get("Properties", {})
        documents = [properties.get("PolicyDocument")]
        documents += [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        for document in documents:
            for statement in document["Statement"] if document else []:
                yield name, statement


def test_no_statement_grants_a_wildcard() -> None:
    for name, statement in statements():
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not [action for action in actions if "*" in action], name
        assert statement.get("Resource") != "*", name


def test_row_64_no_function_reserves_concurrency() -> None:
    """A new account has ten concurrent executions in all and can't reserve any."""
    functions = [
        resource for resource in template()["Resources"].values() if resource["Type"] == "AWS::Lambda::Function"
    ]
    assert len(functions) == 3
    assert not [function for function in functions if "ReservedConcurrentExecutions" in function["Properties"]]
