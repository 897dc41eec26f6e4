"""Pace and patience on the deployed local stack, in real time."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.deployed import Deployed
from tools.local_stack import KEY_PARAMETER
from tools.polling import until

PHOTO = (Path(__file__).parents[2] / "tools" / "samples" / "lamp.webp").read_bytes()


def test_an_empty_wallet_costs_few_calls_and_everything_finishes_after_a_top_up(deployed: Deployed) -> None:
    deployed.gateway.settings(wallet_usd=0)
    for number in range(40):
        deployed.put(f"{number}.jpg", PHOTO, prompt="wood")
    deployed.until_known(40, seconds=60)
    until("the second probe", lambda: len(deployed.gateway.calls()) >= 2, seconds=60)
    assert len(deployed.gateway.calls()) <= 10

    deployed.gateway.settings(wallet_usd=100)
    deployed.until_finished(40, seconds=180)

    assert len(deployed.results()) == 40
    assert deployed.charged() == 40
    assert deployed.dead_letters() == []


def test_a_key_rotated_in_ssm_is_picked_up_without_a_deploy(deployed: Deployed) -> None:
    deployed.put("before.jpg", PHOTO, prompt="wood")
    deployed.until_stored("before.jpg.png")
    ssm = deployed.stack.client("ssm")
    old = deployed.gateway.key
    deployed.gateway.settings(keys=["sk-aig-rotated"])
    ssm.put_parameter(Name=KEY_PARAMETER, Value="sk-aig-rotated", Type="SecureString", Overwrite=True)
    try:
        deployed.put("after.jpg", PHOTO, prompt="wood")
        deployed.until_stored("after.jpg.png")
    finally:
        ssm.put_parameter(Name=KEY_PARAMETER, Value=old, Type="SecureString", Overwrite=True)
        for name in ("ReplaceBackgroundFunctionName", "RetryFunctionName"):  # ends the workers, which remember the key
            function = deployed.stack.outputs[name]
            timeout = deployed.functions.get_function_configuration(FunctionName=function)["Timeout"]
            deployed.functions.update_function_configuration(FunctionName=function, Timeout=timeout)
    assert deployed.charged() == 2


@pytest.mark.alone
def test_two_hundred_uploads_at_once_keep_the_pace(
    deployed: Deployed, record_property: Callable[[str, object], None]
) -> None:
    deployed.gateway.settings(latency_seconds=0.5)
    for number in range(40):  # starts the workers, which takes this machine longer than forty calls
        deployed.put(f"before/{number}.jpg", PHOTO, prompt="wood")
    deployed.until_finished(40, seconds=120)
    before = len(deployed.gateway.calls())
    deployed.gateway.settings(rate_limit={"requests": 10, "seconds": 1})
    started = time.time()
    for number in range(200):
        deployed.put(f"{number}.jpg", PHOTO, prompt="wood")
    deployed.until_finished(240, seconds=180)

    calls = deployed.gateway.calls()[before:]
    limited = sum(call["status"] == 429 for call in calls)
    took = max(call["at"] for call in calls) - min(call["at"] for call in calls)
    record_property(
        "summary", f"calls for {took:.1f} s (ideal 20), {time.time() - started:.1f} s in all, {limited} x 429"
    )
    assert len(deployed.results()) == 240
    assert deployed.charged() == 240
    assert deployed.dead_letters() == []
    assert limited <= 0.02 * len(calls)
    assert took <= 1.35 * 20
