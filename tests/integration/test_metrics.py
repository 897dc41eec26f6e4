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

from tests.integration.harness import Harness, Killed, s3_event
from tests.integration.test_pay_once import LedgerFault
from tests.integration.test_reconcile import run as reconcile

PROMPT = "an unmistakable backdrop"


@dataclass(frozen=True)
class Metric:
    """One value of one metric."""

    name: str
    value: float
    dimensions: dict[str, str]
    correlation_id: str | None


class Told:
    """The metrics that the handlers have told since the test began."""

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
def told(world: Harness, capsys: pytest.CaptureFixture[str]) -> Iterator[Told]:
    told = Told(capsys)
    yield told
    assert told.metrics()
    for secret in (PROMPT, world.gateway.key, "/media/", "http", "X-Amz-"):
        assert not [line for line in told.lines if secret in line]


def test_an_ordinary_upload_tells_what_was_bought_and_stored_once_each(
    world: Harness, photo: bytes, told: Told
) -> None:
    world.gateway.settings(latency_seconds=0.2)
    job = world.upload("a.jpg", photo, prompt=PROMPT)
    world.notify(job)

    assert told.names() == {"ImagesBought", "SpendUsd", "ImagesStored", "GatewaySeconds"}
    assert told.values("ImagesBought") == [1]
    assert told.values("SpendUsd") == [0.03]
    assert told.values("ImagesStored") == [1]
    [seconds] = told.values("GatewaySeconds")
    assert 0.2 < seconds < 10
    assert told.about() == {job.id}


def test_a_replay_after_an_unknown_outcome_tells_one_purchase(world: Harness, photo: bytes, told: Told) -> None:
    world.gateway.faults([{"kind": "drop_after_charge"}])
    job = world.upload("a.jpg", photo, prompt=PROMPT)
    world.drain()

    assert told.values("UnknownOutcomes") == [1]
    assert told.values("GatewayErrors", Error="OutcomeUnknown") == [1]
    assert told.values("ImagesBought") == [1]
    assert told.values("SpendUsd") == [0.03]
    assert len(told.values("GatewaySeconds")) == 1
    assert told.about() == {job.id}


