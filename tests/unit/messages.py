"""Events and messages that hold one upload."""

import json
from typing import Any

from backdrop.events_in import Decoded, from_message
from backdrop.job import Job

BUCKET = "photos-in"
JOB = Job(BUCKET, "shoes/red.jpg", version_id="v1", etag="e1", size=1000)
UNVERSIONED = Job(BUCKET, "shoes/red.jpg", etag="e1", size=1000, modified=1_790_000_000)
GONE: Any = object()
"""In place of a value: the field is not there."""


def s3_record(
    key: Any = "shoes/red.jpg",
    version: Any = "2.1",
    name: Any = "ObjectCreated:Put",
    bucket: Any = BUCKET,
    **of_object: Any,
) -> dict[str, Any]:
    found = {"key": key, "size": 1000, "eTag": "e1", "versionId": "v1", "sequencer": "0055AED6DCD90281E5"} | of_object
    return {
        "eventVersion": version,
        "eventSource": "aws:s3",
        "eventName": name,
        "s3": {
            "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
            "object": {field: value for field, value in found.items() if value is not GONE},
        },
    }


def s3_event(*records: Any) -> dict[str, Any]:
    return {"Records": list(records)}


def eventbridge_event(
    key: Any = "shoes/red.jpg",
    name: Any = "Object Created",
    source: Any = "aws.s3",
    bucket: Any = BUCKET,
    **of_object: Any,
) -> dict[str, Any]:
    """As in https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html; `version_id` for version-id."""
    found = {"key": key, "size": 1000, "etag": "e1", "version_id": "v1", "sequencer": "0055AED6DCD90281E5"} | of_object
    event = {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": name,
        "source": source,
        "account": "111122223333",
        "time": "2026-11-22T08:00:00Z",
        "region": "us-east-1",
        "resources": [f"arn:aws:s3:::{bucket}"],
        "detail": {
            "version": "0",
            "bucket": {"name": bucket},
            "object": {field.replace("_", "-"): value for field, value in found.items() if value is not GONE},
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": "123456789012",
            "source-ip-address": "1.2.3.4",
            "reason": "PutObject",
        },
    }
    return {field: value for field, value in event.items() if value is not GONE}


def envelope(payload: Any, **more: Any) -> dict[str, Any]:
    """What Lambda sends to a failure destination."""
    return {
        "version": "1.0",
        "timestamp": "2026-11-22T08:00:00.000Z",
        "requestContext": {"requestId": "r1", "condition": "RetriesExhausted", "approximateInvokeCount": 3},
        "requestPayload": payload,
    } | more


def dead_letter(job: Job, **more: Any) -> dict[str, Any]:
    reason = {"code": "rejected_by_gateway", "message": "no", "http_status": 400, "attempts": 1, "billed": "no"}
    return {"job": job.as_dict(), "reason": reason, "failed_at": "2026-11-22T08:00:00.000Z", "history": []} | more


def malformed_dead_letter(body: str) -> dict[str, Any]:
    reason = {"code": "malformed_message", "message": "no", "http_status": None, "attempts": 0, "billed": "no"}
    return {"job": None, "reason": reason, "failed_at": "2026-11-22T08:00:00.000Z", "body": body}


def decoded(message: Any) -> Decoded:
    return from_message(message if isinstance(message, str) else json.dumps(message), BUCKET)
