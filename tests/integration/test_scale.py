"""Many uploads, simulated against the project's own decisions: `tools/bench/scale.py` says how."""

import logging

import pytest

from backdrop.clock import utc_day
from backdrop.log import logger
from backdrop.pace_item import units
from tools.bench.limits import DAY
from tools.bench.play import MOST_OF_A_CHAIN, Play
from tools.bench.scale import HOUR, simulated
from tools.bench.scenario import Scenario
from tools.bench.simulated_gateway import Trouble
from tools.simulation.simulated_aws import NEW_TABLE, TableLimits
from tools.simulation.simulated_time import START


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger=logger.name)


def test_a_thousand_uploads_at_once_are_paid_once_each_in_few_invocations() -> None:
    result = simulated(Scenario("", uploads=1000, rpm=600))

    assert result["stored"] == result["paid"] == 1000
    assert result["dead letters"] == 0
    assert result["answers"].get("429", 0) == 0
    assert result["invocations"] <= 2.5


def test_row_83_writes_that_a_new_table_refuses_surprise_nobody() -> None:
    """A tenth of ten thousand uploads, and of what a new table takes."""
    a_tenth = TableLimits(NEW_TABLE.write_units / 10, NEW_TABLE.read_units / 10, NEW_TABLE.partitions)
    result = simulated(Scenario("", uploads=1000, rpm=600, table=a_tenth))

    assert result["writes refused"] > 0
    assert result["unexpected"] == 0
    assert result["stored"] == result["paid"] == 1000
    assert result["dead letters"] == 0


def test_events_that_come_twice_at_once_are_paid_once_and_waste_few_slots() -> None:
    result = simulated(Scenario("", uploads=100, rpm=600, twice_every=10))

    assert result["stored"] == result["paid"] == 100
    assert result["drain / perfect"] <= 1.25


def test_uploads_whose_calls_failed_do_not_look_for_a_slot_again_and_again() -> None:
    result = simulated(Scenario("", uploads=300, rpm=10, trouble=Trouble(error_rate=0.05)))

    assert result["stored"] == result["paid"] == 300
    assert result["invocations"] <= 5


@pytest.mark.parametrize("trouble", [Trouble(outage=(60, 60 + HOUR)), Trouble(empty_wallet=(60, 60 + HOUR))])
def test_an_hour_without_answers_costs_few_calls_and_no_upload(trouble: Trouble) -> None:
    result = simulated(Scenario("", uploads=300, rpm=60, trouble=trouble, extra_seconds=HOUR))

    assert result["stored"] == result["paid"] == 300
    assert result["dead letters"] == 0
    assert sum(result["answers"].values()) - 300 <= 120
    assert result["drain / ideal"] <= 1.4


@pytest.mark.parametrize("rpm", [60, 600])
def test_row_20_an_hour_of_503_uses_up_thirty_of_the_days_images_at_most(rpm: int) -> None:
    trouble = Trouble(error_rate=0.0, outage=(30, 30 + HOUR))
    result = simulated(Scenario("", uploads=rpm, rpm=rpm, trouble=trouble, extra_seconds=HOUR))

    assert result["stored"] == result["paid"] == rpm
    assert result["dead letters"] == 0
    assert result["answers"]["5xx"] <= 30


def test_behind_a_proxy_that_loses_one_answer_in_three_a_gateway_that_honours_keys_charges_once() -> None:
    trouble = Trouble(lost_answers=1 / 3)
    result = simulated(Scenario("", uploads=200, rpm=600, trouble=trouble))

    uploads = [count for name, count in result["charges"].items() if name.count("-") == 0]
    assert uploads == [1] * 200
    assert result["stored"] + result["dead letters"] == 200
    assert set(result["dead_letters"]) <= {"attempts_exhausted"}


def test_row_69_behind_such_a_proxy_a_gateway_that_knows_no_keys_never_passes_the_days_limit() -> None:
    trouble = Trouble(lost_answers=1 / 3, keys="ignored")
    result = simulated(Scenario("", uploads=40, rpm=600, trouble=trouble, daily_limit=30))

    days = [count for name, count in result["charges"].items() if name.count("-") == 2]
    assert max(days) <= 30
    assert result["stored"] + result["dead letters"] == 40


def test_row_87_a_hundred_uploads_at_ten_a_day_cost_twelve_invocations_each() -> None:
    result = simulated(Scenario("", uploads=100, rpm=60, daily_limit=10))

    days = [count for name, count in result["charges"].items() if name.count("-") == 2]
    assert (max(days), result["stored"], result["dead letters"], result["unexpected"]) == (10, 100, 0, 0)
    assert len(days) <= 11  # a slot that nobody used in time may leave one image of a day unbought
    assert result["invocations"] <= 12


def test_ten_executions_of_a_new_account_make_nobody_wait_for_a_quarter_of_an_hour() -> None:
    result = simulated(Scenario("", uploads=100, rpm=60, executions=10, retry_concurrency=20))

    assert (result["stored"], result["unexpected"]) == (100, 0)
    assert result["oldest"] < 600


def sleeping_for(days: int, *, may_feed_itself: bool) -> Play:
    """One upload; others use up DailyImageLimit on each of so many days, and have the places on them."""
    play = Play(Scenario("", uploads=1, rpm=60, daily_limit=1, may_feed_itself=may_feed_itself), 20, seed=1)
    pace = play.dynamodb.table.items["pace"] = {"id": {"S": "pace"}, "promised_images": {"N": "1"}}
    pace["day_tail"] = {"N": str(units((START // DAY + days - 1) * DAY + 5))}

    def used_up() -> None:
        pace = play.dynamodb.table.items["pace"]
        play.dynamodb.table.items["pace"] = {**pace, "day": {"S": utc_day(play.time.now)}, "images": {"N": "1"}}

    used_up()
    for day in range(1, days):
        play.time.at((START // DAY + day) * DAY, used_up)
    play.run()
    return play


def test_row_88_an_upload_may_wait_for_a_hundred_days() -> None:
    """Its message is renewed before SQS forgets it, more often than Lambda lets functions feed themselves unasked."""
    play = sleeping_for(100, may_feed_itself=True)

    assert (len(play.results.versions), play.dead_letters, play.queue.expired) == (1, [], 0)
    assert play.time.now - START > 99 * DAY
    assert play.bill.most["chain"] > MOST_OF_A_CHAIN

    stopped = sleeping_for(100, may_feed_itself=False)
    assert (len(stopped.results.versions), len(stopped.dead_letters)) == (0, 1)


@pytest.mark.parametrize(("hours", "moved"), [(40, 0), (70, 3)])
def test_row_89_sqs_moves_uploads_that_found_no_room_for_fifty_hours_and_none_was_bought(
    hours: int, moved: int
) -> None:
    """Other functions take all executions; Lambda's own six hours with an event come first."""
    scenario = Scenario("", uploads=3, rpm=60, executions=10, starved=(0, hours * HOUR))
    play = Play(scenario, 10, seed=1)
    play.run()

    assert (len(play.dead_letters), len(play.results.versions)) == (moved, 3 - moved)
    assert play.gateway.answers["200"] == 3 - moved
