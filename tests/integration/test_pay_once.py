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
from tests.integration.harness import INPUT, Harness, Killed, s3_event

AT_REST: list[Any] = []


def test_row_1_the_same_event_twice_is_paid_once(world: Harness, photo: bytes) -> None:
    job = world.upload("a.jpg", photo, prompt="wood")

    world.notify(job)

    assert world.charged() == 1
    assert len(world.gateway.calls()) == 1
    assert world.waiting() == AT_REST


@pytest.mark.parametrize("workers", [2, 10])
def test_row_2_the_same_event_at_once_is_paid_once(world: Harness, photo: bytes, workers: int) -> None:
    world.gateway.settings(latency_seconds=0.3)
    job = world.put("a.jpg", photo, prompt="wood")
    world.app  # noqa: B018 - workers of one process share it; ten of them would build ten
    ready = threading.Barrier(workers)

    def deliver() -> None:
        ready.wait()
        world.notify(job)

    with ThreadPoolExecutor(workers) as pool:
        for future in [pool.submit(deliver) for _ in range(workers)]:
            future.result()
    world.drain()

    assert world.charged() == 1
    assert len(world.gateway.calls()) == 1
    assert list(world.outputs()) == ["a.jpg.png"]


def test_row_2_the_same_event_during_the_call_makes_no_call_of_its_own(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.put("a.jpg", photo, prompt="wood")
    gateway = world.app.gateway
    real = gateway.send

    def send(*arguments: Any) -> Any:
        monkeypatch.setattr(gateway, "send", real)
        world.notify(job)
        return real(*arguments)

    monkeypatch.setattr(gateway, "send", send)
    world.notify(job)
    world.drain()

    assert len(world.gateway.calls()) == 1
    assert world.charged() == 1


def test_row_3_put_and_complete_multipart_of_one_object_are_one_job(world: Harness, photo: bytes) -> None:
    job = world.put("a.jpg", photo, prompt="wood")
    event = s3_event(job, job)
    event["Records"][1]["eventName"] = "ObjectCreated:CompleteMultipartUpload"

    world.invoke(world.trigger_function, event)

    assert world.charged() == 1


def test_row_52_a_retry_message_delivered_twice_is_paid_once(world: Harness, photo: bytes) -> None:
    job = world.put("a.jpg", photo, prompt="wood")
    world.app.queues.retry(job, 0)
    world.app.queues.retry(job, 0)

    world.drain()

    assert world.charged() == 1
    assert list(world.outputs()) == ["a.jpg.png"]


LOST_ANSWERS: list[dict[str, Any]] = [
    {"kind": "drop_after_charge"},
    {"kind": "truncate"},
    {"kind": "hang_after_charge", "seconds": 3},
    {"kind": "drip", "interval": 0.2},
]


@pytest.mark.parametrize("fault", LOST_ANSWERS, ids=lambda fault: fault["kind"])
def test_rows_26_27_31_a_lost_answer_is_asked_for_again_with_the_same_key_and_body(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes, fault: dict[str, Any]
) -> None:
    environment.setenv("GATEWAY_TIMEOUT_SECONDS", "1")
    world.gateway.faults([fault])

    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    first, second = world.gateway.calls()
    assert first["idempotency_key"] == second["idempotency_key"]
    assert first["body_sha256"] == second["body_sha256"]
    assert world.charged() == 1
    assert list(world.outputs()) == ["a.jpg.png"]


@pytest.mark.parametrize("route", ["edits", "edits-multipart"])
def test_a_replay_is_the_same_byte_for_byte_on_every_route(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes, route: str
) -> None:
    environment.setenv("GATEWAY_ROUTE", route)
    world.gateway.faults([{"kind": "drop_after_charge"}])

    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    assert len({call["body_sha256"] for call in world.gateway.calls()}) == 1
    assert world.charged() == 1
    assert list(world.outputs()) == ["a.jpg.png"]


@pytest.mark.parametrize("fault", LOST_ANSWERS[:2], ids=lambda fault: fault["kind"])
def test_row_26_under_park_an_unknown_outcome_is_left_to_people(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes, fault: dict[str, Any]
) -> None:
    environment.setenv("ON_UNKNOWN_OUTCOME", "park")
    world.gateway.settings(honours_idempotency_keys=False)
    world.gateway.faults([fault])

    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    [letter] = world.dead_letters()
    assert (letter["reason"]["code"], letter["reason"]["billed"]) == ("outcome_unknown", "unknown")
    assert letter["reason"]["attempts"] == 1
    assert world.charged() == 1


def test_an_outcome_that_stays_unknown_is_dead_lettered_after_one_replay(world: Harness, photo: bytes) -> None:
    world.gateway.faults([{"kind": "drop", "times": 0}])

    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    [letter] = world.dead_letters()
    assert (letter["reason"]["code"], letter["reason"]["attempts"]) == ("outcome_unknown", 2)
    assert len(world.gateway.calls()) == 2


@pytest.mark.parametrize("policy", ["retry", "park"])
def test_row_59_a_moved_back_unknown_outcome_is_replayed_with_its_key(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes, policy: str
) -> None:
    environment.setenv("ON_UNKNOWN_OUTCOME", policy)
    world.gateway.faults([{"kind": "drop_after_charge", "times": 2 if policy == "retry" else 1}])
    world.upload("a.jpg", photo, prompt="wood")
    world.drain()
    assert [letter["reason"]["code"] for letter in world.dead_letters()] == ["outcome_unknown"]

    world.redrive()
    world.drain()

    assert len({call["idempotency_key"] for call in world.gateway.calls()}) == 1
    assert world.charged() == 1
    assert list(world.outputs()) == ["a.jpg.png"]
    assert world.dead_letters() == []


def test_row_29_a_call_still_running_is_waited_for(world: Harness, photo: bytes) -> None:
    """The replay's 409 says that the first call is still running."""
    world.gateway.faults(
        [
            {"kind": "drop_after_charge"},
            {"kind": "status", "status": 409, "code": "idempotency_in_progress", "times": 3},
        ]
    )

    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    assert len({call["idempotency_key"] for call in world.gateway.calls()}) == 1
    assert world.charged() == 1
    assert list(world.outputs()) == ["a.jpg.png"]


def test_row_29_a_conflict_that_stays_is_an_unknown_outcome(world: Harness, photo: bytes) -> None:
    world.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": 409, "times": 0}])

    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    assert [letter["reason"]["code"] for letter in world.dead_letters()] == ["outcome_unknown"]
    assert world.charged() == 1


def test_row_30_a_refused_replay_is_dead_lettered_and_moved_back_keeps_its_key(world: Harness, photo: bytes) -> None:
    world.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": 422, "code": "key_reused"}])
    world.upload("a.jpg", photo, prompt="wood")
    world.drain()
    [letter] = world.dead_letters()
    assert (letter["reason"]["code"], letter["reason"]["billed"]) == ("rejected_by_gateway", "unknown")

    world.redrive()
    world.drain()

    assert len({call["idempotency_key"] for call in world.gateway.calls()}) == 1
    assert world.charged() == 1
    assert list(world.outputs()) == ["a.jpg.png"]


@pytest.mark.parametrize("status", [429, 503, 402])
def test_a_busy_answer_to_a_replay_says_nothing_about_the_first_call(world: Harness, photo: bytes, status: int) -> None:
    world.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": status}])

    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    assert len({call["idempotency_key"] for call in world.gateway.calls()}) == 1
    assert world.charged() == 1
    assert list(world.outputs()) == ["a.jpg.png"]


def test_a_refused_replay_with_a_dead_link_proves_that_nothing_was_charged(world: Harness, photo: bytes) -> None:
    world.gateway.faults([{"kind": "drop"}, {"kind": "status", "status": 400}])
    world.upload("a.jpg", photo, prompt="wood")

    world.advance(3700)
    world.drain()

    keys = [call["idempotency_key"] for call in world.gateway.calls()]
    assert keys[0] == keys[1] != keys[2]
    assert world.charged() == 1
    assert list(world.outputs()) == ["a.jpg.png"]


def test_a_refused_replay_of_a_file_upload_proves_nothing_however_late(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes
) -> None:
    """A file upload has no link that could be dead."""
    environment.setenv("GATEWAY_ROUTE", "edits-multipart")
    world.gateway.faults([{"kind": "drop_after_charge"}, {"kind": "status", "status": 400}])
    world.upload("a.jpg", photo, prompt="wood")

    world.advance(3700)
    world.drain()

    assert [letter["reason"]["billed"] for letter in world.dead_letters()] == ["unknown"]
    assert world.charged() == 1


def test_row_98_a_file_upload_is_not_repeated_with_the_photo_that_has_replaced_its_own(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes
) -> None:
    """Without versions, the key is all that names the photo."""
    environment.setenv("GATEWAY_ROUTE", "edits-multipart")
    world.s3.put_bucket_versioning(Bucket=INPUT, VersioningConfiguration={"Status": "Suspended"})
    world.gateway.faults([{"kind": "drop_after_charge"}])
    world.upload("a.jpg", photo, prompt="wood")
    world.advance(2)

    world.upload("a.jpg", photo + b"another", prompt="wood")
    world.drain()

    first, second = world.gateway.calls()
    assert first["idempotency_key"] != second["idempotency_key"]
    assert [letter["reason"]["code"] for letter in world.dead_letters()] == ["outcome_unknown"]
    assert list(world.outputs()) == ["a.jpg.png"]


def test_row_25_a_connection_never_made_is_no_attempt(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes
) -> None:
    environment.setenv("GATEWAY_BASE_URL", "http://127.0.0.1:9/v1")  # the discard port: nobody listens
    job = world.upload("a.jpg", photo, prompt="wood")
    record = world.record(job)
    assert record is not None
    assert (record.state, record.calls_sent) == ("CLAIMED", 0)

    environment.setenv("GATEWAY_BASE_URL", world.gateway.base_url)
    world.restart()
    world.drain()

    assert world.charged() == 1
    assert list(world.outputs()) == ["a.jpg.png"]


class LedgerFault:
    """Lets DynamoDB writes of one state fail, `times` times."""

    def __init__(self, world: Harness, state: str, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
        client = world.app.ledger._client
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
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.gateway.settings(honours_idempotency_keys=False)
    fault = LedgerFault(world, "PAID", 1, monkeypatch)

    world.upload("a.jpg", photo, prompt="wood")
    assert fault.left == 0
    world.drain()

    assert len(world.gateway.calls()) == 1
    assert world.charged() == 1
    assert list(world.outputs()) == ["a.jpg.png"]


def test_row_39_with_the_ledger_down_nothing_is_called(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = LedgerFault(world, "CALLING", 1, monkeypatch)

    world.upload("a.jpg", photo, prompt="wood")
    assert fault.left == 0
    assert world.gateway.calls() == []
    world.drain()

    assert world.charged() == 1


def test_row_40_a_worker_that_wakes_after_its_lease_can_not_start_a_call(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first worker sleeps before its CALLING write while a second one does the work."""
    job = world.put("a.jpg", photo, prompt="wood")
    storage = world.app.storage
    real = storage.link

    def slow_link(*arguments: Any) -> str:
        monkeypatch.setattr(storage, "link", real)
        world.advance(200)
        world.notify(job)
        return real(*arguments)

    monkeypatch.setattr(storage, "link", slow_link)
    world.notify(job)
    world.drain()

    assert len(world.gateway.calls()) == 1
    assert world.charged() == 1


def test_row_40_a_late_answer_is_still_the_truth(world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose lease ran out during its call writes PAID; whoever took over stores that and buys nothing."""
    world.gateway.settings(honours_idempotency_keys=False)
    job = world.put("a.jpg", photo, prompt="wood")
    gateway = world.app.gateway
    real = gateway.send

    def slow_send(*arguments: Any) -> Any:
        monkeypatch.setattr(gateway, "send", real)
        answer = real(*arguments)
        world.advance(200)
        taken_over = world.app.ledger.claim(job, "somebody else", 150)
        assert taken_over.state == "CALLING"
        return answer

    monkeypatch.setattr(gateway, "send", slow_send)
    world.notify(job)
    world.drain()

    assert len(world.gateway.calls()) == 1
    assert list(world.outputs()) == ["a.jpg.png"]


@pytest.mark.parametrize("skew", [300.0, -300.0])
def test_row_41_a_worker_with_a_wrong_clock_does_not_take_over_a_running_call(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch, skew: float
) -> None:
    """Two workers, one clock minutes off; DynamoDB's Date header tells both the same time."""
    monkeypatch.setattr(bootstrap, "Clock", Clock)
    job = world.put("a.jpg", photo, prompt="wood")
    world.restart()
    off = {"now": 0.0}
    skewed = SimpleNamespace(time=lambda: time.time() + off["now"], sleep=time.sleep)
    monkeypatch.setattr("backdrop.clock.time", skewed)
    gateway = world.app.gateway
    real = gateway.send

    def send(*arguments: Any) -> Any:
        monkeypatch.setattr(gateway, "send", real)
        world.restart()
        off["now"] = skew
        world.notify(job)  # a second worker, in a process of its own
        off["now"] = 0.0
        return real(*arguments)

    monkeypatch.setattr(gateway, "send", send)
    world.notify(job)

    assert len(world.gateway.calls()) == 1


def test_row_34_killed_after_the_charge_the_same_call_brings_the_answer(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = world.app.gateway
    real = gateway.send

    def killed(*arguments: Any) -> Any:
        monkeypatch.setattr(gateway, "send", real)
        real(*arguments)
        raise Killed

    monkeypatch.setattr(gateway, "send", killed)
    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    assert world.charged() == 1
    assert len(world.gateway.calls()) == 2
    assert list(world.outputs()) == ["a.jpg.png"]


def test_a_duplicate_that_meets_a_running_worker_costs_nothing_and_comes_to_rest(world: Harness, photo: bytes) -> None:
    job = world.put("a.jpg", photo, prompt="wood")
    world.app.ledger.claim(job, "a running worker", 150)

    world.notify(job)
    assert world.gateway.calls() == []
    world.drain()

    assert world.charged() == 1
    assert world.waiting() == AT_REST
