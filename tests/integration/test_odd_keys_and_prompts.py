"""Uploads that only look like photos, have no prompt that shows, or have keys that others write in another way."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from backdrop.job import Job
from backdrop.prompts import REMEMBERED_SECONDS
from tests.aws_events import envelope, eventbridge_event
from tests.integration.aws_faults import client_of, refusing
from tests.integration.conftest import Run
from tests.integration.harness import Harness
from tests.integration.simulated_lambda import Killed
from tests.integration.stack import INPUT

pytestmark = pytest.mark.usefixtures("one_day")

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"
SYSTEM_FILES = [".DS_Store", "shoes/._red.jpg", "shoes/Thumbs.db", "thumbs.db", "desktop.ini", "Desktop.ini", "~$a.jpg"]
DOT_SEGMENTS = ["a/../b.jpg", "a/./b.jpg", "../b.jpg", "a/.."]


def unversioned(harness: Harness) -> None:
    """The input bucket keeps no versions, so its events come by EventBridge and name none."""
    harness.functions.event = eventbridge_event
    harness.s3.delete_bucket(Bucket=INPUT)
    harness.s3.create_bucket(Bucket=INPUT)


@pytest.fixture
def looks(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the functions asked S3 about which key of the input bucket, as `head_object a.jpg`."""
    client: Any = client_of(harness, "s3")
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
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    """cases: invisible prompt."""
    nothing = "\u200b\ufeff \u3164"
    harness.put("shoes/prompt.txt", b"a beach")
    harness.put("shoes/red/prompt.txt", nothing.encode())
    harness.upload("shoes/red/1.jpg", photo, prompt="=?UTF-8?B?4oCL?=")
    harness.upload("hats/2.jpg", photo, prompt_b64="4oCL77u/")
    assert harness.prompts() == ["a beach"]
    assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == ["missing_prompt"]

    environment.setenv("DEFAULT_PROMPT", "plain white")
    harness.restart()
    harness.upload("hats/3.jpg", photo, prompt_b64="4oCL77u/")
    assert harness.prompts()[1:] == ["plain white"]

    environment.setenv("DEFAULT_PROMPT", nothing)
    harness.restart()
    harness.upload("hats/4.jpg", photo)
    assert len(harness.prompts()) == 2
    assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == ["missing_prompt"] * 2


def test_a_byte_order_mark_before_a_prompt_is_not_bought(harness: Harness, photo: bytes) -> None:
    harness.put("shoes/prompt.txt", "\ufeffa beach".encode())
    harness.upload("shoes/1.jpg", photo)
    harness.upload("2.jpg", photo, prompt_b64="77u/YSBiZWFjaA==")
    assert harness.prompts() == ["a beach", "a beach"]


# What systems leave behind


@pytest.mark.parametrize("key", SYSTEM_FILES)
@pytest.mark.parametrize("way", ["trigger", "unversioned", "retry", "reconcile"])
def test_row_5_what_systems_leave_behind_is_skipped_without_a_trace(
    harness: Harness, photo: bytes, looks: Counter[str], key: str, way: str
) -> None:
    """cases: what systems leave behind; second opinion: hidden files of a folder. Whatever their bytes are."""
    if way == "unversioned":
        unversioned(harness)
    job = harness.put(key, photo, prompt="wood")
    if way == "retry":
        harness.send({"job": job.as_dict()})
        harness.drain()
    elif way == "reconcile":
        harness.advance(130)
        assert harness.reconcile()["enqueued"] == 0
    else:
        assert harness.notify(job)["uploads"][0]["state"] == "SKIPPED"

    assert (harness.dead_letters(), harness.waiting(), harness.record(job)) == ([], [], None)
    assert (harness.gateway.calls(), looks) == ([], {})


def test_the_command_line_counts_what_systems_leave_behind_as_no_photos(
    run: Run, harness: Harness, photo: bytes
) -> None:
    """cases: what systems leave behind."""
    for key in SYSTEM_FILES:
        harness.put(key, photo, prompt="wood")
    assert run("quote")["new"] == 0
    assert run("status")["new"] == 0
    assert run("backfill", "--yes")["enqueued"] == 0
    assert harness.waiting() == []


def test_submit_uploads_nothing_that_systems_leave_behind(
    run: Run, harness: Harness, photo: bytes, tmp_path: Path
) -> None:
    """second opinion: hidden files of a folder."""
    for key in ("shoes/red.jpg", *SYSTEM_FILES):
        path = tmp_path / "photos" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo)

    assert run("submit", "photos", "--prompt", "snow")["left_alone"] == {}

    listed = harness.s3.list_objects_v2(Bucket=INPUT)["Contents"]
    assert [entry["Key"] for entry in listed] == ["photos/shoes/red.jpg"]


# Keys that nobody can ask for