def test_a_call_whose_worker_was_killed_is_an_unknown_outcome_once_it_is_found(
    world: Harness, photo: bytes, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = world.app.gateway
    real = gateway.send

    def send_and_die(*arguments: Any) -> None:
        real(*arguments)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(gateway, "send", send_and_die)
        job = world.upload("a.jpg", photo, prompt=PROMPT)
    assert told.names() == set()

    world.advance(200)  # the dead worker's lease
    world.app.rate_limiter.back_off(120)
    world.drain()

    assert told.values("Postponed", Reason="slot") == [1]
    assert told.values("UnknownOutcomes") == [1]
    assert told.values("ImagesBought") == [1]
    assert told.about() == {job.id}


@pytest.mark.parametrize(
    ("status", "reason", "error"),
    [(429, "retry", "GatewayBusy 429"), (500, "retry", "CallFailed 500"), (402, "pause", "AccountFault 402")],
)
def test_a_call_that_has_to_be_made_again_tells_why(
    world: Harness, photo: bytes, told: Told, status: int, reason: str, error: str
) -> None:
    world.gateway.faults([{"kind": "status", "status": status}])
    job = world.upload("a.jpg", photo, prompt=PROMPT)

    assert told.names() == {"GatewayErrors", "Postponed", "WaitingSeconds", "PaidNotStoredSeconds"}
    assert told.values("GatewayErrors", Error=error) == [1]
    assert told.values("Postponed", Reason=reason) == [1]
    assert told.values("PaidNotStoredSeconds") == [0]
    assert told.about() == {job.id}


def test_uploads_that_wait_without_a_call_tell_what_for(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes, told: Told
) -> None:
    environment.setenv("REQUESTS_PER_MINUTE", "6")
    environment.setenv("DAILY_IMAGE_LIMIT", "1")
    world.upload("bought.jpg", photo, prompt=PROMPT)
    assert told.values("Postponed", Reason="daily_limit") == []
    world.upload("over the limit.jpg", photo, prompt=PROMPT)
    assert told.values("Postponed", Reason="daily_limit") == [1]

    environment.setenv("DAILY_IMAGE_LIMIT", "0")
    world.restart()
    world.upload("no slot.jpg", photo, prompt=PROMPT)
    assert told.values("Postponed", Reason="slot") == [1]

    world.advance(20)
    world.gateway.settings(wallet_usd=0)
    world.upload("empty wallet.jpg", photo, prompt=PROMPT)
    world.upload("pause.jpg", photo, prompt=PROMPT)
    assert told.values("Postponed", Reason="pause") == [1, 1]
    assert told.values("GatewayErrors", Error="AccountFault 402") == [1]


def test_a_dead_letter_tells_its_code(world: Harness, photo: bytes, told: Told) -> None:
    job = world.upload("a.jpg", photo)
    world.notify(job)  # a duplicate sends no second letter

    assert told.names() == {"DeadLettered"}
    assert told.values("DeadLettered", Code="missing_prompt") == [1]
    assert told.about() == {job.id}


def test_a_malformed_message_is_a_dead_letter_about_no_upload(world: Harness, told: Told) -> None:
    world.send("nonsense")
    world.drain()

    assert told.values("DeadLettered", Code="malformed_message") == [1]
    assert told.about() == {None}


def test_fewer_images_than_asked_for_are_bought_in_full(world: Harness, photo: bytes, told: Told) -> None:
    world.gateway.faults([{"kind": "fewer"}])
    world.upload("a.jpg", photo, prompt=PROMPT, n="3")

    assert told.values("ImagesBought") == [3]
    assert told.values("SpendUsd") == [0.09]
    assert told.values("ImagesStored") == [1, 1]
    assert told.values("DeadLettered", Code="no_image_returned") == [1]


def test_an_answer_without_an_image_is_bought(world: Harness, photo: bytes, told: Told) -> None:
    world.gateway.faults([{"kind": "empty"}])
    world.upload("a.jpg", photo, prompt=PROMPT)

    assert told.names() == {"GatewayErrors", "ImagesBought", "SpendUsd", "DeadLettered"}
    assert told.values("GatewayErrors", Error="NoImage") == [1]
    assert told.values("ImagesBought") == [1]
    assert told.values("SpendUsd") == [0.03]


def test_a_purchase_that_the_ledger_could_not_take_is_told_once(
    world: Harness, photo: bytes, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = LedgerFault(world, "PAID", 1, monkeypatch)
    world.upload("a.jpg", photo, prompt=PROMPT)
    assert fault.left == 0
    assert told.values("ImagesBought") == [1]
    world.drain()

    assert told.values("ImagesBought") == [1]
    assert told.values("SpendUsd") == [0.03]


def test_inline_images_that_are_asked_for_again_are_bought_once(
    world: Harness, photo: bytes, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise Killed

    world.gateway.settings(answer="b64_json")
    with monkeypatch.context() as patched:
        patched.setattr(world.app.result_storage, "store", killed)
        world.upload("a.jpg", photo, prompt=PROMPT)
    world.drain()

    assert len(world.gateway.calls()) == 2
    assert told.values("ImagesBought") == [1]
    assert told.values("ImagesStored") == [1]


def test_the_age_of_a_paid_image_that_is_not_stored_grows(world: Harness, photo: bytes, told: Told) -> None:
    world.gateway.faults([{"where": "media", "kind": "status", "status": 503, "times": 4}])
    world.upload("a.jpg", photo, prompt=PROMPT)
    world.drain()

    ages = told.values("PaidNotStoredSeconds")
    assert len(ages) == 4
    assert ages[0] < 5
    assert all(older > younger + 4 for younger, older in pairwise(ages))
    assert all(waited >= age for waited, age in zip(told.values("WaitingSeconds"), ages, strict=True))
    assert told.values("ImagesStored") == [1]


def test_the_reconciler_tells_the_longest_wait_and_the_oldest_paid_image(
    world: Harness, photo: bytes, told: Told
) -> None:
    reconcile(world)
    assert told.values("WaitingSeconds") == [0]
    assert told.values("PaidNotStoredSeconds") == [0]

    world.put("lost.jpg", photo, prompt=PROMPT)
    world.advance(1000)
    world.gateway.faults([{"where": "media", "kind": "status", "status": 503}])
    world.upload("paid.jpg", photo, prompt=PROMPT)
    world.advance(500)
    world.upload("young.jpg", photo, prompt=PROMPT)
    reconcile(world)
    assert told.values("WaitingSeconds")[-1] == pytest.approx(1500, abs=5)
    assert told.values("PaidNotStoredSeconds")[-1] == pytest.approx(500, abs=5)

    world.drain()
    world.advance(200)
    reconcile(world)
    assert told.values("WaitingSeconds")[-1] == 0
    assert told.values("PaidNotStoredSeconds")[-1] == 0


@pytest.mark.parametrize("way", ["trigger", "retry"])
def test_an_error_that_has_no_meaning_here_is_told(
    world: Harness, photo: bytes, told: Told, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    def forbidden(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "UpdateItem")

    job = world.put("a.jpg", photo, prompt=PROMPT)
    monkeypatch.setattr(world.app.ledger._client, "update_item", forbidden)
    if way == "trigger":
        world.invoke(world.trigger_function, s3_event(job))
    else:
        world.send({"job": job.as_dict()})
        world.retry_once()

    assert told.names() == {"UnexpectedErrors"}
    assert told.values("UnexpectedErrors") == [1]
    assert told.about() == {job.id}
