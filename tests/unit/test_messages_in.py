"""RetryQueue understands every shape that reaches it, and loses nothing of it."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote_plus

import pytest

from backdrop.call import Purchase
from backdrop.events_in import Decoded, from_event
from backdrop.job import Job
from tests.unit.messages import (
    BUCKET,
    JOB,
    UNVERSIONED,
    dead_letter,
    decoded,
    envelope,
    eventbridge_event,
    malformed_dead_letter,
    s3_event,
    s3_record,
)


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