@pytest.mark.parametrize("has_versions", [True, False])
@pytest.mark.parametrize("key", DOT_SEGMENTS)
def test_row_66_a_dot_segment_ends_as_an_invalid_option_before_anybody_asks_for_the_object(
    harness: Harness, photo: bytes, looks: Counter[str], key: str, has_versions: bool
) -> None:
    """cases: dot segments. Its dead letter comes once, however often the upload is noticed, and can be moved back."""
    if not has_versions:
        unversioned(harness)
    job = harness.upload(key, photo, prompt="wood")
    harness.notify(job)
    harness.advance(130)
    assert harness.reconcile()["enqueued"] == 0
    harness.drain()

    [dead_letter] = harness.dead_letters()
    assert (dead_letter["job"]["key"], dead_letter["reason"]["code"], dead_letter["reason"]["billed"]) == (
        key,
        "invalid_option",
        "no",
    )
    assert "under a key without" in dead_letter["reason"]["message"]
    assert (harness.gateway.calls(), looks) == ([], {})

    harness.redrive()
    harness.drain()
    assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == ["invalid_option"]


def test_the_command_line_knows_that_a_dot_segment_is_invalid(run: Run, harness: Harness, photo: bytes) -> None:
    """cases: dot segments."""
    for key in DOT_SEGMENTS:
        harness.put(key, photo, prompt="wood")
    found = run("quote")
    assert (found["new"], found["invalid_by_reason"]) == (0, {"invalid_option": len(DOT_SEGMENTS)})
    assert run("backfill", "--yes")["enqueued"] == 0


def test_submit_makes_no_key_with_a_dot_segment(run: Run, harness: Harness, photo: bytes, tmp_path: Path) -> None:
    """cases: dot segments."""
    (tmp_path / "red.jpg").write_bytes(photo)
    for to in ("a/../", "./", "a/./b/"):
        assert f"{to}red.jpg" in run("submit", "red.jpg", "--prompt", "snow", "--to", to, code=2)
    assert "Contents" not in harness.s3.list_objects_v2(Bucket=INPUT)


@pytest.mark.parametrize(
    "key", ["a..b/c.jpg", "a/.../b.jpg", "a/..b.jpg", "a/b..", "a/.b.jpg", "/a.jpg", "a//b.jpg", "//a.jpg"]
)
def test_dots_and_slashes_that_are_no_dot_segment_are_ordinary(harness: Harness, photo: bytes, key: str) -> None:
    """cases: dot segments."""
    harness.upload(key, photo, prompt="wood")
    assert list(harness.outputs()) == [f"{key}.png"]


# Names in both Unicode forms


