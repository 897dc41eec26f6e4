"""Workers, writes and answers in the worst order that they can come in."""

import json
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from itertools import cycle
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from backdrop.errors import DailyLimitReached, NoSlotFree, Paused, ResultUnreachable, ResultUnusable
from backdrop.job import Job
from backdrop.rate_limiter import RateLimiter
from tests.aws_events import envelope, s3_event, sample
from tests.integration.harness import Harness
from tests.integration.moved_clock import MovedClock
from tests.integration.simulated_lambda import Killed
from tests.integration.stack import INPUT, TABLE
from tests.integration.test_pay_once import LedgerFault


def pace_item(harness: Harness) -> dict[str, Any]:
    item = harness.dynamodb.get_item(TableName=TABLE, Key={"id": {"S": "pace"}}).get("Item", {})
    return {name: next(iter(value.values())) for name, value in item.items()}


def until_midnight(harness: Harness, before: float) -> None:
    """Move the clock to `before` seconds ahead of the next UTC midnight."""
    harness.advance(86400 - harness.now() % 86400 - before)


def normalised(value: Any) -> Any:
    """Numbers as DynamoDB returns them: leading and trailing zeroes trimmed."""
    if isinstance(value, dict) and set(value) == {"N"}:
        number = Decimal(value["N"])
        return {"N": str(int(number)) if number == number.to_integral_value() else format(number.normalize(), "f")}
    if isinstance(value, dict):
        return {name: normalised(part) for name, part in value.items()}
    if isinstance(value, list):
        return [normalised(part) for part in value]
    return value


