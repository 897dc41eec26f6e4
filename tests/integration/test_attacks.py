"""What clever orders of events, odd gateways and odd uploads tried to break: the money, the limit, the results."""

import json
import time
from typing import Any

import pytest

from tests.integration.harness import INPUT, Harness, Killed, eventbridge_event
from tests.integration.test_interleavings import until_midnight
from tests.integration.test_reconcile import run as reconcile
from tests.integration.test_results import fail_put

# Money


def test_answers_that_get_lost_for_hours_are_not_paid_for_hours_by_a_gateway_that_knows_no_keys(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes
) -> None:
    """Single uploads try whether the gateway is back; each does so a few times, and within the day's limit."""
    environment.setenv("DAILY_IMAGE_LIMIT", "30")
    until_midnight(world, 80000)
    world.gateway.settings(honours_idempotency_keys=False)
    world.gateway.faults([{"kind": "drop_after_charge", "times": 0}])
    for number in range(6):
        world.upload(f"{number}.jpg", photo, prompt="wood")
    world.drain(seconds=4 * 3600, most=5000)

    paid = [charge["idempotency_key"] for charge in world.gateway.charges()]
    assert max(map(paid.count, paid)) <= 6
    assert len(paid) <= 30


def test_replays_that_are_charged_stay_within_the_limit(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "3")
    until_midnight(world, 80000)
    world.gateway.settings(honours_idempotency_keys=False)
    world.gateway.faults([{"kind": "drop_after_charge", "times": 3}])
    for number in range(3):
        world.upload(f"{number}.jpg", photo, prompt="wood")
    world.drain(seconds=3600)

    assert world.charged() == 3


