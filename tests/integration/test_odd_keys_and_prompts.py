"""Uploads that only look like photos, have no prompt that shows, or have keys that others write in another way."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError

from backdrop.job import Job
from backdrop.prompts import REMEMBERED_SECONDS
from tests.integration.conftest import Run
from tests.integration.harness import INPUT, Harness, Killed, envelope, eventbridge_event
from tests.integration.test_reconcile import run as reconcile

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"
SYSTEM_FILES = [".DS_Store", "shoes/._red.jpg", "shoes/Thumbs.db", "thumbs.db", "desktop.ini", "Desktop.ini", "~$a.jpg"]
DOT_SEGMENTS = ["a/../b.jpg", "a/./b.jpg", "../b.jpg", "a/.."]


def prompts(world: Harness) -> list[str]:
    """Those that were bought, in order."""
    return [charge["prompt"] for charge in world.gateway.charges()]


def unversioned(world: Harness) -> None:
    """The input bucket keeps no versions, so its events come by EventBridge and name none."""
    world.event = eventbridge_event
    world.s3.delete_bucket(Bucket=INPUT)
    world.s3.create_bucket(Bucket=INPUT)


@pytest.fixture
def looks(world: Harness, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the functions asked S3 about which key of the input bucket, as `head_object a.jpg`."""
    client: Any = world.app.storage._client
    looks: Counter[str] = Counter()

    def counted(name: str) -> Callable[..., Any]:
        real = getattr(client, name)

        def call(**arguments: Any) -> Any:
            if arguments["Bucket"] == INPUT:
                looks[f"{name} {arguments['Key']}"] += 1
            return real(**arguments)

        return call

    for name in ("head_object", "get_object"):
        monkeypatch.setattr(client, name, counted(name))
    return looks


# Prompts that show nothing


def test_row_13_a_prompt_that_shows_nothing_is_that_of_prompt_txt_then_the_default_then_missing(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes
) -> None:
    """cases: invisible prompt."""
    nothing = "\u200b\ufeff \u3164"
    world.put("shoes/prompt.txt", b"a beach")
    world.put("shoes/red/prompt.txt", nothing.encode())
    world.upload("shoes/red/1.jpg", photo, prompt="=?UTF-8?B?4oCL?=")
    world.upload("hats/2.jpg", photo, prompt_b64="4oCL77u/")
    assert prompts(world) == ["a beach"]
    assert [letter["reason"]["code"] for letter in world.dead_letters()] == ["missing_prompt"]

    environment.setenv("DEFAULT_PROMPT", "plain white")
    world.restart()
    world.upload("hats/3.jpg", photo, prompt_b64="4oCL77u/")
    assert prompts(world)[1:] == ["plain white"]

    environment.setenv("DEFAULT_PROMPT", nothing)
    world.restart()
    world.upload("hats/4.jpg", photo)
    assert len(prompts(world)) == 2
    assert [letter["reason"]["code"] for letter in world.dead_letters()] == ["missing_prompt"] * 2


def test_a_byte_order_mark_before_a_prompt_is_not_bought(world: Harness, photo: bytes) -> None:
    world.put("shoes/prompt.txt", "\ufeffa beach".encode())
    world.upload("shoes/1.jpg", photo)
    world.upload("2.jpg", photo, prompt_b64="77u/YSBiZWFjaA==")
    assert prompts(world) == ["a beach", "a beach"]


# What systems leave behind


@pytest.mark.parametrize("key", SYSTEM_FILES)
@pytest.mark.parametrize("way", ["trigger", "unversioned", "retry", "reconcile"])
def test_row_5_what_systems_leave_behind_is_skipped_without_a_trace(
    world: Harness, photo: bytes, looks: Counter[str], key: str, way: str
) -> None:
    """cases: what systems leave behind; second opinion: hidden files of a folder. Whatever their bytes are."""
    if way == "unversioned":
        unversioned(world)
    job = world.put(key, photo, prompt="wood")
    if way == "retry":
        world.send({"job": job.as_dict()})
        world.drain()
    elif way == "reconcile":
        world.advance(130)
        assert reconcile(world)["enqueued"] == 0
    else:
        assert world.notify(job)["uploads"][0]["state"] == "SKIPPED"

    assert (world.dead_letters(), world.waiting(), world.record(job)) == ([], [], None)
    assert (world.gateway.calls(), looks) == ([], {})


def test_the_command_line_counts_what_systems_leave_behind_as_no_photos(run: Run, world: Harness, photo: bytes) -> None:
    """cases: what systems leave behind."""
    for key in SYSTEM_FILES:
        world.put(key, photo, prompt="wood")
    assert run("quote")["new"] == 0
    assert run("status")["new"] == 0
    assert run("backfill", "--yes")["enqueued"] == 0
    assert world.waiting() == []


