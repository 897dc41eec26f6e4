"""Events of S3 and EventBridge are uploads, however keys and records are written."""

import json
from typing import Any

import pytest

from backdrop.events_in import Decoded, from_event
from backdrop.job import Job
from tests.unit.messages import BUCKET, GONE, JOB, decoded, envelope, eventbridge_event, s3_event, s3_record


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
