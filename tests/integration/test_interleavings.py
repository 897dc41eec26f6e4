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
from tests.integration.harness import INPUT, ROOT, TABLE, Harness, Killed, MovedClock, envelope, s3_event
from tests.integration.test_pay_once import LedgerFault


def pace_item(world: Harness) -> dict[str, Any]:
    item = world.dynamodb.get_item(TableName=TABLE, Key={"id": {"S": "pace"}}).get("Item", {})
    return {name: next(iter(value.values())) for name, value in item.items()}


def until_midnight(world: Harness, before: float) -> None:
    """Move the clock to `before` seconds ahead of the next UTC midnight."""
    world.advance(86400 - world.now() % 86400 - before)


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


def lose_answer(world: Harness, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DynamoDB takes one write of `state`, its answer gets lost, and boto3's own retry is refused."""
    client, left = world.app.ledger._client, [1]

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


def test_the_day_does_not_go_back_for_a_worker_whose_clock_is_a_second_behind(world: Harness) -> None:
    class Standing(MovedClock):
        time = 0.0

        def now(self) -> float:
            return self.time

    early, late = Standing(), Standing()
    midnight = world.now() // 86400 * 86400
    early.time, late.time = midnight - 0.5, midnight - 1.5
    ahead = RateLimiter(world.dynamodb, TABLE, early, 6000, 2)
    behind = RateLimiter(world.dynamodb, TABLE, late, 6000, 2)
    ahead.acquire(2, 0.0)
    with pytest.raises(DailyLimitReached):
        ahead.acquire(1, 0.0)
    early.time, late.time = midnight + 0.1, midnight - 0.9

    bought = 0
    for _ in range(3):
        for keeper in (ahead, behind):
            with suppress(DailyLimitReached, NoSlotFree):
                bought += keeper.acquire(1, 0.0).images

    assert bought == 2, "the new day's limit is 2, and the old day's was used up"


def test_a_reservation_given_back_twice_by_boto3s_own_retry_does_not_lift_the_limit(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "2")
    client = world.app.rate_limiter._item._client
    real, left = client.update_item, [1]

    def update_item(**arguments: Any) -> Any:
        answer = real(**arguments)
        if "images - :n" in arguments["UpdateExpression"] and left[0]:
            left[0] -= 1
            return real(**arguments)  # the first answer got lost
        return answer

    monkeypatch.setattr(client, "update_item", update_item)
    world.upload("a.jpg", photo, prompt="wood")
    world.gateway.faults([{"kind": "status", "status": 429}])
    for number in range(3):
        world.upload(f"{number}.jpg", photo, prompt="wood")
    world.drain(seconds=600)

    assert world.charged() <= 2


def test_a_replay_on_a_new_day_that_was_answered_429_first_still_counts_when_it_is_charged(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "1")
    until_midnight(world, 3)
    world.gateway.faults([{"kind": "drop"}, {"kind": "status", "status": 429}])
    world.upload("a.jpg", photo, prompt="wood")
    world.drain(seconds=600)  # the replay comes after midnight: 429, then 200, charged on the new day
    assert world.charged() == 1

    world.upload("b.jpg", photo, prompt="wood")
    world.drain(seconds=600)

    assert world.charged() == 1, "one image a day"


def test_a_crash_between_giving_back_and_writing_it_down_does_not_lift_the_limit(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "1")
    pace = world.app.rate_limiter
    real = pace.refund

    def killed(slot: Any) -> None:
        monkeypatch.setattr(pace, "refund", real)
        real(slot)
        raise Killed

    monkeypatch.setattr(pace, "refund", killed)
    world.gateway.faults([{"kind": "status", "status": 429}])
    world.upload("a.jpg", photo, prompt="wood")
    world.drain(seconds=1200)
    world.upload("b.jpg", photo, prompt="wood")
    world.drain(seconds=1200)

    assert world.charged() == 1, "one image a day"


# The pace


@pytest.mark.parametrize("rpm", [1, 60, 600, 9300, 14_100, 18_100, 27_000, 28_000, 30_000])
def test_slots_are_never_closer_than_requests_per_minute_allows(world: Harness, rpm: int) -> None:
    keeper = RateLimiter(world.dynamodb, TABLE, MovedClock(), rpm, 0)

    assert 60_000_000 / keeper._step <= rpm


def test_a_rate_limit_postpones_calls_whose_slot_is_a_second_away(world: Harness) -> None:
    """'honouring Retry-After': a worker that waits in place for its slot sees the push-back when it wakes."""
    keeper, other = (RateLimiter(world.dynamodb, TABLE, MovedClock(), 60, 0) for _ in range(2))
    keeper.acquire(1, 0.0)
    slot = other.acquire(1, 0.0)
    assert slot.at > world.now()
    keeper.back_off(60)

    with pytest.raises(NoSlotFree):
        other.wait(slot)


def test_an_upload_that_loses_many_races_keeps_its_place_in_line(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment_pace = world.app.rate_limiter
    job = world.put("a.jpg", photo, prompt="wood")
    # Its turn has come, behind it stands an hour of others.
    record = world.app.ledger.claim(job, "an earlier look", 0.0)
    world.app.ledger.release(record, replace(record, queue_position=world.now()), 0.0)
    environment_pace.acquire(0, 0.0)
    world.dynamodb.update_item(
        TableName=TABLE,
        Key={"id": {"S": "pace"}},
        UpdateExpression="SET queue_tail = :end",
        ExpressionAttributeValues={":end": {"N": str(int((world.now() + 3600) * 1_000_000))}},
    )
    world.advance(1)
    real = environment_pace._try
    monkeypatch.setattr(environment_pace, "_try", lambda *_: None)  # a thousand workers at once
    world.app.queues.retry(job, 0)
    world.retry_once()
    monkeypatch.setattr(environment_pace, "_try", real)
    environment_pace.look()

    world.drain(seconds=120)

    assert list(world.outputs()) == ["a.jpg.png"]


# Paid once, reported rightly


def test_a_replay_that_is_refused_says_nothing_certain_about_the_first_call(world: Harness, photo: bytes) -> None:
    """The link is alive; the gateway (or a firewall before it) refuses the replay before looking at its key."""
    world.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": 422}])
    world.upload("a.jpg", photo, prompt="wood")
    world.drain()
    [letter] = world.dead_letters()
    assert world.charged() == 1
    assert letter["reason"]["billed"] != "no"


def test_a_refused_replay_that_is_moved_back_is_not_paid_again(world: Harness, photo: bytes) -> None:
    world.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": 422}])
    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    world.redrive()
    world.drain()

    assert list(world.outputs()) == ["a.jpg.png"]
    assert world.charged() == 1


@pytest.mark.parametrize("policy", ["retry", "park"])
def test_a_purchase_in_a_message_wins_over_a_duplicate(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """PAID could not be written, and a duplicate event comes while the purchase waits in its message."""
    environment.setenv("ON_UNKNOWN_OUTCOME", policy)
    world.gateway.settings(honours_idempotency_keys=False)
    LedgerFault(world, "PAID", 1, monkeypatch)
    job = world.upload("a.jpg", photo, prompt="wood")
    world.notify(job)
    world.drain()

    assert list(world.outputs()) == ["a.jpg.png"]
    assert world.charged() == 1


def test_a_purchase_meets_a_lease_that_nobody_holds_any_more(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long until it goes on? UNRECORDED_SECONDS says 15 s; the lease of the worker that is gone says more."""
    LedgerFault(world, "PAID", 1, monkeypatch)
    started = world.now()
    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    assert list(world.outputs()) == ["a.jpg.png"]
    assert world.now() - started <= 60


def test_a_purchase_survives_in_a_bucket_without_versions(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.s3.delete_bucket(Bucket=INPUT)
    world.s3.create_bucket(Bucket=INPUT)
    world.gateway.settings(honours_idempotency_keys=False)
    LedgerFault(world, "PAID", 1, monkeypatch)
    answer = world.s3.put_object(Bucket=INPUT, Key="a.jpg", Body=photo, Metadata={"prompt": "wood"})
    world.notify(Job(INPUT, "a.jpg", None, answer["ETag"].strip('"'), len(photo)))
    world.drain()

    assert list(world.outputs()) == ["a.jpg.png"]
    assert world.charged() == 1


def test_a_re_upload_in_a_bucket_with_suspended_versions_is_a_new_upload(
    world: Harness, photo: bytes, picture_of: Any
) -> None:
    world.s3.put_bucket_versioning(Bucket=INPUT, VersioningConfiguration={"Status": "Suspended"})
    for data, prompt in ((photo, "wood"), (picture_of("PNG"), "snow")):
        answer = world.s3.put_object(Bucket=INPUT, Key="a.jpg", Body=data, Metadata={"prompt": prompt})
        world.notify(Job(INPUT, "a.jpg", None, answer["ETag"].strip('"'), len(data)))
    world.drain()

    assert [charge["prompt"] for charge in world.gateway.charges()] == ["wood", "snow"]


# boto3's hidden retries


def test_a_calling_write_whose_answer_got_lost_is_no_unknown_outcome(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was sent, so nothing is unknown. DynamoDB returns 0 for 0.0."""
    environment.setenv("ON_UNKNOWN_OUTCOME", "park")
    lose_answer(world, "CALLING", monkeypatch)
    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    assert world.dead_letters() == []
    assert list(world.outputs()) == ["a.jpg.png"]


def test_a_paid_write_whose_answer_got_lost_keeps_inline_images(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.setenv("ON_UNKNOWN_OUTCOME", "park")
    world.gateway.settings(answer="b64_json")
    lose_answer(world, "PAID", monkeypatch)
    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    assert world.dead_letters() == []
    assert list(world.outputs()) == ["a.jpg.png"]


# Dead-lettered though it could succeed


@pytest.mark.parametrize(("policy", "times"), [("park", 1), ("retry", 2)])
def test_a_photo_that_could_not_be_read_for_a_file_upload_was_never_sent(
    environment: pytest.MonkeyPatch,
    world: Harness,
    photo: bytes,
    monkeypatch: pytest.MonkeyPatch,
    policy: str,
    times: int,
) -> None:
    environment.setenv("ON_UNKNOWN_OUTCOME", policy)
    environment.setenv("GATEWAY_ROUTE", "edits-multipart")
    storage = world.app.storage
    real, left = storage.read, [times]

    def read(job: Job) -> bytes:
        if left[0]:
            left[0] -= 1
            raise ReadTimeoutError(endpoint_url="https://s3")
        return real(job)

    monkeypatch.setattr(storage, "read", read)
    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    assert [letter["reason"]["code"] for letter in world.dead_letters()] == []
    assert list(world.outputs()) == ["a.jpg.png"]


def test_a_blank_key_in_ssm_keeps_every_upload(world: Harness, photo: bytes) -> None:
    world.put_key(" ")
    world.upload("a.jpg", photo, prompt="wood")
    world.drain(seconds=900)
    assert world.dead_letters() == []

    world.put_key(world.gateway.key)
    world.drain()
    assert list(world.outputs()) == ["a.jpg.png"]


def test_an_outage_that_swallows_answers_does_not_dead_letter_every_upload(world: Harness, photo: bytes) -> None:
    """A load balancer that closes connections, or a Cloudflare 52x."""
    world.gateway.faults([{"kind": "status", "status": 521, "times": 0}])
    for number in range(14):
        world.upload(f"{number}.jpg", photo, prompt="wood")
    world.drain(seconds=900, most=3000)

    assert len(world.dead_letters()) <= 4


@pytest.mark.parametrize(
    "attributes",
    [{"ApproximateReceiveCount": "501"}, {"SentTimestamp": "1700000000000"}],
    ids=["received-often", "sent-long-ago"],
)
@pytest.mark.parametrize("why", ["waits", "fails"])
def test_a_message_near_the_end_of_its_life_is_renewed(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch, attributes: dict[str, str], why: str
) -> None:
    """SQS dead-letters after 1000 receives and forgets after 14 days, however good the reason to wait."""
    if why == "waits":
        world.gateway.faults([{"kind": "status", "status": 402, "times": 0}])
    else:
        monkeypatch.setattr(world.app.storage, "inspect", None)
    message = json.loads((ROOT / "events" / "retry_message.json").read_text())["Records"][0]
    message["body"] = json.dumps({"job": world.put("a.jpg", photo, prompt="wood").as_dict()})
    message["attributes"] |= {"SentTimestamp": str(int(world.now() * 1000)), **attributes}

    answer = world.invoke(world.retry_function, {"Records": [message]})

    assert answer == {"batchItemFailures": []}
    assert [body["job"]["key"] for body in world.waiting()] == ["a.jpg"]


# n > 1


@pytest.mark.parametrize("status", [404, 503])
def test_one_dead_link_does_not_lose_the_other_images_that_were_paid(world: Harness, photo: bytes, status: int) -> None:
    app = world.app
    real = app.results.fetch
    first: list[str] = []

    def fetch(link: str, seconds: float) -> bytes:
        first.append(link)
        if link == first[0]:
            if status == 404:
                raise ResultUnusable("404")
            raise ResultUnreachable("503")
        return real(link, seconds)

    app.results.fetch = fetch  # type: ignore[method-assign]
    world.upload("a.jpg", photo, prompt="wood", n="3")
    world.drain(seconds=3600)

    assert {"a.jpg.2.png", "a.jpg.3.png"} <= set(world.outputs())


@pytest.mark.parametrize("errors", [(ResultUnusable, ResultUnreachable), (ResultUnreachable, ResultUnusable)])
def test_a_dead_link_is_told_within_minutes_though_another_may_work_later(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch, errors: tuple[type[Exception], ...]
) -> None:
    dead = cycle(errors)

    def fetch(link: str, seconds: float) -> bytes:
        raise next(dead)("no")

    monkeypatch.setattr(world.app.results, "fetch", fetch)
    world.upload("a.jpg", photo, prompt="wood", n="2")
    world.drain(seconds=180)

    [letter] = world.dead_letters()
    assert (letter["reason"]["code"], letter["reason"]["billed"]) == ("result_unavailable", "yes")


def test_more_images_than_asked_for_are_not_reported_under_one_key(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = world.app.gateway
    real = gateway.send

    def more(*arguments: Any) -> Any:
        answer = real(*arguments)
        return SimpleNamespace(
            links=answer.links * 3, inline=(), request_id=answer.request_id, cost_usd=answer.cost_usd
        )

    monkeypatch.setattr(gateway, "send", more)
    job = world.upload("a.jpg", photo, prompt="wood")
    record = world.record(job)
    assert record is not None
    assert len(record.outputs) == 1


# Inline answers


@pytest.mark.parametrize(("policy", "times"), [("park", 1), ("retry", 2)])
def test_row_46_with_inline_answers_a_result_that_could_not_be_stored_is_stored_later(
    environment: pytest.MonkeyPatch,
    world: Harness,
    photo: bytes,
    monkeypatch: pytest.MonkeyPatch,
    policy: str,
    times: int,
) -> None:
    environment.setenv("ON_UNKNOWN_OUTCOME", policy)
    world.gateway.settings(answer="b64_json")
    storage = world.app.result_storage
    real, left = storage.store, [times]

    def store(*arguments: Any) -> Any:
        if left[0]:
            left[0] -= 1
            response: Any = {"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503}}
            raise ClientError(response, "PutObject")
        return real(*arguments)

    monkeypatch.setattr(storage, "store", store)
    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    assert world.dead_letters() == []
    assert list(world.outputs()) == ["a.jpg.png"]


def test_inline_images_that_a_crash_swallowed_are_not_asked_for_again_after_a_day(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway may have forgotten the key by then, and would sell them again."""

    def killed(*_: Any) -> None:
        raise Killed

    world.gateway.settings(answer="b64_json")
    with monkeypatch.context() as patched:
        patched.setattr(world.app.result_storage, "store", killed)
        world.upload("a.jpg", photo, prompt="wood")
    world.advance(25 * 3600)
    world.drain()

    assert len(world.gateway.calls()) == 1
    [letter] = world.dead_letters()
    assert (letter["reason"]["code"], letter["reason"]["billed"]) == ("outcome_unknown", "yes")


# Dead letters


def test_a_malformed_record_beside_an_upload_that_waits_is_dead_lettered_once(world: Harness, photo: bytes) -> None:
    world.gateway.faults([{"kind": "status", "status": 402, "times": 0}])
    job = world.put("a.jpg", photo, prompt="wood")
    event = s3_event(job, job)
    event["Records"][1]["s3"] = {"nothing": "here"}
    world.send(envelope(event, RuntimeError()))
    world.drain(seconds=600)

    assert len(world.dead_letters()) == 1


def test_two_deliveries_of_a_bad_upload_are_one_dead_letter(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.put("a.jpg", photo)
    queues = world.app.queues
    real = queues.dead_letter

    def slow(*arguments: Any) -> None:
        monkeypatch.setattr(queues, "dead_letter", real)
        world.notify(job)
        real(*arguments)

    monkeypatch.setattr(queues, "dead_letter", slow)
    world.notify(job)
    world.drain()

    assert len(world.dead_letters()) == 1


# The pause


def test_a_probe_that_pays_ends_the_pause_though_paid_could_not_be_written(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.gateway.faults([{"kind": "status", "status": 402}])
    world.upload("a.jpg", photo, prompt="wood")
    assert "paused_since" in pace_item(world)
    LedgerFault(world, "PAID", 1, monkeypatch)
    world.advance((world.next_due() or 0) - world.now() + 1)
    world.retry_once()
    assert world.charged() == 1

    assert "paused_since" not in pace_item(world)


def test_a_pace_item_that_hiccups_after_a_payment_does_not_lose_inline_images(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.setenv("ON_UNKNOWN_OUTCOME", "park")
    world.gateway.settings(answer="b64_json")
    pace = world.app.rate_limiter
    real = pace.breaker.succeeded

    def hiccup(slot: Any) -> None:
        monkeypatch.setattr(pace.breaker, "succeeded", real)
        raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "UpdateItem")

    monkeypatch.setattr(pace.breaker, "succeeded", hiccup)
    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    assert world.dead_letters() == []


def test_a_pace_item_that_hiccups_after_a_503_does_not_make_the_outcome_unknown(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.setenv("ON_UNKNOWN_OUTCOME", "park")
    world.gateway.faults([{"kind": "status", "status": 503}])
    pace = world.app.rate_limiter
    real = pace.breaker.failed

    def hiccup(*_: Any, **__: Any) -> bool:
        monkeypatch.setattr(pace.breaker, "failed", real)
        raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "UpdateItem")

    monkeypatch.setattr(pace.breaker, "failed", hiccup)
    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    assert world.dead_letters() == []
    assert list(world.outputs()) == ["a.jpg.png"]


def test_failures_with_successes_between_them_are_not_ten_in_a_row(world: Harness) -> None:
    """Calls overlap: each is taken before the one before it is answered, and every second one works."""
    keeper = RateLimiter(world.dynamodb, TABLE, MovedClock(), 30_000, 0)
    failing, working, paused = keeper.acquire(1, 0.0), keeper.acquire(1, 0.0), []
    for _ in range(15):
        paused.append(keeper.breaker.failed(failing, "503", may_be_charged=True))
        keeper.breaker.succeeded(working)
        failing, working = keeper.acquire(1, 0.0), keeper.acquire(1, 0.0)

    assert not any(paused)


def test_a_calling_write_whose_answer_got_lost_does_not_lift_the_days_limit(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "1")
    lose_answer(world, "CALLING", monkeypatch)
    world.upload("a.jpg", photo, prompt="wood")
    world.drain(seconds=600)
    world.upload("b.jpg", photo, prompt="wood")
    world.drain(seconds=600)

    assert world.charged() == 1


def test_a_retry_does_not_go_to_the_end_of_a_line_of_hours(world: Harness, photo: bytes) -> None:
    """An upload that had its turn and got a 503 or no answer: its image link lives an hour, the line takes two."""
    world.gateway.faults([{"kind": "drop_after_charge"}])
    pace = world.app.rate_limiter
    job = world.put("a.jpg", photo, prompt="wood")
    record = world.app.ledger.claim(job, "an earlier look", 0.0)
    world.app.ledger.release(record, replace(record, queue_position=world.now()), 0.0)
    pace.acquire(0, 0.0)
    world.dynamodb.update_item(
        TableName=TABLE,
        Key={"id": {"S": "pace"}},
        UpdateExpression="SET queue_tail = :end",
        ExpressionAttributeValues={":end": {"N": str(int((world.now() + 7200) * 1_000_000))}},
    )
    pace.look()
    world.advance(1)
    world.app.queues.retry(job, 0)
    world.drain(seconds=3000)

    assert world.charged() == 1
    assert list(world.outputs()) == ["a.jpg.png"]


def test_who_has_had_a_turn_does_not_stand_behind_everybody_again(world: Harness) -> None:
    keeper = RateLimiter(world.dynamodb, TABLE, MovedClock(), 60, 0)
    keeper.look()
    keeper.back_off(10)
    for _ in range(100):
        with pytest.raises(NoSlotFree):
            keeper.acquire(1, 0.0)

    with pytest.raises(NoSlotFree) as newcomer:
        keeper.acquire(1, 0.0)
    with pytest.raises(NoSlotFree) as failed:
        keeper.acquire(1, world.now() - 1)
    assert newcomer.value.due_at > world.now() + 100
    assert failed.value.due_at < world.now() + 20


def test_a_probe_waits_as_long_as_a_429_asks(world: Harness, photo: bytes) -> None:
    keeper = RateLimiter(world.dynamodb, TABLE, MovedClock(), 60, 0)
    slot = keeper.acquire(1, 0.0)
    keeper.breaker.pause(slot, "429", may_be_charged=False)
    keeper.back_off(600)
    world.advance(100)

    with pytest.raises(Paused):
        keeper.acquire(1, 0.0)


def test_a_refusal_that_could_not_be_written_is_still_not_charged(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The REJECTED write fails once; the gateway said 400 to a first call, so nothing was charged."""
    world.gateway.faults([{"kind": "status", "status": 400, "times": 0}])
    LedgerFault(world, "REJECTED", 1, monkeypatch)
    started = world.now()
    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    [letter] = world.dead_letters()
    assert (letter["reason"]["code"], letter["reason"]["billed"]) == ("rejected_by_gateway", "no")
    assert world.now() - started <= 60, "the lease was never given back"


def test_a_replay_of_more_images_than_the_lowered_limit_ends(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes
) -> None:
    until_midnight(world, 3)
    world.gateway.faults([{"kind": "drop_after_charge"}])
    world.upload("a.jpg", photo, prompt="wood", n="3")
    environment.setenv("DAILY_IMAGE_LIMIT", "2")
    world.restart()
    world.drain(seconds=3 * 86400, most=2000)

    assert world.waiting() == []


def test_messages_that_nobody_can_serve_are_not_doubled_by_every_reconcile(world: Harness, photo: bytes) -> None:
    """RetryFunction has more to do than it can: the messages are visible for longer than GRACE_SECONDS, not lost."""
    world.gateway.faults([{"kind": "status", "status": 503, "times": 0}])
    for number in range(5):
        world.upload(f"{number}.jpg", photo, prompt="wood")
    for _ in range(23):
        world.advance(3600)
        world.invoke(world.reconcile_function, {})

    assert len(world.waiting()) <= 5 * 6


def test_a_probe_that_is_killed_leaves_the_pause_with_its_next_probe(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.gateway.faults([{"kind": "status", "status": 402}])
    world.upload("a.jpg", photo, prompt="wood")
    gateway = world.app.gateway
    real = gateway.send

    def killed(*_: Any) -> Any:
        monkeypatch.setattr(gateway, "send", real)
        raise Killed

    monkeypatch.setattr(gateway, "send", killed)
    world.upload("b.jpg", photo, prompt="wood")
    started = world.now()
    world.drain()

    assert len(world.outputs()) == 2
    assert world.now() - started <= 1200
