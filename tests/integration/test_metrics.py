"""What the handlers tell operators: log lines that CloudWatch turns into metrics.

The format: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws_events import s3_event
from tests.integration.aws_faults import client_of
from tests.integration.harness import Harness
from tests.integration.ledger_faults import LedgerFault
from tests.integration.result_faults import upload_killed_while_storing
from tests.integration.simulated_lambda import Killed

pytestmark = pytest.mark.usefixtures("one_day")

PROMPT = "an unmistakable backdrop"


@dataclass(frozen=True)
class Metric:
    """One value of one metric."""

    name: str
    value: float
    dimensions: dict[str, str]
    correlation_id: str | None


class Emitted:
    """The metrics that the handlers have emitted since the test began."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._metrics: list[Metric] = []
        self.lines: list[str] = []

    def metrics(self) -> list[Metric]:
        lines = [line for line in self._capsys.readouterr().out.splitlines() if '"_aws"' in line]
        self.lines += lines
        for line in lines:
            self._metrics += _metrics(json.loads(line))
        return self._metrics

    def names(self) -> set[str]:
        return {metric.name for metric in self.metrics()}

    def values(self, name: str, **dimensions: str) -> list[float]:
        """Of the metric with exactly these dimensions beside Stack, in order."""
        found = (metric for metric in self.metrics() if metric.name == name)
        return [metric.value for metric in found if metric.dimensions == {"Stack": "backdrop", **dimensions}]

    def about(self) -> set[str | None]:
        """The correlation ids."""
        return {metric.correlation_id for metric in self.metrics()}


def _metrics(line: dict[str, Any]) -> Iterator[Metric]:
    """Each value of a line, which has to be as the specification says and to hold nothing else."""
    header = line.pop("_aws")
    assert set(header) == {"Timestamp", "CloudWatchMetrics"}
    assert isinstance(header["Timestamp"], int)
    correlation_id = line.pop("correlation_id")
    [directive] = header["CloudWatchMetrics"]
    assert directive["Namespace"] == "Backdrop"
    [names] = directive["Dimensions"]
    dimensions = {name: line.pop(name) for name in names}
    assert all(isinstance(text, str) and text for text in dimensions.values())
    for definition in directive["Metrics"]:
        assert definition["Unit"] in ("Count", "Seconds", "None")
        values = line.pop(definition["Name"])
        for value in values if isinstance(values, list) else [values]:
            assert isinstance(value, int | float)
            assert not isinstance(value, bool)
            yield Metric(definition["Name"], value, dimensions, correlation_id)
    assert line == {}


@pytest.fixture
def emitted(harness: Harness, capsys: pytest.CaptureFixture[str]) -> Iterator[Emitted]:
    emitted = Emitted(capsys)
    yield emitted
    assert emitted.metrics()
    for secret in (PROMPT, harness.gateway.key, "/media/", "http", "X-Amz-"):
        assert not [line for line in emitted.lines if secret in line]


def test_an_ordinary_upload_tells_what_was_bought_and_stored_once_each(
    harness: Harness, photo: bytes, emitted: Emitted
) -> None:
    harness.gateway.settings(latency_seconds=0.2)
    job = harness.upload("a.jpg", photo, prompt=PROMPT)
    harness.notify(job)

    assert emitted.names() == {"ImagesBought", "SpendUsd", "ImagesStored", "GatewaySeconds"}
    assert emitted.values("ImagesBought") == [1]
    assert emitted.values("SpendUsd") == [0.03]
    assert emitted.values("ImagesStored") == [1]
    [seconds] = emitted.values("GatewaySeconds")
    assert 0.2 < seconds < 10
    assert emitted.about() == {job.id}


def test_a_replay_after_an_unknown_outcome_tells_one_purchase(harness: Harness, photo: bytes, emitted: Emitted) -> None:
    harness.gateway.faults([{"kind": "drop_after_charge"}])
    job = harness.upload("a.jpg", photo, prompt=PROMPT)
    harness.drain()

    assert emitted.values("UnknownOutcomes") == [1]
    assert emitted.values("GatewayErrors", Error="OutcomeUnknown") == [1]
    assert emitted.values("ImagesBought") == [1]
    assert emitted.values("SpendUsd") == [0.03]
    assert len(emitted.values("GatewaySeconds")) == 1
    assert emitted.about() == {job.id}


