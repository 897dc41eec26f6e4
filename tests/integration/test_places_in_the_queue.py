"""Calls keep their distance, and no upload loses its place in the queue for them."""

from dataclasses import replace

import pytest

from backdrop.errors import NoSlotFree
from backdrop.rate_limiter import RateLimiter
from tests.integration.aws_faults import refusing
from tests.integration.harness import Harness
from tests.integration.moved_clock import MovedClock
from tests.integration.stack import TABLE


@pytest.mark.parametrize("rpm", [1, 60, 600, 9300, 14_100, 18_100, 27_000, 28_000, 30_000])
def test_slots_are_never_closer_than_requests_per_minute_allows(harness: Harness, rpm: int) -> None:
    slot = RateLimiter(harness.dynamodb, TABLE, MovedClock(), rpm, 0).acquire(1, 0.0)

    item = harness.dynamodb.get_item(TableName=TABLE, Key={"id": {"S": "pace"}})["Item"]
    assert 60 / (int(item["next_slot"]["N"]) / 1_000_000 - slot.at) <= rpm


def test_a_call_that_finds_a_slot_at_once_keeps_its_distance_from_one_that_waited(harness: Harness) -> None:
    """What waited leaves a moment after its slot, and the next slot may be taken within that moment."""
    clock = MovedClock()
    first, second, third = (RateLimiter(harness.dynamodb, TABLE, clock, 600, 0) for _ in range(3))
    third.look()
    first.acquire(1, 0.0)
    waited = second.acquire(1, 0.0)
    leaves_at = second.wait(waited)
    clock.sleep_until(waited.at + 0.106)

    free = third.acquire(1, 0.0)

    assert free.at <= clock.now()  # it has nothing to wait for
    assert third.wait(free) >= leaves_at + 0.1


def test_a_call_in_a_quiet_hour_leaves_at_once(harness: Harness) -> None:
    clock = MovedClock()
    limiter = RateLimiter(harness.dynamodb, TABLE, clock, 600, 0)
    limiter.acquire(1, 0.0)
    clock.sleep_until(clock.now() + 1)

    slot = limiter.acquire(1, 0.0)

    assert limiter.wait(slot) <= clock.now()


def test_a_rate_limit_postpones_calls_whose_slot_is_a_second_away(harness: Harness) -> None:
    """'honouring Retry-After': a worker that waits in place for its slot sees the push-back when it wakes."""
    limiter, other = (RateLimiter(harness.dynamodb, TABLE, MovedClock(), 60, 0) for _ in range(2))
    limiter.acquire(1, 0.0)
    slot = other.acquire(1, 0.0)
    assert slot.at > harness.now()
    limiter.back_off(60)

    with pytest.raises(NoSlotFree):
        other.wait(slot)


def test_an_upload_that_loses_many_races_keeps_its_place_in_line(harness: Harness, photo: bytes) -> None:
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
    harness.services.queues.retry(job, 0)
    with refusing(  # a thousand workers at once
        harness,
        "dynamodb.UpdateItem",
        "ConditionalCheckFailedException",
        400,
        asked=lambda request: b'"pace"' in request.body,
    ):
        harness.retry_once()
    environment_pace.look()

    harness.drain(seconds=120)

    assert list(harness.outputs()) == ["a.jpg.png"]


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
