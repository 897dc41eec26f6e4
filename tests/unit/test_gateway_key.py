"""The gateway's key is read anew after a 401, and tried once."""

import pytest

from backdrop.errors import (
    AccountFault,
)
from backdrop.settings import Settings
from tests.unit.gateway_calls import KEY, LINK, a_call, answering, gateway


def test_a_401_reads_the_key_anew_and_tries_a_rotated_one_once(settings: Settings) -> None:
    """Row 22."""
    api, requests = gateway(settings, answering(401), answering(200), keys=(KEY, "rotated"))
    assert api.send(a_call(settings), b"", 5).links == (LINK,)
    assert [request.headers["authorization"] for request in requests] == [f"Bearer {KEY}", "Bearer rotated"]
    assert requests[0].content == requests[1].content
    assert requests[0].headers["idempotency-key"] == requests[1].headers["idempotency-key"]


def test_a_rotated_key_that_is_refused_too_is_an_account_fault(settings: Settings) -> None:
    """Row 23."""
    api, requests = gateway(settings, answering(401), answering(401), keys=(KEY, "rotated"))
    with pytest.raises(AccountFault):
        api.send(a_call(settings), b"", 5)
    assert len(requests) == 2


def test_a_401_is_not_tried_again_with_the_same_key(settings: Settings) -> None:
    """Row 23."""
    api, requests = gateway(settings, answering(401), answering(200))
    with pytest.raises(AccountFault):
        api.send(a_call(settings), b"", 5)
    assert len(requests) == 1


def test_a_line_break_after_the_key_is_not_sent(settings: Settings) -> None:
    """It is no legal header, so the call would fail on its way; files and pipes end with one."""
    api, requests = gateway(settings, answering(200), keys=(f"{KEY}\n", f"{KEY}\n"))
    api.send(a_call(settings), b"", 5)
    assert requests[0].headers["authorization"] == f"Bearer {KEY}"
