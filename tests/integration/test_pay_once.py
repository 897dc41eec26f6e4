"""Never paid twice, whatever is delivered twice, dies or answers late."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backdrop import bootstrap
from backdrop.clock import Clock
from tests.aws_events import s3_event
from tests.integration.harness import Harness
from tests.integration.simulated_lambda import Killed
from tests.integration.stack import INPUT

AT_REST: list[Any] = []


def test_row_1_the_same_event_twice_is_paid_once(harness: Harness, photo: bytes) -> None:
    job = harness.upload("a.jpg", photo, prompt="wood")

    harness.notify(job)

    assert harness.charged() == 1
    assert len(harness.gateway.calls()) == 1
    assert harness.waiting() == AT_REST


@pytest.mark.parametrize("workers", [2, 10])
def test_row_2_the_same_event_at_once_is_paid_once(harness: Harness, photo: bytes, workers: int) -> None:
    harness.gateway.settings(latency_seconds=0.3)
    job = harness.put("a.jpg", photo, prompt="wood")
    harness.services  # noqa: B018 - workers of one process share it; ten of them would build ten
    ready = threading.Barrier(workers)

    def deliver() -> None:
        ready.wait()
        harness.notify(job)

    with ThreadPoolExecutor(workers) as pool:
        for future in [pool.submit(deliver) for _ in range(workers)]:
            future.result()
    harness.drain()

    assert harness.charged() == 1
    assert len(harness.gateway.calls()) == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_row_2_the_same_event_during_the_call_makes_no_call_of_its_own(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = harness.put("a.jpg", photo, prompt="wood")
    gateway = harness.services.gateway
    real = gateway.send

    def send(*arguments: Any) -> Any:
        monkeypatch.setattr(gateway, "send", real)
        harness.notify(job)
        return real(*arguments)

    monkeypatch.setattr(gateway, "send", send)
    harness.notify(job)
    harness.drain()

    assert len(harness.gateway.calls()) == 1
    assert harness.charged() == 1


def test_row_3_put_and_complete_multipart_of_one_object_are_one_job(harness: Harness, photo: bytes) -> None:
    job = harness.put("a.jpg", photo, prompt="wood")
    event = s3_event(job, job)
    event["Records"][1]["eventName"] = "ObjectCreated:CompleteMultipartUpload"

    harness.invoke(harness.trigger_function, event)

    assert harness.charged() == 1


def test_row_52_a_retry_message_delivered_twice_is_paid_once(harness: Harness, photo: bytes) -> None:
    job = harness.put("a.jpg", photo, prompt="wood")
    harness.services.queues.retry(job, 0)
    harness.services.queues.retry(job, 0)

    harness.drain()

    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


LOST_ANSWERS: list[dict[str, Any]] = [
    {"kind": "drop_after_charge"},
    {"kind": "truncate"},
    {"kind": "hang_after_charge", "seconds": 3},
    {"kind": "drip", "interval": 0.2},
]


@pytest.mark.parametrize("fault", LOST_ANSWERS, ids=lambda fault: fault["kind"])
def test_rows_26_27_31_a_lost_answer_is_asked_for_again_with_the_same_key_and_body(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, fault: dict[str, Any]
) -> None:
    environment.setenv("GATEWAY_TIMEOUT_SECONDS", "1")
    harness.gateway.faults([fault])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    first, second = harness.gateway.calls()
    assert first["idempotency_key"] == second["idempotency_key"]
    assert first["body_sha256"] == second["body_sha256"]
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


@pytest.mark.parametrize("route", ["edits", "edits-multipart"])
def test_a_replay_is_the_same_byte_for_byte_on_every_route(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, route: str
) -> None:
    environment.setenv("GATEWAY_ROUTE", route)
    harness.gateway.faults([{"kind": "drop_after_charge"}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert len({call["body_sha256"] for call in harness.gateway.calls()}) == 1
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


@pytest.mark.parametrize("fault", LOST_ANSWERS[:2], ids=lambda fault: fault["kind"])
def test_row_26_under_park_an_unknown_outcome_is_left_to_people(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, fault: dict[str, Any]
) -> None:
    environment.setenv("ON_UNKNOWN_OUTCOME", "park")
    harness.gateway.settings(honours_idempotency_keys=False)
    harness.gateway.faults([fault])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["billed"]) == ("outcome_unknown", "unknown")
    assert dead_letter["reason"]["attempts"] == 1
    assert harness.charged() == 1


def test_an_outcome_that_stays_unknown_is_dead_lettered_after_one_replay(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "drop", "times": 0}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["attempts"]) == ("outcome_unknown", 2)
    assert len(harness.gateway.calls()) == 2


@pytest.mark.parametrize("policy", ["retry", "park"])
def test_row_59_a_moved_back_unknown_outcome_is_replayed_with_its_key(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, policy: str
) -> None:
    environment.setenv("ON_UNKNOWN_OUTCOME", policy)
    harness.gateway.faults([{"kind": "drop_after_charge", "times": 2 if policy == "retry" else 1}])
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()
    assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == ["outcome_unknown"]

    harness.redrive()
    harness.drain()

    assert len({call["idempotency_key"] for call in harness.gateway.calls()}) == 1
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.dead_letters() == []


def test_row_29_a_call_still_running_is_waited_for(harness: Harness, photo: bytes) -> None:
    """The replay's 409 says that the first call is still running."""
    harness.gateway.faults(
        [
            {"kind": "drop_after_charge"},
            {"kind": "status", "status": 409, "code": "idempotency_in_progress", "times": 3},
        ]
    )

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert len({call["idempotency_key"] for call in harness.gateway.calls()}) == 1
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_row_29_a_conflict_that_stays_is_an_unknown_outcome(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": 409, "times": 0}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == ["outcome_unknown"]
    assert harness.charged() == 1


def test_row_30_a_refused_replay_is_dead_lettered_and_moved_back_keeps_its_key(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": 422, "code": "key_reused"}])
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()
    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["billed"]) == ("rejected_by_gateway", "unknown")

    harness.redrive()
    harness.drain()

    assert len({call["idempotency_key"] for call in harness.gateway.calls()}) == 1
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


@pytest.mark.parametrize("status", [429, 503, 402])
def test_a_busy_answer_to_a_replay_says_nothing_about_the_first_call(
    harness: Harness, photo: bytes, status: int
) -> None:
    harness.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": status}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert len({call["idempotency_key"] for call in harness.gateway.calls()}) == 1
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_a_refused_replay_with_a_dead_link_proves_that_nothing_was_charged(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "drop"}, {"kind": "status", "status": 400}])
    harness.upload("a.jpg", photo, prompt="wood")

    harness.advance(3700)
    harness.drain()

    keys = [call["idempotency_key"] for call in harness.gateway.calls()]
    assert keys[0] == keys[1] != keys[2]
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_a_refused_replay_of_a_file_upload_proves_nothing_however_late(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    """A file upload has no link that could be dead."""
    environment.setenv("GATEWAY_ROUTE", "edits-multipart")
    harness.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": 400}])
    harness.upload("a.jpg", photo, prompt="wood")

    harness.advance(3700)
    harness.drain()

    assert [dead_letter["reason"]["billed"] for dead_letter in harness.dead_letters()] == ["unknown"]
    assert harness.charged() == 1


def test_row_98_a_file_upload_is_not_repeated_with_the_photo_that_has_replaced_its_own(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    """Without versions, the key is all that names the photo."""
    environment.setenv("GATEWAY_ROUTE", "edits-multipart")
    harness.s3.put_bucket_versioning(Bucket=INPUT, VersioningConfiguration={"Status": "Suspended"})
    harness.gateway.faults([{"kind": "drop_after_charge"}])
    harness.upload("a.jpg", photo, prompt="wood")
    harness.advance(2)

    harness.upload("a.jpg", photo + b"another", prompt="wood")
    harness.drain()

    first, second = harness.gateway.calls()
    assert first["idempotency_key"] != second["idempotency_key"]
    assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == ["outcome_unknown"]
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_row_25_a_connection_never_made_is_no_attempt(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    environment.setenv("GATEWAY_BASE_URL", "http://127.0.0.1:9/v1")  # the discard port: nobody listens
    job = harness.upload("a.jpg", photo, prompt="wood")
    record = harness.record(job)
    assert record is not None
    assert (record.state, record.calls_sent) == ("CLAIMED", 0)

    environment.setenv("GATEWAY_BASE_URL", harness.gateway.base_url)
    harness.restart()
    harness.drain()

    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


class LedgerFault:
    """Lets DynamoDB writes of one state fail, `times` times."""

    def __init__(self, harness: Harness, state: str, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
        client = harness.services.ledger._client
        self.left = times
        for name in ("put_item", "update_item"):
            monkeypatch.setattr(client, name, self._failing(getattr(client, name), {"S": state}))

    def _failing(self, real: Any, state: dict[str, str]) -> Any:
        def write(**arguments: Any) -> Any:
            values = arguments.get("Item") or {"state": arguments["ExpressionAttributeValues"].get(":state")}
            if values.get("state") == state and self.left:
                self.left -= 1
                raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "PutItem")
            return real(**arguments)

        return write


def test_row_38_a_purchase_that_the_ledger_could_not_take_travels_in_a_message(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.gateway.settings(honours_idempotency_keys=False)
    fault = LedgerFault(harness, "PAID", 1, monkeypatch)

    harness.upload("a.jpg", photo, prompt="wood")
    assert fault.left == 0
    harness.drain()

    assert len(harness.gateway.calls()) == 1
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_row_39_with_the_ledger_down_nothing_is_called(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = LedgerFault(harness, "CALLING", 1, monkeypatch)

    harness.upload("a.jpg", photo, prompt="wood")
    assert fault.left == 0
    assert harness.gateway.calls() == []
    harness.drain()

    assert harness.charged() == 1


def test_row_40_a_worker_that_wakes_after_its_lease_can_not_start_a_call(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first worker sleeps before its CALLING write while a second one does the work."""
    job = harness.put("a.jpg", photo, prompt="wood")
    storage = harness.services.storage
    real = storage.link

    def slow_link(*arguments: Any) -> str:
        monkeypatch.setattr(storage, "link", real)
        harness.advance(200)
        harness.notify(job)
        return real(*arguments)

    monkeypatch.setattr(storage, "link", slow_link)
    harness.notify(job)
    harness.drain()

    assert len(harness.gateway.calls()) == 1
    assert harness.charged() == 1


def test_row_40_a_late_answer_is_still_the_truth(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose lease ran out during its call writes PAID; whoever took over stores that and buys nothing."""
    harness.gateway.settings(honours_idempotency_keys=False)
    job = harness.put("a.jpg", photo, prompt="wood")
    gateway = harness.services.gateway
    real = gateway.send

    def slow_send(*arguments: Any) -> Any:
        monkeypatch.setattr(gateway, "send", real)
        answer = real(*arguments)
        harness.advance(200)
        taken_over = harness.services.ledger.claim(job, "somebody else", 150)
        assert taken_over.state == "CALLING"
        return answer

    monkeypatch.setattr(gateway, "send", slow_send)
    harness.notify(job)
    harness.drain()

    assert len(harness.gateway.calls()) == 1
    assert list(harness.outputs()) == ["a.jpg.png"]


@pytest.mark.parametrize("skew", [300.0, -300.0])
def test_row_41_a_worker_with_a_wrong_clock_does_not_take_over_a_running_call(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch, skew: float
) -> None:
    """Two workers, one clock minutes off; DynamoDB's Date header tells both the same time."""
    monkeypatch.setattr(bootstrap, "Clock", Clock)
    job = harness.put("a.jpg", photo, prompt="wood")
    harness.restart()
    off = {"now": 0.0}
    skewed = SimpleNamespace(time=lambda: time.time() + off["now"], sleep=time.sleep)
    monkeypatch.setattr("backdrop.clock.time", skewed)
    gateway = harness.services.gateway
    real = gateway.send

    def send(*arguments: Any) -> Any:
        monkeypatch.setattr(gateway, "send", real)
        harness.restart()
        off["now"] = skew
        harness.notify(job)  # a second worker, in a process of its own
        off["now"] = 0.0
        return real(*arguments)

    monkeypatch.setattr(gateway, "send", send)
    harness.notify(job)

    assert len(harness.gateway.calls()) == 1


def test_row_34_killed_after_the_charge_the_same_call_brings_the_answer(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = harness.services.gateway
    real = gateway.send

    def killed(*arguments: Any) -> Any:
        monkeypatch.setattr(gateway, "send", real)
        real(*arguments)
        raise Killed

    monkeypatch.setattr(gateway, "send", killed)
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert harness.charged() == 1
    assert len(harness.gateway.calls()) == 2
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_a_duplicate_that_meets_a_running_worker_costs_nothing_and_comes_to_rest(
    harness: Harness, photo: bytes
) -> None:
    job = harness.put("a.jpg", photo, prompt="wood")
    harness.services.ledger.claim(job, "a running worker", 150)

    harness.notify(job)
    assert harness.gateway.calls() == []
    harness.drain()

    assert harness.charged() == 1
    assert harness.waiting() == AT_REST
