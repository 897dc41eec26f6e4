"""The bare calls for an upload, with SQS's backoff: a failed one is hidden for 2, 4, 8 … seconds."""

import json
import os
import random
from typing import Any
from urllib.parse import unquote_plus

import boto3
import httpx

s3 = boto3.client("s3", region_name=os.environ.get("AWS_REGION"))
sqs = boto3.client("sqs", region_name=os.environ.get("AWS_REGION"))
http = httpx.Client(timeout=100)
key = boto3.client("ssm").get_parameter(Name="/backdrop/gateway-api-key", WithDecryption=True)["Parameter"]["Value"]


def _replace(record: dict[str, Any]) -> None:
    source = {"Bucket": record["s3"]["bucket"]["name"], "Key": unquote_plus(record["s3"]["object"]["key"])}
    prompt = s3.head_object(**source)["Metadata"]["prompt"]
    answer = http.post(
        os.environ["GATEWAY_BASE_URL"] + "/images/generations",
        headers={"Authorization": f"Bearer {key}"},
        json={
            "model": "ideogram/ideogram-v3-replace-background",
            "prompt": prompt,
            "image_url": s3.generate_presigned_url("get_object", Params=source),
        },
    ).raise_for_status()
    image = http.get(answer.json()["data"][0]["url"]).raise_for_status().content
    s3.put_object(Bucket=os.environ["OUTPUT_BUCKET"], Key=source["Key"] + ".png", Body=image)


def on_upload(event: dict[str, Any], _context: object) -> None:
    """S3's event; what fails goes to the queue."""
    for record in event["Records"]:
        _replace(record)


def on_message(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """A message of the queue."""
    [message] = event["Records"]
    try:
        for record in json.loads(message["body"])["requestPayload"]["Records"]:
            _replace(record)
    except httpx.HTTPStatusError:
        seconds = min(900, 2 ** int(message["attributes"]["ApproximateReceiveCount"]))
        sqs.change_message_visibility(
            QueueUrl=os.environ["RETRY_QUEUE_URL"],
            ReceiptHandle=message["receiptHandle"],
            VisibilityTimeout=round(random.uniform(seconds / 2, seconds)),
        )
        return {"batchItemFailures": [{"itemIdentifier": message["messageId"]}]}
    return {"batchItemFailures": []}
