"""How often one ordinary upload goes over the network; one more is a decision, and shows up here."""

import json
import socket
import time
from collections import Counter
from typing import Any

import boto3
import botocore.client
import httpx
import pytest

from backdrop import bootstrap
from tests.aws_events import s3_event
from tests.integration.harness import Harness

OF_A_WARM_WORKER = {
    "s3 GetObject": 1,  # the first bytes, with the metadata
    "s3 ListObjectsV2": 1,  # whether the key's current result was made from the very same
    "s3 PutObject": 1,
    "dynamodb UpdateItem": 2,  # slot, PAID
    "dynamodb PutItem": 2,  # CALLING, which is its claim, and DONE
    "events PutEvents": 1,
    "gateway POST": 1,
    "gateway GET": 1,
}
OF_A_MESSAGE = {**OF_A_WARM_WORKER, "dynamodb UpdateItem": 3}  # which is claimed first
OF_A_NEW_WORKER = {
    **OF_A_WARM_WORKER,
    "dynamodb GetItem": 1,  # the time, and how the pace is
    "ssm GetParameter": 1,
}


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What went over the network since it was last cleared, by service and operation."""
    trips: Counter[str] = Counter()
    client: Any = botocore.client.BaseClient
    call, handle = client._make_api_call, httpx.HTTPTransport.handle_request

    def counted_call(self: Any, operation: str, arguments: Any) -> Any:
        trips[f"{self.meta.service_model.service_name} {operation}"] += 1
        return call(self, operation, arguments)

    def counted_request(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        if not request.url.path.startswith("/control/"):
            trips[f"gateway {request.method}"] += 1
        return handle(self, request)

    monkeypatch.setattr(client, "_make_api_call", counted_call)
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", counted_request)
    return trips


def test_an_ordinary_upload_makes_no_more_round_trips_than_these(
    harness: Harness, photo: bytes, trips: Counter[str]
) -> None:
    harness.upload("first of the day.jpg", photo, prompt="a beach")
    for key, expected in {"second.jpg": OF_A_NEW_WORKER, "third.jpg": OF_A_WARM_WORKER}.items():
        event = s3_event(harness.put(key, photo, prompt="a beach"))
        trips.clear()
        if expected is OF_A_NEW_WORKER:
            harness.restart()
            harness.services.clock.is_set = False
        answer = harness.invoke(harness.trigger_function, event)
        harness.services.clock.is_set = True
        assert answer["uploads"][0]["state"] == "DONE"
        assert dict(trips) == expected


def test_a_worker_has_read_the_pace_and_the_key_before_its_first_upload(
    harness: Harness, photo: bytes, trips: Counter[str]
) -> None:
    harness.upload("first of the day.jpg", photo, prompt="a beach")
    event = s3_event(harness.put("second.jpg", photo, prompt="a beach"))
    harness.restart()
    harness.services.clock.is_set = False
    trips.clear()
    bootstrap.prepare()
    assert dict(trips) == {"dynamodb GetItem": 1, "ssm GetParameter": 1}
    harness.services.clock.is_set = True  # which the tests' clock doesn't take from the answer
    trips.clear()
    assert harness.invoke(harness.trigger_function, event)["uploads"][0]["state"] == "DONE"
    assert dict(trips) == OF_A_WARM_WORKER


def test_a_worker_starts_though_nothing_answers(harness: Harness, environment: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        environment.setattr(bootstrap, "boto3", boto3)
        environment.setattr(bootstrap, "CONNECT_SECONDS", 0.2)
        harness.restart()
        harness.services  # noqa: B018 - what is built doesn't count
        started = time.monotonic()
        bootstrap.prepare()
        assert time.monotonic() - started < 2


def test_a_message_makes_one_round_trip_more_than_an_event(harness: Harness, photo: bytes, trips: Counter[str]) -> None:
    """Lambda receives and deletes it."""
    harness.upload("first of the day.jpg", photo, prompt="a beach")
    record = {"messageId": "1", "receiptHandle": "1", "attributes": {}}
    record["body"] = json.dumps({"job": harness.put("second.jpg", photo, prompt="a beach").as_dict()})
    trips.clear()
    assert harness.invoke(harness.retry_function, {"Records": [record]}) == {"batchItemFailures": []}
    assert dict(trips) == OF_A_MESSAGE


def test_an_upload_that_has_to_wait_is_written_once(harness: Harness, photo: bytes, trips: Counter[str]) -> None:
    harness.upload("first of the day.jpg", photo, prompt="a beach")
    harness.services.rate_limiter.back_off(60)
    event = s3_event(harness.put("second.jpg", photo, prompt="a beach"))
    trips.clear()
    assert harness.invoke(harness.trigger_function, event)["uploads"][0]["state"] == "WAITING"
    assert dict(trips) == {
        "s3 GetObject": 1,
        "s3 ListObjectsV2": 1,
        "dynamodb UpdateItem": 1,  # its place in the queue
        "dynamodb PutItem": 1,
        "sqs SendMessage": 1,
    }


def test_a_duplicate_event_makes_few_round_trips(harness: Harness, photo: bytes, trips: Counter[str]) -> None:
    """It is taken for a new upload until the ledger says that it is none."""
    job = harness.upload("shoes.jpg", photo, prompt="a beach")
    trips.clear()
    harness.notify(job)
    assert dict(trips) == {
        "s3 GetObject": 2,  # the second after its current result was found
        "s3 ListObjectsV2": 1,
        "s3 HeadObject": 1,  # of that result
        "dynamodb PutItem": 1,  # refused
        "dynamodb UpdateItem": 1,  # the claim, refused, too
    }


def test_a_prompt_txt_is_read_once_for_the_photos_of_its_folder(
    harness: Harness, photo: bytes, trips: Counter[str]
) -> None:
    harness.upload("first of the day.jpg", photo, prompt="a beach")
    harness.put("shoes/prompt.txt", b"a beach")
    for key, looks in {"shoes/red.jpg": 1, "shoes/blue.jpg": 0}.items():
        event = s3_event(harness.put(key, photo))
        trips.clear()
        answer = harness.invoke(harness.trigger_function, event)
        assert answer["uploads"][0]["state"] == "DONE"
        assert dict(trips) == OF_A_WARM_WORKER | {"s3 GetObject": 1 + looks}
