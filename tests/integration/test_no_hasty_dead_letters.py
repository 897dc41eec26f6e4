"""What may succeed later waits for it, and is no dead letter."""

import json

import pytest
from botocore.exceptions import ReadTimeoutError

from backdrop.job import Job
from tests.aws_events import sample
from tests.integration.harness import Harness


@pytest.mark.parametrize(("policy", "times"), [("park", 1), ("retry", 2)])
def test_a_photo_that_could_not_be_read_for_a_file_upload_was_never_sent(
    environment: pytest.MonkeyPatch,
    harness: Harness,
    photo: bytes,
    monkeypatch: pytest.MonkeyPatch,
    policy: str,
    times: int,
) -> None:
    environment.setenv("ON_UNKNOWN_OUTCOME", policy)
    environment.setenv("GATEWAY_ROUTE", "edits-multipart")
    storage = harness.services.storage
    real, left = storage.read, [times]

    def read(job: Job) -> bytes:
        if left[0]:
            left[0] -= 1
            raise ReadTimeoutError(endpoint_url="https://s3")
        return real(job)

    monkeypatch.setattr(storage, "read", read)
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == []
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_a_blank_key_in_ssm_keeps_every_upload(harness: Harness, photo: bytes) -> None:
    harness.put_key(" ")
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain(seconds=900)
    assert harness.dead_letters() == []

    harness.put_key(harness.gateway.key)
    harness.drain()
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_an_outage_that_swallows_answers_does_not_dead_letter_every_upload(harness: Harness, photo: bytes) -> None:
    """A load balancer that closes connections, or a Cloudflare 52x."""
    harness.gateway.faults([{"kind": "status", "status": 521, "times": 0}])
    for number in range(14):
        harness.upload(f"{number}.jpg", photo, prompt="wood")
    harness.drain(seconds=900, most=3000)

    assert len(harness.dead_letters()) <= 4


@pytest.mark.parametrize(
    "attributes",
    [{"ApproximateReceiveCount": "501"}, {"SentTimestamp": "1700000000000"}],
    ids=["received-often", "sent-long-ago"],
)
@pytest.mark.parametrize("why", ["waits", "fails"])
def test_a_message_near_the_end_of_its_life_is_renewed(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch, attributes: dict[str, str], why: str
) -> None:
    """SQS dead-letters after 1000 receives and forgets after 14 days, however good the reason to wait."""
    if why == "waits":
        harness.gateway.faults([{"kind": "status", "status": 402, "times": 0}])
    else:
        monkeypatch.setattr(harness.services.storage, "inspect", None)
    message = sample("retry_message")["Records"][0]
    message["body"] = json.dumps({"job": harness.put("a.jpg", photo, prompt="wood").as_dict()})
    message["attributes"] |= {"SentTimestamp": str(int(harness.now() * 1000)), **attributes}

    answer = harness.invoke(harness.retry_function, {"Records": [message]})

    assert answer == {"batchItemFailures": []}
    assert [body["job"]["key"] for body in harness.waiting()] == ["a.jpg"]
