"""Gateway calls: what is sent, and what each answer means. The network is faked below httpx."""

import base64
import email
import json
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from email.message import Message
from typing import Any

import httpx
import pytest

from backdrop.call import Call
from backdrop.errors import (
    AccountFault,
    BadRequestError,
    CallFailed,
    GatewayBusy,
    GatewayError,
    NeverSent,
    NoImage,
    OutcomeUnknown,
)
from backdrop.gateway import Answer, Gateway
from backdrop.gateway_errors import retry_after
from backdrop.request import Request
from backdrop.settings import Settings

KEY = "gw_live_7f3a9c51"
SIGNATURE = "5f1e0c0ffee"
IMAGE_LINK = f"https://photos-in.s3.eu-west-1.amazonaws.com/red.jpg?X-Amz-Signature={SIGNATURE}"
PROMPT = "a secret garden – at dawn"
REQUEST = Request(PROMPT, n=2, size="1024x768")
IDEMPOTENCY_KEY = "0123456789abcdef0123456789abcdef-1"
PNG = b"\x89PNG\r\n\x1a\n" + b"photo"
LINK = "https://cdn.test/1.png"
BOUGHT = {"data": [{"url": LINK}]}

Reply = Callable[[], httpx.Response]


def answering(status: int, body: Any = BOUGHT, **headers: str) -> Reply:
    """An answer; a body that is not bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: httpx.Response(status, headers=names, content=iter([raw]))


def failing(error: Exception) -> Reply:
    def reply() -> httpx.Response:
        raise error

    return reply


def breaking_off(error: Exception) -> Reply:
    def body() -> Iterator[bytes]:
        yield b'{"data": [{"url'
        raise error

    return lambda: httpx.Response(200, content=body())


def gateway(
    settings: Settings, *replies: Reply, keys: tuple[str, str] = (KEY, KEY)
) -> tuple[Gateway, list[httpx.Request]]:
    """A gateway that gives these replies in turn, and what reaches it; `keys` are the cached and the fresh one."""
    requests: list[httpx.Request] = []
    left = iter(replies)

    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        requests.append(request)
        return next(left)()

    return Gateway(settings, lambda fresh: keys[fresh], httpx.MockTransport(answer)), requests


def a_call(settings: Settings, request: Request = REQUEST) -> Call:
    return gateway(settings)[0].new_call(request, IMAGE_LINK, IDEMPOTENCY_KEY, 0.0, 1000.0)


def buy(settings: Settings, *replies: Reply) -> Answer:
    return gateway(settings, *replies)[0].send(a_call(settings), b"", 5)


def error_of(settings: Settings, *replies: Reply) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        buy(settings, *replies)
    return raised.value


def multipart_of(request: httpx.Request) -> dict[str, Message]:
    message = email.message_from_bytes(
        b"Content-Type: " + request.headers["content-type"].encode() + b"\r\n\r\n" + request.content
    )
    parts = message.get_payload()
    assert isinstance(parts, list)
    return {
        str(part.get_param("name", header="content-disposition")): part for part in parts if isinstance(part, Message)
    }


# What is sent


@pytest.mark.parametrize(
    ("route", "path", "own_fields"),
    [
        ("generations", "/v1/images/generations", {"response_format": "url"}),
        ("edits", "/v1/images/edits", {}),
    ],
)
@pytest.mark.parametrize("size", [None, "1024x768"])
def test_the_json_routes_send_exactly_what_is_documented(
    settings: Settings, route: str, path: str, own_fields: dict[str, str], size: str | None
) -> None:
    """Row 14."""
    settings = replace(settings, gateway_route=route)
    api, requests = gateway(settings, answering(200))
    api.send(a_call(settings, Request(PROMPT, 2, size)), b"", 5)
    [request] = requests
    assert request.method == "POST"
    assert str(request.url) == f"https://gateway.test{path}"
    assert json.loads(request.content) == own_fields | {
        "model": "ideogram/ideogram-v3-replace-background",
        "prompt": PROMPT,
        "n": 2,
        "image_url": IMAGE_LINK,
    } | ({"size": size} if size else {})
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["idempotency-key"] == IDEMPOTENCY_KEY
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("photo", "name", "content_type"),
    [
        (PNG, "photo.png", "image/png"),
        (b"\xff\xd8\xff\xe0photo", "photo.jpg", "image/jpeg"),
        (b"RIFF\x24\x00\x00\x00WEBPphoto", "photo.webp", "image/webp"),
    ],
)
def test_the_upload_route_sends_the_photo_itself_and_no_link(
    settings: Settings, photo: bytes, name: str, content_type: str
) -> None:
    settings = replace(settings, gateway_route="edits-multipart")
    api, requests = gateway(settings, answering(200))
    api.send(a_call(settings), photo, 5)
    [request] = requests
    assert request.method == "POST"
    assert str(request.url) == "https://gateway.test/v1/images/edits"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["idempotency-key"] == IDEMPOTENCY_KEY
    parts = multipart_of(request)
    image = parts.pop("image")
    assert image.get_payload(decode=True) == photo
    assert image.get_filename() == name
    assert image.get_content_type() == content_type
    texts = {field: part.get_payload(decode=True) for field, part in parts.items()}
    assert texts == {
        "model": b"ideogram/ideogram-v3-replace-background",
        "prompt": PROMPT.encode(),
        "n": b"2",
        "size": b"1024x768",
    }


@pytest.mark.parametrize("route", ["generations", "edits", "edits-multipart"])
def test_a_replay_is_the_same_byte_for_byte_whoever_sends_it(settings: Settings, route: str) -> None:
    """Rows 26 and 33."""
    call = a_call(replace(settings, gateway_route=route))
    changed = replace(settings, gateway_route="generations" if route == "edits" else "edits", gateway_model="another")
    first_gateway, first = gateway(replace(settings, gateway_route=route), answering(200))
    other_gateway, replays = gateway(changed, answering(200))
    first_gateway.send(call, PNG, 5)
    other_gateway.send(call, PNG, 5)
    assert replays[0].content == first[0].content
    assert replays[0].headers == first[0].headers
    assert replays[0].url == first[0].url


# What was bought


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


def test_the_status_decides_however_long_the_answer_is(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 19."""
    monkeypatch.setattr("backdrop.gateway.MAX_ANSWER_BYTES", 1000)
    assert type(error_of(settings, answering(503, b"x" * 1001))) is CallFailed


