"""AWS asks for fewer requests: uploads wait a little, with a reason of its own, and nobody is alarmed.

second opinion: microburst (throttles)
"""

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from moto.core.botocore_stubber import MockRawResponse

from tests.aws_events import s3_event
from tests.integration.aws_faults import about, refusing
from tests.integration.conftest import SharedSession
from tests.integration.harness import Harness

pytestmark = pytest.mark.usefixtures("one_day")

THROTTLES = [
    ("dynamodb.UpdateItem", "ProvisionedThroughputExceededException", 400),
    ("dynamodb.UpdateItem", "ThrottlingException", 400),
    ("dynamodb.PutItem", "RequestLimitExceeded", 400),
    ("s3.GetObject", "SlowDown", 503),
    ("s3.GetObject", "ServiceUnavailable", 503),
    ("s3.GetObject", "KMS.ThrottlingException", 400),
    ("s3.PutObject", "SlowDown", 503),
    ("ssm.GetParameter", "ThrottlingException", 400),
]
TRIES = 4
"""Of boto3, before an error reaches the work."""


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 tries again without waiting in real time."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None, time=time.time))


class Told:
    """The metrics in what was printed since the last look."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        lines = capsys.readouterr().out.splitlines()
        self.metrics = [json.loads(line) for line in lines if '"_aws"' in line]

    @property
    def postponed(self) -> list[str]:
        return [line["Reason"] for line in self.metrics if "Postponed" in line]

    @property
    def unexpected(self) -> int:
        return sum("UnexpectedErrors" in line for line in self.metrics)


@pytest.mark.parametrize("way", ["event", "message"])
@pytest.mark.parametrize(("operation", "code", "status"), THROTTLES)
def test_row_83_a_throttled_upload_is_postponed_and_bought_once(
    harness: Harness,
    photo: bytes,
    capsys: pytest.CaptureFixture[str],
    way: str,
    operation: str,
    code: str,
    status: int,
) -> None:
    harness.upload("first of the day.jpg", photo, prompt="wood")
    harness.restart()
    capsys.readouterr()
    with refusing(harness, operation, code, status, times=TRIES) as fault:
        if way == "event":
            harness.upload("a.jpg", photo, prompt="wood")
        else:
            harness.send({"job": harness.put("a.jpg", photo, prompt="wood").as_dict()})
            harness.retry_once()
    assert fault.answered >= 1

    told = Told(capsys)
    assert told.unexpected == 0
    assert told.postponed == ["throttled"]
    harness.drain()
    assert "a.jpg.png" in harness.outputs()
    assert harness.charged() == 2
    assert harness.dead_letters() == []
    assert Told(capsys).unexpected == 0


def test_row_83_images_reserved_for_a_call_that_was_never_written_are_free_again(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    """Else each throttled write would cost an image of the day's limit."""
    environment.setenv("DAILY_IMAGE_LIMIT", "2")
    harness.upload("first of the day.jpg", photo, prompt="wood")
    with refusing(harness, "dynamodb.PutItem", "ThrottlingException", 400, times=TRIES):
        harness.upload("a.jpg", photo, prompt="wood")
    harness.drain(seconds=600)

    assert sorted(harness.outputs()) == ["a.jpg.png", "first of the day.jpg.png"]
    assert harness.charged() == 2


@pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "ThrottlingException"])
def test_row_83_a_new_worker_whose_first_look_is_throttled_ends_in_a_postponement(
    harness: Harness, photo: bytes, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    event = s3_event(harness.put("a.jpg", photo, prompt="wood"))
    capsys.readouterr()
    with refusing(harness, "dynamodb.GetItem", code, 400, times=TRIES):
        harness.services.clock.is_set = False
        harness.invoke(harness.trigger_function, event)
        harness.services.clock.is_set = True

    told = Told(capsys)
    assert (told.unexpected, told.postponed) == (0, ["throttled"])
    harness.drain()
    assert harness.charged() == 1


def test_row_83_ten_minutes_of_throttling_use_up_no_attempt_and_pauses_nobody(
    harness: Harness, photo: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the key's parameter, too: ten in a row are no outage of the gateway."""
    with refusing(harness, "ssm.GetParameter", "ThrottlingException", 400):
        for number in range(12):
            harness.upload(f"{number}.jpg", photo, prompt="wood")
        harness.drain(seconds=600)
    assert harness.gateway.calls() == []
    assert set(Told(capsys).postponed) == {"throttled"}

    harness.drain()
    assert harness.charged() == len(harness.outputs()) == 12
    assert harness.dead_letters() == []


def test_row_83_hours_without_the_key_take_few_looks(harness: Harness, photo: bytes) -> None:
    """Minutes apart, not seconds: simulated days had four looks a minute for hours."""
    with refusing(harness, "ssm.GetParameter", "ThrottlingException", 400):
        harness.upload("a.jpg", photo, prompt="wood")
        assert harness.drain(seconds=2 * 3600) <= 2 * 45

    harness.drain()
    assert (harness.charged(), harness.dead_letters()) == (1, [])


@pytest.mark.parametrize(
    ("operation", "code", "status"),
    [
        ("s3.ListObjectVersions", "SlowDown", 503),
        ("dynamodb.BatchGetItem", "ProvisionedThroughputExceededException", 400),
        ("dynamodb.PutItem", "ThrottlingException", 400),
    ],
)
def test_row_83_the_reconciler_leaves_the_rest_to_its_next_run(
    harness: Harness, photo: bytes, capsys: pytest.CaptureFixture[str], operation: str, code: str, status: int
) -> None:
    harness.put("lost.jpg", photo, prompt="wood")
    harness.advance(600)
    with refusing(harness, operation, code, status, times=TRIES):
        assert not harness.reconcile()["complete"]
    assert Told(capsys).postponed == ["throttled"]

    harness.reconcile()
    harness.drain()
    assert harness.charged() == 1


def test_row_83_keys_that_dynamodb_leaves_out_are_asked_for_again_a_few_times_only(
    harness: Harness, photo: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    harness.put("lost.jpg", photo, prompt="wood")
    harness.advance(600)
    assert harness.services
    events, asked = SharedSession().client("dynamodb", None).meta.events, list[str]()  # type: ignore[arg-type]

    def leave_out(request: Any, **_: Any) -> AWSResponse:
        asked.append(request.url)
        wanted = json.loads(request.body)["RequestItems"]
        body = json.dumps({"Responses": {}, "UnprocessedKeys": wanted}).encode()
        return AWSResponse(request.url, 200, HTTPHeaders(), MockRawResponse(body))

    events.register("before-send.dynamodb.BatchGetItem", leave_out)
    try:
        harness.reconcile()
    finally:
        events.unregister("before-send.dynamodb.BatchGetItem", leave_out)
    assert 1 < len(asked) <= 10
    assert Told(capsys).postponed == ["throttled"]
    assert harness.waiting() == []


def test_row_84_an_error_of_aws_that_passes_is_counted_and_costs_nothing(
    harness: Harness, photo: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with refusing(harness, "s3.GetObject", "InternalError", 500, times=TRIES):
        job = harness.upload("a.jpg", photo, prompt="wood")
        harness.drain()

    assert Told(capsys).unexpected == 1
    record = harness.record(job)
    assert record is not None
    assert record.history[0].endswith(" interrupted: GetObject InternalError 500")
    assert harness.charged() == len(harness.outputs()) == 1


def test_row_84_a_message_that_can_not_be_renewed_comes_back_and_holds_up_no_other(
    harness: Harness, photo: bytes
) -> None:
    attributes = {"ApproximateReceiveCount": "501", "SentTimestamp": str(int(harness.now() * 1000))}
    records = [
        {"messageId": key, "receiptHandle": key, "attributes": attributes}
        | {"body": json.dumps({"job": harness.put(key, photo, prompt="wood").as_dict()})}
        for key in ("forbidden.jpg", "fine.jpg")
    ]
    with (
        refusing(harness, "s3.GetObject", "AccessDenied", 403, asked=about("forbidden.jpg")),
        refusing(harness, "sqs.SendMessage", "AccessDeniedException", 403),
    ):
        answer = harness.invoke(harness.retry_function, {"Records": records})

    assert answer == {"batchItemFailures": [{"itemIdentifier": "forbidden.jpg"}]}
    assert list(harness.outputs()) == ["fine.jpg.png"]
