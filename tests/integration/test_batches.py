"""`submit --notify`: one event, with the receipt's sums, when the last upload of a batch has ended; never before."""

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import botocore.client
import click
import pytest

from backdrop.batches import shard_name
from backdrop.job import Job
from backdrop.states import State
from backdrop_cli.deployment import Deployment
from tests.integration.aws_faults import refusing
from tests.integration.batch_uploads import BATCH, Batch, ends, let_all_end, receipt_of, small_shards, sums
from tests.integration.command_line import command
from tests.integration.conftest import Run, picture
from tests.integration.harness import Harness
from tests.integration.stack import INPUT
from tests.integration.test_crash_matrix import Effects, effects
from tests.pictures import turned
from tools.polling import until

__all__ = ["effects", "ends", "small_shards"]


# From the command to the event


def test_a_folder_that_was_submitted_with_notify_has_one_event_with_the_receipts_sums(
    harness: Harness, run: Run, red: Path, ends: list[dict[str, Any]]
) -> None:
    for number in range(3):
        (red.parent / f"{number}.jpg").write_bytes(picture("JPEG"))
    (red.parent / "broken.jpg").write_bytes(turned(8)[:-900])
    told = run("submit", "photos", "--prompt", "wood", "--n", "2", "--to", "spring/", "--notify", "--yes", code=1)
    assert ends == []
    harness.gateway.faults([{"kind": "status", "status": 400}])
    let_all_end(harness)

    [event] = ends
    assert event.pop("seconds") >= 0
    assert event == {
        "batch_id": told["batch_id"],
        "manifest": None,
        "prefix": "spring/photos/",
        "uploads": 4,
        "states": {"DONE": 3, "REJECTED": 1, "SUPERSEDED": 0, "UNCHANGED": 0},
        "images": 6,
        "cost_usd": 0.18,
        "unsettled_images": 0,
    }
    assert sums(event) == receipt_of(run, told["batch_id"])


@pytest.mark.usefixtures("small_shards")
def test_a_manifest_in_several_shards_has_one_event_with_its_name(
    harness: Harness, run: Run, red: Path, tmp_path: Path, ends: list[dict[str, Any]]
) -> None:
    rows = "".join(f"photos/red.jpg,v{number}\n" for number in range(7))
    (tmp_path / "shop.csv").write_text(f"file,variant\n{rows}")
    told = run("submit", "--manifest", "shop.csv", "--prompt", "wood", "--notify", "--yes")
    let_all_end(harness)
    [event] = ends
    assert (event["manifest"], event["prefix"], event["states"]["DONE"]) == ("shop.csv", "photos/", 7)
    assert sums(event) == receipt_of(run, told["batch_id"])


def test_what_was_there_before_is_no_part_of_a_batch(
    harness: Harness, run: Run, red: Path, ends: list[dict[str, Any]]
) -> None:
    run("submit", "photos", "--prompt", "wood", "--yes")
    let_all_end(harness)
    told = run("submit", "photos", "--prompt", "wood", "--notify", "--yes")
    assert (told["submitted"], told["batch_id"]) == (0, None)

    (red.parent / "blue.jpg").write_bytes(picture("JPEG"))
    run("submit", "photos", "--prompt", "wood", "--notify", "--yes")
    let_all_end(harness)
    assert [(event["uploads"], event["images"]) for event in ends] == [(1, 1)]
    assert run("submit", "photos", "--prompt", "wood", "--yes")["submitted"] == 0, "a batch makes no other upload"


def test_a_prompt_that_leaves_no_room_for_the_batch_is_told_before_anything_is_uploaded(
    harness: Harness, run: Run, red: Path
) -> None:
    asked = ("submit", "photos", "--prompt", "x" * 2000, "--tag", "y" * 20, "--yes")
    assert "longer" in run(*asked, "--notify", code=2)
    assert harness.s3.list_objects_v2(Bucket=INPUT)["KeyCount"] == 0
    run(*asked)


# Every state, and what comes late


