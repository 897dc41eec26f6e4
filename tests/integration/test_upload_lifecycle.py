"""From an upload to its result: names, bytes, metadata, events."""

import base64
import gc
import json
import weakref
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from backdrop.job import Job
from tests.aws_events import sample
from tests.integration.harness import Harness
from tests.integration.stack import INPUT, OUTPUT

PictureOf = Callable[[str], bytes]


def test_an_upload_comes_back_with_the_background_asked_for(harness: Harness, photo: bytes) -> None:
    job = harness.upload("shoes/red.jpg", photo, prompt="a beach at sunset")

    [(key, result)] = harness.outputs().items()
    assert key == "shoes/red.jpg.png"
    assert result["ContentType"] == "image/png"
    assert result["Body"].startswith(b"\x89PNG")
    assert result["Metadata"]["job-id"] == job.id
    assert result["Metadata"]["source-key"] == "shoes/red.jpg"
    assert result["Metadata"]["source-version"] == job.version_id
    assert result["Metadata"]["model"] == "ideogram/ideogram-v3-replace-background"
    assert result["Metadata"]["request-id"].startswith("req_")
    [charge] = harness.gateway.charges()
    assert charge["prompt"] == "a beach at sunset"
    assert charge["image_bytes"] == len(photo)
    assert harness.waiting() == []


def test_the_sample_event_is_processed_as_sam_local_invoke_does_it(harness: Harness, photo: bytes) -> None:
    event = sample("s3_object_created")
    harness.put("samples/mug.jpg", photo, prompt="marble")

    answer = harness.invoke(harness.trigger_function, event)

    [upload] = answer["uploads"]
    assert upload["state"] == "DONE"
    assert upload["outputs"][0]["key"] == "samples/mug.jpg.png"
    assert list(harness.outputs()) == ["samples/mug.jpg.png"]


@pytest.mark.parametrize(
    "key",
    [
        "my photo+1.JPG",
        "100%20 sure & so on?.jpg",
        "été/å (2).png",
        "a/very/deep/folder/of/photos/x.webp",
        "=?odd?=#[]{}.jpg",
        "日本/" + "靴" * 300 + ".jpg",
        "k" * 1019,
    ],
    ids=lambda key: key[:30],
)
def test_row_4_any_key_is_read_exactly_and_maps_to_its_result(harness: Harness, photo: bytes, key: str) -> None:
    harness.upload(key, photo, prompt="snow")

    assert list(harness.outputs()) == [f"{key}.png"]
    metadata = harness.outputs()[f"{key}.png"]["Metadata"]
    assert unquote(metadata.get("source-key", key)) == key
    assert harness.charged() == 1


def test_row_4_a_key_too_long_for_a_result_is_refused_before_it_is_paid(harness: Harness, photo: bytes) -> None:
    harness.upload("k" * 1024, photo, prompt="snow")

    [dead_letter] = harness.dead_letters()
    assert dead_letter["reason"]["code"] == "invalid_option"
    assert harness.gateway.calls() == []


def test_several_images_are_numbered_from_one(harness: Harness, photo: bytes) -> None:
    harness.upload("a.jpg", photo, prompt="wood", n="3")

    assert list(harness.outputs()) == ["a.jpg.1.png", "a.jpg.2.png", "a.jpg.3.png"]
    assert harness.charged() == 3


def test_size_is_sent_only_when_given(harness: Harness, photo: bytes) -> None:
    harness.upload("a.jpg", photo, prompt="wood")
    harness.upload("b.jpg", photo, prompt="wood", size="1024x1024")

    without, with_size = (call["fields"] for call in harness.gateway.calls())
    assert "size" not in without
    assert with_size["size"] == "1024x1024"


@pytest.mark.parametrize(
    ("image_format", "extension", "content_type"),
    [("png", "png", "image/png"), ("jpeg", "jpg", "image/jpeg"), ("webp", "webp", "image/webp")],
)
def test_extension_and_content_type_come_from_the_bytes(
    harness: Harness, photo: bytes, image_format: str, extension: str, content_type: str
) -> None:
    harness.gateway.settings(image_format=image_format)

    harness.upload("a.jpg", photo, prompt="wood")

    [(key, result)] = harness.outputs().items()
    assert key == f"a.jpg.{extension}"
    assert result["ContentType"] == content_type


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_accepted_uploads_are_told_by_their_bytes(harness: Harness, picture_of: PictureOf, kind: str) -> None:
    harness.upload("no-extension", picture_of(kind), prompt="wood")

    assert list(harness.outputs()) == ["no-extension.png"]


@pytest.mark.parametrize(
    ("metadata", "prompt"),
    [
        ({"prompt": "=?UTF-8?B?" + base64.b64encode("Café à Paris".encode()).decode() + "?="}, "Café à Paris"),
        ({"prompt": "=?UTF-8?Q?Caf=C3=A9?="}, "Café"),
        (
            {"prompt_b64": base64.b64encode("Strand bei Nacht – 夜".encode()).decode(), "prompt": "no"},
            "Strand bei Nacht – 夜",
        ),
    ],
    ids=["rfc2047-b", "rfc2047-q", "b64-wins"],
)
def test_row_14_prompts_outside_ascii_arrive_decoded_once(
    harness: Harness, photo: bytes, metadata: dict[str, str], prompt: str
) -> None:
    harness.upload("a.jpg", photo, **metadata)

    assert harness.gateway.charges()[0]["prompt"] == prompt


