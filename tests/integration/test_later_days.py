"""Uploads over DailyImageLimit sleep until their day, and are woken when today has room."""

from itertools import pairwise
from typing import Any

import pytest

from backdrop.errors import DailyLimitReached
from backdrop.later_days import DAY_SECONDS
from backdrop.rate_limiter import RateLimiter
from tests.integration.aws_faults import client_of, refusing
from tests.integration.conftest import Run
from tests.integration.day_and_pace import until_midnight
from tests.integration.harness import Harness
from tests.integration.moved_clock import MovedClock
from tests.integration.stack import TABLE

pytestmark = pytest.mark.usefixtures("one_day")

LOOKED_AT_BY_THEN = 16 * 60  # the trigger's message is seen by RetryFunction after a quarter of an hour at most


@pytest.fixture
def limited(environment: pytest.MonkeyPatch, harness: Harness) -> Harness:
    """A stack that buys two images a day, fourteen hours before midnight."""
    environment.setenv("DAILY_IMAGE_LIMIT", "2")
    harness.restart()
    until_midnight(harness, 14 * 3600)
    return harness


def raise_limit(harness: Harness, environment: pytest.MonkeyPatch, images: int) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", str(images))
    harness.restart()


def wake(harness: Harness) -> Any:
    return harness.invoke(harness.reconcile_function, {"only": "wake"})["woken"]


