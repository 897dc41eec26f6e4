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

from tests.integration.aws_faults import about, refusing
from tests.integration.conftest import SharedSession
from tests.integration.harness import Harness, s3_event
from tests.integration.test_reconcile import run as reconcile

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
    world: Harness,
    photo: bytes,
    capsys: pytest.CaptureFixture[str],
    way: str,
    operation: str,
    code: str,
    status: int,
) -> None:
    world.upload("first of the day.jpg", photo, prompt="wood")
    world.restart()
    capsys.readouterr()
    with refusing(world, operation, code, status, times=TRIES) as fault:
        if way == "event":
            world.upload("a.jpg", photo, prompt="wood")
        else:
            world.send({"job": world.put("a.jpg", photo, prompt="wood").as_dict()})
            world.retry_once()
    assert fault.answered >= 1

    told = Told(capsys)
    assert told.unexpected == 0
    assert told.postponed == ["throttled"]
    world.drain()
    assert "a.jpg.png" in world.outputs()
    assert world.charged() == 2
    assert world.dead_letters() == []
    assert Told(capsys).unexpected == 0


def test_row_83_images_reserved_for_a_call_that_was_never_written_are_free_again(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes
) -> None:
    """Else each throttled write would cost an image of the day's limit."""
    environment.setenv("DAILY_IMAGE_LIMIT", "2")
    world.upload("first of the day.jpg", photo, prompt="wood")
    with refusing(world, "dynamodb.PutItem", "ThrottlingException", 400, times=TRIES):
        world.upload("a.jpg", photo, prompt="wood")
    world.drain(seconds=600)

    assert sorted(world.outputs()) == ["a.jpg.png", "first of the day.jpg.png"]
    assert world.charged() == 2


@pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "ThrottlingException"])
def test_row_83_a_new_worker_whose_first_look_is_throttled_ends_in_a_postponement(
    world: Harness, photo: bytes, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    event = s3_event(world.put("a.jpg", photo, prompt="wood"))
    capsys.readouterr()
    with refusing(world, "dynamodb.GetItem", code, 400, times=TRIES):
        world.app.clock.is_set = False
        world.invoke(world.trigger_function, event)
        world.app.clock.is_set = True

    told = Told(capsys)
    assert (told.unexpected, told.postponed) == (0, ["throttled"])
    world.drain()
    assert world.charged() == 1


def test_row_83_ten_minutes_of_throttling_use_up_no_attempt_and_pauses_nobody(
    world: Harness, photo: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the key's parameter, too: ten in a row are no outage of the gateway."""
    with refusing(world, "ssm.GetParameter", "ThrottlingException", 400):
        for number in range(12):
            world.upload(f"{number}.jpg", photo, prompt="wood")
        world.drain(seconds=600)
    assert world.gateway.calls() == []
    assert set(Told(capsys).postponed) == {"throttled"}

    world.drain()
    assert world.charged() == len(world.outputs()) == 12
    assert world.dead_letters() == []


def test_row_83_hours_without_the_key_take_few_looks(world: Harness, photo: bytes) -> None:
    """Minutes apart, not seconds: simulated days had four looks a minute for hours."""
    with refusing(world, "ssm.GetParameter", "ThrottlingException", 400):
        world.upload("a.jpg", photo, prompt="wood")
        assert world.drain(seconds=2 * 3600) <= 2 * 45

    world.drain()
    assert (world.charged(), world.dead_letters()) == (1, [])


@pytest.mark.parametrize(
    ("operation", "code", "status"),
    [
        ("s3.ListObjectVersions", "SlowDown", 503),
        ("dynamodb.BatchGetItem", "ProvisionedThroughputExceededException", 400),
        ("dynamodb.PutItem", "ThrottlingException", 400),
    ],
)
def test_row_83_the_reconciler_leaves_the_rest_to_its_next_run(
    world: Harness, photo: bytes, capsys: pytest.CaptureFixture[str], operation: str, code: str, status: int
) -> None:
    world.put("lost.jpg", photo, prompt="wood")
    world.advance(600)
    with refusing(world, operation, code, status, times=TRIES):
        assert not reconcile(world)["complete"]
    assert Told(capsys).postponed == ["throttled"]

    reconcile(world)
    world.drain()
    assert world.charged() == 1


def test_row_83_keys_that_dynamodb_leaves_out_are_asked_for_again_a_few_times_only(
    world: Harness, photo: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    world.put("lost.jpg", photo, prompt="wood")
    world.advance(600)
    assert world.app
    events, asked = SharedSession().client("dynamodb", None).meta.events, list[str]()  # type: ignore[arg-type]

    def leave_out(request: Any, **_: Any) -> AWSResponse:
        asked.append(request.url)
        wanted = json.loads(request.body)["RequestItems"]
        body = json.dumps({"Responses": {}, "UnprocessedKeys": wanted}).encode()
        return AWSResponse(request.url, 200, HTTPHeaders(), MockRawResponse(body))

    events.register("before-send.dynamodb.BatchGetItem", leave_out)
    try:
        reconcile(world)
    finally:
        events.unregister("before-send.dynamodb.BatchGetItem", leave_out)
    assert 1 < len(asked) <= 10
    assert Told(capsys).postponed == ["throttled"]
    assert world.waiting() == []


def test_row_84_an_error_of_aws_that_passes_is_counted_and_costs_nothing(
    world: Harness, photo: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with refusing(world, "s3.GetObject", "InternalError", 500, times=TRIES):
        job = world.upload("a.jpg", photo, prompt="wood")
        world.drain()

    assert Told(capsys).unexpected == 1
    record = world.record(job)
    assert record is not None
    assert record.history[0].endswith(" interrupted: GetObject InternalError 500")
    assert world.charged() == len(world.outputs()) == 1


def test_row_84_a_message_that_can_not_be_renewed_comes_back_and_holds_up_no_other(
    world: Harness, photo: bytes
) -> None:
    attributes = {"ApproximateReceiveCount": "501", "SentTimestamp": str(int(world.now() * 1000))}
    records = [
        {"messageId": key, "receiptHandle": key, "attributes": attributes}
        | {"body": json.dumps({"job": world.put(key, photo, prompt="wood").as_dict()})}
        for key in ("forbidden.jpg", "fine.jpg")
    ]
    with (
        refusing(world, "s3.GetObject", "AccessDenied", 403, asked=about("forbidden.jpg")),
        refusing(world, "sqs.SendMessage", "AccessDeniedException", 403),
    ):
        answer = world.invoke(world.retry_function, {"Records": records})

    assert answer == {"batchItemFailures": [{"itemIdentifier": "forbidden.jpg"}]}
    assert list(world.outputs()) == ["fine.jpg.png"]
