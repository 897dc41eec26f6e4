"""No more images are bought on a day than the limit, whoever is late, killed or answered twice."""

from contextlib import suppress
from typing import Any

import pytest

from backdrop.errors import DailyLimitReached, NoSlotFree
from backdrop.rate_limiter import RateLimiter
from tests.integration.aws_faults import client_of
from tests.integration.day_and_pace import until_midnight
from tests.integration.harness import Harness
from tests.integration.ledger_faults import lose_answer
from tests.integration.moved_clock import MovedClock
from tests.integration.simulated_lambda import Killed
from tests.integration.stack import TABLE

pytestmark = pytest.mark.usefixtures("one_day")


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
    client = client_of(harness, "dynamodb")
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
