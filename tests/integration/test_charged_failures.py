"""A failure that may hide a charge: a gateway, or a proxy before it, that charges and then reports an error.

Second opinion: a gateway that answers 500 to what it was charged for upstream, a proxy with a short time-out before a
gateway that honours keys, a day's limit that such failures passed.
"""

import json
from typing import Any

import pytest

from tests.integration.day_and_pace import pace_item, until_midnight
from tests.integration.harness import Harness

pytestmark = pytest.mark.usefixtures("one_day")

HTML = "<html><head><title>504 Gateway Time-out</title></head></html>"


def charged_behind(status: int, **more: Any) -> dict[str, Any]:
    return {"kind": "status_after_charge", "status": status, **more}


def the_reason(harness: Harness) -> dict[str, Any]:
    [dead_letter] = harness.dead_letters()
    reason: dict[str, Any] = dead_letter["reason"]
    return reason


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 505, 520, 524])
@pytest.mark.parametrize("body", [None, HTML], ids=["documented", "HTML"])
def test_row_19_a_charge_behind_a_failure_is_not_paid_again(
    harness: Harness, photo: bytes, status: int, body: str | None
) -> None:
    harness.gateway.faults([charged_behind(status, body=body, times=2)])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    calls = harness.gateway.calls()
    assert len({(call["idempotency_key"], call["body_sha256"]) for call in calls}) == 1
    assert (len(calls), harness.charged()) == (3, 1)
    assert list(harness.outputs()) == ["a.jpg.png"]


@pytest.mark.parametrize("route", ["edits", "edits-multipart"])
def test_row_19_so_it_is_on_every_route(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, route: str
) -> None:
    environment.setenv("GATEWAY_ROUTE", route)
    harness.gateway.faults([charged_behind(504, body=HTML)])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert len({call["body_sha256"] for call in harness.gateway.calls()}) == 1
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


@pytest.mark.parametrize("n", [1, 2])
def test_charges_behind_failures_never_pass_the_days_limit(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, n: int
) -> None:
    """Row 69: before a gateway that knows no keys each call is charged, and reported as failed."""
    environment.setenv("DAILY_IMAGE_LIMIT", "5")
    until_midnight(harness, 80000)
    harness.gateway.settings(honours_idempotency_keys=False)
    harness.gateway.faults([charged_behind(500, times=0)])
    for number in range(6):
        harness.upload(f"{number}.jpg", photo, prompt="wood", n=str(n))
    harness.drain(seconds=3600, most=2000)

    assert 5 - n < harness.charged() <= 5
    assert int(pace_item(harness)["images"]) == harness.charged()
    assert harness.dead_letters() == []