# What was not


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


# The key


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


# What errors never say


@pytest.mark.parametrize("field", ["message", "code", "type"])
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(f"Incorrect API key provided: {KEY}.", id="key"),
        pytest.param(f"Authorization: Bearer {KEY}", id="header"),
        pytest.param(f"could not fetch {IMAGE_LINK}", id="link"),
        pytest.param(f"could not fetch {IMAGE_LINK.removeprefix('https://')}", id="link without its scheme"),
        pytest.param(f"GET /red.jpg?X-Amz-Signature={SIGNATURE} 403", id="path of the link"),
        pytest.param(f"not allowed: {PROMPT}", id="prompt"),
        pytest.param("not allowed: …cret garden – at d…", id="part of the prompt"),
        pytest.param(f"not allowed: {PROMPT.lower()}", id="prompt in small dead_letters"),
        pytest.param(f"not allowed: {PROMPT.replace(' ', '_')}", id="prompt with underscores"),
        pytest.param(f"not allowed: {PROMPT.replace(' ', '  ')}", id="prompt with wider blanks"),
    ],
)
def test_errors_repeat_no_key_no_link_and_no_prompt(settings: Settings, field: str, words: str) -> None:
    """Row 63."""
    error = error_of(settings, answering(401, {"error": {field: words}}))
    text = "".join(traceback.format_exception(error)).lower().replace(" ", "")
    for secret in (KEY.lower(), SIGNATURE.lower(), "garden"):
        assert secret not in text


