"""What tests and demos can change while it runs, and the command line."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.integration.stand_in_gateway.client import SMALL_PIXELS, buy, get, link_of, order, until
from tools.stand_in_gateway.server import GatewayControl


def test_reset_forgets_everything(gateway: GatewayControl) -> None:
    first = gateway.settings()
    link = link_of(buy(gateway, idempotency_key="a"))
    gateway.settings(keys=["other"], wallet_usd=0, rate_limit={"requests": 0, "seconds": 1}, answer="b64_json")
    gateway.faults([{"kind": "drop", "times": 0}])

    gateway.reset()

    assert (gateway.charges(), gateway.calls(), gateway.fetches()) == ([], [], [])
    assert gateway.settings(image_pixels=SMALL_PIXELS) == {**first, "wallet_usd": 1000}
    assert get(link).status_code == 404
    assert "idempotent-replayed" not in buy(gateway, idempotency_key="a").headers


def test_call_that_runs_during_a_reset_is_not_seen_after_it(gateway: GatewayControl) -> None:
    gateway.settings(latency_seconds=0.3)

    with ThreadPoolExecutor(1) as pool:
        old = pool.submit(buy, gateway, idempotency_key="a")
        until(lambda: len(gateway.calls()) == 1)
        gateway.reset()
        assert old.result().status_code == 200

    assert (gateway.charges(), gateway.calls()) == ([], [])


def test_inline_answers_can_be_forced(gateway: GatewayControl) -> None:
    gateway.settings(answer="b64_json")
    assert list(buy(gateway).json()["data"][0]) == ["b64_json"]

    gateway.settings(answer="url")
    assert list(buy(gateway, order(response_format="b64_json")).json()["data"][0]) == ["url"]


def test_command_line_serves_with_its_own_key_on_the_port_that_it_names() -> None:
    command = [sys.executable, "-m", "tools.stand_in_gateway", "--port", "0", "--key", "sk-mine"]
    with subprocess.Popen([*command, "--latency", "0.01"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            gateway = GatewayControl(process.stdout.readline().split()[-1], "sk-mine")
            answer = buy(gateway)
            assert answer.status_code == 200
            assert "stand-in" in answer.headers["server"]
            assert gateway.settings()["latency_seconds"] == 0.01
        finally:
            process.terminate()


@pytest.mark.parametrize("change", [{"latency": 1}, {"image_format": "gif"}, {"wallet_usd": "much"}, {"answer": "xml"}])
def test_unknown_setting_is_refused(gateway: GatewayControl, change: dict[str, object]) -> None:
    with pytest.raises(httpx.HTTPStatusError):
        gateway.settings(**change)