def test_a_call_whose_worker_was_killed_is_an_unknown_outcome_once_it_is_found(
    harness: Harness, photo: bytes, emitted: Emitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = harness.services.gateway
    real = gateway.send

    def send_and_die(*arguments: Any) -> None:
        real(*arguments)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(gateway, "send", send_and_die)
        job = harness.upload("a.jpg", photo, prompt=PROMPT)
    assert emitted.names() == set()

    harness.advance(200)  # the dead worker's lease
    harness.services.rate_limiter.back_off(120)
    harness.drain()

    assert emitted.values("Postponed", Reason="slot") == [1]
    assert emitted.values("UnknownOutcomes") == [1]
    assert emitted.values("ImagesBought") == [1]
    assert emitted.about() == {job.id}


@pytest.mark.parametrize(
    ("status", "reason", "error"),
    [(429, "retry", "GatewayBusy 429"), (500, "retry", "CallFailed 500"), (402, "pause", "AccountFault 402")],
)
def test_a_call_that_has_to_be_made_again_tells_why(
    harness: Harness, photo: bytes, emitted: Emitted, status: int, reason: str, error: str
) -> None:
    harness.gateway.faults([{"kind": "status", "status": status}])
    job = harness.upload("a.jpg", photo, prompt=PROMPT)

    assert emitted.names() == {"GatewayErrors", "Postponed", "WaitingSeconds", "PaidNotStoredSeconds"}
    assert emitted.values("GatewayErrors", Error=error) == [1]
    assert emitted.values("Postponed", Reason=reason) == [1]
    assert emitted.values("PaidNotStoredSeconds") == [0]
    assert emitted.about() == {job.id}


def test_uploads_that_wait_without_a_call_tell_what_for(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, emitted: Emitted
) -> None:
    environment.setenv("REQUESTS_PER_MINUTE", "6")
    environment.setenv("DAILY_IMAGE_LIMIT", "1")
    harness.upload("bought.jpg", photo, prompt=PROMPT)
    assert emitted.values("Postponed", Reason="daily_limit") == []
    harness.upload("over the limit.jpg", photo, prompt=PROMPT)
    assert emitted.values("Postponed", Reason="daily_limit") == [1]

    environment.setenv("DAILY_IMAGE_LIMIT", "0")
    harness.restart()
    harness.upload("no slot.jpg", photo, prompt=PROMPT)
    assert emitted.values("Postponed", Reason="slot") == [1]

    harness.advance(20)
    harness.gateway.settings(wallet_usd=0)
    harness.upload("empty wallet.jpg", photo, prompt=PROMPT)
    harness.upload("pause.jpg", photo, prompt=PROMPT)
    assert emitted.values("Postponed", Reason="pause") == [1, 1]
    assert emitted.values("GatewayErrors", Error="AccountFault 402") == [1]


def test_a_dead_letter_tells_its_code(harness: Harness, photo: bytes, emitted: Emitted) -> None:
    job = harness.upload("a.jpg", photo)
    harness.notify(job)  # a duplicate sends no second dead letter

    assert emitted.names() == {"DeadLettered"}
    assert emitted.values("DeadLettered", Code="missing_prompt") == [1]
    assert emitted.about() == {job.id}


def test_a_malformed_message_is_a_dead_letter_about_no_upload(harness: Harness, emitted: Emitted) -> None:
    harness.send("nonsense")
    harness.drain()

    assert emitted.values("DeadLettered", Code="malformed_message") == [1]
    assert emitted.about() == {None}


def test_fewer_images_than_asked_for_are_bought_in_full(harness: Harness, photo: bytes, emitted: Emitted) -> None:
    harness.gateway.faults([{"kind": "fewer"}])
    harness.upload("a.jpg", photo, prompt=PROMPT, n="3")

    assert emitted.values("ImagesBought") == [3]
    assert emitted.values("SpendUsd") == [0.09]
    assert emitted.values("ImagesStored") == [1, 1]
    assert emitted.values("DeadLettered", Code="no_image_returned") == [1]


def test_an_answer_without_an_image_is_bought(harness: Harness, photo: bytes, emitted: Emitted) -> None:
    harness.gateway.faults([{"kind": "empty"}])
    harness.upload("a.jpg", photo, prompt=PROMPT)

    assert emitted.names() == {"GatewayErrors", "ImagesBought", "SpendUsd", "DeadLettered"}
    assert emitted.values("GatewayErrors", Error="NoImage") == [1]
    assert emitted.values("ImagesBought") == [1]
    assert emitted.values("SpendUsd") == [0.03]


def test_a_purchase_that_the_ledger_could_not_take_is_told_once(
    harness: Harness, photo: bytes, emitted: Emitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = LedgerFault(harness, "PAID", 1, monkeypatch)
    harness.upload("a.jpg", photo, prompt=PROMPT)
    assert fault.left == 0
    assert emitted.values("ImagesBought") == [1]
    harness.drain()

    assert emitted.values("ImagesBought") == [1]
    assert emitted.values("SpendUsd") == [0.03]


def test_inline_images_that_are_asked_for_again_are_bought_once(
    harness: Harness, photo: bytes, emitted: Emitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.gateway.settings(answer="b64_json")
    upload_killed_while_storing(harness, photo, monkeypatch, PROMPT)
    harness.drain()

    assert len(harness.gateway.calls()) == 2
    assert emitted.values("ImagesBought") == [1]
    assert emitted.values("ImagesStored") == [1]


def test_the_age_of_a_paid_image_that_is_not_stored_grows(harness: Harness, photo: bytes, emitted: Emitted) -> None:
    harness.gateway.faults([{"where": "media", "kind": "status", "status": 503, "times": 4}])
    harness.upload("a.jpg", photo, prompt=PROMPT)
    harness.drain()

    ages = emitted.values("PaidNotStoredSeconds")
    assert len(ages) == 4
    assert ages[0] < 5
    assert all(older > younger + 4 for younger, older in pairwise(ages))
    assert all(waited >= age for waited, age in zip(emitted.values("WaitingSeconds"), ages, strict=True))
    assert emitted.values("ImagesStored") == [1]


def test_the_reconciler_tells_the_longest_wait_and_the_oldest_paid_image(
    harness: Harness, photo: bytes, emitted: Emitted
) -> None:
    harness.reconcile()
    assert emitted.values("WaitingSeconds") == [0]
    assert emitted.values("PaidNotStoredSeconds") == [0]

    harness.put("lost.jpg", photo, prompt=PROMPT)
    harness.advance(1000)
    harness.gateway.faults([{"where": "media", "kind": "status", "status": 503}])
    harness.upload("paid.jpg", photo, prompt=PROMPT)
    harness.advance(500)
    harness.upload("young.jpg", photo, prompt=PROMPT)
    harness.reconcile()
    assert emitted.values("WaitingSeconds")[-1] == pytest.approx(1500, abs=5)
    assert emitted.values("PaidNotStoredSeconds")[-1] == pytest.approx(500, abs=5)

    harness.drain()
    harness.advance(200)
    harness.reconcile()
    assert emitted.values("WaitingSeconds")[-1] == 0
    assert emitted.values("PaidNotStoredSeconds")[-1] == 0


@pytest.mark.parametrize("way", ["trigger", "retry"])
def test_an_error_that_has_no_meaning_here_is_told(
    harness: Harness, photo: bytes, emitted: Emitted, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    def forbidden(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "UpdateItem")

    job = harness.put("a.jpg", photo, prompt=PROMPT)
    monkeypatch.setattr(client_of(harness, "dynamodb"), "update_item", forbidden)
    if way == "trigger":
        harness.invoke(harness.trigger_function, s3_event(job))
    else:
        harness.send({"job": job.as_dict()})
        harness.retry_once()

    assert emitted.values("UnexpectedErrors") == [1]
    assert emitted.about() == {job.id}
