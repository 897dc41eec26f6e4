"""Row 64: deploying again; and that IAM is enforced in what was deployed, without which all else here proves less."""

from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.e2e.deployed import Deployed

PHOTO = (Path(__file__).parents[2] / "tools" / "samples" / "mug.jpg").read_bytes()


def test_after_a_second_deploy_uploads_are_still_noticed(deployed: Deployed) -> None:
    fields, headers = '{"response_format": "url", "size": null}', '{"x-shop": "a b, c=d"}'
    deployed.stack.deploy(
        RequestsPerMinute=600,
        ReconcileSchedule="off",
        MaxAttempts=7,
        GatewayExtraFields=fields,
        GatewayExtraHeaders=headers,
    )

    deployed.put("a.jpg", PHOTO, prompt="wood")

    deployed.until_stored("a.jpg.png")
    name = deployed.stack.outputs["ReplaceBackgroundFunctionName"]
    variables = deployed.functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    assert variables["MAX_ATTEMPTS"] == "7"
    assert (variables["GATEWAY_EXTRA_FIELDS"], variables["GATEWAY_EXTRA_HEADERS"]) == (fields, headers)
    assert deployed.stack.gateway.calls()[-1]["headers"]["x-shop"] == "a b, c=d"


def test_a_role_is_refused_what_it_does_not_allow(deployed: Deployed) -> None:
    name = deployed.stack.outputs["ReconcileFunctionName"]
    role = deployed.functions.get_function_configuration(FunctionName=name)["Role"]
    session = deployed.stack.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    s3 = boto3.client(
        "s3",
        endpoint_url=deployed.stack.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=session["AccessKeyId"],
        aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["SessionToken"],
    )

    assert s3.list_object_versions(Bucket=deployed.input_bucket)["Name"] == deployed.input_bucket
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=deployed.output_bucket, Key=f"{deployed.folder}a.jpg", Body=PHOTO)
