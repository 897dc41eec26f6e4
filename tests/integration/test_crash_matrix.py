"""A worker is killed before and after every external effect; nothing is lost, nothing is paid twice.

Rows 32-37. An effect is an AWS call, the gateway call or the fetch of a result. Killed means that no handler of ours
runs any more, as with SIGKILL: the trigger's event then comes to RetryQueue in Lambda's envelope, and a retry message
shows up again after its visibility timeout.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import botocore.client
import httpx
import pytest
from botocore.exceptions import EndpointConnectionError

from backdrop import http_client
from tests.aws_events import envelope, s3_event
from tests.integration.harness import Harness
from tests.integration.simulated_lambda import Killed


@dataclass
class Effects:
    """Counts the effects of one invocation and kills the worker at one of them."""

    kill_before: int = -1
    kill_after: int = -1
    raises: bool = False
    names: list[str] = field(default_factory=list)
    on: bool = False

    def wrap(self, real: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
        def effect(*arguments: Any, **options: Any) -> Any:
            if not self.on:
                return real(*arguments, **options)
            index = len(self.names)
            self.names.append(name(*arguments))
            if index == self.kill_before:
                raise self._end(httpx.ConnectError)
            answer = real(*arguments, **options)
            if index == self.kill_after:
                raise self._end(httpx.ReadError)
            return answer

        return effect

    def watch(self, harness: Harness, patch: pytest.MonkeyPatch) -> None:
        """Count what the harness's invocations do, and nothing else."""

        def watched(handler: Callable[..., Any]) -> Callable[..., Any]:
            def handle(*arguments: Any) -> Any:
                self.on = True
                try:
                    return handler(*arguments)
                finally:
                    self.on = False

            return handle

        for function in (harness.trigger_function, harness.retry_function, harness.reconcile_function):
            patch.setattr(function, "lambda_handler", watched(function.lambda_handler))

    def _end(self, network_error: type[httpx.TransportError]) -> BaseException:
        if not self.raises:
            return Killed()
        if self.names[-1] in ("POST", "GET"):
            return network_error("the network is gone")
        return EndpointConnectionError(endpoint_url="http://aws")


@pytest.fixture
def effects(monkeypatch: pytest.MonkeyPatch) -> Effects:
    effects = Effects()
    client: Any = botocore.client.BaseClient
    api_call = effects.wrap(client._make_api_call, lambda _, operation, __: operation)
    monkeypatch.setattr(client, "_make_api_call", api_call)
    monkeypatch.setattr(
        http_client, "exchange", effects.wrap(http_client.exchange, lambda _, request, *__: request.method)
    )
    return effects


Deliver = Callable[[Harness, Any], None]


def by_trigger(harness: Harness, event: Any) -> None:
    try:
        harness.invoke(harness.trigger_function, event)
    except (Exception, Killed) as error:
        harness.send(envelope(event, error))


def by_retry(harness: Harness, event: Any) -> None:
    harness.send(event)
    harness.retry_once()