def test_submit_uploads_nothing_that_systems_leave_behind(
    run: Run, world: Harness, photo: bytes, tmp_path: Path
) -> None:
    """second opinion: hidden files of a folder."""
    for key in ("shoes/red.jpg", *SYSTEM_FILES):
        path = tmp_path / "photos" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo)

    assert run("submit", "photos", "--prompt", "snow")["left_alone"] == {}

    listed = world.s3.list_objects_v2(Bucket=INPUT)["Contents"]
    assert [entry["Key"] for entry in listed] == ["photos/shoes/red.jpg"]


# Keys that nobody can ask for


@pytest.mark.parametrize("has_versions", [True, False])
@pytest.mark.parametrize("key", DOT_SEGMENTS)
def test_row_66_a_dot_segment_ends_as_an_invalid_option_before_anybody_asks_for_the_object(
    world: Harness, photo: bytes, looks: Counter[str], key: str, has_versions: bool
) -> None:
    """cases: dot segments. Its dead letter comes once, however often the upload is noticed, and can be moved back."""
    if not has_versions:
        unversioned(world)
    job = world.upload(key, photo, prompt="wood")
    world.notify(job)
    world.advance(130)
    assert reconcile(world)["enqueued"] == 0
    world.drain()

    [letter] = world.dead_letters()
    assert (letter["job"]["key"], letter["reason"]["code"], letter["reason"]["billed"]) == (key, "invalid_option", "no")
    assert "under a key without" in letter["reason"]["message"]
    assert (world.gateway.calls(), looks) == ([], {})

    world.redrive()
    world.drain()
    assert [letter["reason"]["code"] for letter in world.dead_letters()] == ["invalid_option"]


def test_the_command_line_knows_that_a_dot_segment_is_invalid(run: Run, world: Harness, photo: bytes) -> None:
    """cases: dot segments."""
    for key in DOT_SEGMENTS:
        world.put(key, photo, prompt="wood")
    found = run("quote")
    assert (found["new"], found["invalid_by_reason"]) == (0, {"invalid_option": len(DOT_SEGMENTS)})
    assert run("backfill", "--yes")["enqueued"] == 0


def test_submit_makes_no_key_with_a_dot_segment(run: Run, world: Harness, photo: bytes, tmp_path: Path) -> None:
    """cases: dot segments."""
    (tmp_path / "red.jpg").write_bytes(photo)
    for to in ("a/../", "./", "a/./b/"):
        assert f"{to}red.jpg" in run("submit", "red.jpg", "--prompt", "snow", "--to", to, code=2)
    assert "Contents" not in world.s3.list_objects_v2(Bucket=INPUT)


@pytest.mark.parametrize(
    "key", ["a..b/c.jpg", "a/.../b.jpg", "a/..b.jpg", "a/b..", "a/.b.jpg", "/a.jpg", "a//b.jpg", "//a.jpg"]
)
def test_dots_and_slashes_that_are_no_dot_segment_are_ordinary(world: Harness, photo: bytes, key: str) -> None:
    """cases: dot segments."""
    world.upload(key, photo, prompt="wood")
    assert list(world.outputs()) == [f"{key}.png"]


# Names in both Unicode forms


