"""What is sent to the gateway, on each route."""

import json
from dataclasses import replace

import pytest

from backdrop.request import Request
from backdrop.settings import Settings
from tests.unit.gateway_calls import (
    IDEMPOTENCY_KEY,
    IMAGE_LINK,
    KEY,
    PNG,
    PROMPT,
    a_call,
    answering,
    gateway,
    multipart_of,
)


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
