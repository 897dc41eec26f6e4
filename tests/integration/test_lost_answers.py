"""An answer that got lost is asked for again by the same call, which is paid once; or people decide."""

from typing import Any

import pytest

from tests.integration.harness import Harness
from tests.integration.simulated_lambda import Killed

LOST_ANSWERS: list[dict[str, Any]] = [
    {"kind": "drop_after_charge"},
    {"kind": "truncate"},
    {"kind": "hang_after_charge", "seconds": 3},
    {"kind": "drip", "interval": 0.2},
]


@pytest.mark.parametrize("fault", LOST_ANSWERS, ids=lambda fault: fault["kind"])
def test_rows_26_27_31_a_lost_answer_is_asked_for_again_with_the_same_key_and_body(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, fault: dict[str, Any]
) -> None:
    environment.setenv("GATEWAY_TIMEOUT_SECONDS", "1")
    harness.gateway.faults([fault])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    first, second = harness.gateway.calls()
    assert first["idempotency_key"] == second["idempotency_key"]
    assert first["body_sha256"] == second["body_sha256"]
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


@pytest.mark.parametrize("route", ["edits", "edits-multipart"])
def test_a_replay_is_the_same_byte_for_byte_on_every_route(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, route: str
) -> None:
    environment.setenv("GATEWAY_ROUTE", route)
    harness.gateway.faults([{"kind": "drop_after_charge"}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert len({call["body_sha256"] for call in harness.gateway.calls()}) == 1
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


@pytest.mark.parametrize("fault", LOST_ANSWERS[:2], ids=lambda fault: fault["kind"])
def test_row_26_under_park_an_unknown_outcome_is_left_to_people(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, fault: dict[str, Any]
) -> None:
    environment.setenv("ON_UNKNOWN_OUTCOME", "park")
    harness.gateway.settings(honours_idempotency_keys=False)
    harness.gateway.faults([fault])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["billed"]) == ("outcome_unknown", "unknown")
    assert dead_letter["reason"]["attempts"] == 1
    assert harness.charged() == 1


def test_an_outcome_that_stays_unknown_is_dead_lettered_after_one_replay(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "drop", "times": 0}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["attempts"]) == ("outcome_unknown", 2)
    assert len(harness.gateway.calls()) == 2


@pytest.mark.parametrize("policy", ["retry", "park"])
def test_row_59_a_moved_back_unknown_outcome_is_replayed_with_its_key(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, policy: str
) -> None:
    environment.setenv("ON_UNKNOWN_OUTCOME", policy)
    harness.gateway.faults([{"kind": "drop_after_charge", "times": 2 if policy == "retry" else 1}])
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()
    assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == ["outcome_unknown"]

    harness.redrive()
    harness.drain()

    assert len({call["idempotency_key"] for call in harness.gateway.calls()}) == 1
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.dead_letters() == []


def test_row_29_a_call_still_running_is_waited_for(harness: Harness, photo: bytes) -> None:
    """The replay's 409 says that the first call is still running."""
    harness.gateway.faults(
        [
            {"kind": "drop_after_charge"},
            {"kind": "status", "status": 409, "code": "idempotency_in_progress", "times": 3},
        ]
    )

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert len({call["idempotency_key"] for call in harness.gateway.calls()}) == 1
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_row_29_a_conflict_that_stays_is_an_unknown_outcome(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": 409, "times": 0}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == ["outcome_unknown"]
    assert harness.charged() == 1


def test_row_25_a_connection_never_made_is_no_attempt(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    environment.setenv("GATEWAY_BASE_URL", "http://127.0.0.1:9/v1")  # the discard port: nobody listens
    job = harness.upload("a.jpg", photo, prompt="wood")
    record = harness.record(job)
    assert record is not None
    assert (record.state, record.calls_sent) == ("CLAIMED", 0)

    environment.setenv("GATEWAY_BASE_URL", harness.gateway.base_url)
    harness.restart()
    harness.drain()

    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_row_34_killed_after_the_charge_the_same_call_brings_the_answer(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = harness.services.gateway
    real = gateway.send

    def killed(*arguments: Any) -> Any:
        monkeypatch.setattr(gateway, "send", real)
        real(*arguments)
        raise Killed

    monkeypatch.setattr(gateway, "send", killed)
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert harness.charged() == 1
    assert len(harness.gateway.calls()) == 2
    assert list(harness.outputs()) == ["a.jpg.png"]
