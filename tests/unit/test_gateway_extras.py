"""A path, fields and headers that a gateway wants besides: what is taken, what is refused, and what is sent."""

import json
from dataclasses import replace
from typing import Any

import pytest

from backdrop.errors import NotConfigured
from backdrop.gateway_extras import headers, merged
from backdrop.settings import Settings
from tests.unit.gateway_calls import IMAGE_LINK, KEY, PNG, PROMPT, a_call, answering, gateway, multipart_of
from tests.unit.test_settings import ENVIRONMENT

EXAMPLE = '{"image_url": null, "images": [{"image_url": "{image}"}], "seed": 7}'


def with_setting(name: str, value: str, **others: str) -> Settings:
    return Settings.from_environment(ENVIRONMENT | others | {name: value})


def sent(settings: Settings, photo: bytes = b"") -> Any:
    api, requests = gateway(settings, answering(200))
    api.send(a_call(settings), photo, 5)
    return requests[0]


def test_without_them_nothing_is_added() -> None:
    settings = Settings.from_environment(ENVIRONMENT)
    assert (settings.gateway_path, settings.gateway_extra_fields, settings.gateway_extra_headers) == ("", {}, {})


def test_a_value_replaces_null_leaves_out_and_image_becomes_the_link() -> None:
    request = sent(with_setting("GATEWAY_EXTRA_FIELDS", EXAMPLE))
    assert json.loads(request.content) == {
        "model": "ideogram/ideogram-v3-replace-background",
        "prompt": PROMPT,
        "n": 2,
        "size": "1024x768",
        "response_format": "url",
        "images": [{"image_url": IMAGE_LINK}],
        "seed": 7,
    }


@pytest.mark.parametrize(
    ("extra", "field", "value"),
    [
        ('{"response_format": "b64_json"}', "response_format", "b64_json"),
        ('{"prompt": "a beach"}', "prompt", "a beach"),
        ('{"model": "another"}', "model", "another"),
        ('{"size": "auto"}', "size", "auto"),
        ('{"n": 3}', "n", 3),
        ('{"image_url": "prefix {image} suffix"}', "image_url", f"prefix {IMAGE_LINK} suffix"),
        ('{"a": {"b": ["{image}", null, true, 1.5]}}', "a", {"b": [IMAGE_LINK, None, True, 1.5]}),
    ],
)
def test_any_field_can_be_replaced_or_added(extra: str, field: str, value: object) -> None:
    assert json.loads(sent(with_setting("GATEWAY_EXTRA_FIELDS", extra)).content)[field] == value


@pytest.mark.parametrize("field", ["model", "prompt", "n", "size", "response_format"])
def test_any_field_but_the_photo_can_be_left_out(field: str) -> None:
    assert field not in json.loads(sent(with_setting("GATEWAY_EXTRA_FIELDS", f'{{"{field}": null}}')).content)


def test_a_prompt_that_says_image_is_sent_as_it_is() -> None:
    assert merged({"prompt": "an {image} of a beach"}, {"seed": 1}, "link") == {
        "prompt": "an {image} of a beach",
        "seed": 1,
    }


def test_in_a_file_upload_what_is_no_text_or_number_is_json() -> None:
    extra = (
        '{"seed": 7, "strength": 0.5, "safe": true, "tags": ["a", {"b": null}], "style": "plain", "from": "{image}"}'
    )
    settings = with_setting("GATEWAY_EXTRA_FIELDS", extra, GATEWAY_ROUTE="edits-multipart")
    parts = {name: part.get_payload(decode=True) for name, part in multipart_of(sent(settings, PNG)).items()}
    assert parts.pop("image") == PNG
    assert {name: parts[name] for name in ("seed", "strength", "safe", "tags", "style", "from")} == {
        "seed": b"7",
        "strength": b"0.5",
        "safe": b"true",
        "tags": b'["a", {"b": null}]',
        "style": b"plain",
        "from": IMAGE_LINK.encode(),
    }
    assert parts["n"] == b"2"


@pytest.mark.parametrize(("extra", "dies"), [("{}", False), ('{"seed": 7}', False), ('{"from": "{image}"}', True)])
def test_a_file_upload_outlives_the_link_unless_it_holds_one(extra: str, dies: bool) -> None:
    call = a_call(with_setting("GATEWAY_EXTRA_FIELDS", extra, GATEWAY_ROUTE="edits-multipart"))
    assert (call.image_link_dies_at == 1000.0) is dies


def test_the_path_takes_the_place_of_the_routes_own() -> None:
    assert str(sent(with_setting("GATEWAY_PATH", "/images")).url) == "https://gateway.test/v1/images"


def test_headers_are_sent_and_never_take_the_place_of_ours() -> None:
    extra = '{"x-portkey-provider": "openai", "x-retries": 0, "User-Agent": "shop"}'
    request = sent(with_setting("GATEWAY_EXTRA_HEADERS", extra))
    assert request.headers["x-portkey-provider"] == "openai"
    assert request.headers["x-retries"] == "0"
    assert request.headers["user-agent"] == "shop"
    assert request.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("route", ["generations", "edits", "edits-multipart"])
