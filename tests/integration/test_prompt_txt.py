"""A prompt.txt in the bucket stands in for the metadata of those who can't set any."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backdrop.prompts import REMEMBERED_SECONDS
from tests.integration.harness import Harness, eventbridge_event
from tests.integration.test_reconcile import run as reconcile


def prompts(world: Harness) -> list[str]:
    """Those that were bought, in order."""
    return [charge["prompt"] for charge in world.gateway.charges()]


def test_the_prompt_is_the_metadatas_then_the_nearest_folders_then_the_default(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes
) -> None:
    environment.setenv("DEFAULT_PROMPT", "plain white")
    world.put("shoes/prompt.txt", "\ufeffcafé,\r\nat noon\r\n".encode())
    world.put("shoes/red/prompt.txt", b"a beach")
    world.put("shoes/blue/prompt.txt", b"")

    world.upload("shoes/red/1.jpg", photo, prompt="snow")
    world.upload("shoes/red/2.jpg", photo, prompt=" ")
    world.upload("shoes/blue/3.jpg", photo)
    world.upload("shoes/4.jpg", photo)
    world.upload("hats/5.jpg", photo)

    assert prompts(world) == ["snow", "a beach", "café,\r\nat noon", "café,\r\nat noon", "plain white"]


def test_n_and_size_are_the_metadatas_all_the_same(world: Harness, photo: bytes) -> None:
    world.put("prompt.txt", b"a beach")

    world.upload("a.jpg", photo, n="2", size="1024x1024")

    assert list(world.outputs()) == ["a.jpg.1.png", "a.jpg.2.png"]
    assert world.gateway.calls()[0]["fields"]["size"] == "1024x1024"


@pytest.mark.parametrize("key", ["prompt.txt", "shoes/prompt.txt"])
@pytest.mark.parametrize("way", ["trigger", "eventbridge", "retry", "reconcile"])
def test_a_prompt_txt_is_skipped_without_a_trace(world: Harness, key: str, way: str) -> None:
    job = world.put(key, b"a beach", prompt="wood")

    if way == "trigger":
        assert world.notify(job)["uploads"][0]["state"] == "SKIPPED"
    elif way == "eventbridge":
        assert world.invoke(world.trigger_function, eventbridge_event(job))["uploads"][0]["state"] == "SKIPPED"
    elif way == "retry":
        world.send({"job": job.as_dict()})
        world.drain()
    else:
        world.advance(130)
        assert reconcile(world)["enqueued"] == 0

    assert (world.dead_letters(), world.waiting(), world.record(job)) == ([], [], None)
    assert world.gateway.calls() == []


@pytest.mark.parametrize(
    "content",
    ["secretwords, déjà vu".encode("latin-1"), b"secretwords \x00", b"secretwords" * 1000],
    ids=["not UTF-8", "control characters", "too long"],
)
def test_a_prompt_txt_that_can_not_be_used_is_named_in_the_dead_letter(
    world: Harness, photo: bytes, content: bytes
) -> None:
    world.put("shoes/prompt.txt", content)

    world.upload("shoes/red.jpg", photo)

    [letter] = world.dead_letters()
    assert letter["reason"]["code"] == "invalid_option"
    assert "shoes/prompt.txt" in letter["reason"]["message"]
    assert "secretwords" not in json.dumps(letter)
    assert world.gateway.calls() == []


def test_a_photo_that_came_before_its_prompt_txt_is_painted_when_its_dead_letter_is_moved_back(
    world: Harness, photo: bytes
) -> None:
    world.upload("shoes/red.jpg", photo)
    [letter] = world.dead_letters()
    assert letter["reason"]["code"] == "missing_prompt"
    assert letter["reason"]["billed"] == "no"

    world.upload("shoes/prompt.txt", b"a beach")
    world.advance(REMEMBERED_SECONDS)
    world.redrive()
    world.drain()

    assert prompts(world) == ["a beach"]
    assert list(world.outputs()) == ["shoes/red.jpg.png"]
    assert world.dead_letters() == []


def test_a_changed_prompt_txt_buys_nothing_by_itself(world: Harness, photo: bytes) -> None:
    world.upload("shoes/prompt.txt", b"a beach")
    job = world.upload("shoes/red.jpg", photo)

    world.upload("shoes/prompt.txt", b"a forest")
    world.advance(REMEMBERED_SECONDS + 130)
    world.notify(job)
    assert reconcile(world)["enqueued"] == 0

    assert prompts(world) == ["a beach"]
    world.upload("shoes/red.jpg", photo)
    assert prompts(world) == ["a beach", "a forest"]


def test_a_prompt_txt_that_changes_between_a_call_and_its_replay_changes_nothing(world: Harness, photo: bytes) -> None:
    world.gateway.faults([{"kind": "drop_after_charge"}])
    world.put("prompt.txt", b"a beach")
    world.upload("a.jpg", photo)

    world.put("prompt.txt", b"a forest")
    world.restart()
    world.drain()

    assert [call["fields"]["prompt"] for call in world.gateway.calls()] == ["a beach", "a beach"]
    assert len({call["body_sha256"] for call in world.gateway.calls()}) == 1
    assert world.charged() == 1
    assert list(world.outputs()) == ["a.jpg.png"]


def test_an_upload_waits_while_its_prompt_txt_can_not_be_read(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes
) -> None:
    """Never the default prompt instead: it would be paid for."""
    environment.setenv("DEFAULT_PROMPT", "plain white")
    world.put("prompt.txt", b"a beach")
    client: Any = world.app.storage._client
    real = client.get_object

    def forbidden(**arguments: Any) -> Any:
        if arguments["Key"] == "prompt.txt":
            raise ClientError({"ResponseMetadata": {"HTTPStatusCode": 403}}, "GetObject")  # type: ignore[typeddict-item]
        return real(**arguments)

    environment.setattr(client, "get_object", forbidden)
    world.upload("a.jpg", photo)
    assert (world.gateway.calls(), world.dead_letters(), len(world.waiting())) == ([], [], 1)

    environment.setattr(client, "get_object", real)
    world.drain()
    assert prompts(world) == ["a beach"]
