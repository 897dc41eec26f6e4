"""Events as AWS sends them about uploads, made from the samples in `events/`."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus
from uuid import uuid4

from backdrop.job import Job

_SAMPLES = Path(__file__).parents[1] / "events"
_SEQUENCER = "0055AED6DCD90281E5"


def sample(name: str) -> dict[str, Any]:
    """An event of `events/`, by its file's name without the ending."""
    event: dict[str, Any] = json.loads((_SAMPLES / f"{name}.json").read_text())
    return event


def s3_event(*jobs: Job) -> dict[str, Any]:
    """The S3 event for uploads, in the shape of events/s3_object_created.json."""
    template = json.dumps(sample("s3_object_created")["Records"][0])
    records = []
    for job in jobs:
        record = json.loads(template)
        record["s3"]["bucket"]["name"] = job.bucket
        record["s3"]["object"] = {
            "key": quote_plus(job.key),
            "size": job.size,
            "eTag": job.etag,
            "versionId": job.version_id,
            "sequencer": _SEQUENCER,
        }
        records.append(record)
    return {"Records": records}


def eventbridge_event(job: Job) -> dict[str, Any]:
    """The event that EventBridge makes of an upload.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
    """
    found = {"key": job.key, "size": job.size, "etag": job.etag, "sequencer": _SEQUENCER}
    if job.version_id:
        found["version-id"] = job.version_id
    return {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": "Object Created",
        "source": "aws.s3",
        "account": "123456789012",
        "time": "2026-11-22T08:00:00Z",
        "region": "us-east-1",
        "resources": [f"arn:aws:s3:::{job.bucket}"],
        "detail": {"version": "0", "bucket": {"name": job.bucket}, "object": found, "reason": "PutObject"},
    }


def envelope(event: dict[str, Any], error: BaseException) -> dict[str, Any]:
    """What Lambda sends to an OnFailure destination, in the shape of events/lambda_failure.json."""
    return sample("lambda_failure") | {
        "requestPayload": event,
        "responsePayload": {"errorType": type(error).__name__},
    }