def test_a_replay_has_path_fields_and_headers_of_its_first_call(settings: Settings, route: Any) -> None:
    """Row 91: whatever was deployed meanwhile."""
    first = replace(
        settings,
        gateway_route=route,
        gateway_path="/images",
        gateway_extra_fields={"seed": 7, "from": "{image}"},
        gateway_extra_headers={"b": "2", "a": "1"},
    )
    call = a_call(first)
    later = replace(settings, gateway_route=route, gateway_extra_headers={"a": "other"})
    (first_api, firsts), (later_api, replays) = gateway(first, answering(200)), gateway(later, answering(200))
    first_api.send(call, PNG, 5)
    later_api.send(replace(call, headers=dict(reversed(call.headers.items()))), PNG, 5)
    assert replays[0].url == firsts[0].url
    assert replays[0].content == firsts[0].content
    assert replays[0].headers.raw == firsts[0].headers.raw


@pytest.mark.parametrize("name", ["GatewayExtraFields", "GatewayExtraHeaders"])
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("[]", "no object"),
        ("7", "no object"),
        ('"{}"', "no object"),
        ("null", "no object"),
        ("{", "no JSON"),
        ("{seed: 7}", "no JSON"),
        ('{"seed": NaN}', "no JSON"),
        ('{"text": "\\ud800"}', "no JSON"),
        ("[" * 500, "no JSON"),
        ('{"text": "' + "x" * 1000 + '"}', "1012 characters"),
    ],
)
def test_what_is_no_object_or_too_long_is_refused_by_name(name: str, value: str, why: str) -> None:
    """Row 90."""
    with pytest.raises(NotConfigured, match=f"{name}.*{why}"):
        with_setting({"GatewayExtraFields": "GATEWAY_EXTRA_FIELDS"}.get(name, "GATEWAY_EXTRA_HEADERS"), value)


@pytest.mark.parametrize(
    ("value", "route"),
    [
        ('{"image_url": null}', "generations"),
        ('{"image_url": null, "seed": 7}', "edits"),
        ('{"image_url": "https://shop.example/one.jpg"}', "generations"),
        ('{"image": null}', "edits-multipart"),
        ('{"image": "{image}"}', "edits-multipart"),
        ('{"n": 9}', "generations"),
        ('{"n": 0}', "generations"),
        ('{"n": true}', "generations"),
        ('{"n": "2"}', "generations"),
        ('{"n": 2.0}', "generations"),
    ],
)
def test_fields_without_the_photo_or_of_an_uncounted_number_of_images_are_refused(value: str, route: str) -> None:
    """Row 90: they would buy pictures of nothing, or more than the daily limit counts."""
    with pytest.raises(NotConfigured, match="GatewayExtraFields"):
        with_setting("GATEWAY_EXTRA_FIELDS", value, GATEWAY_ROUTE=route)


@pytest.mark.parametrize(
    "value",
    [
        '{"Authorization": "Bearer x"}',
        '{"authorization": "Bearer x"}',
        '{"Idempotency-Key": "x"}',
        '{"HOST": "x"}',
        '{"Content-Type": "text/plain"}',
        '{"content-length": "1"}',
        '{"Transfer-Encoding": "chunked"}',
        '{"x y": "z"}',
        '{"": "z"}',
        '{"x-a": "é"}',
        '{"x-a": "b\\r\\nAuthorization: c"}',
        '{"x-a": ["b"]}',
        '{"x-a": null}',
        '{"x-a": true}',
    ],
)
def test_headers_that_are_ours_or_none_are_refused(value: str) -> None:
    """Row 90."""
    with pytest.raises(NotConfigured, match="GatewayExtraHeaders"):
        with_setting("GATEWAY_EXTRA_HEADERS", value)


@pytest.mark.parametrize("value", ["images", "/images?x=1", "/images#a", "/../x", "/a/./b", "//host/x", "/a b", "/é"])
def test_any_other_path_is_refused(value: str) -> None:
    """Row 90."""
    with pytest.raises(NotConfigured, match="GatewayPath"):
        with_setting("GATEWAY_PATH", value)


def test_a_refusal_quotes_no_value() -> None:
    """Somebody may have put a secret there."""
    for value in ('{"x-api-key": "s3cr3t-é"}', '{"x-api-key": "s3cr3t"'):  # pragma: allowlist secret - made up
        with pytest.raises(NotConfigured) as refused:
            with_setting("GATEWAY_EXTRA_HEADERS", value)
        assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("name", ["x-aig-tag", "X-AIG-Tag"])
def test_an_uploads_tag_goes_before_an_extra_header_of_that_name(name: str) -> None:
    assert headers({name: "all", "x-a": "1"}, "north") == {"x-a": "1", "x-aig-tag": "north"}
    assert headers({name: "all", "x-a": "1"}, "") == {name: "all", "x-a": "1"}