@pytest.mark.parametrize(("folder", "photos_folder"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_row_68_a_prompt_txt_serves_its_folder_in_the_other_unicode_form(
    harness: Harness, photo: bytes, folder: str, photos_folder: str
) -> None:
    """cases: two Unicode forms."""
    harness.put(f"{folder}/prompt.txt", b"a beach")
    harness.upload(f"{photos_folder}/red/1.jpg", photo)
    assert harness.prompts() == ["a beach"]


def test_a_prompt_txt_of_the_other_unicode_form_is_read_once_a_minute(
    harness: Harness, photo: bytes, looks: Counter[str]
) -> None:
    """cases: two Unicode forms."""
    harness.put(f"{COMPOSED}/prompt.txt", b"a beach")
    for number in range(3):
        harness.upload(f"{DECOMPOSED}/{number}.jpg", photo)
    assert looks[f"get_object {COMPOSED}/prompt.txt"] == looks[f"get_object {DECOMPOSED}/prompt.txt"] == 1
    harness.advance(REMEMBERED_SECONDS)
    harness.upload(f"{DECOMPOSED}/4.jpg", photo)
    assert looks[f"get_object {COMPOSED}/prompt.txt"] == 2


# Keys that an emulator's EventBridge percent-encodes

ODD_KEYS = ["my photo.jpg", "caf\u00e9/1+1 & 2.jpg", "100%.jpg", "100%25.jpg", "a?b#c.jpg"]


def encoded(job: Job) -> dict[str, Any]:
    """The event that LocalStack makes of an upload."""
    return eventbridge_event(replace(job, key=quote(job.key)))


@pytest.mark.parametrize("has_versions", [True, False])
@pytest.mark.parametrize("key", ODD_KEYS)
def test_row_67_an_upload_whose_event_has_its_key_encoded_is_bought_once_under_its_own_key(
    harness: Harness, photo: bytes, key: str, has_versions: bool
) -> None:
    """second opinion: LocalStack percent-encodes keys. The job is that of the plain key, which others name."""
    if not has_versions:
        unversioned(harness)
    job = harness.put(key, photo, prompt="wood")

    answer = harness.invoke(harness.trigger_function, encoded(job))
    harness.invoke(harness.trigger_function, encoded(job))
    harness.send(encoded(job))
    harness.send(envelope(encoded(job), Killed()))
    harness.drain()
    harness.notify(job)
    harness.advance(130)

    assert [(upload["key"], upload["state"]) for upload in answer["uploads"]] == [(key, "DONE")]
    assert list(harness.outputs()) == [f"{key}.png"]
    assert harness.outputs()[f"{key}.png"]["Metadata"]["source-key"] == quote(key)
    assert harness.charged() == 1
    assert harness.reconcile()["enqueued"] == 0
    assert (harness.waiting(), harness.dead_letters()) == ([], [])


@pytest.mark.parametrize("has_versions", [True, False])
def test_row_67_the_plain_key_wins_and_costs_no_further_look(
    harness: Harness, photo: bytes, looks: Counter[str], has_versions: bool
) -> None:
    """second opinion: LocalStack percent-encodes keys. AWS doesn't, and these are keys like others there."""
    if not has_versions:
        unversioned(harness)
    harness.functions.event = eventbridge_event
    other = harness.put("100%.jpg", photo, prompt="snow")
    job = harness.upload("100%25.jpg", photo, prompt="wood")

    assert harness.prompts() == ["wood"]
    assert list(harness.outputs()) == ["100%25.jpg.png"]
    assert not any(look.endswith(" 100%.jpg") for look in looks)
    assert looks["head_object 100%25.jpg"] == (0 if has_versions else 1)
    assert harness.record(other) is None or job.version_id is None


@pytest.mark.parametrize("has_versions", [True, False])
def test_row_67_another_upload_under_the_decoded_key_is_not_taken_for_a_deleted_one(
    harness: Harness, photo: bytes, picture_of: Callable[[str], bytes], has_versions: bool
) -> None:
    if not has_versions:
        unversioned(harness)
    harness.put("my photo.jpg", picture_of("PNG"), prompt="wood")
    job = harness.put("my%20photo.jpg", photo, prompt="snow")
    harness.s3.delete_object(Bucket=INPUT, Key=job.key)

    answer = harness.invoke(harness.trigger_function, eventbridge_event(job))

    assert answer["uploads"][0]["state"] == "SUPERSEDED"
    assert (harness.gateway.calls(), harness.waiting(), harness.dead_letters()) == ([], [], [])


@pytest.mark.parametrize("key", ["gone/%2e%2e/a.jpg", "%ff.jpg", "gone%.jpg"])
def test_a_deleted_upload_whose_key_can_not_be_decoded_is_gone(
    harness: Harness, photo: bytes, looks: Counter[str], key: str
) -> None:
    """Also one whose decoded key nobody can ask for."""
    job = harness.put(key, photo, prompt="snow")
    harness.s3.delete_object(Bucket=INPUT, Key=key)

    assert harness.invoke(harness.trigger_function, eventbridge_event(job))["uploads"][0]["state"] == "SUPERSEDED"
    assert looks == {f"get_object {key}": 1, f"head_object {key}": 1}, "the latter: whether it is of a batch"


def test_row_67_what_is_skipped_or_waits_under_an_encoded_key_is_so_under_its_own(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    """second opinion: LocalStack percent-encodes keys."""
    assert harness.invoke(harness.trigger_function, encoded(harness.put("~$ list.jpg", photo)))["uploads"] == [
        {"job_id": world_id(harness, "~$ list.jpg"), "key": "~$ list.jpg", "state": "SKIPPED", "outputs": []}
    ]
    environment.setenv("DAILY_IMAGE_LIMIT", "1")
    harness.restart()
    harness.upload("first.jpg", photo, prompt="wood")
    harness.invoke(harness.trigger_function, encoded(harness.put("my photo.jpg", photo, prompt="snow")))
    assert [body["job"]["key"] for body in harness.waiting()] == ["my photo.jpg"]
    harness.drain(seconds=30 * 3600)
    assert harness.prompts() == ["wood", "snow"]


def test_row_67_a_fault_on_the_way_to_the_decoded_key_loses_nothing(harness: Harness, photo: bytes) -> None:
    """second opinion: LocalStack percent-encodes keys."""
    job = harness.put("my photo.jpg", photo, prompt="wood")

    def is_of_decoded_key(request: Any) -> bool:
        return b'"my photo.jpg"' in request.body

    with refusing(harness, "dynamodb.PutItem", "InternalServerError", 500, asked=is_of_decoded_key) as fault:
        harness.invoke(harness.trigger_function, encoded(job))
    assert fault.answered
    assert harness.charged() == 0
    harness.drain(seconds=300)

    assert list(harness.outputs()) == ["my photo.jpg.png"]
    assert harness.charged() == 1


def world_id(harness: Harness, key: str) -> str:
    """The job id of a key's current object."""
    head = harness.s3.head_object(Bucket=INPUT, Key=key)
    return Job(INPUT, key, head["VersionId"]).id
