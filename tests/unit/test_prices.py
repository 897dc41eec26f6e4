"""Where an answer tells its price, and what is taken for one."""

from decimal import Decimal
from typing import Any

import pytest

from backdrop.settings import Settings
from tests.unit.gateway_calls import LINK, answering, buy

CONFIGURED = "0.06"  # of two images


@pytest.mark.parametrize(
    ("body", "headers", "usd"),
    [
        pytest.param({}, {}, CONFIGURED, id="nothing"),
        pytest.param({"usage": {"cost": 0.04}}, {}, "0.04", id="usage.cost"),
        pytest.param({"usage": {"cost": "0.04"}}, {}, "0.04", id="usage.cost as text"),
        pytest.param({"cost": 0.05}, {}, "0.05", id="cost"),
        pytest.param({"usage": {"cost": 0.04}, "cost": 0.05}, {}, "0.04", id="usage.cost before cost"),
        pytest.param({"usage": {"cost": "free"}, "cost": 0.05}, {}, "0.05", id="cost where usage.cost is none"),
        pytest.param({"usage": {"cost": 0}}, {}, "0", id="free"),
        pytest.param({}, {"x_litellm_response_cost": "0.021"}, "0.021", id="LiteLLM's header"),
        pytest.param({}, {"x_litellm_response_cost": "2.1e-05"}, "0.000021", id="as LiteLLM writes small ones"),
        pytest.param({}, {"x_litellm_response_cost": "None"}, CONFIGURED, id="LiteLLM doesn't know"),
        pytest.param({"cost": 0.05}, {"x_cost_cents": "4"}, "0.04", id="a header before the body"),
        pytest.param({}, {"x_cost_cents": "4", "x_litellm_response_cost": "1"}, "0.04", id="cents before LiteLLM's"),
        pytest.param({"cost": 0.05}, {"x_cost_cents": "cheap"}, "0.05", id="the body where the header is none"),
        pytest.param({"usage": {"cost": 0.123456789}}, {}, "0.123457", id="more digits than a receipt has"),
        pytest.param({"usage": {"cost": 1e-300}}, {}, "0", id="next to nothing"),
        pytest.param({"cost": -1}, {}, CONFIGURED, id="negative"),
        pytest.param({"cost": 1000.01}, {}, CONFIGURED, id="too much"),
        pytest.param({"cost": 1e300}, {}, CONFIGURED, id="far too much"),
        pytest.param({"cost": "9" * 10_000}, {}, CONFIGURED, id="far too long"),
        pytest.param({"cost": "9e9999999"}, {}, CONFIGURED, id="too large for a number"),
        pytest.param({"cost": "NaN"}, {}, CONFIGURED, id="no number"),
        pytest.param({"cost": True}, {}, CONFIGURED, id="true"),
        pytest.param({"cost": None}, {}, CONFIGURED, id="null"),
        pytest.param({"cost": {"usd": 1}}, {}, CONFIGURED, id="an object"),
        pytest.param({"usage": 0.04}, {}, CONFIGURED, id="usage is a number"),
        pytest.param({"usage": [{"cost": 1}]}, {}, CONFIGURED, id="usage is a list"),
    ],
)
def test_the_cost_is_what_the_answer_says_or_else_the_price(
    settings: Settings, body: dict[str, Any], headers: dict[str, str], usd: str
) -> None:
    answer = buy(settings, answering(200, {"data": [{"url": LINK}], **body}, **headers))
    assert answer.cost_usd == Decimal(usd)
    assert len(str(answer.cost_usd)) < 12
