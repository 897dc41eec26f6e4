"""What a successful answer of the gateway has brought, and what it cost."""

import base64
import json
from decimal import Decimal
from typing import Any

import pytest

from backdrop.errors import (
    NoImage,
    OutcomeUnknown,
)
from backdrop.gateway import Answer
from backdrop.settings import Settings
from tests.unit.gateway_calls import LINK, PNG, answering, buy, error_of


def test_links_are_bought(settings: Settings) -> None:
    body = {"data": [{"url": LINK}, {"url": "https://cdn.test/2.png"}]}
    answer = buy(settings, answering(200, body, x_request_id="req-1", x_cost_cents="6"))
    assert answer == Answer((LINK, "https://cdn.test/2.png"), (), "req-1", Decimal("0.06"))


def test_inline_images_are_bought(settings: Settings) -> None:
    body = {"data": [{"b64_json": base64.b64encode(PNG).decode(), "url": None}]}
    answer = buy(settings, answering(200, body))
    assert (answer.links, answer.inline) == ((), (PNG,))


def test_fewer_images_than_asked_for_are_bought_all_the_same(settings: Settings) -> None:
    """Row 28."""
    assert buy(settings, answering(200, {"data": [{"url": LINK}, {"url": None}]})).links == (LINK,)


@pytest.mark.parametrize(
    ("cents", "usd"),
    [
        pytest.param({"x_cost_cents": "4"}, "0.04", id="whole"),
        pytest.param({"x_cost_cents": "2.5"}, "0.025", id="a fraction"),
        pytest.param({"x_cost_cents": "0"}, "0", id="free"),
        pytest.param({}, "0.06", id="absent"),
        pytest.param({"x_cost_cents": "cheap"}, "0.06", id="garbage"),
        pytest.param({"x_cost_cents": "NaN"}, "0.06", id="no number"),
        pytest.param({"x_cost_cents": "Infinity"}, "0.06", id="endless"),
        pytest.param({"x_cost_cents": "-4"}, "0.06", id="negative"),
        pytest.param({"x_cost_cents": "1e9"}, "0.06", id="no price"),
        pytest.param({"x_cost_cents": "9e9999999"}, "0.06", id="too large for a number"),
    ],
)
def test_the_cost_is_what_the_gateway_says_or_else_the_price(
    settings: Settings, cents: dict[str, str], usd: str
) -> None:
    assert buy(settings, answering(200, **cents)).cost_usd == Decimal(usd)


def test_a_request_id_is_kept_as_far_as_it_is_printable(settings: Settings) -> None:
    answer = buy(settings, answering(200, x_request_id="req 1\t" + "x" * 500))
    assert answer.request_id.startswith("req1x")
    assert len(answer.request_id) == 100


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html>sign in</html>", id="HTML"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"null", id="null"),
        pytest.param([], id="list"),
        pytest.param({}, id="empty object"),
        pytest.param({"data": None}, id="null data"),
        pytest.param({"data": []}, id="no entry"),
        pytest.param({"data": "soon"}, id="data that is text"),
        pytest.param({"data": [None]}, id="null entry"),
        pytest.param({"data": [{}]}, id="empty entry"),
        pytest.param({"data": [{"url": None}]}, id="null link"),
        pytest.param({"data": [{"url": ""}]}, id="empty link"),
        pytest.param({"data": [{"url": 7}]}, id="link that is no text"),
        pytest.param({"data": [{"url": "https://cdn.test/" + "a" * 8192}]}, id="link that is too long to keep"),
        pytest.param(b'{"data": [{"url": "https://cdn.test/\\ud800"}]}', id="link with half a character"),
        pytest.param({"data": [{"url": LINK}] * 10_002}, id="too many entries to read"),
        pytest.param(b'{"data": [{"url": "' + LINK.encode() + b'"}], "x": [' + b"1," * 10_001 + b"1]}", id="bomb"),
        pytest.param({"data": [{"b64_json": ""}]}, id="empty base64"),
        pytest.param({"data": [{"b64_json": "abc"}]}, id="cut base64"),
        pytest.param({"data": [{"b64_json": "!!!!"}]}, id="no base64"),
        pytest.param({"data": [{"b64_json": 7}]}, id="base64 that is no text"),
        pytest.param(b'{"data": "\xff"}', id="not UTF-8"),
        pytest.param(b'{"data": ' + b"[" * 100_000, id="nested too deep"),
    ],
)
def test_a_200_without_an_image_is_no_image(settings: Settings, body: Any) -> None:
    """Row 28."""
    assert type(error_of(settings, answering(200, body))) is NoImage


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{", id="at once"),
        pytest.param(b'{"data": [{"url": "https://cdn', id="in a link"),
        pytest.param(b'\n {"data": [', id="after blanks"),
        pytest.param('{"data": [], "note": "caf\xe9'.encode()[:-1], id="in a character"),
    ],
)
def test_json_that_is_cut_off_leaves_the_outcome_unknown(settings: Settings, body: bytes) -> None:
    """Row 27."""
    assert type(error_of(settings, answering(200, body))) is OutcomeUnknown


def test_no_more_images_are_taken_than_were_asked_for(settings: Settings) -> None:
    """They all go into one item of the ledger and into memory."""
    assert buy(settings, answering(200, {"data": [{"url": f"{LINK}?{i}"} for i in range(5_000)]})).links == (
        f"{LINK}?0",
        f"{LINK}?1",
    )
    inline = [{"b64_json": base64.b64encode(PNG).decode()}] * 100
    assert buy(settings, answering(200, {"data": inline})).inline == (PNG, PNG)


def test_a_number_of_any_length_does_not_cost_the_image(settings: Settings) -> None:
    body = b'{"created": ' + b"1" * 5_000 + b', "data": [{"url": "' + LINK.encode() + b'"}]}'
    assert buy(settings, answering(200, body)).links == (LINK,)


def test_an_answer_without_end_is_no_image(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 28."""
    monkeypatch.setattr("backdrop.gateway.MAX_ANSWER_BYTES", 1000)
    assert type(error_of(settings, answering(200, b'{"data": "' + b"x" * 1000))) is NoImage


@pytest.mark.parametrize("status", [200, 201, 202, 203])
def test_an_image_in_any_2xx_is_bought(settings: Settings, status: int) -> None:
    assert buy(settings, answering(status)).links == (LINK,)


@pytest.mark.parametrize("body", [{"data": []}, {"id": "job-1", "status": "queued"}, b"", b"Accepted", b"x" * 1001])
def test_a_2xx_without_an_image_may_bring_it_later(
    settings: Settings, body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backdrop.gateway.MAX_ANSWER_BYTES", 1000)
    for status in (201, 202, 204):
        assert type(error_of(settings, answering(status, body))) is OutcomeUnknown


def test_links_beside_inline_images_keep_their_places(settings: Settings) -> None:
    body = {"data": [{"b64_json": base64.b64encode(PNG).decode()}, {"url": "/1.png"}]}
    answer = buy(settings, answering(200, body))
    assert (answer.links, answer.inline) == (("", "https://gateway.test/1.png"), (PNG, b""))


@pytest.mark.parametrize("size", [10, 70_000])
def test_an_answer_without_an_image_comes_along_up_to_64_kib(settings: Settings, size: int) -> None:
    body = json.dumps({"data": [], "note": "x" * size}).encode()
    error = error_of(settings, answering(200, body))
    assert isinstance(error, NoImage)
    assert error.answer == body[:65_536]
    assert "xxx" not in str(error)
