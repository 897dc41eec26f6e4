"""The metadata `tag`: whom an upload is for, from the photo to the gateway, the ledger and the receipt."""

from pathlib import Path

import pytest

from backdrop.states import State
from tests.integration.conftest import Run
from tests.integration.harness import Harness


def test_a_tag_goes_to_the_gateway_the_ledger_and_the_receipt(harness: Harness, run: Run, photo: bytes) -> None:
    harness.upload("red.jpg", photo, prompt="wood", tag="north.shop_1-a")
    harness.upload("blue.jpg", photo, prompt="wood")

    assert [call["headers"].get("x-aig-tag") for call in harness.gateway.calls()] == ["north.shop_1-a", None]
    rows = {row["key"]: row["tag"] for row in run("receipt")}
    assert rows == {"red.jpg": "north.shop_1-a", "blue.jpg": None}


def test_a_replay_has_the_tag_of_its_call(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "drop_after_charge"}])
    harness.upload("red.jpg", photo, prompt="wood", tag="north")
    harness.drain()
    first, second = harness.gateway.calls()
    assert first["headers"] == second["headers"]
    assert second["headers"]["x-aig-tag"] == "north"
    assert harness.charged() == 1


@pytest.mark.parametrize("tag", ["", "a b", "x" * 65, "a/b", "a,b", "=?UTF-8?Q?a?="])
def test_any_other_tag_is_refused_before_a_call(harness: Harness, photo: bytes, tag: str) -> None:
    job = harness.put("red.jpg", photo, prompt="wood")
    harness.s3.copy_object(
        Bucket=job.bucket,
        Key=job.key,
        CopySource={"Bucket": job.bucket, "Key": job.key},
        Metadata={"prompt": "wood", "tag": tag},
        MetadataDirective="REPLACE",
    )
    head = harness.s3.head_object(Bucket=job.bucket, Key=job.key)
    assert "tag" in head["Metadata"]
    harness.notify(type(job)(job.bucket, job.key, head["VersionId"], head["ETag"].strip('"'), job.size))
    [dead_letter] = harness.dead_letters()
    assert dead_letter["reason"]["code"] == "invalid_option"
    assert "tag" in dead_letter["reason"]["message"]
    assert harness.gateway.calls() == []


@pytest.mark.parametrize(
    ("data", "metadata", "code"),
    [
        (None, {}, "missing_prompt"),
        (None, {"prompt": "wood", "n": "9"}, "invalid_option"),
        (b"no photo", {"prompt": "wood"}, "unsupported_media_type"),
    ],
)
def test_an_upload_that_is_refused_before_a_call_keeps_its_tag(
    harness: Harness, photo: bytes, data: bytes | None, metadata: dict[str, str], code: str
) -> None:
    record = harness.record(harness.upload("red.jpg", data or photo, tag="north", **metadata))
    assert record
    assert record.reason
    assert (record.reason["code"], record.tag) == (code, "north")


def test_another_tag_alone_buys_nothing(harness: Harness, photo: bytes) -> None:
    """Row 76."""
    harness.upload("red.jpg", photo, prompt="wood", tag="north")
    record = harness.record(harness.upload("red.jpg", photo, prompt="wood", tag="south"))
    assert record
    assert (record.state, record.tag) == (State.UNCHANGED, "south")
    assert harness.charged() == 1


def test_submit_sets_it_and_a_wrong_one_is_told_before_anything_is_uploaded(
    harness: Harness, run: Run, red: Path
) -> None:
    message = run("submit", red, "--prompt", "wood", "--tag", "a b", "--yes", code=2)
    assert "tag" in message
    run("submit", red, "--prompt", "wood", "--tag", "north", "--yes")
    head = harness.s3.head_object(Bucket=harness.services.settings.input_bucket, Key="red.jpg")
    assert head["Metadata"]["tag"] == "north"