@pytest.mark.parametrize("keyed", [True, False], ids=["keyed-retry", "unkeyed-park"])
@pytest.mark.parametrize("deliver", [by_trigger, by_retry])
@pytest.mark.parametrize(("how", "kills"), [("killed", 1), ("killed", 2), ("raising", 1)])
def test_ended_at_every_effect_nothing_is_lost_or_paid_twice(
    environment: pytest.MonkeyPatch,
    harness: Harness,
    photo: bytes,
    effects: Effects,
    record_property: Callable[[str, object], None],
    keyed: bool,
    deliver: Deliver,
    how: str,
    kills: int,
) -> None:
    effects.watch(harness, environment)
    environment.setenv("ON_UNKNOWN_OUTCOME", "retry" if keyed else "park")
    harness.gateway.settings(honours_idempotency_keys=keyed)
    harness.restart()
    number = 0
    effects.raises = how == "raising"

    def attempt(kill_before: int, kill_after: int) -> list[str]:
        nonlocal number
        number += 1
        key = f"{number}.jpg"
        event = s3_event(harness.put(key, photo, prompt=f"background {number}"))
        effects.kill_before, effects.kill_after = kill_before, kill_after
        effects.names.clear()
        deliver(harness, event)
        seen = list(effects.names)
        harness.restart()
        for _ in range(kills - 1):
            effects.names.clear()
            if (due := harness.next_due()) is not None:
                harness.advance(max(0.0, due - harness.now()))
                harness.retry_once()
            harness.restart()
        effects.kill_before = effects.kill_after = -1
        harness.send(event)  # a duplicate on top
        harness.drain(seconds=4 * 3600)
        stored = f"{key}.png" in harness.output_keys()
        dead_lettered = [dead_letter for dead_letter in harness.dead_letters() if dead_letter["job"]["key"] == key]
        charges = [charge for charge in harness.gateway.charges() if charge["prompt"] == f"background {number}"]
        at = f"kill_before={kill_before} kill_after={kill_after} effects={seen}"
        assert len(charges) <= 1, f"paid twice: {at}"
        # Killed between the dead letter and its mark in the ledger, a second dead letter is the lesser evil.
        assert stored or {dead_letter["reason"]["code"] for dead_letter in dead_lettered} == {"outcome_unknown"}, (
            f"lost: {at}"
        )
        assert not (stored and dead_lettered), f"stored and dead-lettered: {at}"
        if keyed and kills == 1:
            assert stored, f"not stored: {at}"
            assert len(charges) == 1, at
        assert harness.waiting() == []
        return seen

    names = attempt(-1, -1)
    assert len(names) >= 10, names
    for index in range(len(names)):
        attempt(index, -1)
        attempt(-1, index)
    record_property("summary", f"{how} {kills} x, {deliver.__name__}: {2 * len(names)} points at {' '.join(names)}")


def fails_first(harness: Harness, key: str, photo: bytes) -> Any:
    """An upload whose first call was charged, and reported as failed by a proxy: its call is to be repeated."""
    harness.gateway.faults([{"kind": "status_after_charge", "status": 504}])
    return s3_event(harness.upload(key, photo, prompt=key))


def is_done(harness: Harness, key: str, photo: bytes) -> Any:
    """A photo that is written again, just as it was when its result was made."""
    harness.upload(key, photo, prompt=key)
    harness.advance(10)
    job = harness.put(key, photo, prompt=key)
    event = s3_event(job)
    harness.send(event)
    return event


@pytest.mark.parametrize("before", [fails_first, is_done])
def test_ended_at_every_effect_what_was_charged_before_is_not_paid_again(
    environment: pytest.MonkeyPatch,
    harness: Harness,
    photo: bytes,
    effects: Effects,
    before: Callable[[Harness, str, bytes], Any],
) -> None:
    """The states of a call that may have been charged, and of an upload that is unchanged."""
    effects.watch(harness, environment)

    def attempt(number: int, kill_before: int, kill_after: int) -> int:
        key = f"{number}.jpg"
        event = before(harness, key, photo)
        harness.advance(600)  # past every wait
        effects.names.clear()
        effects.kill_before, effects.kill_after = kill_before, kill_after
        harness.retry_once()
        seen = list(effects.names)
        harness.restart()
        effects.kill_before = effects.kill_after = -1
        harness.send(event)
        harness.drain(seconds=4 * 3600)
        at = f"kill_before={kill_before} kill_after={kill_after} effects={seen}"
        assert [charge["prompt"] for charge in harness.gateway.charges()].count(key) == 1, f"paid twice: {at}"
        assert f"{key}.png" in harness.output_keys(), f"lost: {at}"
        assert (harness.waiting(), harness.dead_letters()) == ([], []), at
        return len(seen)

    points = attempt(0, -1, -1)
    assert points >= 4
    for index in range(points):
        attempt(2 * index + 1, index, -1)
        attempt(2 * index + 2, -1, index)
