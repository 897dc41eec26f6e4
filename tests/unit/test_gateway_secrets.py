"""Errors of the gateway repeat no key, no link and no prompt."""

import traceback

import httpx
import pytest

from backdrop.errors import (
    BadRequestError,
)
from backdrop.request import Request
from backdrop.settings import Settings
from tests.unit.gateway_calls import (
    IMAGE_LINK,
    KEY,
    PROMPT,
    SIGNATURE,
    Reply,
    a_call,
    answering,
    error_of,
    failing,
    gateway,
)


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