def test_row_13_the_default_prompt_serves_uploads_without_one(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    environment.setenv("DEFAULT_PROMPT", "plain white")

    harness.upload("a.jpg", photo)
    harness.upload("b.jpg", photo, prompt="   ")

    assert [charge["prompt"] for charge in harness.gateway.charges()] == ["plain white", "plain white"]


@pytest.mark.parametrize("route", ["generations", "edits", "edits-multipart"])
def test_every_route_sends_the_photo(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, route: str
) -> None:
    environment.setenv("GATEWAY_ROUTE", route)

    harness.upload("a.jpg", photo, prompt="wood")

    assert list(harness.outputs()) == ["a.jpg.png"]
    [charge] = harness.gateway.charges()
    assert charge["image_bytes"] == len(photo)
    assert charge["model"] == "ideogram/ideogram-v3-replace-background"


def test_inline_answers_are_understood(harness: Harness, photo: bytes) -> None:
    harness.gateway.settings(answer="b64_json")

    harness.upload("a.jpg", photo, prompt="wood", n="2")

    assert list(harness.outputs()) == ["a.jpg.1.png", "a.jpg.2.png"]
    assert harness.charged() == 2


def test_a_later_upload_of_the_same_key_replaces_the_result(harness: Harness, photo: bytes) -> None:
    harness.upload("a.jpg", photo, prompt="wood")
    second = harness.upload("a.jpg", photo, prompt="snow")

    assert harness.outputs()["a.jpg.png"]["Metadata"]["source-version"] == second.version_id
    assert harness.charged() == 2


@pytest.mark.parametrize(("key", "data"), [("folder/", b"x"), ("empty.jpg", b"")])
def test_row_5_folder_markers_and_empty_objects_are_skipped_without_a_trace(
    harness: Harness, key: str, data: bytes
) -> None:
    job = harness.upload(key, data)

    assert (harness.dead_letters(), harness.waiting(), harness.record(job)) == ([], [], None)


@pytest.mark.parametrize(
    "event",
    [{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": INPUT}, {}, {"Records": []}],
    ids=["test-event", "no-records", "empty-records"],
)
def test_row_6_events_without_uploads_are_no_failure(harness: Harness, event: dict[str, Any]) -> None:
    assert harness.invoke(harness.trigger_function, event) == {"uploads": []}
    assert harness.dead_letters() == []


def test_a_receipt_says_who_what_when_and_how_much(harness: Harness, photo: bytes) -> None:
    job = harness.upload("a.jpg", photo, prompt="wood", n="2")

    receipt = harness.record(job)

    assert receipt is not None
    assert (receipt.bucket, receipt.key, receipt.version_id) == (INPUT, "a.jpg", job.version_id)
    assert (receipt.state, receipt.images, receipt.cost_usd, receipt.calls_sent) == ("DONE", 2, "0.06", 1)
    assert [output["bucket"] for output in receipt.stored] == [OUTPUT, OUTPUT]
    assert receipt.call is None, "the body with its link and prompt is kept until PAID only"


def test_the_prompt_is_in_the_ledger_as_a_hash_and_a_length_only(harness: Harness, photo: bytes) -> None:
    harness.upload("a.jpg", photo, prompt="a very secret prompt")

    items = json.dumps(harness.dynamodb.scan(TableName="backdrop-ledger")["Items"])

    assert "secret prompt" not in items


def test_a_job_that_names_no_version_is_the_current_one(harness: Harness, photo: bytes) -> None:
    job = harness.upload("a.jpg", photo, prompt="wood")

    harness.notify(Job(INPUT, "a.jpg", size=len(photo)))

    assert harness.charged() == 1
    assert harness.record(job) is not None


def test_a_photo_that_was_sent_is_forgotten_before_the_next_is_read(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the file upload route a photo is in memory, and 25 MiB of it are too many to wait for the collector."""
    environment.setenv("GATEWAY_ROUTE", "edits-multipart")
    harness.restart()
    storage = harness.services.storage
    build, read = httpx.Client.build_request, storage.read
    sent, alive = list[Any](), list[int]()

    def building(*arguments: Any, **named: Any) -> Any:
        request = build(*arguments, **named)
        if request.url.path.endswith("/images/edits"):
            sent.append(weakref.ref(request))
        return request

    def reading(job: Job) -> bytes:
        alive.append(sum(request() is not None for request in sent))
        return read(job)

    monkeypatch.setattr(httpx.Client, "build_request", building)
    monkeypatch.setattr(storage, "read", reading)
    gc.disable()
    try:
        for number in range(3):
            harness.upload(f"{number}.jpg", photo, prompt="wood")
    finally:
        gc.enable()

    assert alive == [0, 0, 0]
