"""What it means when the gateway refuses, fails or is not there."""

from typing import Any

import httpx
import pytest

from backdrop.errors import (
    AccountFault,
    BadRequestError,
    CallFailed,
    GatewayBusy,
    GatewayError,
    NeverSent,
    OutcomeUnknown,
)
from backdrop.settings import Settings
from tests.unit.gateway_calls import BOUGHT, IMAGE_LINK, Reply, answering, breaking_off, error_of, failing


def test_the_status_decides_however_long_the_answer_is(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 19."""
    monkeypatch.setattr("backdrop.gateway.MAX_ANSWER_BYTES", 1000)
    assert type(error_of(settings, answering(503, b"x" * 1001))) is CallFailed


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, CallFailed) for status in (408, 500, 501, 502, 503, 504, 505, 520, 524, 527, 599)),
        *((status, GatewayBusy) for status in (429, 521, 522, 523, 525, 526, 529, 530)),
        *((status, AccountFault) for status in (401, 402, 403, 404)),
        *((status, BadRequestError) for status in (400, 409, 413, 415, 422)),
        *((status, OutcomeUnknown) for status in (202, 204, 302)),
    ],
)
def test_every_status_has_a_meaning(settings: Settings, status: int, kind: type[GatewayError]) -> None:
    """Rows 18 to 24 and 29."""
    error = error_of(settings, answering(status, {"error": {"message": "no", "type": "some_error", "code": None}}))
    assert type(error) is kind
    assert getattr(error, "status", status) == status
    assert str(status) in str(error)


@pytest.mark.parametrize(("status", "kind"), [(400, BadRequestError), (402, AccountFault), (502, CallFailed)])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"error": "no"}, id="text"),
        pytest.param({"error": None}, id="null"),
        pytest.param({"error": {"message": {"text": "no"}, "code": 7}}, id="other types"),
        pytest.param([], id="list"),
        pytest.param(BOUGHT, id="an image"),
        pytest.param(b"<html>Bad Gateway</html>", id="HTML"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff", id="not UTF-8"),
        pytest.param(b"[" * 100_000, id="nested too deep"),
    ],
)
def test_the_status_decides_whatever_the_body_is(
    settings: Settings, status: int, kind: type[GatewayError], body: Any
) -> None:
    """Rows 19 to 24."""
    assert type(error_of(settings, answering(status, body))) is kind


def test_the_gateways_own_words_are_kept_for_people(settings: Settings) -> None:
    """Row 21."""
    body = {"error": {"message": "The photo is too dark.", "type": "invalid_request_error", "code": "too_dark"}}
    error = error_of(settings, answering(400, body))
    for words in ("The photo is too dark.", "invalid_request_error", "too_dark"):
        assert words in str(error)


def test_a_huge_error_is_not_read(settings: Settings) -> None:
    body = b'{"error": {"message": "no"}, "x": [' + b"1," * 40_000 + b"1]}"
    assert str(error_of(settings, answering(400, body))) == "the gateway answered 400"


def test_a_long_message_is_shortened(settings: Settings) -> None:
    assert len(str(error_of(settings, answering(400, {"error": {"message": "no " * 10_000}})))) < 400


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError(f"no route to {IMAGE_LINK}"),
        httpx.ConnectError("[Errno -2] Name or service not known"),
        httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]"),
        httpx.ConnectTimeout("timed out"),
    ],
    ids=["refused", "no address", "TLS", "timeout"],
)
def test_a_connection_that_was_never_made_was_never_sent(settings: Settings, error: Exception) -> None:
    """Row 25."""
    assert type(error_of(settings, failing(error))) is NeverSent


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(failing(httpx.WriteError(IMAGE_LINK)), id="while sending"),
        pytest.param(failing(httpx.WriteTimeout("")), id="timeout while sending"),
        pytest.param(failing(httpx.ReadTimeout(IMAGE_LINK)), id="timeout"),
        pytest.param(failing(httpx.ReadError("")), id="reset"),
        pytest.param(failing(httpx.RemoteProtocolError("")), id="closed without an answer"),
        pytest.param(breaking_off(httpx.ReadError(IMAGE_LINK)), id="reset in the body"),
        pytest.param(breaking_off(httpx.ReadTimeout("")), id="timeout in the body"),
        pytest.param(breaking_off(httpx.RemoteProtocolError("")), id="body shorter than announced"),
    ],
)
def test_sent_without_a_complete_answer_leaves_the_outcome_unknown(settings: Settings, reply: Reply) -> None:
    """Rows 26 and 27."""
    assert type(error_of(settings, reply)) is OutcomeUnknown
