"""The yardstick of the simulation."""

from tools.bench.perfect_scheduler import SentCall, perfect_end

TOGETHER = {"a": 0.0, "b": 0.0, "c": 0.0}
CALLS = [SentCall("a", 10), SentCall("b", 60), SentCall("c", 10)]


def test_calls_leave_a_slot_apart_and_the_slowest_ends_it() -> None:
    assert perfect_end(TOGETHER, CALLS, rpm=60, executions=10) == 61


def test_no_call_leaves_before_its_upload_is_there() -> None:
    assert perfect_end(TOGETHER | {"c": 100.0}, CALLS, rpm=60, executions=10) == 110


def test_a_call_waits_for_an_execution() -> None:
    assert perfect_end(TOGETHER, CALLS, rpm=60, executions=1) == 80


def test_a_call_that_is_repeated_waits_for_the_one_before() -> None:
    calls = [SentCall("a", 10), SentCall("a", 5)]
    assert perfect_end({"a": 0.0}, calls, rpm=60, executions=10) == 15


def test_no_call_leaves_while_the_gateway_is_closed() -> None:
    assert perfect_end(TOGETHER, CALLS, rpm=60, executions=10, closed=(1.0, 100.0)) == 160
