"""What a gateway says that a call has cost: in a header, or in the body of its answer."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_MAX_USD = 1000  # more is no price of a call
_DIGITS = 6  # behind the point: a millionth of a dollar


def price_in_headers(headers: Mapping[str, str]) -> Decimal | None:
    """Dollars by `X-Cost-Cents`, or by LiteLLM's `x-litellm-response-cost`; None where neither has a price.

    https://docs.litellm.ai/docs/proxy/cost_tracking
    """
    cents = _price(headers.get("x-cost-cents"), most=_MAX_USD * 100)
    if cents is not None:
        return _usd(cents / 100)
    return _usd(_price(headers.get("x-litellm-response-cost")))


def price_in_body(answer: Any) -> Decimal | None:
    """Dollars by `usage.cost`, as OpenRouter tells them, or by `cost`; None where neither is a price."""
    if not isinstance(answer, dict):
        return None
    usage = answer.get("usage")
    price = _price(usage.get("cost")) if isinstance(usage, dict) else None
    return _usd(_price(answer.get("cost")) if price is None else price)


def _price(value: Any, most: int = _MAX_USD) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        price = Decimal(str(value))
    except ArithmeticError:
        return None
    return price if price.is_finite() and 0 <= price <= most else None


def _usd(price: Decimal | None) -> Decimal | None:
    """With no more digits than a receipt has room for."""
    if price is None:
        return None
    exponent = price.as_tuple().exponent
    return round(price, _DIGITS) if isinstance(exponent, int) and exponent < -_DIGITS else price
