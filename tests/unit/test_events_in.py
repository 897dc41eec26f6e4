"""Events and messages → jobs."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote_plus

import pytest

from backdrop.call import Purchase
from backdrop.events_in import Decoded, from_event, from_message
from backdrop.job import Job, has_dot_segment

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


def test_an_s3_event_holds_one_job_an_upload() -> None:
    event = s3_event(s3_record(), s3_record("shoes/blue.jpg", versionId="v2", eTag="e2", size=0))
    assert from_event(event, BUCKET) == Decoded([JOB, Job(BUCKET, "shoes/blue.jpg", "v2", "e2", 0)])


@pytest.mark.parametrize(
    ("in_event", "key"),
    [
        pytest.param("red+shoe.jpg", "red shoe.jpg", id="space"),
        pytest.param("red%20shoe.jpg", "red shoe.jpg", id="space as %20"),
        pytest.param("a%2Bb.jpg", "a+b.jpg", id="plus"),
        pytest.param("100%2520.jpg", "100%20.jpg", id="a %20 that is meant"),
        pytest.param("a%252Bb.jpg", "a%2Bb.jpg", id="a %2B that is meant"),
        pytest.param("q%26a%3D1%3F.jpg", "q&a=1?.jpg", id="ampersand"),
        pytest.param("%E9%9D%B4/caf%C3%A9.jpg", "靴/café.jpg", id="unicode"),
        pytest.param("cafe%CC%81.jpg", "cafe\u0301.jpg", id="unicode that is not normalized"),
        pytest.param("../a//b/.jpg", "../a//b/.jpg", id="dots and slashes"),
        pytest.param("%F0%9F%91%9F" * 256, "👟" * 256, id="1024 bytes"),
    ],
)
def test_keys_of_s3_events_are_decoded_exactly_once(in_event: str, key: str) -> None:
    """Row 4."""
    [job] = from_event(s3_event(s3_record(in_event)), BUCKET).jobs
    assert job.key == key


def test_an_event_from_eventbridge_holds_one_job() -> None:
    assert from_event(eventbridge_event(), BUCKET) == Decoded([JOB])
    bare = eventbridge_event(version_id=GONE, etag=GONE, size=GONE)
    assert from_event(bare, BUCKET) == Decoded([Job(BUCKET, "shoes/red.jpg")])


@pytest.mark.parametrize("key", ["red shoe.jpg", "red+shoe.jpg", "red%20shoe.jpg", "a%2Bb.jpg", "caf%E9.jpg", "靴.jpg"])
def test_keys_of_events_from_eventbridge_are_plain(key: str) -> None:
    [job] = from_event(eventbridge_event(key), BUCKET).jobs
    assert job.key == key


@pytest.mark.parametrize("key", ["red shoe.jpg", "a+b.jpg", "100%20.jpg", "q&a.jpg", "靴/café.jpg", "👟" * 256])
def test_a_key_stays_the_same_from_event_to_message_to_dead_letter_and_back(key: str) -> None:
    """Row 4."""
    [job] = from_event(s3_event(s3_record(quote_plus(key))), BUCKET).jobs
    [again] = decoded({"job": job.as_dict()}).jobs
    [moved_back] = decoded(dead_letter(again)).jobs
    assert again == job
    assert moved_back.id == job.id
    assert moved_back.key == key


@pytest.mark.parametrize(
    "event",
    [
        pytest.param({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET}, id="test event"),
        pytest.param({"Records": []}, id="empty Records"),
        pytest.param({"Records": None}, id="null Records"),
        pytest.param(s3_event(s3_record(name="ObjectRemoved:Delete")), id="removal"),
        pytest.param(s3_event(s3_record(name="ObjectRemoved:DeleteMarkerCreated")), id="delete marker"),
        pytest.param(s3_event(s3_record(name="ObjectTagging:Put")), id="tagging"),
        pytest.param(s3_event(s3_record(name="ObjectRestore:Completed")), id="restore"),
        pytest.param(eventbridge_event(name="Object Deleted", etag=GONE, size=GONE), id="removal from EventBridge"),
        pytest.param(eventbridge_event(name="Object Tags Added"), id="tagging from EventBridge"),
        pytest.param(eventbridge_event(name="Object Restore Completed"), id="restore from EventBridge"),
    ],
)
def test_events_without_uploads_are_no_failure(event: dict[str, Any]) -> None:
    """Rows 6 and 8."""
    assert from_event(event, BUCKET) == Decoded()
    assert decoded(event) == Decoded()
    assert decoded(envelope(event)) == Decoded()


def test_an_event_without_records_is_no_failure() -> None:
    """Row 6."""
    assert from_event({}, BUCKET) == Decoded()


@pytest.mark.parametrize("name", ["Put", "Post", "Copy", "CompleteMultipartUpload"])
def test_every_way_of_uploading_is_an_upload(name: str) -> None:
    assert from_event(s3_event(s3_record(name=f"ObjectCreated:{name}")), BUCKET).jobs == [JOB]


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.3", "2.9", "2.10"])
def test_minor_event_versions_are_understood(version: str) -> None:
    """Row 8."""
    assert from_event(s3_event(s3_record(version=version)), BUCKET) == Decoded([JOB])


MALFORMED_RECORDS = [
    pytest.param(s3_record(version="3.0"), id="newer major version"),
    pytest.param(s3_record(version="1.0"), id="older major version"),
    pytest.param(s3_record(version=2.1), id="version that is no text"),
    pytest.param(s3_record(name=None), id="no event name"),
    pytest.param(s3_record(bucket="somebody-elses"), id="another bucket"),
    pytest.param(s3_record(bucket=None), id="no bucket"),
    pytest.param(s3_record(key=GONE), id="no key"),
    pytest.param(s3_record(key=""), id="empty key"),
    pytest.param(s3_record(key=7), id="key that is no text"),
    pytest.param(s3_record(key="caf%E9.jpg"), id="key that is not UTF-8"),
    pytest.param(s3_record(versionId=7), id="version id that is no text"),
    pytest.param(s3_record(eTag=["e1"]), id="etag that is no text"),
    pytest.param(s3_record(size="1000"), id="size that is no number"),
    pytest.param({"eventVersion": "2.1", "eventName": "ObjectCreated:Put"}, id="no s3"),
    pytest.param({"eventVersion": "2.1", "eventName": "ObjectCreated:Put", "s3": []}, id="s3 that is a list"),
    pytest.param({}, id="empty"),
    pytest.param(None, id="null"),
    pytest.param("ObjectCreated:Put", id="text"),
    pytest.param([], id="list"),
]


@pytest.mark.parametrize("record", MALFORMED_RECORDS)
def test_a_malformed_record_is_kept_as_an_event_of_its_own_and_does_not_hold_up_its_neighbours(record: Any) -> None:
    """Rows 7, 8 and 9."""
    result = from_event(s3_event(s3_record("a.jpg"), record, s3_record("b.jpg")), BUCKET)
    assert [job.key for job in result.jobs] == ["a.jpg", "b.jpg"]
    [malformed] = result.malformed
    assert json.loads(malformed.body) == s3_event(record)
    assert malformed.message


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(eventbridge_event(source="aws.ec2"), id="another service"),
        pytest.param(eventbridge_event(source=GONE), id="no source"),
        pytest.param(eventbridge_event() | {"detail": None}, id="no detail"),
        pytest.param(eventbridge_event() | {"detail": []}, id="detail that is a list"),
        pytest.param(eventbridge_event() | {"detail": {"bucket": {"name": BUCKET}}}, id="no object"),
        pytest.param(eventbridge_event(bucket="somebody-elses"), id="another bucket"),
        pytest.param(eventbridge_event(bucket=None), id="no bucket"),
        pytest.param(eventbridge_event(key=GONE), id="no key"),
        pytest.param(eventbridge_event(key=""), id="empty key"),
        pytest.param(eventbridge_event(key=7), id="key that is no text"),
        pytest.param(eventbridge_event(version_id=7), id="version id that is no text"),
        pytest.param(eventbridge_event(etag=["e1"]), id="etag that is no text"),
        pytest.param(eventbridge_event(size="1000"), id="size that is no number"),
    ],
)
def test_a_malformed_event_from_eventbridge_is_kept_as_it_came(event: dict[str, Any]) -> None:
    for result in (from_event(event, BUCKET), decoded(event), decoded(envelope(event))):
        assert result.jobs == []
        [malformed] = result.malformed
        assert json.loads(malformed.body) == event
        assert malformed.message


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(s3_event(s3_record()), id="S3 event"),
        pytest.param(
            envelope(
                s3_event(s3_record()),
                responseContext={"statusCode": 200, "functionError": "Unhandled"},
                responsePayload={"errorType": "Runtime.ExitError", "errorMessage": "exit status 1"},
            ),
            id="envelope of a crash",
        ),
        pytest.param(
            envelope(
                s3_event(s3_record()), requestContext={"condition": "EventAgeExceeded", "approximateInvokeCount": 0}
            ),
            id="envelope of an event that grew too old",
        ),
        pytest.param({"job": JOB.as_dict()}, id="own message"),
        pytest.param(eventbridge_event(), id="event from EventBridge, which could not reach the function"),
        pytest.param(envelope(eventbridge_event()), id="envelope of an event from EventBridge"),
        pytest.param(malformed_dead_letter(json.dumps(eventbridge_event())), id="its malformed dead letter"),
        pytest.param(malformed_dead_letter(json.dumps(s3_event(s3_record()))), id="malformed dead letter"),
        pytest.param(
            malformed_dead_letter(json.dumps(malformed_dead_letter(json.dumps({"job": JOB.as_dict()})))),
            id="malformed dead letter, moved back twice",
        ),
    ],
)
def test_the_retry_queue_understands_every_shape_that_reaches_it(message: dict[str, Any]) -> None:
    """Rows 49, 50 and 59."""
    assert decoded(message) == Decoded([JOB])


def test_a_message_can_hold_several_uploads_and_something_malformed() -> None:
    """Row 7."""
    result = decoded(envelope(s3_event(s3_record("a.jpg"), {"broken": True}, s3_record("b.jpg"))))
    assert [job.key for job in result.jobs] == ["a.jpg", "b.jpg"]
    assert [json.loads(malformed.body) for malformed in result.malformed] == [s3_event({"broken": True})]


def test_a_dead_letter_that_was_moved_back_says_when_it_failed() -> None:
    """Row 59."""
    [job] = decoded(dead_letter(JOB)).jobs
    assert job.id == JOB.id
    assert job.failed_at == "2026-11-22T08:00:00.000Z"


def test_a_message_without_a_version_waits_for_the_storage_to_name_it() -> None:
    [job] = decoded({"job": {"bucket": BUCKET, "key": "a.jpg"}}).jobs
    assert job == Job(BUCKET, "a.jpg")


@pytest.mark.parametrize("version_id", ["null", "", None])
@pytest.mark.parametrize(
    "shape",
    [
        lambda version_id: s3_event(s3_record(versionId=version_id)),
        lambda version_id: eventbridge_event(version_id=version_id),
        lambda version_id: {"job": JOB.as_dict() | {"version_id": version_id}},
    ],
    ids=["s3", "eventbridge", "own"],
)
def test_a_null_version_is_no_version(shape: Callable[[str | None], Any], version_id: str | None) -> None:
    """What was written while a bucket kept no versions has the version id "null", as has what replaces it."""
    assert decoded(shape(version_id)).jobs == [replace(JOB, version_id=None)]


def test_the_time_of_an_upload_without_versions_travels_in_messages_and_dead_letters() -> None:
    [waiting] = decoded({"job": UNVERSIONED.as_dict()}).jobs
    [moved_back] = decoded(dead_letter(waiting)).jobs
    assert waiting == UNVERSIONED
    assert moved_back.modified == UNVERSIONED.modified
    assert moved_back.id == UNVERSIONED.id


def test_a_purchase_survives_its_message() -> None:
    """Row 38."""
    links = ["https://cdn.test/1.png", "https://cdn.test/2.png"]
    purchase = {"idempotency_key": "k", "inline": False, "request_id": "r", "cost_usd": "0.06", "paid_at": 1.5}
    [job] = decoded({"job": JOB.as_dict(), "purchase": {**purchase, "links": links}}).jobs
    assert job.purchase == Purchase("k", tuple(links), False, "r", "0.06", 1.5)


MALFORMED_MESSAGES = [
    pytest.param("", id="empty"),
    pytest.param("please try again", id="not JSON"),
    pytest.param('{"job": {"bucket": "photos-in"', id="cut off"),
    pytest.param("[" * 100_000, id="nested too deep"),
    pytest.param('{"job":' * 100_000, id="objects nested too deep"),
    pytest.param("9" * 10_000, id="a number without end"),
    pytest.param("null", id="null"),
    pytest.param("[]", id="list"),
    pytest.param('"text"', id="text"),
    pytest.param("{}", id="empty object"),
    pytest.param('{"job": null}', id="no job"),
    pytest.param('{"job": "photos-in/a.jpg"}', id="job that is text"),
    pytest.param('{"job": []}', id="job that is a list"),
    pytest.param('{"job": {"bucket": "photos-in"}}', id="job without key"),
    pytest.param('{"job": {"key": "a.jpg"}}', id="job without bucket"),
    pytest.param('{"job": {"bucket": "photos-in", "key": 7}}', id="key that is no text"),
    pytest.param('{"job": {"bucket": "photos-in", "key": ""}}', id="empty key"),
    pytest.param('{"job": {"bucket": "photos-in", "key": "\\ud800.jpg"}}', id="key with half a character"),
    pytest.param('{"job": {"bucket": "photos-in", "key": "a.jpg", "version_id": 7}}', id="version that is no text"),
    pytest.param('{"job": {"bucket": "photos-in", "key": "a.jpg", "etag": {}}}', id="etag that is no text"),
    pytest.param('{"job": {"bucket": "photos-in", "key": "a.jpg", "size": "1"}}', id="size that is no number"),
    pytest.param('{"job": {"bucket": "photos-in", "key": "a.jpg", "modified": "1"}}', id="modified that is no number"),
    pytest.param('{"job": {"bucket": "photos-in", "key": "a.jpg"}, "failed_at": 7}', id="time that is no text"),
    pytest.param('{"job": {"bucket": "photos-in", "key": "a.jpg"}, "purchase": "x"}', id="purchase that is text"),
    pytest.param('{"job": {"bucket": "photos-in", "key": "a.jpg"}, "purchase": {"links": []}}', id="half a purchase"),
    pytest.param('{"job": {"bucket": "somebody-elses", "key": "a.jpg"}}', id="another bucket"),
    pytest.param('{"Records": 7}', id="Records that are a number"),
    pytest.param('{"requestContext": {}, "requestPayload": null}', id="envelope around nothing"),
    pytest.param('{"requestContext": {}, "requestPayload": "text"}', id="envelope around text"),
    pytest.param('{"requestContext": {}, "requestPayload": [1]}', id="envelope around a list"),
]


@pytest.mark.parametrize("body", MALFORMED_MESSAGES)
def test_what_is_no_message_is_kept_as_it_came(body: str) -> None:
    """Rows 9 and 51."""
    result = decoded(body)
    assert result.jobs == []
    [malformed] = result.malformed
    assert malformed.body == body
    assert malformed.message


def test_a_malformed_message_that_is_moved_back_unmended_does_not_grow() -> None:
    """Row 59."""
    [malformed] = decoded(malformed_dead_letter("please try again")).malformed
    assert malformed.body == "please try again"


def test_duplicate_events_of_an_upload_are_one_job() -> None:
    """Rows 1 and 3."""
    put, eventbridge, multipart, message = (
        from_event(s3_event(s3_record()), BUCKET).jobs[0],
        from_event(eventbridge_event(), BUCKET).jobs[0],
        from_event(s3_event(s3_record(name="ObjectCreated:CompleteMultipartUpload", sequencer="1")), BUCKET).jobs[0],
        decoded({"job": {"bucket": BUCKET, "key": "shoes/red.jpg", "version_id": "v1"}}).jobs[0],
    )
    assert put.id == eventbridge.id == multipart.id == message.id


def test_without_versions_an_upload_is_told_by_its_bytes_and_its_time() -> None:
    assert replace(UNVERSIONED, size=None).id == UNVERSIONED.id
    assert replace(UNVERSIONED, modified=1_790_000_001).id != UNVERSIONED.id
    assert replace(UNVERSIONED, etag="e2").id != UNVERSIONED.id


def test_a_version_alone_tells_an_upload() -> None:
    """What the reconciler finds in a listing and what an event says are the same job."""
    assert replace(JOB, etag=None, modified=1_790_000_000).id == JOB.id


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(JOB, Job(BUCKET, "shoes/red.jpg", "v2", "e1"), id="another version"),
        pytest.param(JOB, Job(BUCKET, "shoes/red.png", "v1", "e1"), id="another key"),
        pytest.param(JOB, Job("others", "shoes/red.jpg", "v1", "e1"), id="another bucket"),
        pytest.param(Job(BUCKET, "a", None, "e1"), Job(BUCKET, "a", None, "e2"), id="another etag without versions"),
        pytest.param(Job("a", "b/c"), Job("a/b", "c"), id="a border that moves"),
    ],
)
def test_another_upload_is_another_job(one: Job, other: Job) -> None:
    """Row 11."""
    assert one.id != other.id


@pytest.mark.parametrize(
    ("key", "size", "is_skipped"),
    [
        ("shoes/", 0, True),
        ("shoes/", 10, True),
        ("shoes/", None, True),
        ("red.jpg", 0, True),
        ("red.jpg", 1, False),
        ("red.jpg", None, False),
        ("prompt.txt", 10, True),
        ("shoes/red/prompt.txt", None, True),
        ("prompt.txt.jpg", 10, False),
        ("prompt.txt/red.jpg", 10, False),
        ("my prompt.txt", 10, False),
        ("Prompt.txt", 10, False),
        (".DS_Store", 10, True),
        ("shoes/.DS_Store", None, True),
        ("shoes/._red.jpg", 10, True),
        ("shoes/._two\nlines.jpg", 10, True),
        ("shoes/Thumbs.db", 10, True),
        ("shoes/thumbs.db", 10, True),
        ("THUMBS.DB", 10, True),
        ("shoes/desktop.ini", 10, True),
        ("Desktop.ini", 10, True),
        ("shoes/~$list.jpg", 10, True),
        ("._shoes/red.jpg", 10, False),
        (".DS_Store/red.jpg", 10, False),
        ("my.DS_Store", 10, False),
        (".DS_Store.jpg", 10, False),
        ("a._red.jpg", 10, False),
        (".red.jpg", 10, False),
        ("_red.jpg", 10, False),
        ("Thumbs.db.jpg", 10, False),
        ("my desktop.ini", 10, False),
        ("thumbs_db", 10, False),
        ("~red.jpg", 10, False),
        ("red~$.jpg", 10, False),
    ],
)
def test_folder_markers_empty_objects_prompt_files_and_what_systems_leave_behind_are_skipped(
    key: str, size: int | None, is_skipped: bool
) -> None:
    """Row 5. cases: what systems leave behind."""
    assert Job(BUCKET, key, "v1", "e1", size).is_skipped == is_skipped


@pytest.mark.parametrize(
    ("key", "has_one"),
    [
        ("a/../b.jpg", True),
        ("a/./b.jpg", True),
        ("../b.jpg", True),
        ("./b.jpg", True),
        ("a/..", True),
        ("a//.", True),
        (".", True),
        ("/../b.jpg", True),
        ("a..b/c.jpg", False),
        ("a/...", False),
        ("a/.../b.jpg", False),
        ("a/..b.jpg", False),
        ("a/b..", False),
        ("a/.b/c.jpg", False),
        ("a./b.jpg", False),
        ("a/%2e%2e/b.jpg", False),
        ("a\\..\\b.jpg", False),
        ("/a//b.jpg", False),
    ],
)
def test_a_dot_segment_is_one_or_two_dots_between_slashes(key: str, has_one: bool) -> None:
    """cases: dot segments."""
    assert has_dot_segment(key) == has_one


def test_an_upload_with_a_dot_segment_is_the_same_job_however_it_was_noticed() -> None:
    """An event tells no time of its write, and nobody can ask for it; a listing tells it."""
    by_event = Job(BUCKET, "a/../b.jpg", None, "e1", 10)
    by_listing = Job(BUCKET, "a/../b.jpg", None, "e1", 10, 1_790_000_000)
    assert by_event.is_identified
    assert by_event.id == by_listing.id
