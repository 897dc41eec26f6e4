"""A write that DynamoDB refuses, or whose answer gets lost, costs no image and no photo."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.harness import Harness
from tests.integration.ledger_faults import LedgerFault, lose_answer


def test_row_39_with_the_ledger_down_nothing_is_called(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = LedgerFault(harness, "CALLING", 1, monkeypatch)

    harness.upload("a.jpg", photo, prompt="wood")
    assert fault.left == 0
    assert harness.gateway.calls() == []
    harness.drain()

    assert harness.charged() == 1


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