@pytest.mark.parametrize(("folder", "photos_folder"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_row_68_a_prompt_txt_serves_its_folder_in_the_other_unicode_form(
    world: Harness, photo: bytes, folder: str, photos_folder: str
) -> None:
    """cases: two Unicode forms."""
    world.put(f"{folder}/prompt.txt", b"a beach")
    world.upload(f"{photos_folder}/red/1.jpg", photo)
    assert prompts(world) == ["a beach"]


def test_a_prompt_txt_of_the_other_unicode_form_is_read_once_a_minute(
    world: Harness, photo: bytes, looks: Counter[str]
) -> None:
    """cases: two Unicode forms."""
    world.put(f"{COMPOSED}/prompt.txt", b"a beach")
    for number in range(3):
        world.upload(f"{DECOMPOSED}/{number}.jpg", photo)
    assert looks[f"get_object {COMPOSED}/prompt.txt"] == looks[f"get_object {DECOMPOSED}/prompt.txt"] == 1
    world.advance(REMEMBERED_SECONDS)
    world.upload(f"{DECOMPOSED}/4.jpg", photo)
    assert looks[f"get_object {COMPOSED}/prompt.txt"] == 2


# Keys that an emulator's EventBridge percent-encodes

ODD_KEYS = ["my photo.jpg", "caf\u00e9/1+1 & 2.jpg", "100%.jpg", "100%25.jpg", "a?b#c.jpg"]


def encoded(job: Job) -> dict[str, Any]:
    """The event that LocalStack makes of an upload."""
    return eventbridge_event(replace(job, key=quote(job.key)))


@pytest.mark.parametrize("has_versions", [True, False])
@pytest.mark.parametrize("key", ODD_KEYS)
def test_row_67_an_upload_whose_event_has_its_key_encoded_is_bought_once_under_its_own_key(
    world: Harness, photo: bytes, key: str, has_versions: bool
) -> None:
    """second opinion: LocalStack percent-encodes keys. The job is that of the plain key, which others name."""
    if not has_versions:
        unversioned(world)
    job = world.put(key, photo, prompt="wood")

    answer = world.invoke(world.trigger_function, encoded(job))
    world.invoke(world.trigger_function, encoded(job))
    world.send(encoded(job))
    world.send(envelope(encoded(job), Killed()))
    world.drain()
    world.notify(job)
    world.advance(130)

    assert [(upload["key"], upload["state"]) for upload in answer["uploads"]] == [(key, "DONE")]
    assert list(world.outputs()) == [f"{key}.png"]
    assert world.outputs()[f"{key}.png"]["Metadata"]["source-key"] == quote(key)
    assert world.charged() == 1
    assert reconcile(world)["enqueued"] == 0
    assert (world.waiting(), world.dead_letters()) == ([], [])


@pytest.mark.parametrize("has_versions", [True, False])
def test_row_67_the_plain_key_wins_and_costs_no_further_look(
    world: Harness, photo: bytes, looks: Counter[str], has_versions: bool
) -> None:
    """second opinion: LocalStack percent-encodes keys. AWS doesn't, and these are keys like others there."""
    if not has_versions:
        unversioned(world)
    world.event = eventbridge_event
    other = world.put("100%.jpg", photo, prompt="snow")
    job = world.upload("100%25.jpg", photo, prompt="wood")

    assert prompts(world) == ["wood"]
    assert list(world.outputs()) == ["100%25.jpg.png"]
    assert not any(look.endswith(" 100%.jpg") for look in looks)
    assert looks["head_object 100%25.jpg"] == (0 if has_versions else 1)
    assert world.record(other) is None or job.version_id is None


@pytest.mark.parametrize("has_versions", [True, False])
def test_row_67_another_upload_under_the_decoded_key_is_not_taken_for_a_deleted_one(
    world: Harness, photo: bytes, picture_of: Callable[[str], bytes], has_versions: bool
) -> None:
    if not has_versions:
        unversioned(world)
    world.put("my photo.jpg", picture_of("PNG"), prompt="wood")
    job = world.put("my%20photo.jpg", photo, prompt="snow")
    world.s3.delete_object(Bucket=INPUT, Key=job.key)

    answer = world.invoke(world.trigger_function, eventbridge_event(job))

    assert answer["uploads"][0]["state"] == "SUPERSEDED"
    assert (world.gateway.calls(), world.waiting(), world.dead_letters()) == ([], [], [])


@pytest.mark.parametrize("key", ["gone/%2e%2e/a.jpg", "%ff.jpg", "gone%.jpg"])
def test_a_deleted_upload_whose_key_can_not_be_decoded_is_gone(
    world: Harness, photo: bytes, looks: Counter[str], key: str
) -> None:
    """Also one whose decoded key nobody can ask for."""
    job = world.put(key, photo, prompt="snow")
    world.s3.delete_object(Bucket=INPUT, Key=key)

    assert world.invoke(world.trigger_function, eventbridge_event(job))["uploads"][0]["state"] == "SUPERSEDED"
    assert looks == {f"get_object {key}": 1}


def test_row_67_what_is_skipped_or_waits_under_an_encoded_key_is_so_under_its_own(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes
) -> None:
    """second opinion: LocalStack percent-encodes keys."""
    assert world.invoke(world.trigger_function, encoded(world.put("~$ list.jpg", photo)))["uploads"] == [
        {"job_id": world_id(world, "~$ list.jpg"), "key": "~$ list.jpg", "state": "SKIPPED", "outputs": []}
    ]
    environment.setenv("DAILY_IMAGE_LIMIT", "1")
    world.restart()
    world.upload("first.jpg", photo, prompt="wood")
    world.invoke(world.trigger_function, encoded(world.put("my photo.jpg", photo, prompt="snow")))
    assert [body["job"]["key"] for body in world.waiting()] == ["my photo.jpg"]
    world.drain(seconds=30 * 3600)
    assert prompts(world) == ["wood", "snow"]


def test_row_67_a_fault_on_the_way_to_the_decoded_key_loses_nothing(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """second opinion: LocalStack percent-encodes keys."""
    job = world.put("my photo.jpg", photo, prompt="wood")
    ledger = world.app.ledger
    real, faults = ledger.claim, ["the first claim under the decoded key"]

    def claim(job: Job, *more: Any) -> Any:
        if faults and job.key == "my photo.jpg":
            faults.clear()
            raise ClientError({"ResponseMetadata": {"HTTPStatusCode": 503}}, "UpdateItem")  # type: ignore[typeddict-item]
        return real(job, *more)

    monkeypatch.setattr(ledger, "claim", claim)
    world.invoke(world.trigger_function, encoded(job))
    assert world.charged() == 0
    world.drain(seconds=300)

    assert list(world.outputs()) == ["my photo.jpg.png"]
    assert world.charged() == 1


def world_id(world: Harness, key: str) -> str:
    """The job id of a key's current object."""
    head = world.s3.head_object(Bucket=INPUT, Key=key)
    return Job(INPUT, key, head["VersionId"]).id
