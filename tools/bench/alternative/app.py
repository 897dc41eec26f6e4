"""What the model's page leads to: the OpenAI SDK and boto3; the photo goes inline, the result comes through memory."""

import base64
import os
import urllib.request
from typing import Any
from urllib.parse import unquote_plus

import boto3
from openai import OpenAI

s3 = boto3.client("s3")
key = boto3.client("ssm").get_parameter(Name=os.environ["GATEWAY_API_KEY_PARAMETER"], WithDecryption=True)
client = OpenAI(base_url=os.environ["GATEWAY_BASE_URL"], api_key=key["Parameter"]["Value"])


def lambda_handler(event: dict[str, Any], _context: object) -> None:
    """Replace the backgrounds of the uploads of an S3 event."""
    for record in event["Records"]:
        bucket, name = record["s3"]["bucket"]["name"], unquote_plus(record["s3"]["object"]["key"])
        upload = s3.get_object(Bucket=bucket, Key=name)
        photo = base64.b64encode(upload["Body"].read()).decode()
        answer = client.images.generate(
            model=os.environ["GATEWAY_MODEL"],
            prompt=upload["Metadata"]["prompt"],
            extra_body={"image_url": f"data:{upload['ContentType']};base64,{photo}"},
        )
        link = (answer.data or [])[0].url or ""
        with urllib.request.urlopen(link) as result:  # noqa: S310 - the alternative trusts its gateway
            data = result.read()
        s3.put_object(Bucket=os.environ["OUTPUT_BUCKET"], Key=f"{name}.png", Body=data, ContentType="image/png")
