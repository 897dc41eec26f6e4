"""Promises of the template that CloudFormation would only tell at deploy time."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from cfnlint.decode.cfn_yaml import load as load_yaml

from backdrop.settings import Settings
from backdrop_cli import doctor_before
from backdrop_cli.doctor_environment import DEFAULTS, MOST_BYTES, environment_finding
from backdrop_cli.doctor_environment import variables as variables_of
from tools.bench import scale
from tools.simulation import stack
from tools.translated import TEMPLATE, translated

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


def test_the_retry_queue_hides_messages_a_little_longer_than_a_function_runs() -> None:
    """Lambda refuses less; what it has no room for waits as long, which the simulation plays."""
    function_seconds = source()["Globals"]["Function"]["Timeout"]
    visibility = source()["Resources"]["RetryQueue"]["Properties"]["VisibilityTimeout"]
    assert function_seconds < visibility <= 1.2 * function_seconds
    assert (function_seconds, visibility) == (scale.FUNCTION_SECONDS, scale.VISIBILITY_SECONDS)
    assert (function_seconds, visibility) == (stack.FUNCTION_SECONDS["retry"], stack.VISIBILITY_SECONDS)
    redrive = source()["Resources"]["RetryQueue"]["Properties"]["RedrivePolicy"]
    assert redrive["maxReceiveCount"] == scale.MOST_RECEIVES == 1000, "SQS takes no more"


def test_a_call_at_its_longest_fits_into_an_invocation() -> None:
    longest_call = source()["Parameters"]["GatewayTimeoutSeconds"]["MaxValue"]
    assert longest_call + 25 <= source()["Globals"]["Function"]["Timeout"]


def test_failed_events_of_the_trigger_go_to_the_retry_queue_at_once() -> None:
    config = source()["Resources"]["ReplaceBackgroundFunction"]["Properties"]["EventInvokeConfig"]
    assert config["MaximumRetryAttempts"] == 0
    assert config["DestinationConfig"]["OnFailure"]["Destination"] == {"Fn::GetAtt": ["RetryQueue", "Arn"]}


def inside(part: Any) -> Iterator[Any]:
    """A part of the template and everything in it."""
    yield part
    if isinstance(part, dict | list):
        for value in part.values() if isinstance(part, dict) else part:
            yield from inside(value)


def texts(part: Any) -> list[str]:
    return [value for value in inside(part) if isinstance(value, str)]


# What has no name that could stand there instead: the objects of a bucket, the streams of a log group.
NAMELESS = re.compile(
    r"(arn:\$\{AWS::Partition\}:s3:::[^*?/]+|\$\{\w+Bucket\.Arn\})/\*"
    r"|(arn:\$\{AWS::Partition\}:logs:[^*?]+:log-group:[^*?]+|\$\{\w+LogGroup\.Arn\}):\*"
)


def wide_grants(resources: Any) -> list[str]:
    """What lets somebody do more, or reach more, than it names, and what lets anybody in."""
    found = []
    for name, resource in resources.items():
        properties = resource.get("Properties", {})
        # AWS's own policies are written for every account, so they are full of wildcards.
        wide = [text for text in texts(properties.get("ManagedPolicyArns")) if ":policy/" in text]
        wide += ["anybody"] if properties.get("Principal") == "*" else []
        for statement in inside(properties):
            if isinstance(statement, dict) and statement.get("Effect") == "Allow":
                wide += [key for key in statement if key in ("NotAction", "NotResource", "NotPrincipal")]
                wide += [text for key in ("Action", "Principal") for text in texts(statement.get(key)) if "*" in text]
                reached = [text for text in texts(statement.get("Resource")) if "*" in text or "?" in text]
                wide += [text for text in reached if not NAMELESS.fullmatch(text)]
        found += [f"{name}: {text}" for text in wide]
    return found


def public_buckets(resources: Any) -> list[str]:
    """Buckets that a policy or an access list could open to everybody."""
    shut = {"BlockPublicAcls": True, "BlockPublicPolicy": True, "IgnorePublicAcls": True, "RestrictPublicBuckets": True}
    own = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    return [
        name
        for name, resource in resources.items()
        if resource["Type"] == "AWS::S3::Bucket"
        and (
            resource["Properties"].get("PublicAccessBlockConfiguration") != shut
            or resource["Properties"].get("OwnershipControls") != own
            or "AccessControl" in resource["Properties"]
        )
    ]


def test_no_statement_grants_a_wildcard_or_lets_anybody_in() -> None:
    assert wide_grants(template()["Resources"]) == []


def test_no_bucket_is_public() -> None:
    assert public_buckets(template()["Resources"]) == []


@pytest.mark.parametrize("holder", ["ProcessUploadsPolicy", "ReconcileRole", "OutputBucketPolicy", "RetryQueuePolicy"])
@pytest.mark.parametrize(
    ("statement", "wide"),
    [
        ({"Action": "s3:GetObject"}, False),
        ({"Action": "s3:*"}, True),
        ({"Action": ["s3:GetObject", "dynamodb:Get*"]}, True),
        ({"Action": "*"}, True),
        ({"NotAction": "iam:CreateUser"}, True),
        ({"Resource": {"Fn::Sub": "arn:${AWS::Partition}:s3:::${AWS::StackName}-input-${AWS::AccountId}/*"}}, False),
        ({"Resource": {"Fn::Sub": ["arn:${AWS::Partition}:s3:::${Name}/*", {"Name": {"Ref": "InputBucket"}}]}}, False),
        ({"Resource": {"Fn::Sub": "${OutputBucket.Arn}/*"}}, False),
        ({"Resource": {"Fn::Sub": "arn:${AWS::Partition}:logs:${AWS::Region}:1:log-group:/aws/lambda/a:*"}}, False),
        ({"Resource": "*"}, True),
        ({"Resource": [{"Fn::GetAtt": ["RetryQueue", "Arn"]}, "*"]}, True),
        ({"Resource": {"Fn::If": ["HasAlarmEmail", "*", {"Fn::GetAtt": ["RetryQueue", "Arn"]}]}}, True),
        ({"Resource": {"Fn::Sub": "arn:${AWS::Partition}:s3:::*"}}, True),
        ({"Resource": {"Fn::Sub": "arn:${AWS::Partition}:s3:::*/*"}}, True),
        ({"Resource": {"Fn::Sub": "arn:${AWS::Partition}:s3:::${AWS::StackName}-*/*"}}, True),
        ({"Resource": {"Fn::Sub": "arn:${AWS::Partition}:s3:::${AWS::StackName}-?nput/*"}}, True),
        ({"Resource": {"Fn::Sub": "${LedgerTable.Arn}/*"}}, True),
        ({"Resource": {"Fn::Sub": "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:*"}}, True),
        ({"Resource": {"Fn::Sub": "arn:${AWS::Partition}:logs:${AWS::Region}:1:log-group:*"}}, True),
        ({"Resource": {"Fn::Sub": "arn:${AWS::Partition}:logs:${AWS::Region}:1:log-group:/aws/lambda/*:*"}}, True),
        ({"NotResource": {"Fn::GetAtt": ["RetryQueue", "Arn"]}}, True),
        ({"Principal": {"Service": "events.amazonaws.com"}}, False),
        ({"Principal": "*"}, True),
        ({"Principal": {"AWS": "*"}}, True),
        ({"Principal": {"AWS": ["arn:aws:iam::1:root", "*"]}}, True),
        ({"NotPrincipal": {"AWS": "arn:aws:iam::1:root"}}, True),
    ],
)
def test_a_wildcard_is_seen_wherever_somebody_adds_it(holder: str, statement: Any, wide: bool) -> None:
    named = {"Action": "sqs:SendMessage", "Resource": {"Fn::GetAtt": ["RetryQueue", "Arn"]}}
    resources = json.loads(json.dumps(template()["Resources"]))
    properties = resources[holder]["Properties"]
    document = (properties if "PolicyDocument" in properties else properties["Policies"][0])["PolicyDocument"]
    document["Statement"].append({"Effect": "Allow"} | named | statement)
    assert bool(wide_grants(resources)) is wide
    document["Statement"][-1]["Effect"] = "Deny"
    assert wide_grants(resources) == []


@pytest.mark.parametrize(
    ("holder", "name", "value"),
    [
        ("RetryRole", "ManagedPolicyArns", ["arn:aws:iam::aws:policy/AdministratorAccess"]),
        ("RetryRole", "ManagedPolicyArns", [{"Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/AmazonS3FullAccess"}]),
        ("ReplaceBackgroundFunctionUploadPermission", "Principal", "*"),
        ("RetryRole", "AssumeRolePolicyDocument", {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}}]}),
    ],
)
def test_a_grant_that_is_no_statement_is_seen_too(holder: str, name: str, value: Any) -> None:
    resources = json.loads(json.dumps(template()["Resources"]))
    resources[holder]["Properties"][name] = value
    assert len(wide_grants(resources)) == 1


@pytest.mark.parametrize("bucket", ["InputBucket", "OutputBucket"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PublicAccessBlockConfiguration", None),
        ("PublicAccessBlockConfiguration", {"BlockPublicAcls": True, "IgnorePublicAcls": True}),
        *(
            ("PublicAccessBlockConfiguration", {"BlockPublicAcls": True, "BlockPublicPolicy": True, **rest})
            for rest in (
                {"IgnorePublicAcls": True, "RestrictPublicBuckets": False},
                {"IgnorePublicAcls": False, "RestrictPublicBuckets": True},
                {"IgnorePublicAcls": True, "RestrictPublicBuckets": True, "BlockPublicPolicy": False},
                {"IgnorePublicAcls": True, "RestrictPublicBuckets": True, "BlockPublicAcls": False},
            )
        ),
        ("OwnershipControls", None),
        ("OwnershipControls", {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}),
        ("AccessControl", "PublicRead"),
    ],
)
def test_a_bucket_is_seen_when_somebody_makes_it_public(bucket: str, name: str, value: Any) -> None:
    resources = json.loads(json.dumps(template()["Resources"]))
    resources[bucket]["Properties"][name] = value
    assert public_buckets(resources) == [bucket]


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


def test_layers_go_with_the_stack() -> None:
    layers = [each for each in template()["Resources"].values() if each["Type"] == "AWS::Lambda::LayerVersion"]
    assert [each.get("DeletionPolicy") for each in layers] == ["Delete", "Delete"]