@pytest.mark.parametrize("field", ["message", "code", "type"])
def test_errors_do_not_repeat_a_prompt_of_one_word(settings: Settings, field: str) -> None:
    """Row 63."""
    prompt = "Strandpromenade"
    api, _ = gateway(settings, answering(400, {"error": {field: f"not_allowed:{prompt}"}}))
    with pytest.raises(BadRequestError) as refused:
        api.send(a_call(settings, Request(prompt, 1, None)), b"", 5)
    assert prompt not in str(refused.value)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(failing(httpx.ConnectError(f"{KEY} {IMAGE_LINK} {PROMPT}")), id="no connection"),
        pytest.param(failing(httpx.ReadError(f"{KEY} {IMAGE_LINK} {PROMPT}")), id="no answer"),
        pytest.param(answering(200, f"{{{KEY} {IMAGE_LINK} {PROMPT}".encode()), id="cut off"),
        pytest.param(answering(200, f"{KEY} {IMAGE_LINK} {PROMPT}".encode()), id="no JSON"),
        pytest.param(answering(200, {"data": [f"{KEY} {IMAGE_LINK} {PROMPT}"]}), id="another shape"),
    ],
)
def test_broken_answers_are_not_quoted(settings: Settings, reply: Reply) -> None:
    """Row 63."""
    text = "".join(traceback.format_exception(error_of(settings, reply)))
    for secret in (KEY, SIGNATURE, "garden"):
        assert secret not in text


# Retry-After

NOW = datetime(2026, 11, 22, 8, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param(None, None, id="absent"),
        pytest.param("30", 30.0, id="seconds"),
        pytest.param(" 30 ", 30.0, id="blanks"),
        pytest.param("2.5", 2.5, id="fraction"),
        pytest.param("0", 1.0, id="zero"),
        pytest.param("-30", 1.0, id="negative"),
        pytest.param("86400", 900.0, id="a day"),
        pytest.param("9" * 30, 900.0, id="ages"),
        pytest.param("Sun, 22 Nov 2026 08:02:00 GMT", 120.0, id="date"),
        pytest.param("Sun, 22 Nov 2026 10:02:00 +0200", 120.0, id="date of another zone"),
        pytest.param("Sun, 22 Nov 2026 08:02:00 -0000", 120.0, id="date without a zone"),
        pytest.param("Sunday, 22-Nov-26 08:02:00 GMT", 120.0, id="date of RFC 850"),
        pytest.param("Sun, 22 Nov 2026 07:00:00 GMT", 1.0, id="date in the past"),
        pytest.param("Mon, 23 Nov 2026 08:00:00 GMT", 900.0, id="date of tomorrow"),
        pytest.param("", None, id="empty"),
        pytest.param("soon", None, id="garbage"),
        pytest.param("nan", None, id="no number"),
        pytest.param("inf", None, id="endless"),
        pytest.param("Sun, 99 Nov 2026 08:02:00 GMT", None, id="no date"),
        pytest.param(f"Sun, 22 Nov {'9' * 30} 08:02:00 GMT", None, id="a year that no machine knows"),
    ],
)
def test_retry_after_in_all_its_forms(header: str | None, seconds: float | None) -> None:
    """Row 18."""
    assert retry_after(header, NOW) == seconds


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_reaches_whoever_waits(settings: Settings, status: int) -> None:
    """Row 18."""
    error = error_of(settings, answering(status, retry_after="7"))
    absent = error_of(settings, answering(status))
    assert [_asked_to_wait(error), _asked_to_wait(absent)] == [7.0, None]


def _asked_to_wait(error: GatewayError) -> float | None:
    if isinstance(error, CallFailed):
        return error.facts.retry_after
    assert isinstance(error, GatewayBusy)
    return error.retry_after
