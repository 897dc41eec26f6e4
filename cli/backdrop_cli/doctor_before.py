"""`backdrop doctor --before-deploy`: what can be checked before there is a stack."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping

from botocore.exceptions import ClientError

from backdrop.gateway import is_key
from backdrop_cli.deployment import Deployment, Unreachable
from backdrop_cli.doctor_account import executions_before
from backdrop_cli.doctor_environment import DEFAULTS, environment_finding, variables
from backdrop_cli.doctor_finding import Finding

RETRY_CONCURRENCY = "20"
"""The template's default."""
LONGEST_NAME = 43
"""Of a stack: bucket names have 63 characters at most, and begin with it."""
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_KEPT = "Import it (docs/deploy.md, Deploy again over kept data), or use another --stack."


def before_deploy_findings(deployment: Deployment, parameters: Mapping[str, str]) -> Iterator[Finding]:
    """One look after the other, for a deploy that names these parameters.

    Raises what `explained` tells when AWS can't be reached at all.
    """
    yield from _tools()
    endpoint = deployment.endpoint_url or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        yield Finding("endpoint", "doubt", f"an emulator at {endpoint}, not AWS", "Unset AWS_ENDPOINT_URL for AWS.")
    identity = deployment.sts.get_caller_identity()
    yield Finding("credentials", "ok", f"account {identity['Account']} as {identity['Arn']}")
    yield Finding("region", "ok", deployment.functions.meta.region_name)
    name = _stack_name(deployment.stack)
    yield name
    if name.state != "fault":
        yield from _names(deployment, identity["Account"], parameters.get("ExistingInputBucket", ""))
        yield _environment(deployment, identity["Account"], parameters)
    yield _key(deployment, parameters.get("GatewayApiKeyParameter", DEFAULTS["GatewayApiKeyParameter"]))
    yield executions_before(
        deployment,
        int(parameters.get("RetryConcurrency", RETRY_CONCURRENCY)),
        is_queue_notified=parameters.get("NotifyQueue") == "true",
    )


def _tools() -> Iterator[Finding]:
    """What `sam build` and `sam deploy` need on this machine."""
    sam = _version("sam")
    if sam:
        yield Finding("sam", "ok", sam)
    else:
        yield Finding("sam", "fault", "the SAM CLI is not on the PATH", "Install it, or use .venv-sam/bin/sam.")
    uv, pip = _version("uv"), _version("python3", "-m", "pip")
    if uv or pip:
        yield Finding("layer", "ok", f"built with {uv or pip}")
    else:
        yield Finding("layer", "fault", "neither uv nor python3 with pip is there", "Install one of them.")
    if not shutil.which("make"):
        yield Finding("make", "fault", "it is not on the PATH, and builds the layers", "Install it.")


def _version(*command: str) -> str:
    """What a program says of its version; empty if it isn't there."""
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - ours
    return done.stdout.strip().partition(" from ")[0] if done.returncode == 0 else ""


def _stack_name(stack: str) -> Finding:
    if len(stack) <= LONGEST_NAME and _NAME.fullmatch(stack):
        return Finding("stack name", "ok", stack)
    says = f"{stack} can't begin the name of a bucket"
    do = f"Lower-case letters, digits and hyphens, a letter first, {LONGEST_NAME} at most."
    return Finding("stack name", "fault", says, do)


def _is_deployed(deployment: Deployment) -> bool:
    try:
        return bool(deployment.outputs)
    except Unreachable:
        return False


def _environment(deployment: Deployment, account: str, parameters: Mapping[str, str]) -> Finding:
    deployed: Mapping[str, str] = {}
    if _is_deployed(deployment):
        name = deployment.outputs["ReplaceBackgroundFunctionName"]
        try:
            found = deployment.functions.get_function_configuration(FunctionName=name)
        except ClientError as error:
            return _not_allowed("variables", error)
        deployed = found.get("Environment", {}).get("Variables", {})
    region = deployment.functions.meta.region_name
    return environment_finding(variables(deployment.stack, account, region, deployed, parameters))


def _names(deployment: Deployment, account: str, existing_bucket: str) -> Iterator[Finding]:
    """Whether what the stack makes under a fixed name is not there yet."""
    if _is_deployed(deployment):
        yield Finding("stack", "ok", f"{deployment.stack} is deployed already: this will be an update")
        return
    for what in ("output",) if existing_bucket else ("input", "output"):
        yield _bucket(deployment, f"{what} bucket", f"{deployment.stack}-{what}-{account}")
    table = f"{deployment.stack}-ledger"
    try:
        deployment.dynamodb.describe_table(TableName=table)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            yield Finding("ledger", "ok", f"{table} is free")
        else:
            yield _not_allowed("ledger", error)
    else:
        yield Finding("ledger", "fault", f"{table} is there, kept from an earlier stack", _KEPT)


def _bucket(deployment: Deployment, what: str, name: str) -> Finding:
    try:
        deployment.s3.head_bucket(Bucket=name)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 404:
            return Finding(what, "ok", f"{name} is free")
        if status in (301, 403):
            says = f"{name} is somebody else's, in another region, or not for you to look at"
            return Finding(what, "fault", says, "Use another --stack.")
        return _not_allowed(what, error)
    return Finding(what, "fault", f"{name} is there, kept from an earlier stack", _KEPT)


def _key(deployment: Deployment, name: str) -> Finding:
    try:
        found = deployment.ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ParameterNotFound":
            says = f"there is no SSM parameter {name}"
            return Finding("key", "doubt", says, "Put it there, before or after the deploy (docs/deploy.md).")
        return _not_allowed("key", error)
    if found["Type"] != "SecureString":
        return Finding("key", "doubt", f"{name} is a {found['Type']}", "Put it there as a SecureString.")
    if not is_key(found["Value"].strip()):
        return Finding("key", "fault", f"what {name} holds is no key", "Put a valid one there.")
    return Finding("key", "ok", f"{name} holds one")


def _not_allowed(what: str, error: ClientError) -> Finding:
    says = f"{error.operation_name}: {error.response['Error']['Code']}"
    return Finding(what, "doubt", says, "Not checked: you may not look at it.")
