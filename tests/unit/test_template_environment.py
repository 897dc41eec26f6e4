"""The functions' environment: what the settings read, without a secret, within Lambda's 4 KB."""

import json
import re
from typing import Any

import pytest

from backdrop.settings import Settings
from backdrop_cli import doctor_before
from backdrop_cli.doctor_environment import DEFAULTS, MOST_BYTES, environment_finding
from backdrop_cli.doctor_environment import variables as variables_of
from tests.unit.template import source


def test_the_functions_have_every_variable_that_the_settings_read() -> None:
    variables = source()["Globals"]["Function"]["Environment"]["Variables"]
    environment = dict.fromkeys(variables, "1") | {
        "GATEWAY_BASE_URL": "https://gateway.test/v1",
        "GATEWAY_ROUTE": "generations",
        "GATEWAY_PATH": "/images",
        "GATEWAY_EXTRA_FIELDS": "{}",
        "GATEWAY_EXTRA_HEADERS": "{}",
        "ON_UNKNOWN_OUTCOME": "retry",
        "INPUT_BUCKET": "in",
        "OUTPUT_BUCKET": "out",
    }
    Settings.from_environment(environment)
    assert variables["AWS_ENDPOINT_URL"] == {"Ref": "AWS::NoValue"}


def test_no_function_has_a_secret_in_its_environment() -> None:
    variables = source()["Globals"]["Function"]["Environment"]["Variables"]
    assert not [name for name in variables if re.search("SECRET|TOKEN|PASSWORD|API_KEY$", name)]


@pytest.mark.parametrize(
    ("prompt", "fits"),
    [
        ("", True),
        ("a plain white studio", True),
        ("a" * 2000, True),
        ("a" * 2001, False),
        ("木" * 500, True),
        ("木" * 700, False),
        ("🪵" * 500, True),
        ("🪵" * 501, False),
        ("Küche aus hellem Holz, " * 60, True),
        ("é" * 499 + "aaaa", True),
        ("aé" * 250, True),
    ],
    ids=repr,
)
def test_a_default_prompt_that_lambda_has_no_room_for_is_refused_at_deploy(prompt: str, fits: bool) -> None:
    pattern = source()["Parameters"]["DefaultPrompt"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, prompt)) is fits
    assert not fits or len(prompt.encode()) <= 2000


def test_a_default_prompt_that_is_far_too_long_is_refused_quickly() -> None:
    pattern = re.compile(source()["Parameters"]["DefaultPrompt"]["AllowedPattern"])
    assert not pattern.search("a木" * 2000)
    assert not pattern.search("aaa木" * 2000 + "a" * 4000)


@pytest.mark.parametrize(
    "long",
    [
        pytest.param({"DefaultPrompt": "a" * 2000}, id="prompt"),
        pytest.param(
            {
                "DefaultPrompt": "a" * 500,
                "GatewayPath": "/" * 200,
                "GatewayExtraFields": "x" * 1000,
                "GatewayExtraHeaders": "x" * 500,
            },
            id="fields and headers",
        ),
    ],
)
def test_the_longest_settings_names_and_numbers_fit_into_lambdas_environment(long: dict[str, str]) -> None:
    stack, account, region = "s" * 43, "0" * 12, "ap-southeast-2"
    parameters = {name: str(each["Default"]) for name, each in source()["Parameters"].items()}
    parameters |= {
        **long,
        "GatewayBaseUrl": "https://" + "g" * 120,
        "GatewayModel": "m" * 100,
        "GatewayApiKeyParameter": "/" + "k" * 60,
        "DailyImageLimit": "10000000",
        "AWS::StackName": stack,
        "AWS::AccountId": account,
        "RetryQueue": f"https://sqs.{region}.amazonaws.com/{account}/{stack}-retry",
        "DeadLetterQueue": f"https://sqs.{region}.amazonaws.com/{account}/{stack}-dead-letters",
        "LedgerTable": f"{stack}-ledger",
    }

    def resolved(value: Any) -> str | None:
        if not isinstance(value, dict):
            return str(value)
        [(function, what)] = value.items()
        if function == "Fn::If":
            return resolved(what[1])
        if function == "Fn::Sub":
            return re.sub(r"\$\{([\w:]+)\}", lambda found: parameters[found[1]], what)
        return None if what == "AWS::NoValue" else parameters[what]

    variables = source()["Globals"]["Function"]["Environment"]["Variables"]
    environment = {name: text for name, value in variables.items() if (text := resolved(value)) is not None}
    assert environment_finding(environment).state == "ok"
    assert len(json.dumps(environment, ensure_ascii=False, separators=(",", ":")).encode()) <= MOST_BYTES
    assert environment == variables_of(stack, account, region, {}, parameters), "what doctor counts before a deploy"


def test_doctor_knows_the_defaults_of_the_template() -> None:
    parameters = {name: str(each["Default"]) for name, each in source()["Parameters"].items()}
    assert parameters | DEFAULTS == parameters
    assert parameters["RetryConcurrency"] == doctor_before.RETRY_CONCURRENCY
