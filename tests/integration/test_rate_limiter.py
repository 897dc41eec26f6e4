"""Never too fast, never past the day's limit, and patient while the account is broken."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from backdrop.errors import NoSlotFree, Paused
from backdrop.rate_limiter import RateLimiter
from tests.integration.harness import TABLE, Harness, MovedClock


def pace(world: Harness, rpm: int = 60, daily_limit: int = 0) -> RateLimiter:
    """A worker of its own."""
    return RateLimiter(world.dynamodb, TABLE, MovedClock(), rpm, daily_limit)


def test_slots_are_handed_out_one_at_a_time_at_the_pace(world: Harness) -> None:
    keeper = pace(world, rpm=120)

    first, second, third = (keeper.acquire(1, 0.0) for _ in range(3))

    assert 0.5 <= second.at - first.at < 0.6
    assert 0.5 <= third.at - second.at < 0.6


def test_calls_that_were_not_charged_pause_after_ten_however_many_images_each_asked_for(world: Harness) -> None:
    keeper = pace(world)
    slot = keeper.acquire(8, 0.0)
    paused = [keeper.breaker.failed(slot, "429", may_be_charged=False) for _ in range(10)]

    assert paused == [False] * 9 + [True]


def test_workers_share_one_pace(world: Harness) -> None:
    keepers = [pace(world, rpm=1200) for _ in range(8)]

    with ThreadPoolExecutor(8) as pool:
        slots = sorted(pool.map(lambda keeper: keeper.acquire(1, 0.0).at, keepers))

    gaps = [after - before for before, after in pairwise(slots)]
    assert min(gaps) >= 0.05


def test_row_56_waiting_uploads_stand_in_line_and_none_is_dead_lettered(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes
) -> None:
    environment.setenv("REQUESTS_PER_MINUTE", "6")
    for number in range(12):
        world.upload(f"{number}.jpg", photo, prompt="wood")
    started = world.now()

    invocations = world.drain()

    assert len(world.outputs()) == 12
    assert world.dead_letters() == []
    assert world.now() - started <= 12 * 10 * 1.3
    assert invocations <= 12 * 3


def test_row_18_a_rate_limit_postpones_every_upload(world: Harness, photo: bytes) -> None:
    world.gateway.faults([{"kind": "status", "status": 429, "retry_after": "30"}])

    world.upload("a.jpg", photo, prompt="wood")
    world.upload("b.jpg", photo, prompt="wood")

    assert len(world.gateway.calls()) == 1
    due = world.next_due()
    assert due is not None
    assert due - world.now() > 25
    world.drain()
    assert len(world.outputs()) == 2
    assert world.charged() == 2


@pytest.mark.parametrize("retry_after", ["-5", "86400", "soon", "Wed, 21 Oct 2099 07:28:00 GMT", None])
def test_row_18_any_retry_after_ends_well(world: Harness, photo: bytes, retry_after: str | None) -> None:
    world.gateway.faults([{"kind": "status", "status": 429, "retry_after": retry_after}])

    world.upload("a.jpg", photo, prompt="wood")
    started = world.now()
    world.drain()

    assert list(world.outputs()) == ["a.jpg.png"]
    assert world.now() - started <= 1000


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_rows_23_24_an_account_fault_pauses_all_calls_and_keeps_every_upload(
    world: Harness, photo: bytes, status: int
) -> None:
    world.gateway.faults([{"kind": "status", "status": status, "times": 0}])
    for number in range(10):
        world.upload(f"{number}.jpg", photo, prompt="wood")

    world.drain(seconds=280)
    assert len(world.gateway.calls()) <= 8
    assert len(world.waiting()) == 10
    assert world.dead_letters() == []

    world.gateway.faults([])
    started = world.now()
    world.drain()
    assert len(world.outputs()) == 10
    assert world.charged() == 10
    assert world.now() - started <= 180


def test_during_a_pause_uploads_look_again_within_a_minute_and_later_every_quarter_of_an_hour(
    world: Harness, photo: bytes
) -> None:
    world.gateway.faults([{"kind": "status", "status": 402, "times": 0}])
    world.upload("a.jpg", photo, prompt="wood")

    looks = []
    ends = world.now() + 4000
    while world.now() < ends:
        before = world.now()
        due = world.next_due()
        assert due is not None
        world.drain(seconds=due - world.now() + 0.5, most=2)
        looks.append((before, world.now() - before))

    started = looks[0][0]
    assert all(gap <= 60 for at, gap in looks if at - started < 300)
    assert all(500 < gap <= 900 for at, gap in looks if at - started > 500)


def test_probes_keep_the_pace_too(world: Harness) -> None:
    keeper = pace(world, rpm=1)
    keeper.breaker.pause(keeper.acquire(1, 0.0), "402", may_be_charged=False)

    world.advance(40)
    with pytest.raises(Paused):
        keeper.acquire(1, 0.0)
    world.advance(30)
    probe = keeper.acquire(1, 0.0)
    keeper.breaker.succeeded(probe)
    with pytest.raises(NoSlotFree):
        keeper.acquire(1, 0.0)

    assert probe.is_probe


def test_a_pause_lets_single_probes_through(world: Harness, photo: bytes) -> None:
    keeper, other = pace(world), pace(world)
    slot = keeper.acquire(1, 0.0)
    keeper.breaker.pause(slot, "402", may_be_charged=False)
    world.advance(20)

    assert keeper.acquire(1, 0.0).is_probe
    with pytest.raises(Exception, match="paused"):
        other.acquire(1, 0.0)


def test_row_22_a_rotated_key_is_picked_up_without_a_deploy(world: Harness, photo: bytes) -> None:
    world.upload("a.jpg", photo, prompt="wood")
    world.gateway.settings(keys=["sk-aig-new"])
    world.put_key("sk-aig-new")

    world.upload("b.jpg", photo, prompt="wood")

    assert len(world.outputs()) == 2
    assert [call["status"] for call in world.gateway.calls()] == [200, 401, 200]
    assert world.charged() == 2


def test_row_20_an_outage_of_hours_dead_letters_nothing(world: Harness, photo: bytes) -> None:
    world.gateway.faults([{"kind": "status", "status": 503, "times": 0}])
    for number in range(12):
        world.upload(f"{number}.jpg", photo, prompt="wood")

    world.drain(seconds=2 * 3600, most=2000)
    calls = len(world.gateway.calls())
    assert world.dead_letters() == []
    assert calls < 250

    world.gateway.faults([])
    world.drain(most=2000)
    assert len(world.outputs()) == 12
    assert world.charged() == 12


def test_the_daily_limit_is_never_passed_and_the_rest_waits_for_the_next_day(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "5")
    for number in range(4):
        world.upload(f"{number}.jpg", photo, prompt="wood", n="2")

    assert world.charged() == 4
    world.drain(seconds=600)
    assert world.charged() == 4
    assert len(world.waiting()) == 2
    assert world.dead_letters() == []

    world.drain(seconds=25 * 3600)
    assert world.charged() == 8
    assert world.waiting() == []


@pytest.mark.parametrize("status", [429, 521, 522, 523, 525, 526, 529, 530])
def test_what_was_not_charged_does_not_count_against_the_day(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes, status: int
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "1")
    world.gateway.faults([{"kind": "status", "status": status, "times": 2}])

    world.upload("a.jpg", photo, prompt="wood")
    world.drain(seconds=600)

    assert list(world.outputs()) == ["a.jpg.png"]


def test_the_daily_limit_holds_for_workers_at_once(world: Harness) -> None:
    keepers = [pace(world, rpm=6000, daily_limit=5) for _ in range(10)]

    def take(keeper: RateLimiter) -> int:
        try:
            return keeper.acquire(1, 0.0).images
        except Exception:
            return 0

    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(take, keepers)) == 5


def test_more_images_than_a_day_allows_are_refused_before_the_call(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "2")

    world.upload("a.jpg", photo, prompt="wood", n="3")

    assert [letter["reason"]["code"] for letter in world.dead_letters()] == ["invalid_option"]


def test_row_61_a_key_that_can_not_be_read_means_no_call_and_a_retry(world: Harness, photo: bytes) -> None:
    world.ssm.delete_parameter(Name="/backdrop/gateway-api-key")

    job = world.upload("a.jpg", photo, prompt="wood")
    assert world.gateway.calls() == []
    assert len(world.waiting()) == 1
    record = world.record(job)
    assert record is not None
    assert (record.state, record.calls_sent) == ("CLAIMED", 0)

    world.put_key(world.gateway.key)
    world.drain()
    assert list(world.outputs()) == ["a.jpg.png"]