def scans(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the requests that look through the whole table, as they are made."""
    seen: list[str] = []
    client = client_of(harness, "dynamodb")
    real = client.scan

    def scan(**arguments: Any) -> Any:
        seen.append("Scan")
        return real(**arguments)

    monkeypatch.setattr(client, "scan", scan)
    return seen


def test_uploads_over_the_limit_sleep_until_their_day(
    limited: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 87. Nine uploads at two a day: the last waits for four midnights, each looks every twelve hours at most."""
    real, days = limited.services.gateway.send, list[int]()

    def send(*arguments: Any) -> Any:
        days.append(int(limited.now() // DAY_SECONDS))
        return real(*arguments)

    monkeypatch.setattr(limited.services.gateway, "send", send)
    today = int(limited.now() // DAY_SECONDS)
    for number in range(9):
        limited.upload(f"{number}.jpg", photo, prompt="wood")
    looks = limited.drain(seconds=4 * DAY_SECONDS)

    assert [day - today for day in days] == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert looks <= 9 * 6
    assert (len(limited.outputs()), limited.dead_letters()) == (9, [])


@pytest.mark.parametrize("images", [4, 0])
def test_a_raised_limit_is_noticed_at_the_next_look_for_room(
    limited: Harness, environment: pytest.MonkeyPatch, photo: bytes, images: int
) -> None:
    for number in range(5):
        limited.upload(f"{number}.jpg", photo, prompt="wood")
    limited.drain(seconds=LOOKED_AT_BY_THEN)
    assert (limited.charged(), wake(limited)) == (2, 0)

    raise_limit(limited, environment, images)
    woken = wake(limited)
    limited.drain(seconds=60)

    assert woken == limited.charged() - 2 == (2 if images else 3)
    assert len(limited.waiting()) == 5 - limited.charged()


def test_images_that_were_given_back_are_noticed_too(limited: Harness, photo: bytes) -> None:
    limited.gateway.faults([{"kind": "status", "status": 400, "match": "refused"}])
    limited.gateway.settings(latency_seconds=0)
    limited.upload("a.jpg", photo, prompt="wood")
    slot = limited.services.rate_limiter.acquire(1, 0.0)
    for number in range(2):
        limited.upload(f"{number}.jpg", photo, prompt="wood")
    limited.drain(seconds=LOOKED_AT_BY_THEN)
    assert limited.charged() == 1

    limited.services.rate_limiter.refund(slot)

    assert wake(limited) == 1
    limited.drain(seconds=60)
    assert limited.charged() == 2
    assert wake(limited) == 0


def test_the_table_is_looked_through_only_when_today_has_room_for_somebody_who_sleeps(
    limited: Harness, environment: pytest.MonkeyPatch, photo: bytes
) -> None:
    environment.setenv("DAILY_IMAGE_LIMIT", "5")
    limited.restart()
    seen = scans(limited, environment)
    wake(limited)  # nobody sleeps
    for name in "ab":
        limited.upload(f"{name}.jpg", photo, prompt="wood", n="4")
    limited.drain(seconds=LOOKED_AT_BY_THEN)
    assert limited.charged() == 4
    assert (wake(limited), seen) == (0, []), "one image is left, and four are wanted"

    raise_limit(limited, environment, 8)
    seen = scans(limited, environment)
    assert (wake(limited), seen) == (1, ["Scan"])
    limited.drain(seconds=60)
    raise_limit(limited, environment, 100)
    seen = scans(limited, environment)
    assert (wake(limited), wake(limited), seen) == (0, 0, []), "nobody sleeps any more"


def test_nobody_is_woken_in_a_pause(limited: Harness, environment: pytest.MonkeyPatch, photo: bytes) -> None:
    for number in range(3):
        limited.upload(f"{number}.jpg", photo, prompt="wood")
    limited.drain(seconds=LOOKED_AT_BY_THEN)
    raise_limit(limited, environment, 4)
    slot = limited.services.rate_limiter.acquire(1, 0.0)
    limited.services.rate_limiter.breaker.pause(slot, "402", may_be_charged=False)

    assert wake(limited) == 0


def test_one_that_wakes_too_early_keeps_its_place(limited: Harness, photo: bytes) -> None:
    jobs = [limited.upload(f"{number}.jpg", photo, prompt="wood") for number in range(6)]

    def places() -> list[float]:
        return [record.due_at for job in jobs[2:] if (record := limited.record(job))]

    limited.drain(seconds=LOOKED_AT_BY_THEN)
    before = places()
    limited.drain(seconds=12.5 * 3600)

    assert places() == before == sorted(before)
    assert [int(at // DAY_SECONDS) - int(before[0] // DAY_SECONDS) for at in before] == [0, 0, 1, 1]


def test_a_replay_has_the_first_place_of_the_next_day(limited: Harness, photo: bytes) -> None:
    """Behind a long queue, its key might be forgotten."""
    limited.gateway.faults([{"kind": "drop_after_charge"}])
    first = limited.upload("a.jpg", photo, prompt="wood")  # reserves one, and a replay would reserve another
    for number in range(9):
        limited.upload(f"{number}.jpg", photo, prompt="wood")
    limited.drain(seconds=LOOKED_AT_BY_THEN)
    record = limited.record(first)
    assert record is not None

    assert record.state == "UNKNOWN"
    assert int(record.due_at // DAY_SECONDS) == int(limited.now() // DAY_SECONDS) + 1
    limited.drain(seconds=15 * 3600)
    assert "a.jpg.png" in limited.outputs()


def test_a_message_that_is_looked_at_already_is_not_woken(
    limited: Harness, environment: pytest.MonkeyPatch, photo: bytes
) -> None:
    for number in range(3):
        limited.upload(f"{number}.jpg", photo, prompt="wood")
    limited.drain(seconds=LOOKED_AT_BY_THEN)
    raise_limit(limited, environment, 3)

    with refusing(limited, "sqs.ChangeMessageVisibility", "AWS.SimpleQueueService.MessageNotInflight", 400):
        assert wake(limited) == 0
    assert wake(limited) == 1


def test_status_says_what_those_who_sleep_wait_for_also_after_midnight(
    limited: Harness, run: Run, photo: bytes
) -> None:
    for number in range(5):
        limited.upload(f"{number}.jpg", photo, prompt="wood")
    limited.drain(seconds=LOOKED_AT_BY_THEN)
    until_midnight(limited, -1)

    assert run("status")["waiting_for"] == {"daily_limit": 3}


@pytest.mark.parametrize(("limit", "images", "a_day"), [(10, 1, 10), (5, 2, 2), (8, 8, 1)])
def test_places_are_as_many_a_day_as_the_limit_allows_and_as_far_apart_as_calls(
    harness: Harness, limit: int, images: int, a_day: int
) -> None:
    until_midnight(harness, 40_000)
    pace = RateLimiter(harness.dynamodb, TABLE, MovedClock(), 60, limit)
    for _ in range(a_day):
        pace.acquire(images, 0.0, 0.0)
        harness.advance(2)
    places = []
    for _ in range(3 * a_day):
        with pytest.raises(DailyLimitReached) as wait:
            pace.acquire(images, 0.0)
        places.append(wait.value.due_at)

    today = int(harness.now() // DAY_SECONDS)
    assert [int(at // DAY_SECONDS) - today for at in places] == [day for day in (1, 2, 3) for _ in range(a_day)]
    assert min(b - a for a, b in pairwise(places)) > 1.049


def test_a_limit_that_the_pace_can_not_use_up_gives_places_until_midnight(harness: Harness) -> None:
    until_midnight(harness, 40_000)
    pace = RateLimiter(harness.dynamodb, TABLE, MovedClock(), 1, 5)
    harness.dynamodb.update_item(
        TableName=TABLE,
        Key={"id": {"S": "pace"}},
        UpdateExpression="SET day_tail = :tail, promised_images = :n",
        ExpressionAttributeValues={
            ":tail": {"N": str(int((harness.now() // DAY_SECONDS + 2) * DAY_SECONDS - 30) * 1_000_000)},
            ":n": {"N": "1"},
        },
    )
    for _ in range(5):
        pace.acquire(1, 0.0)
        harness.advance(64)
    with pytest.raises(DailyLimitReached) as wait:
        pace.acquire(1, 0.0)
    assert int(wait.value.due_at // DAY_SECONDS) == int(harness.now() // DAY_SECONDS) + 2