def test_every_way_to_end_is_counted(harness: Harness, run: Run, photo: bytes, ends: list[dict[str, Any]]) -> None:
    harness.upload("same.jpg", photo, prompt="wood")
    batch = Batch(harness, "done.jpg", "same.jpg", "replaced.jpg", "gone.jpg", "bad.jpg", "archived.jpg")
    batch.upload("done.jpg", photo, prompt="wood", n="2")
    batch.upload("same.jpg", photo, prompt="wood")
    replaced = batch.put("replaced.jpg", photo, prompt="wood")
    gone = batch.put("gone.jpg", photo, prompt="wood")
    harness.put("replaced.jpg", photo, prompt="another")
    harness.s3.delete_object(Bucket=INPUT, Key="gone.jpg")
    batch.upload("bad.jpg", photo)
    harness.s3.put_object(
        Bucket=INPUT,
        Key="archived.jpg",
        Body=photo,
        Metadata={"prompt": "wood", "batch": f"{BATCH}.0"},
        StorageClass="GLACIER",
    )
    [archived] = harness.s3.list_object_versions(Bucket=INPUT, Prefix="archived.jpg")["Versions"]
    harness.notify(Job(INPUT, "archived.jpg", archived["VersionId"], archived["ETag"].strip('"'), len(photo)))
    harness.notify(replaced)
    assert ends == []
    harness.notify(gone)

    [event] = ends
    assert event["states"] == {"DONE": 1, "UNCHANGED": 1, "SUPERSEDED": 2, "REJECTED": 2}
    assert sums(event) == receipt_of(run, BATCH) == {"images": 2, "cost_usd": 0.06, "unsettled_images": 0}


def test_images_that_may_have_been_charged_are_told_as_in_the_receipt(
    environment: pytest.MonkeyPatch, harness: Harness, run: Run, photo: bytes, ends: list[dict[str, Any]]
) -> None:
    environment.setenv("ON_UNKNOWN_OUTCOME", "park")
    harness.restart()
    batch = Batch(harness, "a.jpg", "b.jpg")
    harness.gateway.faults([{"kind": "drop_after_charge"}])
    batch.upload("a.jpg", photo, prompt="wood", n="3")
    harness.drain()
    batch.upload("b.jpg", photo, prompt="wood")
    [event] = ends
    assert sums(event) == receipt_of(run, BATCH) == {"images": 1, "cost_usd": 0.03, "unsettled_images": 3}


def test_duplicates_count_nothing_twice(harness: Harness, photo: bytes, ends: list[dict[str, Any]]) -> None:
    batch = Batch(harness, "a.jpg", "b.jpg")
    job = batch.upload("a.jpg", photo, prompt="wood")
    for _ in range(3):
        harness.notify(job)
    assert ends == []
    last = batch.upload("b.jpg", photo, prompt="wood")
    harness.notify(last)
    harness.notify(job)
    assert [event["uploads"] for event in ends] == [2]


def test_a_new_version_of_a_key_ends_for_its_own(harness: Harness, photo: bytes, ends: list[dict[str, Any]]) -> None:
    batch = Batch(harness, "a.jpg", "b.jpg")
    batch.upload("a.jpg", photo, prompt="wood")
    harness.upload("a.jpg", photo, prompt="snow")
    batch.upload("a.jpg", photo, prompt="moss")  # as when S3 copies an object onto itself
    copied = harness.put("copy of b.jpg", photo, prompt="wood", batch=shard_name(BATCH, 1))
    harness.notify(copied)
    assert ends == []
    batch.upload("b.jpg", photo, prompt="wood")
    assert [(event["uploads"], event["images"]) for event in ends] == [(2, 2)]


def test_a_replaced_upload_whose_metadata_s3_refused_at_first_is_counted(
    harness: Harness, photo: bytes, ends: list[dict[str, Any]]
) -> None:
    old = Batch(harness, "a.jpg").put("a.jpg", photo, prompt="wood")
    harness.put("a.jpg", photo, prompt="snow")
    with refusing(harness, "s3.HeadObject", "AccessDenied", 403, times=1) as fault:
        harness.notify(old)
    assert (fault.answered, ends) == (1, [])

    harness.drain()

    assert [event["states"]["SUPERSEDED"] for event in ends] == [1]


