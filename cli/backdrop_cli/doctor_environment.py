"""Whether the functions' variables fit into what Lambda gives a function for them."""

import json
import re
from collections.abc import Mapping

from backdrop_cli.doctor_finding import Finding

MOST_BYTES = 4096
"""https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html; Lambda counts the variables as JSON."""
DEFAULTS = {
    "GatewayBaseUrl": "https://api.aigateway.sh/v1",
    "GatewayApiKeyParameter": "/backdrop/gateway-api-key",
    "GatewayModel": "ideogram/ideogram-v3-replace-background",
    "GatewayRoute": "generations",
    "GatewayPath": "",
    "GatewayExtraFields": "{}",
    "GatewayExtraHeaders": "{}",
    "GatewayTimeoutSeconds": "100",
    "RequestsPerMinute": "60",
    "DailyImageLimit": "1000",
    "PricePerImageUsd": "0.03",
    "DefaultPrompt": "",
    "MaxAttempts": "6",
    "OnUnknownOutcome": "retry",
}
"""The template's parameters that become variables, each of the same name in capitals."""


def variables(
    stack: str, account: str, region: str, deployed: Mapping[str, str], given: Mapping[str, str]
) -> dict[str, str]:
    """Those that a deploy with the parameters `given` would set; the others stay as they are `deployed`."""
    queue = f"https://sqs.{region}.amazonaws.com/{account}/{stack}"
    named = {
        "STACK_NAME": stack,
        "INPUT_BUCKET": given.get("ExistingInputBucket") or f"{stack}-input-{account}",
        "OUTPUT_BUCKET": f"{stack}-output-{account}",
        "RETRY_QUEUE_URL": f"{queue}-retry",
        "DEAD_LETTER_QUEUE_URL": f"{queue}-dead-letters",
        "LEDGER_TABLE": f"{stack}-ledger",
    }
    defaults = {_variable(name): value for name, value in DEFAULTS.items()}
    return (
        named
        | defaults
        | dict(deployed)
        | {_variable(name): value for name, value in given.items() if name in DEFAULTS}
    )


def environment_finding(environment: Mapping[str, str]) -> Finding:
    """How many of Lambda's bytes they take; signs of other scripts take up to four each."""
    size = _bytes(environment)
    says = f"{size:,} bytes of the {MOST_BYTES:,} that Lambda gives a function for its variables"
    if size <= MOST_BYTES:
        return Finding("variables", "ok", says)
    longest = sorted(DEFAULTS, key=lambda name: _bytes(environment.get(_variable(name), "")), reverse=True)[:2]
    told = " or ".join(f"{name} ({_bytes(environment[_variable(name)]):,})" for name in longest)
    return Finding("variables", "fault", says, f"Shorten {told}: Lambda would refuse them during the deploy.")


def _variable(parameter: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", parameter).upper()


def _bytes(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
