"""Never too fast, never past the day's limit, and patient while the account is broken."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

from backdrop.errors import NoSlotFree, Paused
from backdrop.rate_limiter import RateLimiter
from tests.integration.day_and_pace import pace_item
from tests.integration.harness import Harness
from tests.integration.moved_clock import MovedClock
from tests.integration.stack import TABLE

pytestmark = pytest.mark.usefixtures("one_day")


def limiter_at(harness: Harness, rpm: int = 60, daily_limit: int = 0) -> RateLimiter:
    """A worker of its own."""
    return RateLimiter(harness.dynamodb, TABLE, MovedClock(), rpm, daily_limit)


def test_slots_are_handed_out_one_at_a_time_at_the_pace(harness: Harness) -> None:
    limiter = limiter_at(harness, rpm=120)

    first, second, third = (limiter.acquire(1, 0.0) for _ in range(3))

    assert 0.5 <= second.at - first.at < 0.6
    assert 0.5 <= third.at - second.at < 0.6


def test_calls_that_were_not_charged_pause_after_ten_however_many_images_each_asked_for(harness: Harness) -> None:
    limiter = limiter_at(harness)
    slot = limiter.acquire(8, 0.0)
    paused = [limiter.breaker.failed(slot, "429", may_be_charged=False) for _ in range(10)]

    assert paused == [False] * 9 + [True]


@pytest.mark.parametrize("others", [1, 7, 8, 20])
def test_a_refund_that_boto3_sends_twice_counts_once_however_many_come_in_between(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    limiters = [limiter_at(harness, rpm=6000, daily_limit=30) for _ in range(others + 1)]
    slot, *other_slots = [limiter.acquire(1, 0.0) for limiter in limiters]
    limiter, *other_limiters = limiters
    real, sent = harness.dynamodb.update_item, 0

    def update_item(**arguments: Any) -> Any:
        nonlocal sent
        answer = real(**arguments)
        if "images - :n" in arguments["UpdateExpression"]:
            sent += 1
            if sent == 1:  # its answer gets lost
                for other, other_slot in zip(other_limiters, other_slots, strict=True):
                    other.refund(other_slot)
                return real(**arguments)
        return answer

    monkeypatch.setattr(harness.dynamodb, "update_item", update_item)
    limiter.refund(slot)

    assert pace_item(harness)["images"] == "0"


def test_all_refunds_of_several_workers_at_once_count(harness: Harness) -> None:
    """As many as the item names: of more, one that is slow may stay reserved."""
    limiters = [limiter_at(harness, rpm=6000, daily_limit=30) for _ in range(8)]
    slots = [limiter.acquire(1, 0.0) for limiter in limiters]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda limiter, slot: limiter.refund(slot), limiters, slots))

    assert pace_item(harness)["images"] == "0"


def test_workers_share_one_pace(harness: Harness) -> None:
    limiters = [limiter_at(harness, rpm=1200) for _ in range(8)]

    with ThreadPoolExecutor(8) as pool:
        slots = sorted(pool.map(lambda limiter: limiter.acquire(1, 0.0).at, limiters))

    gaps = [after - before for before, after in pairwise(slots)]
    assert min(gaps) >= 0.05


def test_row_56_waiting_uploads_stand_in_line_and_none_is_dead_lettered(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    environment.setenv("REQUESTS_PER_MINUTE", "6")
    for number in range(12):
        harness.upload(f"{number}.jpg", photo, prompt="wood")
    started = harness.now()

    invocations = harness.drain()

    assert len(harness.outputs()) == 12
    assert harness.dead_letters() == []
    assert harness.now() - started <= 12 * 10 * 1.3
    assert invocations <= 12 * 3


def test_row_18_a_rate_limit_postpones_every_upload(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "status", "status": 429, "retry_after": "30"}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.upload("b.jpg", photo, prompt="wood")

    assert len(harness.gateway.calls()) == 1
    due = harness.next_due()
    assert due is not None
    assert due - harness.now() > 25
    harness.drain()
    assert len(harness.outputs()) == 2
    assert harness.charged() == 2


@pytest.mark.parametrize("retry_after", ["-5", "86400", "soon", "Wed, 21 Oct 2099 07:28:00 GMT", None])
def test_row_18_any_retry_after_ends_well(harness: Harness, photo: bytes, retry_after: str | None) -> None:
    harness.gateway.faults([{"kind": "status", "status": 429, "retry_after": retry_after}])

    harness.upload("a.jpg", photo, prompt="wood")
    started = harness.now()
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.now() - started <= 1000


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_rows_23_24_an_account_fault_pauses_all_calls_and_keeps_every_upload(
    harness: Harness, photo: bytes, status: int
) -> None:
    harness.gateway.faults([{"kind": "status", "status": status, "times": 0}])
    for number in range(10):
        harness.upload(f"{number}.jpg", photo, prompt="wood")

    harness.drain(seconds=280)
    assert len(harness.gateway.calls()) <= 8
    assert len(harness.waiting()) == 10
    assert harness.dead_letters() == []

    harness.gateway.faults([])
    started = harness.now()
    harness.drain()
    assert len(harness.outputs()) == 10
    assert harness.charged() == 10
    assert harness.now() - started <= 180


def test_during_a_pause_uploads_look_again_within_a_minute_and_later_every_quarter_of_an_hour(
    harness: Harness, photo: bytes
) -> None:
    harness.gateway.faults([{"kind": "status", "status": 402, "times": 0}])
    harness.upload("a.jpg", photo, prompt="wood")

    looks = []
    ends = harness.now() + 4000
    while harness.now() < ends:
        before = harness.now()
        due = harness.next_due()
        assert due is not None
        harness.drain(seconds=due - harness.now() + 0.5, most=2)
        looks.append((before, harness.now() - before))

    started = looks[0][0]
    assert all(gap <= 60 for at, gap in looks if at - started < 300)
    assert all(500 < gap <= 900 for at, gap in looks if at - started > 500)


def test_probes_keep_the_pace_too(harness: Harness) -> None:
    limiter = limiter_at(harness, rpm=1)
    limiter.breaker.pause(limiter.acquire(1, 0.0), "402", may_be_charged=False)

    harness.advance(40)
    with pytest.raises(Paused):
        limiter.acquire(1, 0.0)
    harness.advance(30)
    probe = limiter.acquire(1, 0.0)
    limiter.breaker.succeeded(probe)
    with pytest.raises(NoSlotFree):
        limiter.acquire(1, 0.0)

    assert probe.is_probe


def test_a_pause_lets_single_probes_through(harness: Harness, photo: bytes) -> None:
    limiter, other = limiter_at(harness), limiter_at(harness)
    slot = limiter.acquire(1, 0.0)
    limiter.breaker.pause(slot, "402", may_be_charged=False)
    harness.advance(20)

    assert limiter.acquire(1, 0.0).is_probe
    with pytest.raises(Exception, match="paused"):
        other.acquire(1, 0.0)


def test_row_22_a_rotated_key_is_picked_up_without_a_deploy(harness: Harness, photo: bytes) -> None:
    harness.upload("a.jpg", photo, prompt="wood")
    harness.gateway.settings(keys=["sk-aig-new"])
    harness.put_key("sk-aig-new")

    harness.upload("b.jpg", photo, prompt="wood")

    assert len(harness.outputs()) == 2
    assert [call["status"] for call in harness.gateway.calls()] == [200, 401, 200]
    assert harness.charged() == 2


def test_row_20_an_outage_of_hours_dead_letters_nothing(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "status", "status": 503, "times": 0}])
    for number in range(12):
        harness.upload(f"{number}.jpg", photo, prompt="wood")

    harness.drain(seconds=2 * 3600, most=2000)
    calls = len(harness.gateway.calls())
    assert harness.dead_letters() == []
    assert calls < 250

    harness.gateway.faults([])
    harness.drain(most=2000)
    assert len(harness.outputs()) == 12
    assert harness.charged() == 12


def test_the_daily_limit_is_never_passed_and_the_rest_waits_for_the_next_day(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "5")
    for number in range(4):
        harness.upload(f"{number}.jpg", photo, prompt="wood", n="2")

    assert harness.charged() == 4
    harness.drain(seconds=600)
    assert harness.charged() == 4
    assert len(harness.waiting()) == 2
    assert harness.dead_letters() == []

    harness.drain(seconds=25 * 3600)
    assert harness.charged() == 8
    assert harness.waiting() == []


@pytest.mark.parametrize("status", [429, 521, 522, 523, 525, 526, 529, 530])
def test_what_was_not_charged_does_not_count_against_the_day(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, status: int
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "1")
    harness.gateway.faults([{"kind": "status", "status": status, "times": 2}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain(seconds=600)

    assert list(harness.outputs()) == ["a.jpg.png"]


def test_the_daily_limit_holds_for_workers_at_once(harness: Harness) -> None:
    limiters = [limiter_at(harness, rpm=6000, daily_limit=5) for _ in range(10)]

    def take(limiter: RateLimiter) -> int:
        try:
            return limiter.acquire(1, 0.0).images
        except Exception:
            return 0

    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(take, limiters)) == 5


def test_more_images_than_a_day_allows_are_refused_before_the_call(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "2")

    harness.upload("a.jpg", photo, prompt="wood", n="3")

    assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == ["invalid_option"]


def test_row_61_a_key_that_can_not_be_read_means_no_call_and_a_retry(harness: Harness, photo: bytes) -> None:
    harness.ssm.delete_parameter(Name="/backdrop/gateway-api-key")

    job = harness.upload("a.jpg", photo, prompt="wood")
    assert harness.gateway.calls() == []
    assert len(harness.waiting()) == 1
    record = harness.record(job)
    assert record is not None
    assert (record.state, record.calls_sent) == ("CLAIMED", 0)

    harness.put_key(harness.gateway.key)
    harness.drain()
    assert list(harness.outputs()) == ["a.jpg.png"]
