"""`make second-opinion`: Backdrop's AWS side before software that nobody of its authors wrote.

DynamoDB's calls of simulated days on dynalite, a strict DynamoDB from npm; the template, as CloudFormation gets it, in
moto's CloudFormation; uploads while microburst, a proxy from PyPI, makes AWS fail. What is not here, such as Node.js,
is said and skipped.
"""

import json
import os
import shutil
import subprocess
import sys

import boto3
from moto import mock_aws

from tools.files import ROOT
from tools.translated import translated

NOT_IN_MOTO = {
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::S3::BucketPolicy",
    "AWS::SQS::QueuePolicy",
}
"""Types that moto's CloudFormation doesn't make."""


def strict_dynamodb() -> bool:
    """The ledger's and the rate limiter's calls on dynalite."""
    if not shutil.which("npm"):
        print("skipped: dynalite is a package of npm, and Node.js is not here")
        return True
    return _pytest("tests/integration/test_simulated_aws.py", "-k", "strict")


def fault_proxy() -> bool:
    """Forty uploads among a hundred faults."""
    return _pytest("tests/integration/test_fault_proxy.py")


def _pytest(*tests: str) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "-rs", *tests]
    environment = os.environ | {"SECOND_OPINION": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


def cloudformation() -> bool:
    """The translated template as a stack of moto's."""
    template = translated()
    resources = template["Resources"]
    template["Resources"] = {name: each for name, each in resources.items() if each["Type"] not in NOT_IN_MOTO}
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket="bucket")  # where `sam deploy` would have put the code
        boto3.client("s3").put_object(Bucket="bucket", Key="key", Body=b"")
        client = boto3.client("cloudformation")
        client.create_stack(StackName="backdrop", TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM"])
        found = client.describe_stack_resources(StackName="backdrop")["StackResources"]
    conditional = {name for name, each in template["Resources"].items() if "Condition" in each}
    missing = set(template["Resources"]) - {each.get("LogicalResourceId") for each in found} - conditional
    print(f"moto's CloudFormation: {len(found)} resources" + (f", without {sorted(missing)}" if missing else ""))
    return not missing


def main() -> int:
    """The command."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    return int(not all([cloudformation(), strict_dynamodb(), fault_proxy()]))


if __name__ == "__main__":
    sys.exit(main())
