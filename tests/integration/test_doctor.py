"""`backdrop doctor`: what it says of the account."""

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from botocore.stub import Stubber

from backdrop_cli.deployment import Deployment
from backdrop_cli.doctor_account import executions
from backdrop_cli.doctor_before import before_deploy_findings
from backdrop_cli.doctor_environment import environment_finding, variables
from backdrop_cli.doctor_finding import Finding
from tests.integration.harness import Harness

RAISED = ', or have the quota "Concurrent executions" raised.'


@pytest.mark.parametrize(
    ("allowed", "wanted", "notified", "do"),
    [
        (1000, 20, False, ""),
        (100, 20, False, ""),
        (10, 20, False, "Deploy with RetryConcurrency=10 NotifyQueue=true" + RAISED),
        (10, 20, True, "Deploy with RetryConcurrency=10" + RAISED),
        (10, 10, False, "Deploy with NotifyQueue=true" + RAISED),
        (10, 10, True, ""),
        (100, 200, False, "Deploy with RetryConcurrency=100" + RAISED),
    ],
)
def test_doctor_says_what_to_do_in_an_account_that_runs_few_functions_at_once(
    deployment: Deployment, harness: Harness, allowed: int, wanted: int, notified: bool, do: str
) -> None:
    if notified:
        policy = json.dumps({"Version": "2012-10-17", "Statement": [NOTIFIES]})
        deployment.sqs.set_queue_attributes(QueueUrl=deployment.settings.retry_queue_url, Attributes={"Policy": policy})
    functions = deployment.functions
    with Stubber(functions) as answers:
        answers.add_response("get_account_settings", {"AccountLimit": {"ConcurrentExecutions": allowed}}, {})
        answers.add_response(
            "list_event_source_mappings",
            {"EventSourceMappings": [{"ScalingConfig": {"MaximumConcurrency": wanted}}]},
            {"EventSourceArn": "arn:aws:sqs:us-east-1:123456789012:backdrop-retry"},
        )
        found = executions(deployment)
    assert (found.state, found.do) == ("doubt" if do else "ok", do)
    assert f"Lambda runs {allowed} at once" in found.says


NOTIFIES = {
    "Sid": "Uploads",
    "Effect": "Allow",
    "Principal": {"Service": "s3.amazonaws.com"},
    "Action": "sqs:SendMessage",
    "Resource": "arn:aws:sqs:us-east-1:123456789012:backdrop-retry",
}
"""Of RetryQueue's policy with `NotifyQueue=true`; tests/unit/test_notify_queue.py holds the template to it."""


def test_doctor_goes_on_when_it_may_not_ask_what_the_account_allows(deployment: Deployment, harness: Harness) -> None:
    with Stubber(deployment.functions) as answers:
        answers.add_client_error("get_account_settings", "AccessDeniedException")
        assert executions(deployment).state == "doubt"


CLIENTS = ("cloudformation", "dynamodb", "functions", "s3", "ssm", "sts")


@cache
def one_for_all() -> Deployment:
    """Its clients are used by every test: making them takes longer than the tests."""
    return Deployment("shop")


@pytest.fixture
def before(harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Finding]]:
    """What is said before a stack of some name is deployed, by what it is about."""
    for name in ("sam", "make", "uv"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name} 1.0\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def said(stack: str = "shop", **parameters: str) -> dict[str, Finding]:
        deployment = Deployment(stack)
        deployment.__dict__.update({name: getattr(one_for_all(), name) for name in CLIENTS})
        return {each.what: each for each in before_deploy_findings(deployment, parameters)}

    return said


Before = Callable[..., dict[str, Finding]]


def test_before_a_deploy_doctor_says_that_nothing_is_in_the_way(before: Before) -> None:
    found = before()

    assert {name for name, each in found.items() if each.state == "fault"} == set()
    assert {"sam", "credentials", "region", "stack name", "input bucket", "output bucket", "ledger", "key"} <= set(
        found
    )
    assert found["input bucket"].says == "shop-input-123456789012 is free"
    assert "123456789012" in found["credentials"].says
    assert found["endpoint"].state == "doubt", "it is an emulator that is asked here"


@pytest.mark.parametrize("stack", ["Shop", "shop_1", "1shop", "s" * 44])
def test_before_a_deploy_doctor_refuses_a_name_that_no_bucket_can_begin_with(before: Before, stack: str) -> None:
    assert before(stack)["stack name"].state == "fault"
    assert before("s" * 43)["stack name"].state == "ok"


def test_before_a_deploy_doctor_finds_what_an_earlier_stack_left(before: Before, harness: Harness) -> None:
    harness.s3.create_bucket(Bucket="shop-output-123456789012")
    assert before()["output bucket"].state == "fault"
    assert "Import it" in before("backdrop")["ledger"].do


def test_before_a_deploy_doctor_says_what_is_wrong_with_the_key(before: Before, harness: Harness) -> None:
    harness.put_key("kein Schlüssel")
    assert before()["key"].state == "fault"
    harness.ssm.delete_parameter(Name="/backdrop/gateway-api-key")
    assert before()["key"].state == "doubt"
    harness.ssm.put_parameter(Name="/backdrop/gateway-api-key", Value="sk", Type="String")
    assert "SecureString" in before()["key"].do


def test_before_a_deploy_doctor_misses_the_sam_cli(
    before: Before, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    found = before()
    assert [found[name].state for name in ("sam", "layer", "make")] == ["fault"] * 3


def test_before_a_deploy_doctor_counts_the_variables_in_bytes_and_all_of_them(before: Before) -> None:
    """Each of these parameters is one that the template takes; Lambda would refuse them together."""
    fields = json.dumps({"negative": "木" * 100, "list": ["x"] * 80}, ensure_ascii=False)
    assert len(fields) <= 1000
    longest = {
        "DefaultPrompt": "a" * 2000,
        "GatewayExtraFields": fields,
        "GatewayExtraHeaders": '{"x":"' + "y" * 450 + '"}',
    }

    assert before()["variables"].state == before(DefaultPrompt="木" * 600)["variables"].state == "ok"
    found = before(stack="s" * 43, **longest)["variables"]
    assert found.state == "fault"
    assert "Shorten DefaultPrompt (2,002) or GatewayExtraFields" in found.do


def test_before_an_update_doctor_counts_what_stays_as_it_is_deployed(before: Before, harness: Harness) -> None:
    deployed = {"DEFAULT_PROMPT": "木" * 600, "GATEWAY_MODEL": "m" * 1200}
    both = variables("shop", "0" * 12, "us-east-1", deployed, {"GatewayExtraFields": "x" * 1000})
    without_prompt = variables("shop", "0" * 12, "us-east-1", deployed, {"DefaultPrompt": ""})

    assert environment_finding(both).state == "fault"
    assert environment_finding(without_prompt).state == "ok"


def test_before_a_deploy_doctor_goes_by_the_parameters_that_will_be_deployed(before: Before, harness: Harness) -> None:
    with Stubber(one_for_all().functions) as answers:
        answers.add_response("get_account_settings", {"AccountLimit": {"ConcurrentExecutions": 10}}, {})
        found = before(RetryConcurrency="30", GatewayApiKeyParameter="/mine", ExistingInputBucket="photos")

    assert "takes 30 messages" in found["executions"].says
    assert "/mine" in found["key"].says
    assert "input bucket" not in found
