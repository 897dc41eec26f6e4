"""What can't succeed lands in DeadLetterQueue with its reason; what can is tried again."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backdrop.job import Job
from tests.aws_events import s3_event
from tests.integration.aws_faults import client_of
from tests.integration.harness import Harness
from tests.integration.stack import INPUT


def the_dead_letter(harness: Harness) -> Any:
    [dead_letter] = harness.dead_letters()
    assert set(dead_letter) >= {"job", "reason", "failed_at"}
    assert set(dead_letter["reason"]) == {"code", "message", "http_status", "attempts", "billed"}
    return dead_letter


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({}, "missing_prompt"),
        ({"prompt": " \t "}, "missing_prompt"),
        ({"prompt": "=?UTF-8?B?%%%?="}, "invalid_option"),
        ({"prompt": "=?no-such-charset?Q?abc?="}, "invalid_option"),
        ({"prompt": "=?UTF-8?X?abc?="}, "invalid_option"),
        ({"prompt_b64": "not base64!"}, "invalid_option"),
        ({"prompt": "wood", "n": "9"}, "invalid_option"),
        ({"prompt": "wood", "n": "NaN"}, "invalid_option"),
        ({"prompt": "wood", "size": "999999"}, "invalid_option"),
    ],
)
def test_rows_13_15_16_bad_requests_are_dead_lettered_without_a_call(
    harness: Harness, photo: bytes, metadata: dict[str, str], code: str
) -> None:
    job = harness.upload("a.jpg", photo, **metadata)

    dead_letter = the_dead_letter(harness)
    assert dead_letter["reason"]["code"] == code
    assert dead_letter["reason"]["billed"] == "no"
    assert dead_letter["reason"]["attempts"] == 0
    assert dead_letter["job"] == {**job.as_dict(), "size": dead_letter["job"]["size"]}
    assert harness.gateway.calls() == []
    assert harness.waiting() == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"%PDF-1.7 this is no photo, whatever its label says", "unsupported_media_type"),
        (b"GIF89a" + bytes(40), "unsupported_media_type"),
        (b"\xff\xd8\xff" + bytes(25 * 2**20), "too_large"),
    ],
    ids=["pdf", "gif", "large"],
)
def test_row_17_what_is_no_photo_or_too_large_is_dead_lettered_without_a_call(
    harness: Harness, data: bytes, code: str
) -> None:
    harness.upload("a.jpg", data, prompt="wood")

    assert the_dead_letter(harness)["reason"]["code"] == code
    assert harness.gateway.calls() == []


def test_a_photo_of_exactly_25_mib_is_accepted(harness: Harness) -> None:
    harness.upload("a.jpg", b"\xff\xd8\xff" + bytes(25 * 2**20 - 3), prompt="wood")

    assert len(harness.gateway.calls()) == 1


@pytest.mark.parametrize("status", [400, 409, 413, 415, 422])
def test_row_21_what_the_gateway_refuses_is_dead_lettered_after_one_call(
    harness: Harness, photo: bytes, status: int
) -> None:
    harness.gateway.faults([{"kind": "status", "status": status, "code": "content_policy", "times": 0}])

    harness.upload("a.jpg", photo, prompt="something forbidden")

    reason = the_dead_letter(harness)["reason"]
    assert (reason["code"], reason["http_status"]) == ("rejected_by_gateway", status)
    assert (reason["attempts"], reason["billed"]) == (1, "no")
    assert "content_policy" in reason["message"]
    assert len(harness.gateway.calls()) == 1
    assert harness.waiting() == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_rows_18_19_a_busy_gateway_is_asked_again(harness: Harness, photo: bytes, status: int) -> None:
    harness.gateway.faults([{"kind": "status", "status": status, "times": 2}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]
    assert [call["status"] for call in harness.gateway.calls()] == [status, status, 200]
    assert harness.charged() == 1
    assert harness.dead_letters() == []


def test_row_57_attempts_end_with_one_dead_letter_that_tells_the_history(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    environment.setenv("MAX_ATTEMPTS", "3")
    harness.gateway.faults([{"kind": "status", "status": 500, "times": 0}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    dead_letter = the_dead_letter(harness)
    assert dead_letter["reason"]["code"] == "attempts_exhausted"
    assert (dead_letter["reason"]["attempts"], dead_letter["reason"]["http_status"]) == (3, 500)
    assert dead_letter["reason"]["billed"] == "unknown"
    assert sum("CallFailed 500" in line for line in dead_letter["history"]) == 3
    assert len(harness.gateway.calls()) == 3


def test_rows_18_56_rate_limits_never_dead_letter(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "status", "status": 429, "retry_after": "2", "times": 9}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.dead_letters() == []


@pytest.mark.parametrize(
    "fault", [{"kind": "empty"}, {"kind": "null_url"}, {"kind": "html"}], ids=lambda fault: fault["kind"]
)
def test_row_28_an_answer_without_an_image_is_taken_as_charged_and_never_bought_again(
    harness: Harness, photo: bytes, fault: dict[str, Any]
) -> None:
    harness.gateway.faults([fault])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()
    harness.redrive()
    harness.drain()

    reason = the_dead_letter(harness)["reason"]
    assert (reason["code"], reason["billed"], reason["attempts"]) == ("no_image_returned", "yes", 1)
    assert len(harness.gateway.calls()) == 1


def test_row_28_the_ledger_keeps_what_an_answer_without_an_image_cost(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "empty"}])

    record = harness.record(harness.upload("a.jpg", photo, prompt="wood", n="2"))

    assert record is not None
    assert record.paid_at > 0
    assert (record.images, record.cost_usd) == (2, "0.06")


def test_row_28_fewer_images_than_asked_for_are_stored_and_the_lack_is_reported(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "fewer"}])

    harness.upload("a.jpg", photo, prompt="wood", n="3")

    assert list(harness.outputs()) == ["a.jpg.1.png", "a.jpg.2.png"]
    reason = the_dead_letter(harness)["reason"]
    assert (reason["code"], reason["billed"]) == ("no_image_returned", "yes")
    assert "2 of 3" in reason["message"]


def test_row_7_one_bad_record_does_not_hold_up_the_others(harness: Harness, photo: bytes) -> None:
    job = harness.put("a.jpg", photo, prompt="wood")
    event = s3_event(job, job)
    event["Records"][1]["s3"] = {"nothing": "here"}

    harness.invoke(harness.trigger_function, event)

    assert list(harness.outputs()) == ["a.jpg.png"]
    dead_letter = the_dead_letter(harness)
    assert dead_letter["job"] is None
    assert dead_letter["reason"]["code"] == "malformed_message"
    assert json.loads(dead_letter["body"])["Records"][0]["s3"] == {"nothing": "here"}


@pytest.mark.parametrize(
    ("changes", "dead_letters"),
    [
        ({"eventName": "ObjectRemoved:Delete"}, 0),
        ({"eventName": "ReducedRedundancyLostObject"}, 0),
        ({"eventVersion": "3.0"}, 1),
    ],
)
def test_row_8_only_creations_of_a_known_event_version_are_processed(
    harness: Harness, photo: bytes, changes: dict[str, str], dead_letters: int
) -> None:
    event = s3_event(harness.put("a.jpg", photo, prompt="wood"))
    event["Records"][0] |= changes

    harness.invoke(harness.trigger_function, event)

    assert harness.outputs() == {}
    assert len(harness.dead_letters()) == dead_letters


def test_row_8_a_newer_minor_event_version_is_processed(harness: Harness, photo: bytes) -> None:
    event = s3_event(harness.put("a.jpg", photo, prompt="wood"))
    event["Records"][0]["eventVersion"] = "2.7"

    harness.invoke(harness.trigger_function, event)

    assert list(harness.outputs()) == ["a.jpg.png"]


def test_row_9_another_bucket_is_refused_without_reading_it(harness: Harness, photo: bytes) -> None:
    harness.s3.create_bucket(Bucket="somebody-elses")
    harness.s3.put_object(Bucket="somebody-elses", Key="a.jpg", Body=photo, Metadata={"prompt": "wood"})

    harness.notify(Job("somebody-elses", "a.jpg", "v1", "etag", 100))

    assert the_dead_letter(harness)["reason"]["code"] == "malformed_message"
    assert harness.gateway.calls() == []


def test_row_10_a_deleted_object_is_superseded(harness: Harness, photo: bytes) -> None:
    job = harness.put("a.jpg", photo, prompt="wood")
    harness.s3.delete_object(Bucket=INPUT, Key="a.jpg")

    harness.notify(job)

    record = harness.record(job)
    assert record is not None
    assert record.state == "SUPERSEDED"
    assert (harness.dead_letters(), harness.waiting(), harness.gateway.calls()) == ([], [], [])


def test_row_10_a_forbidden_object_waits_until_the_permission_is_mended(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(**_: Any) -> Any:
        response: Any = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        raise ClientError(response, "GetObject")

    with monkeypatch.context() as patched:
        patched.setattr(client_of(harness, "s3"), "get_object", forbidden)
        harness.upload("a.jpg", photo, prompt="wood")
        harness.drain(seconds=3600)
        assert (harness.dead_letters(), harness.gateway.calls()) == ([], [])
        assert len(harness.waiting()) == 1
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]


def test_row_11_a_replaced_object_is_not_bought_and_its_successor_is(harness: Harness, photo: bytes) -> None:
    first = harness.put("a.jpg", photo, prompt="wood")
    second = harness.put("a.jpg", photo, prompt="snow")

    harness.notify(first)
    harness.notify(second)

    assert [charge["prompt"] for charge in harness.gateway.charges()] == ["snow"]
    record = harness.record(first)
    assert record is not None
    assert record.state == "SUPERSEDED"


def test_messages_hold_neither_key_nor_link_nor_prompt(harness: Harness, photo: bytes) -> None:
    """Row 63, for what goes into dead letters; the logs are scanned end to end."""
    prompt = "an unmistakable background of my own"
    harness.gateway.faults(
        [
            {
                "kind": "status",
                "status": 400,
                "body": json.dumps({"error": {"message": f"bad prompt: {prompt} https://x.test/?sig=1", "code": "c"}}),
            }
        ]
    )

    harness.upload("a.jpg", photo, prompt=prompt)

    text = json.dumps(the_dead_letter(harness))
    assert prompt not in text
    assert "sig=1" not in text
    assert harness.gateway.key not in text
