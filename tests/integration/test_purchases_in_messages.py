"""A purchase that the ledger could not take travels in a message, and is stored from there."""

import pytest

from backdrop.job import Job
from tests.integration.harness import Harness
from tests.integration.ledger_faults import LedgerFault
from tests.integration.stack import INPUT


def test_row_38_a_purchase_that_the_ledger_could_not_take_travels_in_a_message(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.gateway.settings(honours_idempotency_keys=False)
    fault = LedgerFault(harness, "PAID", 1, monkeypatch)

    harness.upload("a.jpg", photo, prompt="wood")
    assert fault.left == 0
    harness.drain()

    assert len(harness.gateway.calls()) == 1
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


@pytest.mark.parametrize("policy", ["retry", "park"])
def test_a_purchase_in_a_message_wins_over_a_duplicate(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """PAID could not be written, and a duplicate event comes while the purchase waits in its message."""
    environment.setenv("ON_UNKNOWN_OUTCOME", policy)
    harness.gateway.settings(honours_idempotency_keys=False)
    LedgerFault(harness, "PAID", 1, monkeypatch)
    job = harness.upload("a.jpg", photo, prompt="wood")
    harness.notify(job)
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.charged() == 1


def test_a_purchase_meets_a_lease_that_nobody_holds_any_more(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long until it goes on? UNRECORDED_SECONDS says 15 s; the lease of the worker that is gone says more."""
    LedgerFault(harness, "PAID", 1, monkeypatch)
    started = harness.now()
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.now() - started <= 60


def test_a_purchase_survives_in_a_bucket_without_versions(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.s3.delete_bucket(Bucket=INPUT)
    harness.s3.create_bucket(Bucket=INPUT)
    harness.gateway.settings(honours_idempotency_keys=False)
    LedgerFault(harness, "PAID", 1, monkeypatch)
    answer = harness.s3.put_object(Bucket=INPUT, Key="a.jpg", Body=photo, Metadata={"prompt": "wood"})
    harness.notify(Job(INPUT, "a.jpg", None, answer["ETag"].strip('"'), len(photo)))
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.charged() == 1
