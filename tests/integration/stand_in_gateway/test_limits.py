"""The rate limit, and idempotency keys."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.integration.stand_in_gateway.client import buy, data_link, order, photo, until
from tools.stand_in_gateway.server import GatewayControl


def test_rate_limit_is_told_and_enforced(gateway: GatewayControl) -> None:
    gateway.settings(rate_limit={"requests": 2, "seconds": 30})

    answers = [buy(gateway) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers[:2]] == ["1", "0"]
    assert answers[0].headers["x-ratelimit-limit-requests"] == "2"
    assert 1 <= int(answers[1].headers["x-ratelimit-reset-requests"]) <= 30
    assert 1 <= int(answers[2].headers["retry-after"]) <= 30
    assert answers[2].json()["error"]["type"] == "rate_limit_error"
    assert len(gateway.charges()) == 2


def test_rate_window_slides(gateway: GatewayControl) -> None:
    gateway.settings(rate_limit={"requests": 1, "seconds": 1})

    assert buy(gateway).status_code == 200
    refused = buy(gateway)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    until(lambda: buy(gateway).status_code == 200)


def test_limit_can_be_lifted(gateway: GatewayControl) -> None:
    gateway.settings(rate_limit={"requests": 0, "seconds": 60})
    assert buy(gateway).headers["retry-after"] == "60"

    gateway.settings(rate_limit=None)
    answer = buy(gateway)
    assert answer.status_code == 200
    assert "x-ratelimit-limit-requests" not in answer.headers


def test_replay_gets_the_first_answer_and_is_not_charged(gateway: GatewayControl) -> None:
    first, replay = (buy(gateway, idempotency_key="a") for _ in range(2))

    assert first.content == replay.content
    assert "idempotent-replayed" not in first.headers
    assert replay.headers["idempotent-replayed"] == "true"
    assert len(gateway.charges()) == 1
    assert [call["charged"] for call in gateway.calls()] == [True, False]


def test_key_with_another_body_or_route_is_a_conflict(gateway: GatewayControl) -> None:
    body = order(image_url=data_link(photo()))
    buy(gateway, body, idempotency_key="a")

    for answer in (
        buy(gateway, order(prompt="a forest"), idempotency_key="a"),
        buy(gateway, body, route="edits", idempotency_key="a"),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "idempotency_conflict")
    assert len(gateway.charges()) == 1


def test_replay_while_the_first_call_runs_is_told_so(gateway: GatewayControl) -> None:
    gateway.settings(latency_seconds=1)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(buy, gateway, idempotency_key="a")
        until(lambda: len(gateway.calls()) == 1)
        replay = buy(gateway, idempotency_key="a")
        assert (replay.status_code, replay.json()["error"]["code"]) == (409, "idempotency_in_progress")
        assert first.result().status_code == 200
    assert len(gateway.charges()) == 1


def test_simultaneous_calls_with_one_key_are_charged_once(gateway: GatewayControl) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: buy(gateway, idempotency_key="a"), range(16)))

    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len(gateway.charges()) == 1


def test_call_whose_client_left_is_finished_charged_and_found_by_its_replay(gateway: GatewayControl) -> None:
    gateway.settings(latency_seconds=0.5)

    with pytest.raises(httpx.ReadTimeout):
        buy(gateway, idempotency_key="a", timeout=0.1)

    until(lambda: len(gateway.charges()) == 1)
    replay = buy(gateway, idempotency_key="a")
    assert (replay.status_code, replay.headers["idempotent-replayed"]) == (200, "true")
    assert len(gateway.charges()) == 1


def test_only_successes_are_recorded(gateway: GatewayControl) -> None:
    gateway.faults([{"kind": "status", "status": 503}])
    assert buy(gateway, idempotency_key="a").status_code == 503

    gateway.settings(wallet_usd=0)
    assert buy(gateway, idempotency_key="a").status_code == 402

    gateway.settings(wallet_usd=1)
    assert buy(gateway, order(image_url=data_link(b"no image")), idempotency_key="a").status_code == 400

    answer = buy(gateway, idempotency_key="a")
    assert answer.status_code == 200
    assert "idempotent-replayed" not in answer.headers


def test_keys_can_be_ignored(gateway: GatewayControl) -> None:
    buy(gateway, idempotency_key="a")

    gateway.settings(honours_idempotency_keys=False)

    assert buy(gateway, idempotency_key="a").status_code == 200
    assert [charge["idempotency_key"] for charge in gateway.charges()] == ["a", "a"]
