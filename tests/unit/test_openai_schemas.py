"""Our requests against OpenAI's published schemas of the image endpoints, as they were on 2026-11-30.

Written down from the API reference (https://platform.openai.com/docs/api-reference/images): the fields that Backdrop
sends, with their types. What a gateway adds to them, such as `image_url`, is no part of these schemas.
"""

import json
from dataclasses import replace
from typing import Any

import pytest
from openai.types.image_edit_params import ImageEditParamsBase
from openai.types.image_generate_params import ImageGenerateParamsBase

from backdrop.request import MAX_IMAGES, MAX_PROMPT_CHARACTERS
from backdrop.settings import Settings
from tests.unit.gateway_calls import PNG, a_call, answering, gateway, multipart_of

MOST_IMAGES = 10
LONGEST_PROMPT = 32_000  # characters, of the gpt-image models
TYPES: dict[str, type] = {"model": str, "prompt": str, "n": int, "size": str, "response_format": str}
RESPONSE_FORMATS = {"url", "b64_json"}
OF_GATEWAYS = {"image_url"}


def sent(settings: Settings, route: Any) -> Any:
    settings = replace(settings, gateway_route=route)
    api, requests = gateway(settings, answering(200))
    api.send(a_call(settings), PNG, 5)
    return requests[0]


@pytest.mark.parametrize(
    ("route", "schema"), [("generations", ImageGenerateParamsBase), ("edits", ImageEditParamsBase)]
)
def test_json_fields_are_those_of_the_schema_with_its_types(settings: Settings, route: str, schema: Any) -> None:
    body = json.loads(sent(settings, route).content)
    ours = {name: value for name, value in body.items() if name not in OF_GATEWAYS}
    assert set(ours) <= set(schema.__annotations__)
    assert all(type(value) is TYPES[name] for name, value in ours.items())
    assert body.get("response_format", "url") in RESPONSE_FORMATS


def test_form_fields_are_those_of_the_schema(settings: Settings) -> None:
    parts = multipart_of(sent(settings, "edits-multipart"))
    assert set(parts) <= set(ImageEditParamsBase.__annotations__)
    assert {"image", "prompt"} <= set(parts), "required"
    assert parts["image"].get_filename()


def test_limits_are_within_those_of_the_schema() -> None:
    assert MAX_IMAGES <= MOST_IMAGES
    assert MAX_PROMPT_CHARACTERS <= LONGEST_PROMPT
