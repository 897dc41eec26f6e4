"""A prompt.txt in the bucket stands in for the metadata of those who can't set any."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backdrop.prompts import REMEMBERED_SECONDS
from tests.aws_events import eventbridge_event
from tests.integration.aws_faults import client_of
from tests.integration.harness import Harness


def test_the_prompt_is_the_metadatas_then_the_nearest_folders_then_the_default(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    environment.setenv("DEFAULT_PROMPT", "plain white")
    harness.put("shoes/prompt.txt", "\ufeffcafé,\r\nat noon\r\n".encode())
    harness.put("shoes/red/prompt.txt", b"a beach")
    harness.put("shoes/blue/prompt.txt", b"")

    harness.upload("shoes/red/1.jpg", photo, prompt="snow")
    harness.upload("shoes/red/2.jpg", photo, prompt=" ")
    harness.upload("shoes/blue/3.jpg", photo)
    harness.upload("shoes/4.jpg", photo)
    harness.upload("hats/5.jpg", photo)

    assert harness.prompts() == ["snow", "a beach", "café,\r\nat noon", "café,\r\nat noon", "plain white"]


def test_n_and_size_are_the_metadatas_all_the_same(harness: Harness, photo: bytes) -> None:
    harness.put("prompt.txt", b"a beach")

    harness.upload("a.jpg", photo, n="2", size="1024x1024")

    assert list(harness.outputs()) == ["a.jpg.1.png", "a.jpg.2.png"]
    assert harness.gateway.calls()[0]["fields"]["size"] == "1024x1024"


@pytest.mark.parametrize("key", ["prompt.txt", "shoes/prompt.txt"])
@pytest.mark.parametrize("way", ["trigger", "eventbridge", "retry", "reconcile"])
def test_a_prompt_txt_is_skipped_without_a_trace(harness: Harness, key: str, way: str) -> None:
    job = harness.put(key, b"a beach", prompt="wood")

    if way == "trigger":
        assert harness.notify(job)["uploads"][0]["state"] == "SKIPPED"
    elif way == "eventbridge":
        assert harness.invoke(harness.trigger_function, eventbridge_event(job))["uploads"][0]["state"] == "SKIPPED"
    elif way == "retry":
        harness.send({"job": job.as_dict()})
        harness.drain()
    else:
        harness.advance(130)
        assert harness.reconcile()["enqueued"] == 0

    assert (harness.dead_letters(), harness.waiting(), harness.record(job)) == ([], [], None)
    assert harness.gateway.calls() == []


@pytest.mark.parametrize(
    "content",
    ["secretwords, déjà vu".encode("latin-1"), b"secretwords \x00", b"secretwords" * 1000],
    ids=["not UTF-8", "control characters", "too long"],
)
def test_a_prompt_txt_that_can_not_be_used_is_named_in_the_dead_letter(
    harness: Harness, photo: bytes, content: bytes
) -> None:
    harness.put("shoes/prompt.txt", content)

    harness.upload("shoes/red.jpg", photo)

    [dead_letter] = harness.dead_letters()
    assert dead_letter["reason"]["code"] == "invalid_option"
    assert "shoes/prompt.txt" in dead_letter["reason"]["message"]
    assert "secretwords" not in json.dumps(dead_letter)
    assert harness.gateway.calls() == []


def test_a_photo_that_came_before_its_prompt_txt_is_painted_when_its_dead_letter_is_moved_back(
    harness: Harness, photo: bytes
) -> None:
    harness.upload("shoes/red.jpg", photo)
    [dead_letter] = harness.dead_letters()
    assert dead_letter["reason"]["code"] == "missing_prompt"
    assert dead_letter["reason"]["billed"] == "no"

    harness.upload("shoes/prompt.txt", b"a beach")
    harness.advance(REMEMBERED_SECONDS)
    harness.redrive()
    harness.drain()

    assert harness.prompts() == ["a beach"]
    assert list(harness.outputs()) == ["shoes/red.jpg.png"]
    assert harness.dead_letters() == []


def test_a_changed_prompt_txt_buys_nothing_by_itself(harness: Harness, photo: bytes) -> None:
    harness.upload("shoes/prompt.txt", b"a beach")
    job = harness.upload("shoes/red.jpg", photo)

    harness.upload("shoes/prompt.txt", b"a forest")
    harness.advance(REMEMBERED_SECONDS + 130)
    harness.notify(job)
    assert harness.reconcile()["enqueued"] == 0

    assert harness.prompts() == ["a beach"]
    harness.upload("shoes/red.jpg", photo)
    assert harness.prompts() == ["a beach", "a forest"]


def test_a_prompt_txt_that_changes_between_a_call_and_its_replay_changes_nothing(
    harness: Harness, photo: bytes
) -> None:
    harness.gateway.faults([{"kind": "drop_after_charge"}])
    harness.put("prompt.txt", b"a beach")
    harness.upload("a.jpg", photo)

    harness.put("prompt.txt", b"a forest")
    harness.restart()
    harness.drain()

    assert [call["fields"]["prompt"] for call in harness.gateway.calls()] == ["a beach", "a beach"]
    assert len({call["body_sha256"] for call in harness.gateway.calls()}) == 1
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_an_upload_waits_while_its_prompt_txt_can_not_be_read(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    """Never the default prompt instead: it would be paid for."""
    environment.setenv("DEFAULT_PROMPT", "plain white")
    harness.put("prompt.txt", b"a beach")
    client: Any = client_of(harness, "s3")
    real = client.get_object

    def forbidden(**arguments: Any) -> Any:
        if arguments["Key"] == "prompt.txt":
            raise ClientError({"ResponseMetadata": {"HTTPStatusCode": 403}}, "GetObject")  # type: ignore[typeddict-item]
        return real(**arguments)

    environment.setattr(client, "get_object", forbidden)
    harness.upload("a.jpg", photo)
    assert (harness.gateway.calls(), harness.dead_letters(), len(harness.waiting())) == ([], [], 1)

    environment.setattr(client, "get_object", real)
    harness.drain()
    assert harness.prompts() == ["a beach"]