def test_row_57_calls_that_failed_to_the_end_may_have_been_charged(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    environment.setenv("MAX_ATTEMPTS", "3")
    harness.gateway.faults([charged_behind(502, times=3)])
    job = harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()
    reason = the_reason(harness)
    assert (reason["code"], reason["billed"], reason["attempts"]) == ("attempts_exhausted", "unknown", 3)
    record = harness.record(job)
    assert record is not None
    assert record.unsettled_images == 3

    harness.redrive()
    harness.drain()

    assert len({call["idempotency_key"] for call in harness.gateway.calls()}) == 1
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


@pytest.mark.parametrize("tells", [True, False], ids=["by a header", "by the same request id"])
def test_row_70_a_failure_that_the_gateway_keeps_with_its_key_is_followed_by_a_new_key(
    harness: Harness, photo: bytes, tells: bool
) -> None:
    harness.gateway.settings(stores_failures=True, tells_replays=tells)
    harness.gateway.faults([{"kind": "status", "status": 500}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    keys = [call["idempotency_key"] for call in harness.gateway.calls()]
    assert keys[0] == keys[1] != keys[2]
    assert [call["status"] for call in harness.gateway.calls()] == [500, 500, 200]
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_after_a_kept_failure_a_refusal_of_the_new_call_does_not_say_that_nothing_was_charged(
    harness: Harness, photo: bytes
) -> None:
    harness.gateway.settings(stores_failures=True)
    harness.gateway.faults([{"kind": "status", "status": 500}, {"kind": "status", "status": 400}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert (the_reason(harness)["code"], the_reason(harness)["billed"]) == ("rejected_by_gateway", "unknown")


@pytest.mark.parametrize("status", [500, 503])
def test_under_park_the_gateways_own_failure_is_tried_again(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, status: int
) -> None:
    environment.setenv("ON_UNKNOWN_OUTCOME", "park")
    harness.gateway.faults([{"kind": "status", "status": status, "times": 2}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert len({call["idempotency_key"] for call in harness.gateway.calls()}) == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (408, None),
        (502, None),
        (504, None),
        (520, None),
        (500, HTML),
        (503, HTML),
        (503, "{}"),
        (500, '{"error": "no"}'),
    ],
)
def test_row_71_under_park_every_other_failure_is_left_to_people(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, status: int, body: str | None
) -> None:
    environment.setenv("ON_UNKNOWN_OUTCOME", "park")
    harness.gateway.settings(honours_idempotency_keys=False)
    harness.gateway.faults([charged_behind(status, body=body)])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert (the_reason(harness)["code"], the_reason(harness)["billed"]) == ("outcome_unknown", "unknown")
    assert (harness.charged(), len(harness.gateway.calls())) == (1, 1)


@pytest.mark.parametrize("n", [1, 2])
def test_row_20_an_hour_of_503_uses_up_thirty_of_the_days_images_at_most(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, n: int
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "1000")
    until_midnight(harness, 80000)
    harness.gateway.faults([{"kind": "status", "status": 503, "times": 0}])
    for number in range(12):
        harness.upload(f"{number}.jpg", photo, prompt="wood", n=str(n))

    harness.drain(seconds=3600, most=5000)

    assert int(pace_item(harness)["images"]) <= 30
    assert harness.dead_letters() == []


def test_an_outage_of_days_dead_letters_nothing(harness: Harness, photo: bytes) -> None:
    """However old a call is: one that was answered with a failure is made again with its key."""
    harness.gateway.faults([{"kind": "status", "status": 503, "times": 0}])
    for number in range(3):
        harness.upload(f"{number}.jpg", photo, prompt="wood")
    harness.drain(seconds=1800)
    harness.advance(25 * 3600)
    harness.drain(seconds=1800)
    assert harness.dead_letters() == []

    harness.gateway.faults([])
    harness.drain()

    assert len(harness.outputs()) == 3


def test_origin_not_reached_is_bought_once(environment: pytest.MonkeyPatch, harness: Harness, photo: bytes) -> None:
    """Row 73. Cases: 522 twice within seconds, then well."""
    environment.setenv("DAILY_IMAGE_LIMIT", "1")
    harness.gateway.faults([{"kind": "status", "status": 522, "body": HTML, "times": 2}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert [call["status"] for call in harness.gateway.calls()] == [522, 522, 200]
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"code": "billing_hard_limit_reached", "type": "image_generation_user_error"}),
        (429, {"code": "insufficient_quota", "type": "insufficient_quota"}),
        (400, {"code": None, "type": "insufficient_credits"}),
        (403, {"code": "AccountOverdueError"}),
        (422, {"code": "Insufficient-Balance"}),
    ],
)
def test_an_account_without_money_pauses_all_calls_whatever_the_status(
    harness: Harness, photo: bytes, status: int, error: dict[str, Any]
) -> None:
    """Row 72. Cases: quota behind a 429. Second opinion: `billing_hard_limit_reached` with 400."""
    body = json.dumps({"error": {"message": "Pay first.", **error}})
    harness.gateway.faults([{"kind": "status", "status": status, "body": body, "times": 0}])
    for number in range(5):
        harness.upload(f"{number}.jpg", photo, prompt="wood")
    harness.drain(seconds=280)

    assert len(harness.gateway.calls()) <= 8
    assert pace_item(harness)["pause_reason"].startswith(str(status))
    assert harness.dead_letters() == []

    harness.gateway.faults([])
    harness.drain()
    assert harness.charged() == len(harness.outputs()) == 5


def test_a_photo_that_the_gateway_could_not_download_is_tried_again(harness: Harness, photo: bytes) -> None:
    """Row 74. Second opinion: a 400 because the gateway's own fetch of the photo met an error of S3's."""
    body = json.dumps(
        {"error": {"message": "Could not fetch it.", "type": "invalid_request", "code": "invalid_image_url"}}
    )
    harness.gateway.faults([{"kind": "status", "status": 400, "body": body, "times": 2}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_a_photo_that_the_gateway_never_downloads_is_rejected(harness: Harness, photo: bytes) -> None:
    body = json.dumps({"error": {"message": "Could not fetch it.", "code": "file_download_error"}})
    harness.gateway.faults([{"kind": "status", "status": 422, "body": body, "times": 0}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert (the_reason(harness)["code"], the_reason(harness)["billed"]) == ("rejected_by_gateway", "no")
    assert len(harness.gateway.calls()) == 6


def test_two_ledgers_never_share_an_idempotency_key(harness: Harness, photo: bytes) -> None:
    """Row 75: one bucket, two stacks; or a ledger that was made anew over a kept bucket."""
    job = harness.upload("a.jpg", photo, prompt="wood")
    harness.dynamodb.delete_item(TableName="backdrop-ledger", Key={"id": {"S": job.id}})
    harness.s3.delete_object(Bucket="backdrop-output-000000000000", Key="a.jpg.png")

    harness.notify(job)
    harness.drain()

    keys = [call["idempotency_key"] for call in harness.gateway.calls()]
    assert len(set(keys)) == len(keys) == 2
    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.dead_letters() == []