def test_row_99_inline_images_that_can_not_be_stored_are_asked_for_max_attempts_times(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.gateway.settings(honours_idempotency_keys=False, answer="b64_json")
    fail_put(world, monkeypatch, "AccessDenied", 403, times=10**9)
    world.upload("a.jpg", photo, prompt="wood")
    world.drain(seconds=20 * 3600, most=5000)

    assert world.charged() == 6
    [letter] = world.dead_letters()
    assert (letter["reason"]["code"], letter["reason"]["billed"]) == ("outcome_unknown", "yes")
    [record] = world.app.ledger.all()
    assert (record.images, record.unsettled_images) == (1, 5)  # of each repeated call the ledger says that it may cost


@pytest.mark.parametrize("route", ["generations", "edits-multipart"])
def test_a_call_is_not_repeated_when_the_gateway_may_have_forgotten_its_key(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes, route: str
) -> None:
    """Its answer got lost, then the wallet was empty for a day."""
    environment.setenv("GATEWAY_ROUTE", route)
    world.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": 402, "times": 0}])
    world.upload("a.jpg", photo, prompt="wood")
    world.drain(seconds=3600)
    world.advance(22.5 * 3600)
    world.drain(seconds=3600)
    world.gateway.settings(honours_idempotency_keys=False)
    world.gateway.faults([])
    world.drain(seconds=3 * 3600)

    assert world.charged() == 1
    [letter] = world.dead_letters()
    assert (letter["reason"]["code"], letter["reason"]["billed"]) == ("outcome_unknown", "unknown")


def test_calls_that_leave_after_midnight_count_against_the_new_day(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "2")
    environment.setenv("REQUESTS_PER_MINUTE", "60")
    world.restart()
    jobs = [world.put(f"{number}.jpg", photo, prompt="wood") for number in range(6)]
    until_midnight(world, 0.9)
    midnight = (world.now() // 86400 + 1) * 86400
    real, sent = world.app.gateway.send, list[float]()

    def send(*arguments: Any) -> Any:
        sent.append(world.now())
        return real(*arguments)

    monkeypatch.setattr(world.app.gateway, "send", send)
    for job in jobs:
        world.notify(job)
    world.drain(seconds=3000)

    assert sum(at >= midnight for at in sent) == 2


@pytest.mark.parametrize("status", [403, 404])
def test_an_upload_that_alone_is_answered_403_does_not_hold_up_the_others_for_ever(
    world: Harness, photo: bytes, status: int
) -> None:
    """As a gateway's moderation may do."""
    world.gateway.faults([{"kind": "status", "status": status, "times": 0, "match": "celebrity"}])
    world.upload("bad.jpg", photo, prompt="a celebrity")
    letters: list[dict[str, Any]] = []
    good = 0
    while not letters and good < 6:
        world.advance(61)
        world.upload(f"{good}.jpg", photo, prompt="wood")  # tries, and ends the pause
        good += 1
        world.drain(seconds=960)
        letters = world.dead_letters()

    assert len(world.outputs()) == good
    [letter] = letters
    assert (letter["job"]["key"], letter["reason"]["code"]) == ("bad.jpg", "rejected_by_gateway")
    assert (letter["reason"]["http_status"], letter["reason"]["billed"]) == (status, "no")


def test_a_prompt_can_not_bring_form_fields_of_its_own(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes
) -> None:
    """Whoever uploads knows the upload's id, and so its idempotency key."""
    environment.setenv("GATEWAY_ROUTE", "edits-multipart")
    job = world.put("a.jpg", photo)
    field = f'wood\r\n--{job.id}-1\r\nContent-Disposition: form-data; name="model"\r\n\r\nmaker/the-dearest'
    world.put("prompt.txt", field.encode())
    world.notify(job)

    [call] = world.gateway.calls()
    assert call["fields"]["model"] == "ideogram/ideogram-v3-replace-background"


# Results


def test_an_upload_that_is_current_again_gets_its_result_stored(world: Harness, photo: bytes) -> None:
    first = world.put("a.jpg", photo, prompt="wood")
    world.advance(5)
    second = world.upload("a.jpg", photo, prompt="snow")
    world.notify(first)
    world.s3.delete_object(Bucket=INPUT, Key="a.jpg", VersionId=second.version_id)
    world.advance(3600)
    reconcile(world)
    world.drain()

    assert world.outputs()["a.jpg.png"]["Metadata"]["job-id"] == first.id


@pytest.mark.parametrize("how", ["its successor deleted", "a delete marker removed"])
def test_the_reconciler_finds_an_upload_that_is_current_again(world: Harness, photo: bytes, how: str) -> None:
    job = world.put("a.jpg", photo, prompt="wood")
    if how == "its successor deleted":
        version = world.put("a.jpg", b"", prompt="oops").version_id
    else:
        version = world.s3.delete_object(Bucket=INPUT, Key="a.jpg")["VersionId"]
    world.notify(job)
    world.s3.delete_object(Bucket=INPUT, Key="a.jpg", VersionId=version)
    world.advance(900)
    reconcile(world)
    world.drain()

    assert list(world.outputs()) == ["a.jpg.png"]


def test_a_multipart_upload_that_began_before_a_put_and_ended_after_it_has_the_last_word(
    world: Harness, photo: bytes
) -> None:
    """In a bucket without versions; S3 dates it by its beginning."""
    world.event = eventbridge_event
    world.s3.delete_bucket(Bucket=INPUT)
    world.s3.create_bucket(Bucket=INPUT)
    began = world.now()
    world.advance(60)
    world.upload("a.jpg", photo, prompt="wood")
    world.advance(5)
    job = world.put("a.jpg", photo + b"\0", prompt="snow")
    world.set_modified("a.jpg", began)
    world.notify(job)
    world.drain()

    assert [charge["prompt"] for charge in world.gateway.charges()] == ["wood", "snow"]
    assert world.outputs()["a.jpg.png"]["Metadata"]["source-modified"] == f"{began // 1:.3f}"


# The gateway's words


def test_a_long_word_in_an_error_does_not_hold_the_worker_up(world: Harness, photo: bytes) -> None:
    """It took 20 seconds of a whole CPU for the 60,000 characters that fit."""
    body = json.dumps({"error": {"message": "a" * 60_000}})
    world.gateway.faults([{"kind": "status", "status": 503, "body": body}])
    began = time.process_time()
    world.upload("a.jpg", photo, prompt="wood")

    assert time.process_time() - began < 3


@pytest.mark.parametrize("status", [403, 404])
def test_an_upload_whose_repeated_call_alone_is_answered_403_does_not_hold_up_the_others_for_ever(
    world: Harness, photo: bytes, status: int
) -> None:
    world.gateway.faults(
        [
            {"kind": "status_after_charge", "status": 504, "match": "celebrity"},
            {"kind": "status", "status": status, "times": 0, "match": "celebrity"},
        ]
    )
    world.upload("bad.jpg", photo, prompt="a celebrity")
    letters: list[dict[str, Any]] = []
    good = 0
    while not letters and good < 8:
        world.advance(61)
        world.upload(f"{good}.jpg", photo, prompt="wood")  # tries, and ends the pause
        good += 1
        world.drain(seconds=960)
        letters = world.dead_letters()

    assert len(world.outputs()) == good
    [letter] = letters
    assert (letter["job"]["key"], letter["reason"]["code"]) == ("bad.jpg", "rejected_by_gateway")
    assert (letter["reason"]["http_status"], letter["reason"]["billed"]) == (status, "unknown")

    world.gateway.faults([])
    world.redrive()
    world.drain()
    assert world.charged() == len(world.outputs()) == good + 1


def test_what_was_paid_is_not_bought_anew_because_failures_of_repeated_calls_look_alike(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images came inline and a crash swallowed them; then a proxy answers each time with the same request id."""

    def killed(*_: Any) -> None:
        raise Killed

    world.gateway.settings(answer="b64_json")
    with monkeypatch.context() as patched:
        patched.setattr(world.app.result_storage, "store", killed)
        world.upload("a.jpg", photo, prompt="wood")
    answer = "HTTP/1.1 503 Unavailable\r\nX-Request-Id: the-same\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    world.gateway.faults([{"kind": "raw", "text": answer, "times": 3}])
    world.drain()

    assert len({call["idempotency_key"] for call in world.gateway.calls()}) == 1
    assert world.charged() == 1
    assert list(world.outputs()) == ["a.jpg.png"]


def test_what_was_replaced_after_its_call_failed_is_not_bought(world: Harness, photo: bytes) -> None:
    world.gateway.faults([{"kind": "status", "status": 503}])
    old = world.upload("a.jpg", photo, prompt="wood")
    world.advance(1)
    world.upload("a.jpg", photo, prompt="snow")
    world.drain()

    assert [charge["prompt"] for charge in world.gateway.charges()] == ["snow"]
    record = world.record(old)
    assert record is not None
    assert record.state == "SUPERSEDED"


def test_a_photo_that_took_until_midnight_to_be_read_is_not_bought_beyond_the_new_days_limit(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "1")
    environment.setenv("GATEWAY_ROUTE", "edits-multipart")
    world.restart()
    until_midnight(world, 3)
    midnight = (world.now() // 86400 + 1) * 86400
    read, send, sent = world.app.storage.read, world.app.gateway.send, list[float]()

    def slowly(*arguments: Any) -> Any:
        world.advance(5 if not sent else 0)
        return read(*arguments)

    def noted(*arguments: Any) -> Any:
        sent.append(world.now())
        return send(*arguments)

    monkeypatch.setattr(world.app.storage, "read", slowly)
    monkeypatch.setattr(world.app.gateway, "send", noted)
    for number in range(3):
        world.upload(f"{number}.jpg", photo, prompt="wood")
    world.drain(seconds=3600)

    assert sum(midnight <= at < midnight + 86400 for at in sent) == 1
