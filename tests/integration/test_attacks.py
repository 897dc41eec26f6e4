"""What clever orders of events, odd gateways and odd uploads tried to break: the money, the limit, the results."""

import json
import time
from typing import Any

import pytest

from tests.aws_events import eventbridge_event
from tests.integration.day_and_pace import until_midnight
from tests.integration.harness import Harness
from tests.integration.result_faults import upload_killed_while_storing
from tests.integration.stack import INPUT
from tests.integration.test_results import fail_put

pytestmark = pytest.mark.usefixtures("one_day")

# Money


def test_answers_that_get_lost_for_hours_are_not_paid_for_hours_by_a_gateway_that_knows_no_keys(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    """Single uploads try whether the gateway is back; each does so a few times, and within the day's limit."""
    environment.setenv("DAILY_IMAGE_LIMIT", "30")
    until_midnight(harness, 80000)
    harness.gateway.settings(honours_idempotency_keys=False)
    harness.gateway.faults([{"kind": "drop_after_charge", "times": 0}])
    for number in range(6):
        harness.upload(f"{number}.jpg", photo, prompt="wood")
    harness.drain(seconds=4 * 3600, most=5000)

    paid = [charge["idempotency_key"] for charge in harness.gateway.charges()]
    assert max(map(paid.count, paid)) <= 6
    assert len(paid) <= 30


def test_replays_that_are_charged_stay_within_the_limit(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "3")
    until_midnight(harness, 80000)
    harness.gateway.settings(honours_idempotency_keys=False)
    harness.gateway.faults([{"kind": "drop_after_charge", "times": 3}])
    for number in range(3):
        harness.upload(f"{number}.jpg", photo, prompt="wood")
    harness.drain(seconds=3600)

    assert harness.charged() == 3


def test_row_99_inline_images_that_can_not_be_stored_are_asked_for_max_attempts_times(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.gateway.settings(honours_idempotency_keys=False, answer="b64_json")
    fail_put(harness, monkeypatch, "AccessDenied", 403, times=10**9)
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain(seconds=20 * 3600, most=5000)

    assert harness.charged() == 6
    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["billed"]) == ("outcome_unknown", "yes")
    [record] = harness.services.records.all()
    assert (record.images, record.unsettled_images) == (1, 5)  # of each repeated call the ledger says that it may cost


@pytest.mark.parametrize("route", ["generations", "edits-multipart"])
def test_a_call_is_not_repeated_when_the_gateway_may_have_forgotten_its_key(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, route: str
) -> None:
    """Its answer got lost, then the wallet was empty for a day."""
    environment.setenv("GATEWAY_ROUTE", route)
    harness.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": 402, "times": 0}])
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain(seconds=3600)
    harness.advance(22.5 * 3600)
    harness.drain(seconds=3600)
    harness.gateway.settings(honours_idempotency_keys=False)
    harness.gateway.faults([])
    harness.drain(seconds=3 * 3600)

    assert harness.charged() == 1
    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["billed"]) == ("outcome_unknown", "unknown")


