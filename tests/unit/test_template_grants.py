"""Nobody gets more from the template than what is named, and no bucket is public."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.template import template


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
