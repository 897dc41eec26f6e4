"""Every kind of event and message becomes a `Job` here; no other module knows their envelopes.

Known shapes: an S3 event; an S3 event from EventBridge; Lambda's failure-destination envelope around either;
Backdrop's own message `{"job": {…}}`; a dead letter `{"job": {…}, "reason": {…}, "failed_at": …}` that was moved back.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote_plus

from backdrop.call import Purchase
from backdrop.job import Job, known_version


@dataclass(frozen=True)
class Malformed:
    """Something that is no upload; `body` is the text as it came."""

    body: str
    message: str


@dataclass
class Decoded:
    """What one event or message held."""

    jobs: list[Job] = field(default_factory=list)
    malformed: list[Malformed] = field(default_factory=list)


def from_event(event: Mapping[str, Any], input_bucket: str) -> Decoded:
    """The uploads of an S3 event, direct or from EventBridge.

    Removals, test events and events without records hold none.
    """
    # By itself, so that one that is malformed doesn't cost the others, and can be moved back when it is understood.
    if "detail-type" in event:
        events, decode = [event], _from_eventbridge
    else:
        events, decode = [{"Records": [record]} for record in event.get("Records") or []], _from_s3_event
    decoded = Decoded()
    for each in events:
        try:
            decoded.jobs.extend(decode(each, input_bucket))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            decoded.malformed.append(_malformed(json.dumps(each), error))
    return decoded


def from_message(body: str, input_bucket: str) -> Decoded:
    """The uploads of a RetryQueue message."""
    try:
        message = json.loads(body)
        if not isinstance(message, dict):
            raise ValueError("the message is no JSON object")
        if "requestPayload" in message and "requestContext" in message:
            message = message["requestPayload"]
        if "Records" in message or "detail-type" in message or message.get("Event") == "s3:TestEvent":
            return from_event(message, input_bucket)
        if message.get("job") is None and isinstance(message.get("body"), str):
            return from_message(message["body"], input_bucket)  # a malformed message's dead letter, moved back
        return Decoded(jobs=[_from_own_message(message, input_bucket)])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return Decoded(malformed=[_malformed(body, error)])


def _malformed(body: str, error: Exception) -> Malformed:
    missing = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return Malformed(body, f"not a message that Backdrop knows: {missing}")


def _from_s3_event(event: Mapping[str, Any], input_bucket: str) -> Iterator[Job]:
    [record] = event["Records"]
    version = record["eventVersion"]
    if not version.startswith("2."):
        raise ValueError(f"S3 event version {version}; 2.x is understood")
    if not record["eventName"].startswith("ObjectCreated:"):
        return
    s3 = record["s3"]
    # Keys are form-encoded in S3 events, exactly once.
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    yield _checked(
        input_bucket,
        bucket=s3["bucket"]["name"],
        key=unquote_plus(s3["object"]["key"], errors="strict"),
        version_id=s3["object"].get("versionId"),
        etag=s3["object"].get("eTag"),
        size=s3["object"].get("size"),
    )


def _from_eventbridge(event: Mapping[str, Any], input_bucket: str) -> Iterator[Job]:
    if event["source"] != "aws.s3":
        raise ValueError("an event of another service than S3")
    if event["detail-type"] != "Object Created":
        return
    # Keys are plain here, and names are spelled in another way than in S3's own events.
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
    detail = event["detail"]
    yield _checked(
        input_bucket,
        bucket=detail["bucket"]["name"],
        key=detail["object"]["key"],
        version_id=detail["object"].get("version-id"),
        etag=detail["object"].get("etag"),
        size=detail["object"].get("size"),
    )


def _from_own_message(message: Mapping[str, Any], input_bucket: str) -> Job:
    job = message["job"]
    purchase = message.get("purchase")
    return replace(
        _checked(
            input_bucket,
            bucket=job["bucket"],
            key=job["key"],
            version_id=job.get("version_id"),
            etag=job.get("etag"),
            size=job.get("size"),
            modified=job.get("modified"),
            failed_at=message.get("failed_at"),
        ),
        purchase=Purchase(**{**purchase, "links": tuple(purchase["links"])}) if purchase else None,
    )


def _checked(
    input_bucket: str,
    *,
    bucket: Any,
    key: Any,
    version_id: Any,
    etag: Any,
    size: Any,
    modified: Any = None,
    failed_at: Any = None,
) -> Job:
    if bucket != input_bucket:
        raise ValueError("it names another bucket than the input bucket")
    if not isinstance(key, str) or not key:
        raise ValueError("the object key is no text")
    key.encode()  # a lone surrogate, which JSON can hold, is no key
    for name, value in {"version_id": version_id, "etag": etag, "failed_at": failed_at}.items():
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{name} is no text")
    for name, value in {"size": size, "modified": modified}.items():
        if value is not None and not isinstance(value, int):
            raise ValueError(f"{name} is no whole number")
    return Job(bucket, key, known_version(version_id), etag or None, size, modified, failed_at)