def test_calls_that_leave_after_midnight_count_against_the_new_day(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "2")
    environment.setenv("REQUESTS_PER_MINUTE", "60")
    harness.restart()
    jobs = [harness.put(f"{number}.jpg", photo, prompt="wood") for number in range(6)]
    until_midnight(harness, 0.9)
    midnight = (harness.now() // 86400 + 1) * 86400
    real, sent = harness.services.gateway.send, list[float]()

    def send(*arguments: Any) -> Any:
        sent.append(harness.now())
        return real(*arguments)

    monkeypatch.setattr(harness.services.gateway, "send", send)
    for job in jobs:
        harness.notify(job)
    harness.drain(seconds=3000)

    assert sum(at >= midnight for at in sent) == 2


def rejected_beside_good_ones(harness: Harness, photo: bytes, most: int) -> tuple[int, dict[str, Any]]:
    """Upload a photo that the gateway refuses, and good ones until it is rejected; how many, and the reason."""
    harness.upload("bad.jpg", photo, prompt="a celebrity")
    for number in range(most):
        harness.advance(61)
        harness.upload(f"{number}.jpg", photo, prompt="wood")  # tries, and ends the pause
        harness.drain(seconds=960)
        if dead_letters := harness.dead_letters():
            [dead_letter] = dead_letters
            assert (dead_letter["job"]["key"], dead_letter["reason"]["code"]) == ("bad.jpg", "rejected_by_gateway")
            return number + 1, dead_letter["reason"]
    raise AssertionError(f"it still waits beside {most} good ones")


@pytest.mark.parametrize("status", [403, 404])
def test_an_upload_that_alone_is_answered_403_does_not_hold_up_the_others_for_ever(
    harness: Harness, photo: bytes, status: int
) -> None:
    """As a gateway's moderation may do."""
    harness.gateway.faults([{"kind": "status", "status": status, "times": 0, "match": "celebrity"}])
    good, reason = rejected_beside_good_ones(harness, photo, most=6)

    assert good == len(harness.outputs())
    assert (reason["http_status"], reason["billed"]) == (status, "no")


def test_a_prompt_can_not_bring_form_fields_of_its_own(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    """Whoever uploads knows the upload's id, and so its idempotency key."""
    environment.setenv("GATEWAY_ROUTE", "edits-multipart")
    job = harness.put("a.jpg", photo)
    field = f'wood\r\n--{job.id}-1\r\nContent-Disposition: form-data; name="model"\r\n\r\nmaker/the-dearest'
    harness.put("prompt.txt", field.encode())
    harness.notify(job)

    [call] = harness.gateway.calls()
    assert call["fields"]["model"] == "ideogram/ideogram-v3-replace-background"


# Results


def test_an_upload_that_is_current_again_gets_its_result_stored(harness: Harness, photo: bytes) -> None:
    first = harness.put("a.jpg", photo, prompt="wood")
    harness.advance(5)
    second = harness.upload("a.jpg", photo, prompt="snow")
    harness.notify(first)
    harness.s3.delete_object(Bucket=INPUT, Key="a.jpg", VersionId=second.version_id)
    harness.advance(3600)
    harness.reconcile()
    harness.drain()

    assert harness.outputs()["a.jpg.png"]["Metadata"]["job-id"] == first.id


@pytest.mark.parametrize("how", ["its successor deleted", "a delete marker removed"])
def test_the_reconciler_finds_an_upload_that_is_current_again(harness: Harness, photo: bytes, how: str) -> None:
    job = harness.put("a.jpg", photo, prompt="wood")
    if how == "its successor deleted":
        version = harness.put("a.jpg", b"", prompt="oops").version_id
    else:
        version = harness.s3.delete_object(Bucket=INPUT, Key="a.jpg")["VersionId"]
    harness.notify(job)
    harness.s3.delete_object(Bucket=INPUT, Key="a.jpg", VersionId=version)
    harness.advance(900)
    harness.reconcile()
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]


def test_a_multipart_upload_that_began_before_a_put_and_ended_after_it_has_the_last_word(
    harness: Harness, photo: bytes
) -> None:
    """In a bucket without versions; S3 dates it by its beginning."""
    harness.functions.event = eventbridge_event
    harness.s3.delete_bucket(Bucket=INPUT)
    harness.s3.create_bucket(Bucket=INPUT)
    began = harness.now()
    harness.advance(60)
    harness.upload("a.jpg", photo, prompt="wood")
    harness.advance(5)
    job = harness.put("a.jpg", photo + b"\0", prompt="snow")
    harness.set_modified("a.jpg", began)
    harness.notify(job)
    harness.drain()

    assert [charge["prompt"] for charge in harness.gateway.charges()] == ["wood", "snow"]
    assert harness.outputs()["a.jpg.png"]["Metadata"]["source-modified"] == f"{began // 1:.3f}"


# The gateway's words


def test_a_long_word_in_an_error_does_not_hold_the_worker_up(harness: Harness, photo: bytes) -> None:
    """It took 20 seconds of a whole CPU for the 60,000 characters that fit."""
    body = json.dumps({"error": {"message": "a" * 60_000}})
    harness.gateway.faults([{"kind": "status", "status": 503, "body": body}])
    began = time.process_time()
    harness.upload("a.jpg", photo, prompt="wood")

    assert time.process_time() - began < 3


@pytest.mark.parametrize("status", [403, 404])
def test_an_upload_whose_repeated_call_alone_is_answered_403_does_not_hold_up_the_others_for_ever(
    harness: Harness, photo: bytes, status: int
) -> None:
    harness.gateway.faults(
        [
            {"kind": "status_after_charge", "status": 504, "match": "celebrity"},
            {"kind": "status", "status": status, "times": 0, "match": "celebrity"},
        ]
    )
    good, reason = rejected_beside_good_ones(harness, photo, most=8)

    assert good == len(harness.outputs())
    assert (reason["http_status"], reason["billed"]) == (status, "unknown")

    harness.gateway.faults([])
    harness.redrive()
    harness.drain()
    assert harness.charged() == len(harness.outputs()) == good + 1


def test_what_was_paid_is_not_bought_anew_because_failures_of_repeated_calls_look_alike(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images came inline and a crash swallowed them; then a proxy answers each time with the same request id."""
    harness.gateway.settings(answer="b64_json")
    upload_killed_while_storing(harness, photo, monkeypatch)
    answer = "HTTP/1.1 503 Unavailable\r\nX-Request-Id: the-same\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    harness.gateway.faults([{"kind": "raw", "text": answer, "times": 3}])
    harness.drain()

    assert len({call["idempotency_key"] for call in harness.gateway.calls()}) == 1
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_what_was_replaced_after_its_call_failed_is_not_bought(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "status", "status": 503}])
    old = harness.upload("a.jpg", photo, prompt="wood")
    harness.advance(1)
    harness.upload("a.jpg", photo, prompt="snow")
    harness.drain()

    assert [charge["prompt"] for charge in harness.gateway.charges()] == ["snow"]
    record = harness.record(old)
    assert record is not None
    assert record.state == "SUPERSEDED"


def test_a_photo_that_took_until_midnight_to_be_read_is_not_bought_beyond_the_new_days_limit(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "1")
    environment.setenv("GATEWAY_ROUTE", "edits-multipart")
    harness.restart()
    until_midnight(harness, 3)
    midnight = (harness.now() // 86400 + 1) * 86400
    read, send, sent = harness.services.storage.read, harness.services.gateway.send, list[float]()

    def slowly(*arguments: Any) -> Any:
        harness.advance(5 if not sent else 0)
        return read(*arguments)

    def noted(*arguments: Any) -> Any:
        sent.append(harness.now())
        return send(*arguments)

    monkeypatch.setattr(harness.services.storage, "read", slowly)
    monkeypatch.setattr(harness.services.gateway, "send", noted)
    for number in range(3):
        harness.upload(f"{number}.jpg", photo, prompt="wood")
    harness.drain(seconds=3600)

    assert sum(midnight <= at < midnight + 86400 for at in sent) == 1