def test_an_unreadable_upload_whose_metadata_s3_refused_at_first_is_counted(
    harness: Harness, photo: bytes, ends: list[dict[str, Any]]
) -> None:
    Batch(harness, "a.jpg")
    harness.s3.put_object(
        Bucket=INPUT,
        Key="a.jpg",
        Body=photo,
        Metadata={"prompt": "wood", "batch": shard_name(BATCH, 0)},
        StorageClass="GLACIER",
    )
    archived = harness.current("a.jpg")
    with refusing(
        harness, "s3.HeadObject", "AccessDenied", 403, times=1, asked=lambda request: "versionId" in request.url
    ) as fault:
        harness.notify(archived)
    assert (fault.answered, ends) == (1, [])

    harness.drain()

    assert [event["states"]["REJECTED"] for event in ends] == [1]


def test_a_replaced_upload_whose_metadata_s3_goes_on_refusing_ends_all_the_same(harness: Harness, photo: bytes) -> None:
    old = harness.put("a.jpg", photo, prompt="wood")
    harness.put("a.jpg", photo, prompt="snow")
    with refusing(harness, "s3.HeadObject", "AccessDenied", 403):
        harness.notify(old)
        harness.drain(seconds=600)

    assert harness.state(old) == "SUPERSEDED"
    assert harness.waiting() == []


@pytest.mark.parametrize("value", ["", "x", BATCH, f"{BATCH}.1.2", f"{BATCH}.x", "f" * 16 + ".0", f"{BATCH}.7"])
def test_a_batch_that_this_stack_does_not_know_harms_no_upload(
    harness: Harness, photo: bytes, ends: list[dict[str, Any]], value: str
) -> None:
    Batch(harness, "a.jpg")
    job = harness.upload("a.jpg", photo, prompt="wood", batch=value)
    record = harness.record(job)
    assert record
    assert (record.state, ends, harness.waiting()) == (State.DONE, [], [])


def test_a_dead_letter_that_is_moved_back_holds_its_batch_open(
    harness: Harness, run: Run, photo: bytes, ends: list[dict[str, Any]]
) -> None:
    batch = Batch(harness, "a.jpg", "b.jpg")
    harness.gateway.faults([{"kind": "status", "status": 400}, {"kind": "status", "status": 429}])
    batch.upload("a.jpg", photo, prompt="wood")
    harness.redrive()
    harness.retry_once()  # 429: it waits
    batch.upload("b.jpg", photo, prompt="wood")
    assert ends == []
    harness.drain()
    [event] = ends
    assert event["states"] == {"DONE": 2, "REJECTED": 0, "SUPERSEDED": 0, "UNCHANGED": 0}
    assert sums(event) == receipt_of(run, BATCH)


def test_a_dead_letter_of_an_upload_that_was_counted_as_replaced_before_takes_nothing_off(
    harness: Harness, photo: bytes, ends: list[dict[str, Any]]
) -> None:
    batch = Batch(harness, "a.jpg", "b.jpg")
    old = batch.put("a.jpg", photo, prompt="wood")
    new = harness.put("a.jpg", photo, prompt="snow")
    harness.notify(old)
    harness.s3.delete_object(Bucket=INPUT, Key="a.jpg", VersionId=new.version_id)
    harness.gateway.faults([{"kind": "status", "status": 400}])
    harness.notify(old)  # current again
    harness.redrive()
    harness.drain()
    batch.upload("b.jpg", photo, prompt="wood")

    assert [event["states"] for event in ends] == [{"DONE": 1, "REJECTED": 0, "SUPERSEDED": 1, "UNCHANGED": 0}]


def test_a_dead_letter_that_is_moved_back_after_the_end_is_told_no_more(
    harness: Harness, photo: bytes, ends: list[dict[str, Any]]
) -> None:
    batch = Batch(harness, "a.jpg")
    harness.gateway.faults([{"kind": "status", "status": 400}])
    batch.upload("a.jpg", photo, prompt="wood")
    harness.redrive()
    harness.drain()
    assert [event["states"]["REJECTED"] for event in ends] == [1]
    assert harness.charged() == 1


