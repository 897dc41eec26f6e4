"""What can't succeed lands in DeadLetterQueue with its reason; what can is tried again."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backdrop.job import Job
from tests.integration.harness import INPUT, Harness, s3_event


def the_letter(world: Harness) -> Any:
    [letter] = world.dead_letters()
    assert set(letter) >= {"job", "reason", "failed_at"}
    assert set(letter["reason"]) == {"code", "message", "http_status", "attempts", "billed"}
    return letter


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
    world: Harness, photo: bytes, metadata: dict[str, str], code: str
) -> None:
    job = world.upload("a.jpg", photo, **metadata)

    letter = the_letter(world)
    assert letter["reason"]["code"] == code
    assert letter["reason"]["billed"] == "no"
    assert letter["reason"]["attempts"] == 0
    assert letter["job"] == {**job.as_dict(), "size": letter["job"]["size"]}
    assert world.gateway.calls() == []
    assert world.waiting() == []


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
    world: Harness, data: bytes, code: str
) -> None:
    world.upload("a.jpg", data, prompt="wood")

    assert the_letter(world)["reason"]["code"] == code
    assert world.gateway.calls() == []


def test_a_photo_of_exactly_25_mib_is_accepted(world: Harness) -> None:
    world.upload("a.jpg", b"\xff\xd8\xff" + bytes(25 * 2**20 - 3), prompt="wood")

    assert len(world.gateway.calls()) == 1


@pytest.mark.parametrize("status", [400, 409, 413, 415, 422])
def test_row_21_what_the_gateway_refuses_is_dead_lettered_after_one_call(
    world: Harness, photo: bytes, status: int
) -> None:
    world.gateway.faults([{"kind": "status", "status": status, "code": "content_policy", "times": 0}])

    world.upload("a.jpg", photo, prompt="something forbidden")

    reason = the_letter(world)["reason"]
    assert (reason["code"], reason["http_status"]) == ("rejected_by_gateway", status)
    assert (reason["attempts"], reason["billed"]) == (1, "no")
    assert "content_policy" in reason["message"]
    assert len(world.gateway.calls()) == 1
    assert world.waiting() == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_rows_18_19_a_busy_gateway_is_asked_again(world: Harness, photo: bytes, status: int) -> None:
    world.gateway.faults([{"kind": "status", "status": status, "times": 2}])

    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    assert list(world.outputs()) == ["a.jpg.png"]
    assert [call["status"] for call in world.gateway.calls()] == [status, status, 200]
    assert world.charged() == 1
    assert world.dead_letters() == []


def test_row_57_attempts_end_with_one_dead_letter_that_tells_the_history(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes
) -> None:
    environment.setenv("MAX_ATTEMPTS", "3")
    world.gateway.faults([{"kind": "status", "status": 500, "times": 0}])

    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    letter = the_letter(world)
    assert letter["reason"]["code"] == "attempts_exhausted"
    assert (letter["reason"]["attempts"], letter["reason"]["http_status"]) == (3, 500)
    assert letter["reason"]["billed"] == "unknown"
    assert sum("CallFailed 500" in line for line in letter["history"]) == 3
    assert len(world.gateway.calls()) == 3


def test_rows_18_56_rate_limits_never_dead_letter(world: Harness, photo: bytes) -> None:
    world.gateway.faults([{"kind": "status", "status": 429, "retry_after": "2", "times": 9}])

    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    assert list(world.outputs()) == ["a.jpg.png"]
    assert world.dead_letters() == []


@pytest.mark.parametrize(
    "fault", [{"kind": "empty"}, {"kind": "null_url"}, {"kind": "html"}], ids=lambda fault: fault["kind"]
)
def test_row_28_an_answer_without_an_image_is_taken_as_charged_and_never_bought_again(
    world: Harness, photo: bytes, fault: dict[str, Any]
) -> None:
    world.gateway.faults([fault])

    world.upload("a.jpg", photo, prompt="wood")
    world.drain()
    world.redrive()
    world.drain()

    reason = the_letter(world)["reason"]
    assert (reason["code"], reason["billed"], reason["attempts"]) == ("no_image_returned", "yes", 1)
    assert len(world.gateway.calls()) == 1


def test_row_28_the_ledger_keeps_what_an_answer_without_an_image_cost(world: Harness, photo: bytes) -> None:
    world.gateway.faults([{"kind": "empty"}])

    record = world.record(world.upload("a.jpg", photo, prompt="wood", n="2"))

    assert record is not None
    assert record.paid_at > 0
    assert (record.images, record.cost_usd) == (2, "0.06")


def test_row_28_fewer_images_than_asked_for_are_stored_and_the_lack_is_reported(world: Harness, photo: bytes) -> None:
    world.gateway.faults([{"kind": "fewer"}])

    world.upload("a.jpg", photo, prompt="wood", n="3")

    assert list(world.outputs()) == ["a.jpg.1.png", "a.jpg.2.png"]
    reason = the_letter(world)["reason"]
    assert (reason["code"], reason["billed"]) == ("no_image_returned", "yes")
    assert "2 of 3" in reason["message"]


def test_row_7_one_bad_record_does_not_hold_up_the_others(world: Harness, photo: bytes) -> None:
    job = world.put("a.jpg", photo, prompt="wood")
    event = s3_event(job, job)
    event["Records"][1]["s3"] = {"nothing": "here"}

    world.invoke(world.trigger_function, event)

    assert list(world.outputs()) == ["a.jpg.png"]
    letter = the_letter(world)
    assert letter["job"] is None
    assert letter["reason"]["code"] == "malformed_message"
    assert json.loads(letter["body"])["Records"][0]["s3"] == {"nothing": "here"}


@pytest.mark.parametrize(
    ("changes", "letters"),
    [
        ({"eventName": "ObjectRemoved:Delete"}, 0),
        ({"eventName": "ReducedRedundancyLostObject"}, 0),
        ({"eventVersion": "3.0"}, 1),
    ],
)
def test_row_8_only_creations_of_a_known_event_version_are_processed(
    world: Harness, photo: bytes, changes: dict[str, str], letters: int
) -> None:
    event = s3_event(world.put("a.jpg", photo, prompt="wood"))
    event["Records"][0] |= changes

    world.invoke(world.trigger_function, event)

    assert world.outputs() == {}
    assert len(world.dead_letters()) == letters


def test_row_8_a_newer_minor_event_version_is_processed(world: Harness, photo: bytes) -> None:
    event = s3_event(world.put("a.jpg", photo, prompt="wood"))
    event["Records"][0]["eventVersion"] = "2.7"

    world.invoke(world.trigger_function, event)

    assert list(world.outputs()) == ["a.jpg.png"]


def test_row_9_another_bucket_is_refused_without_reading_it(world: Harness, photo: bytes) -> None:
    world.s3.create_bucket(Bucket="somebody-elses")
    world.s3.put_object(Bucket="somebody-elses", Key="a.jpg", Body=photo, Metadata={"prompt": "wood"})

    world.notify(Job("somebody-elses", "a.jpg", "v1", "etag", 100))

    assert the_letter(world)["reason"]["code"] == "malformed_message"
    assert world.gateway.calls() == []


def test_row_10_a_deleted_object_is_superseded(world: Harness, photo: bytes) -> None:
    job = world.put("a.jpg", photo, prompt="wood")
    world.s3.delete_object(Bucket=INPUT, Key="a.jpg")

    world.notify(job)

    record = world.record(job)
    assert record is not None
    assert record.state == "SUPERSEDED"
    assert (world.dead_letters(), world.waiting(), world.gateway.calls()) == ([], [], [])


def test_row_10_a_forbidden_object_waits_until_the_permission_is_mended(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(**_: Any) -> Any:
        response: Any = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        raise ClientError(response, "GetObject")

    with monkeypatch.context() as patched:
        patched.setattr(world.app.storage._client, "get_object", forbidden)
        world.upload("a.jpg", photo, prompt="wood")
        world.drain(seconds=3600)
        assert (world.dead_letters(), world.gateway.calls()) == ([], [])
        assert len(world.waiting()) == 1
    world.drain()

    assert list(world.outputs()) == ["a.jpg.png"]


def test_row_11_a_replaced_object_is_not_bought_and_its_successor_is(world: Harness, photo: bytes) -> None:
    first = world.put("a.jpg", photo, prompt="wood")
    second = world.put("a.jpg", photo, prompt="snow")

    world.notify(first)
    world.notify(second)

    assert [charge["prompt"] for charge in world.gateway.charges()] == ["snow"]
    record = world.record(first)
    assert record is not None
    assert record.state == "SUPERSEDED"


def test_messages_hold_neither_key_nor_link_nor_prompt(world: Harness, photo: bytes) -> None:
    """Row 63, for what goes into dead letters; the logs are scanned end to end."""
    prompt = "an unmistakable background of my own"
    world.gateway.faults(
        [
            {
                "kind": "status",
                "status": 400,
                "body": json.dumps({"error": {"message": f"bad prompt: {prompt} https://x.test/?sig=1", "code": "c"}}),
            }
        ]
    )

    world.upload("a.jpg", photo, prompt=prompt)

    text = json.dumps(the_letter(world))
    assert prompt not in text
    assert "sig=1" not in text
    assert world.gateway.key not in text