def lose_answer(harness: Harness, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DynamoDB takes one write of `state`, its answer gets lost, and boto3's own retry is refused."""
    client, left = harness.services.ledger._client, [1]

    def losing(real: Any) -> Any:
        def write(**arguments: Any) -> Any:
            answer = real(**arguments)
            written = (
                arguments.get("Item", {}).get("state"),
                arguments.get("ExpressionAttributeValues", {}).get(":state"),
            )
            if {"S": state} in written and left[0]:
                left[0] -= 1
                try:
                    return real(**arguments)
                except ClientError as error:
                    item: Any = error.response
                    item["Item"] = normalised(item["Item"])
                    raise
            return answer

        return write

    for name in ("put_item", "update_item"):
        monkeypatch.setattr(client, name, losing(getattr(client, name)))


# The day's limit


def test_the_day_does_not_go_back_for_a_worker_whose_clock_is_a_second_behind(harness: Harness) -> None:
    class Standing(MovedClock):
        time = 0.0

        def now(self) -> float:
            return self.time

    early, late = Standing(), Standing()
    midnight = harness.now() // 86400 * 86400
    early.time, late.time = midnight - 0.5, midnight - 1.5
    ahead = RateLimiter(harness.dynamodb, TABLE, early, 6000, 2)
    behind = RateLimiter(harness.dynamodb, TABLE, late, 6000, 2)
    ahead.acquire(2, 0.0)
    with pytest.raises(DailyLimitReached):
        ahead.acquire(1, 0.0)
    early.time, late.time = midnight + 0.1, midnight - 0.9

    bought = 0
    for _ in range(3):
        for limiter in (ahead, behind):
            with suppress(DailyLimitReached, NoSlotFree):
                bought += limiter.acquire(1, 0.0).images

    assert bought == 2, "the new day's limit is 2, and the old day's was used up"


def test_a_reservation_given_back_twice_by_boto3s_own_retry_does_not_lift_the_limit(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "2")
    client = harness.services.rate_limiter._item._client
    real, left = client.update_item, [1]

    def update_item(**arguments: Any) -> Any:
        answer = real(**arguments)
        if "images - :n" in arguments["UpdateExpression"] and left[0]:
            left[0] -= 1
            return real(**arguments)  # the first answer got lost
        return answer

    monkeypatch.setattr(client, "update_item", update_item)
    harness.upload("a.jpg", photo, prompt="wood")
    harness.gateway.faults([{"kind": "status", "status": 429}])
    for number in range(3):
        harness.upload(f"{number}.jpg", photo, prompt="wood")
    harness.drain(seconds=600)

    assert harness.charged() <= 2


def test_a_replay_on_a_new_day_that_was_answered_429_first_still_counts_when_it_is_charged(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "1")
    until_midnight(harness, 3)
    harness.gateway.faults([{"kind": "drop"}, {"kind": "status", "status": 429}])
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain(seconds=600)  # the replay comes after midnight: 429, then 200, charged on the new day
    assert harness.charged() == 1

    harness.upload("b.jpg", photo, prompt="wood")
    harness.drain(seconds=600)

    assert harness.charged() == 1, "one image a day"


def test_a_crash_between_giving_back_and_writing_it_down_does_not_lift_the_limit(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "1")
    pace = harness.services.rate_limiter
    real = pace.refund

    def killed(slot: Any) -> None:
        monkeypatch.setattr(pace, "refund", real)
        real(slot)
        raise Killed

    monkeypatch.setattr(pace, "refund", killed)
    harness.gateway.faults([{"kind": "status", "status": 429}])
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain(seconds=1200)
    harness.upload("b.jpg", photo, prompt="wood")
    harness.drain(seconds=1200)

    assert harness.charged() == 1, "one image a day"


# The pace


@pytest.mark.parametrize("rpm", [1, 60, 600, 9300, 14_100, 18_100, 27_000, 28_000, 30_000])
def test_slots_are_never_closer_than_requests_per_minute_allows(harness: Harness, rpm: int) -> None:
    limiter = RateLimiter(harness.dynamodb, TABLE, MovedClock(), rpm, 0)

    assert 60_000_000 / limiter._step <= rpm


def test_a_rate_limit_postpones_calls_whose_slot_is_a_second_away(harness: Harness) -> None:
    """'honouring Retry-After': a worker that waits in place for its slot sees the push-back when it wakes."""
    limiter, other = (RateLimiter(harness.dynamodb, TABLE, MovedClock(), 60, 0) for _ in range(2))
    limiter.acquire(1, 0.0)
    slot = other.acquire(1, 0.0)
    assert slot.at > harness.now()
    limiter.back_off(60)

    with pytest.raises(NoSlotFree):
        other.wait(slot)


def test_an_upload_that_loses_many_races_keeps_its_place_in_line(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment_pace = harness.services.rate_limiter
    job = harness.put("a.jpg", photo, prompt="wood")
    # Its turn has come, behind it stands an hour of others.
    record = harness.services.ledger.claim(job, "an earlier look", 0.0)
    harness.services.ledger.release(record, replace(record, queue_position=harness.now()), 0.0)
    environment_pace.acquire(0, 0.0)
    harness.dynamodb.update_item(
        TableName=TABLE,
        Key={"id": {"S": "pace"}},
        UpdateExpression="SET queue_tail = :end",
        ExpressionAttributeValues={":end": {"N": str(int((harness.now() + 3600) * 1_000_000))}},
    )
    harness.advance(1)
    real = environment_pace._try
    monkeypatch.setattr(environment_pace, "_try", lambda *_: None)  # a thousand workers at once
    harness.services.queues.retry(job, 0)
    harness.retry_once()
    monkeypatch.setattr(environment_pace, "_try", real)
    environment_pace.look()

    harness.drain(seconds=120)

    assert list(harness.outputs()) == ["a.jpg.png"]


# Paid once, reported rightly


def test_a_replay_that_is_refused_says_nothing_certain_about_the_first_call(harness: Harness, photo: bytes) -> None:
    """The link is alive; the gateway (or a firewall before it) refuses the replay before looking at its key."""
    harness.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": 422}])
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()
    [dead_letter] = harness.dead_letters()
    assert harness.charged() == 1
    assert dead_letter["reason"]["billed"] != "no"


def test_a_refused_replay_that_is_moved_back_is_not_paid_again(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": 422}])
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    harness.redrive()
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.charged() == 1


@pytest.mark.parametrize("policy", ["retry", "park"])
def test_a_purchase_in_a_message_wins_over_a_duplicate(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """PAID could not be written, and a duplicate event comes while the purchase waits in its message."""
    environment.setenv("ON_UNKNOWN_OUTCOME", policy)
    harness.gateway.settings(honours_idempotency_keys=False)
    LedgerFault(harness, "PAID", 1, monkeypatch)
    job = harness.upload("a.jpg", photo, prompt="wood")
    harness.notify(job)
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.charged() == 1


def test_a_purchase_meets_a_lease_that_nobody_holds_any_more(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long until it goes on? UNRECORDED_SECONDS says 15 s; the lease of the worker that is gone says more."""
    LedgerFault(harness, "PAID", 1, monkeypatch)
    started = harness.now()
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.now() - started <= 60


def test_a_purchase_survives_in_a_bucket_without_versions(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.s3.delete_bucket(Bucket=INPUT)
    harness.s3.create_bucket(Bucket=INPUT)
    harness.gateway.settings(honours_idempotency_keys=False)
    LedgerFault(harness, "PAID", 1, monkeypatch)
    answer = harness.s3.put_object(Bucket=INPUT, Key="a.jpg", Body=photo, Metadata={"prompt": "wood"})
    harness.notify(Job(INPUT, "a.jpg", None, answer["ETag"].strip('"'), len(photo)))
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.charged() == 1


def test_a_re_upload_in_a_bucket_with_suspended_versions_is_a_new_upload(
    harness: Harness, photo: bytes, picture_of: Any
) -> None:
    harness.s3.put_bucket_versioning(Bucket=INPUT, VersioningConfiguration={"Status": "Suspended"})
    for data, prompt in ((photo, "wood"), (picture_of("PNG"), "snow")):
        answer = harness.s3.put_object(Bucket=INPUT, Key="a.jpg", Body=data, Metadata={"prompt": prompt})
        harness.notify(Job(INPUT, "a.jpg", None, answer["ETag"].strip('"'), len(data)))
    harness.drain()

    assert [charge["prompt"] for charge in harness.gateway.charges()] == ["wood", "snow"]


# boto3's hidden retries


def test_a_calling_write_whose_answer_got_lost_is_no_unknown_outcome(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was sent, so nothing is unknown. DynamoDB returns 0 for 0.0."""
    environment.setenv("ON_UNKNOWN_OUTCOME", "park")
    lose_answer(harness, "CALLING", monkeypatch)
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert harness.dead_letters() == []
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_a_paid_write_whose_answer_got_lost_keeps_inline_images(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.setenv("ON_UNKNOWN_OUTCOME", "park")
    harness.gateway.settings(answer="b64_json")
    lose_answer(harness, "PAID", monkeypatch)
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert harness.dead_letters() == []
    assert list(harness.outputs()) == ["a.jpg.png"]


# Dead-dead_lettered though it could succeed


@pytest.mark.parametrize(("policy", "times"), [("park", 1), ("retry", 2)])
def test_a_photo_that_could_not_be_read_for_a_file_upload_was_never_sent(
    environment: pytest.MonkeyPatch,
    harness: Harness,
    photo: bytes,
    monkeypatch: pytest.MonkeyPatch,
    policy: str,
    times: int,
) -> None:
    environment.setenv("ON_UNKNOWN_OUTCOME", policy)
    environment.setenv("GATEWAY_ROUTE", "edits-multipart")
    storage = harness.services.storage
    real, left = storage.read, [times]

    def read(job: Job) -> bytes:
        if left[0]:
            left[0] -= 1
            raise ReadTimeoutError(endpoint_url="https://s3")
        return real(job)

    monkeypatch.setattr(storage, "read", read)
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == []
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_a_blank_key_in_ssm_keeps_every_upload(harness: Harness, photo: bytes) -> None:
    harness.put_key(" ")
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain(seconds=900)
    assert harness.dead_letters() == []

    harness.put_key(harness.gateway.key)
    harness.drain()
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_an_outage_that_swallows_answers_does_not_dead_letter_every_upload(harness: Harness, photo: bytes) -> None:
    """A load balancer that closes connections, or a Cloudflare 52x."""
    harness.gateway.faults([{"kind": "status", "status": 521, "times": 0}])
    for number in range(14):
        harness.upload(f"{number}.jpg", photo, prompt="wood")
    harness.drain(seconds=900, most=3000)

    assert len(harness.dead_letters()) <= 4


@pytest.mark.parametrize(
    "attributes",
    [{"ApproximateReceiveCount": "501"}, {"SentTimestamp": "1700000000000"}],
    ids=["received-often", "sent-long-ago"],
)
@pytest.mark.parametrize("why", ["waits", "fails"])
def test_a_message_near_the_end_of_its_life_is_renewed(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch, attributes: dict[str, str], why: str
) -> None:
    """SQS dead-letters after 1000 receives and forgets after 14 days, however good the reason to wait."""
    if why == "waits":
        harness.gateway.faults([{"kind": "status", "status": 402, "times": 0}])
    else:
        monkeypatch.setattr(harness.services.storage, "inspect", None)
    message = sample("retry_message")["Records"][0]
    message["body"] = json.dumps({"job": harness.put("a.jpg", photo, prompt="wood").as_dict()})
    message["attributes"] |= {"SentTimestamp": str(int(harness.now() * 1000)), **attributes}

    answer = harness.invoke(harness.retry_function, {"Records": [message]})

    assert answer == {"batchItemFailures": []}
    assert [body["job"]["key"] for body in harness.waiting()] == ["a.jpg"]


# n > 1


@pytest.mark.parametrize("status", [404, 503])
def test_one_dead_link_does_not_lose_the_other_images_that_were_paid(
    harness: Harness, photo: bytes, status: int
) -> None:
    services = harness.services
    real = services.results.fetch
    first: list[str] = []

    def fetch(link: str, seconds: float) -> bytes:
        first.append(link)
        if link == first[0]:
            if status == 404:
                raise ResultUnusable("404")
            raise ResultUnreachable("503")
        return real(link, seconds)

    services.results.fetch = fetch  # type: ignore[method-assign]
    harness.upload("a.jpg", photo, prompt="wood", n="3")
    harness.drain(seconds=3600)

    assert {"a.jpg.2.png", "a.jpg.3.png"} <= set(harness.outputs())


@pytest.mark.parametrize("errors", [(ResultUnusable, ResultUnreachable), (ResultUnreachable, ResultUnusable)])
def test_a_dead_link_is_told_within_minutes_though_another_may_work_later(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch, errors: tuple[type[Exception], ...]
) -> None:
    dead = cycle(errors)

    def fetch(link: str, seconds: float) -> bytes:
        raise next(dead)("no")

    monkeypatch.setattr(harness.services.results, "fetch", fetch)
    harness.upload("a.jpg", photo, prompt="wood", n="2")
    harness.drain(seconds=180)

    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["billed"]) == ("result_unavailable", "yes")


def test_more_images_than_asked_for_are_not_reported_under_one_key(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = harness.services.gateway
    real = gateway.send

    def more(*arguments: Any) -> Any:
        answer = real(*arguments)
        return SimpleNamespace(
            links=answer.links * 3, inline=(), request_id=answer.request_id, cost_usd=answer.cost_usd
        )

    monkeypatch.setattr(gateway, "send", more)
    job = harness.upload("a.jpg", photo, prompt="wood")
    record = harness.record(job)
    assert record is not None
    assert len(record.outputs) == 1


# Inline answers


@pytest.mark.parametrize(("policy", "times"), [("park", 1), ("retry", 2)])
def test_row_46_with_inline_answers_a_result_that_could_not_be_stored_is_stored_later(
    environment: pytest.MonkeyPatch,
    harness: Harness,
    photo: bytes,
    monkeypatch: pytest.MonkeyPatch,
    policy: str,
    times: int,
) -> None:
    environment.setenv("ON_UNKNOWN_OUTCOME", policy)
    harness.gateway.settings(answer="b64_json")
    storage = harness.services.result_storage
    real, left = storage.store, [times]

    def store(*arguments: Any) -> Any:
        if left[0]:
            left[0] -= 1
            response: Any = {"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503}}
            raise ClientError(response, "PutObject")
        return real(*arguments)

    monkeypatch.setattr(storage, "store", store)
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert harness.dead_letters() == []
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_inline_images_that_a_crash_swallowed_are_not_asked_for_again_after_a_day(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway may have forgotten the key by then, and would sell them again."""

    def killed(*_: Any) -> None:
        raise Killed

    harness.gateway.settings(answer="b64_json")
    with monkeypatch.context() as patched:
        patched.setattr(harness.services.result_storage, "store", killed)
        harness.upload("a.jpg", photo, prompt="wood")
    harness.advance(25 * 3600)
    harness.drain()

    assert len(harness.gateway.calls()) == 1
    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["billed"]) == ("outcome_unknown", "yes")


# Dead letters


def test_a_malformed_record_beside_an_upload_that_waits_is_dead_lettered_once(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "status", "status": 402, "times": 0}])
    job = harness.put("a.jpg", photo, prompt="wood")
    event = s3_event(job, job)
    event["Records"][1]["s3"] = {"nothing": "here"}
    harness.send(envelope(event, RuntimeError()))
    harness.drain(seconds=600)

    assert len(harness.dead_letters()) == 1


def test_two_deliveries_of_a_bad_upload_are_one_dead_letter(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = harness.put("a.jpg", photo)
    queues = harness.services.queues
    real = queues.dead_letter

    def slow(*arguments: Any) -> None:
        monkeypatch.setattr(queues, "dead_letter", real)
        harness.notify(job)
        real(*arguments)

    monkeypatch.setattr(queues, "dead_letter", slow)
    harness.notify(job)
    harness.drain()

    assert len(harness.dead_letters()) == 1


# The pause


def test_a_probe_that_pays_ends_the_pause_though_paid_could_not_be_written(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.gateway.faults([{"kind": "status", "status": 402}])
    harness.upload("a.jpg", photo, prompt="wood")
    assert "paused_since" in pace_item(harness)
    LedgerFault(harness, "PAID", 1, monkeypatch)
    harness.advance((harness.next_due() or 0) - harness.now() + 1)
    harness.retry_once()
    assert harness.charged() == 1

    assert "paused_since" not in pace_item(harness)


def test_a_pace_item_that_hiccups_after_a_payment_does_not_lose_inline_images(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.setenv("ON_UNKNOWN_OUTCOME", "park")
    harness.gateway.settings(answer="b64_json")
    pace = harness.services.rate_limiter
    real = pace.breaker.succeeded

    def hiccup(slot: Any) -> None:
        monkeypatch.setattr(pace.breaker, "succeeded", real)
        raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "UpdateItem")

    monkeypatch.setattr(pace.breaker, "succeeded", hiccup)
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert harness.dead_letters() == []


def test_a_pace_item_that_hiccups_after_a_503_does_not_make_the_outcome_unknown(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.setenv("ON_UNKNOWN_OUTCOME", "park")
    harness.gateway.faults([{"kind": "status", "status": 503}])
    pace = harness.services.rate_limiter
    real = pace.breaker.failed

    def hiccup(*_: Any, **__: Any) -> bool:
        monkeypatch.setattr(pace.breaker, "failed", real)
        raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "UpdateItem")

    monkeypatch.setattr(pace.breaker, "failed", hiccup)
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert harness.dead_letters() == []
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_failures_with_successes_between_them_are_not_ten_in_a_row(harness: Harness) -> None:
    """Calls overlap: each is taken before the one before it is answered, and every second one works."""
    limiter = RateLimiter(harness.dynamodb, TABLE, MovedClock(), 30_000, 0)
    failing, working, paused = limiter.acquire(1, 0.0), limiter.acquire(1, 0.0), []
    for _ in range(15):
        paused.append(limiter.breaker.failed(failing, "503", may_be_charged=True))
        limiter.breaker.succeeded(working)
        failing, working = limiter.acquire(1, 0.0), limiter.acquire(1, 0.0)

    assert not any(paused)


def test_a_calling_write_whose_answer_got_lost_does_not_lift_the_days_limit(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "1")
    lose_answer(harness, "CALLING", monkeypatch)
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain(seconds=600)
    harness.upload("b.jpg", photo, prompt="wood")
    harness.drain(seconds=600)

    assert harness.charged() == 1


def test_a_retry_does_not_go_to_the_end_of_a_line_of_hours(harness: Harness, photo: bytes) -> None:
    """An upload that had its turn and got a 503 or no answer: its image link lives an hour, the line takes two."""
    harness.gateway.faults([{"kind": "drop_after_charge"}])
    pace = harness.services.rate_limiter
    job = harness.put("a.jpg", photo, prompt="wood")
    record = harness.services.ledger.claim(job, "an earlier look", 0.0)
    harness.services.ledger.release(record, replace(record, queue_position=harness.now()), 0.0)
    pace.acquire(0, 0.0)
    harness.dynamodb.update_item(
        TableName=TABLE,
        Key={"id": {"S": "pace"}},
        UpdateExpression="SET queue_tail = :end",
        ExpressionAttributeValues={":end": {"N": str(int((harness.now() + 7200) * 1_000_000))}},
    )
    pace.look()
    harness.advance(1)
    harness.services.queues.retry(job, 0)
    harness.drain(seconds=3000)

    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_who_has_had_a_turn_does_not_stand_behind_everybody_again(harness: Harness) -> None:
    limiter = RateLimiter(harness.dynamodb, TABLE, MovedClock(), 60, 0)
    limiter.look()
    limiter.back_off(10)
    for _ in range(100):
        with pytest.raises(NoSlotFree):
            limiter.acquire(1, 0.0)

    with pytest.raises(NoSlotFree) as newcomer:
        limiter.acquire(1, 0.0)
    with pytest.raises(NoSlotFree) as failed:
        limiter.acquire(1, harness.now() - 1)
    assert newcomer.value.due_at > harness.now() + 100
    assert failed.value.due_at < harness.now() + 20


def test_a_probe_waits_as_long_as_a_429_asks(harness: Harness, photo: bytes) -> None:
    limiter = RateLimiter(harness.dynamodb, TABLE, MovedClock(), 60, 0)
    slot = limiter.acquire(1, 0.0)
    limiter.breaker.pause(slot, "429", may_be_charged=False)
    limiter.back_off(600)
    harness.advance(100)

    with pytest.raises(Paused):
        limiter.acquire(1, 0.0)


def test_a_refusal_that_could_not_be_written_is_still_not_charged(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The REJECTED write fails once; the gateway said 400 to a first call, so nothing was charged."""
    harness.gateway.faults([{"kind": "status", "status": 400, "times": 0}])
    LedgerFault(harness, "REJECTED", 1, monkeypatch)
    started = harness.now()
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["billed"]) == ("rejected_by_gateway", "no")
    assert harness.now() - started <= 60, "the lease was never given back"


def test_a_replay_of_more_images_than_the_lowered_limit_ends(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    until_midnight(harness, 3)
    harness.gateway.faults([{"kind": "drop_after_charge"}])
    harness.upload("a.jpg", photo, prompt="wood", n="3")
    environment.setenv("DAILY_IMAGE_LIMIT", "2")
    harness.restart()
    harness.drain(seconds=3 * 86400, most=2000)

    assert harness.waiting() == []


def test_messages_that_nobody_can_serve_are_not_doubled_by_every_reconcile(harness: Harness, photo: bytes) -> None:
    """RetryFunction has more to do than it can: the messages are visible for longer than GRACE_SECONDS, not lost."""
    harness.gateway.faults([{"kind": "status", "status": 503, "times": 0}])
    for number in range(5):
        harness.upload(f"{number}.jpg", photo, prompt="wood")
    for _ in range(23):
        harness.advance(3600)
        harness.invoke(harness.reconcile_function, {})

    assert len(harness.waiting()) <= 5 * 6


def test_a_probe_that_is_killed_leaves_the_pause_with_its_next_probe(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.gateway.faults([{"kind": "status", "status": 402}])
    harness.upload("a.jpg", photo, prompt="wood")
    gateway = harness.services.gateway
    real = gateway.send

    def killed(*_: Any) -> Any:
        monkeypatch.setattr(gateway, "send", real)
        raise Killed

    monkeypatch.setattr(gateway, "send", killed)
    harness.upload("b.jpg", photo, prompt="wood")
    started = harness.now()
    harness.drain()

    assert len(harness.outputs()) == 2
    assert harness.now() - started <= 1200
