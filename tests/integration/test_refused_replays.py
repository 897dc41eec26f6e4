"""A replay that is refused says nothing about the first call, unless it proves that nothing was charged."""

import pytest

from tests.integration.harness import Harness
from tests.integration.stack import INPUT


def test_row_30_a_refused_replay_is_dead_lettered_and_moved_back_keeps_its_key(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": 422, "code": "key_reused"}])
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()
    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["billed"]) == ("rejected_by_gateway", "unknown")

    harness.redrive()
    harness.drain()

    assert len({call["idempotency_key"] for call in harness.gateway.calls()}) == 1
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


@pytest.mark.parametrize("status", [429, 503, 402])
def test_a_busy_answer_to_a_replay_says_nothing_about_the_first_call(
    harness: Harness, photo: bytes, status: int
) -> None:
    harness.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": status}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert len({call["idempotency_key"] for call in harness.gateway.calls()}) == 1
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_a_refused_replay_with_a_dead_link_proves_that_nothing_was_charged(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "drop"}, {"kind": "status", "status": 400}])
    harness.upload("a.jpg", photo, prompt="wood")

    harness.advance(3700)
    harness.drain()

    keys = [call["idempotency_key"] for call in harness.gateway.calls()]
    assert keys[0] == keys[1] != keys[2]
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_a_refused_replay_of_a_file_upload_proves_nothing_however_late(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    """A file upload has no link that could be dead."""
    environment.setenv("GATEWAY_ROUTE", "edits-multipart")
    harness.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": 400}])
    harness.upload("a.jpg", photo, prompt="wood")

    harness.advance(3700)
    harness.drain()

    assert [dead_letter["reason"]["billed"] for dead_letter in harness.dead_letters()] == ["unknown"]
    assert harness.charged() == 1


def test_row_98_a_file_upload_is_not_repeated_with_the_photo_that_has_replaced_its_own(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    """Without versions, the key is all that names the photo."""
    environment.setenv("GATEWAY_ROUTE", "edits-multipart")
    harness.s3.put_bucket_versioning(Bucket=INPUT, VersioningConfiguration={"Status": "Suspended"})
    harness.gateway.faults([{"kind": "drop_after_charge"}])
    harness.upload("a.jpg", photo, prompt="wood")
    harness.advance(2)

    harness.upload("a.jpg", photo + b"another", prompt="wood")
    harness.drain()

    first, second = harness.gateway.calls()
    assert first["idempotency_key"] != second["idempotency_key"]
    assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == ["outcome_unknown"]
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_a_replay_that_is_refused_says_nothing_certain_about_the_first_call(harness: Harness, photo: bytes) -> None:
    """The link is alive; the gateway (or a firewall before it) refuses the replay before looking at its key."""
    harness.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": 422}])
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()
    [dead_letter] = harness.dead_letters()
    assert harness.charged() == 1
    assert dead_letter["reason"]["billed"] != "no"


def test_a_refused_replay_that_is_moved_back_is_not_paid_again(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": 422}])
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    harness.redrive()
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.charged() == 1