def test_an_upload_of_a_batch_makes_one_request_more_than_another(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, effects: Effects
) -> None:
    effects.watch(harness, environment)
    batch = Batch(harness, "a.jpg", "b.jpg")
    harness.upload("first.jpg", photo, prompt="wood")
    effects.names.clear()
    harness.upload("another.jpg", photo, prompt="wood")
    usual = Counter(effects.names)
    effects.names.clear()
    batch.upload("a.jpg", photo, prompt="wood")
    assert Counter(effects.names) - usual == {"UpdateItem": 1}
    assert len(effects.names) == usual.total() + 1


# Interruptions


def test_what_was_not_uploaded_is_taken_out_and_a_function_tells(
    harness: Harness, run: Run, red: Path, ends: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 112."""
    for number in range(3):
        (red.parent / f"{number}.jpg").write_bytes(picture("JPEG"))
    client: Any = botocore.client.BaseClient
    call, puts = client._make_api_call, itertools.count(1)

    def interrupted(self: Any, operation: str, arguments: Any) -> Any:
        if operation != "PutObject" or arguments["Bucket"] != INPUT:
            return call(self, operation, arguments)
        number = next(puts)
        if number > 2:
            raise KeyboardInterrupt
        answer = call(self, operation, arguments)
        if number == 2:
            raise KeyboardInterrupt  # it is there, and the command doesn't know
        return answer

    monkeypatch.setattr(client, "_make_api_call", interrupted)
    with pytest.raises(click.Abort):
        run("submit", "photos", "--prompt", "wood", "--notify", "--yes")
    monkeypatch.setattr(client, "_make_api_call", call)
    assert harness.s3.list_objects_v2(Bucket=INPUT)["KeyCount"] == 2
    let_all_end(harness)
    assert [event["uploads"] for event in ends] == [2]


def test_an_interrupted_batch_whose_only_upload_the_command_does_not_know_of_is_told(
    harness: Harness, run: Run, red: Path, ends: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (red.parent / "never.jpg").write_bytes(picture("PNG"))
    client: Any = botocore.client.BaseClient
    call = client._make_api_call

    def interrupted(self: Any, operation: str, arguments: Any) -> Any:
        if operation != "PutObject" or arguments["Bucket"] != INPUT:
            return call(self, operation, arguments)
        if arguments["Key"].endswith("red.jpg"):
            call(self, operation, arguments)
            harness.notify(harness.current(arguments["Key"]))
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "_make_api_call", interrupted)
    with pytest.raises(click.Abort):
        run("submit", "photos", "--prompt", "wood", "--notify", "--yes")
    monkeypatch.setattr(client, "_make_api_call", call)
    harness.drain(seconds=600)
    assert [event["uploads"] for event in ends] == [1]


def test_the_message_that_has_the_end_told_is_about_an_upload_of_the_batch(
    harness: Harness,
    deployment: Deployment,
    run: Run,
    red: Path,
    ends: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run("submit", "photos", "--prompt", "wood", "--yes")  # nobody notices it
    harness.advance(300)
    (red.parent / "new.jpg").write_bytes(picture("PNG"))
    (red.parent / "broken.jpg").write_bytes(turned(8)[:-900])
    client: Any = botocore.client.BaseClient
    call = client._make_api_call

    def put(self: Any, operation: str, arguments: Any) -> Any:
        answer = call(self, operation, arguments)
        if operation == "PutObject" and arguments["Bucket"] == INPUT:
            until("the message about the other photo", harness.waiting)
            harness.notify(harness.current(arguments["Key"]))
        return answer

    monkeypatch.setattr(client, "_make_api_call", put)
    command(deployment, "submit", "photos", "--prompt", "wood", "--notify", "--yes", standalone_mode=False)
    harness.drain(seconds=600)
    assert [event["uploads"] for event in ends] == [1]


def test_a_batch_whose_uploads_ended_before_the_rest_was_taken_out_is_told(
    harness: Harness, deployment: Deployment, photo: bytes, ends: list[dict[str, Any]]
) -> None:
    batch = Batch(harness, "a.jpg", "never.jpg")
    job = batch.upload("a.jpg", photo, prompt="wood")
    assert ends == []
    assert deployment.batches.withdraw(f"{BATCH}.0", ["never.jpg"])
    deployment.queues.retry(job, 0)
    harness.drain()
    assert [event["uploads"] for event in ends] == [1]
