"""What a call asks for, checked as the gateway documents it."""

import json
import re
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from .errors import GatewayError

MODELS = ("ideogram/ideogram-v3-replace-background",)

SOURCE_BYTES_LIMIT = 25 * 1024 * 1024

_SIDES = range(256, 2049)

_ENDPOINTS = {"images/generations": "generations", "images/edits": "edits"}

# Stricter than is known of the real gateway: a misspelled parameter is better noticed here than ignored there.
_PARAMETERS = {
    "generations": {"model", "prompt", "n", "size", "response_format", "image_url"},
    "edits": {"model", "prompt", "n", "size", "image_url", "mask_url"},
    "edits-multipart": {"model", "prompt", "n", "size", "response_format"},
}


@dataclass(frozen=True)
class Form:
    """A request body: its fields as received, and the uploaded image of a multipart one."""

    fields: dict[str, object]
    image: bytes | None = None
    is_multipart: bool = False


@dataclass(frozen=True)
class Order:
    """A call that passed all checks."""

    route: str
    """`generations`, `edits` or `edits-multipart`."""
    model: str
    prompt: str
    n: int
    size: tuple[int, int] | None
    response_format: str
    image_url: str | None
    image: bytes | None


async def read_form(request: Request) -> Form:
    """The body's fields; none when it is neither a JSON object nor a readable form."""
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        try:
            async with request.form(max_files=2) as form:
                upload = form.get("image")
                fields: dict[str, object] = {name: text for name, text in form.items() if isinstance(text, str)}
                return Form(fields, await upload.read() if isinstance(upload, UploadFile) else None, True)
        except HTTPException:
            return Form({}, is_multipart=True)
    try:
        fields = json.loads(await request.body())
    except ValueError:
        return Form({})
    return Form(fields if isinstance(fields, dict) else {})


def shown(form: Form) -> dict[str, object]:
    """The fields as received, without the photo that a data: link carries."""
    link = form.fields.get("image_url")
    if isinstance(link, str) and link.startswith("data:"):
        return {**form.fields, "image_url": f"{link[:40]}…"}
    return form.fields


def check(endpoint: str, form: Form) -> Order:
    """The order behind a POST to /v1/`endpoint`. Raises `GatewayError` 400, 404, 413 or 422."""
    if endpoint not in _ENDPOINTS:
        raise GatewayError(404, f"There is no endpoint {endpoint}.", code="not_found")
    route = _ENDPOINTS[endpoint] + ("-multipart" if form.is_multipart else "")
    fields = form.fields
    if not fields or route not in _PARAMETERS:
        raise GatewayError(400, "The body has to be a JSON object, or for edits a multipart form.")
    model, prompt, image_url = (_text(fields, name) for name in ("model", "prompt", "image_url"))
    if not model:
        raise GatewayError(400, "model is missing.")
    if model not in MODELS:
        raise GatewayError(404, f"There is no model {model!r}.")
    if not prompt or not prompt.strip():
        raise GatewayError(400, "prompt is missing.")
    for unknown in sorted(fields.keys() - _PARAMETERS[route]):
        raise GatewayError(422, f"{unknown} is no parameter of {route}.")
    if route != "generations" and image_url is None and form.image is None:
        raise GatewayError(400, "An edit needs an image.")
    if form.image is not None and len(form.image) > SOURCE_BYTES_LIMIT:
        raise GatewayError(413, "The image is larger than 25 MB.")
    return Order(
        route=route,
        model=model,
        prompt=prompt,
        n=_count(fields.get("n", 1), form.is_multipart),
        size=_size(_text(fields, "size")),
        response_format=_response_format(_text(fields, "response_format")),
        image_url=image_url,
        image=form.image,
    )


def _text(fields: dict[str, object], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise GatewayError(400, f"{name} has to be text.")
    return value


def _count(value: object, is_multipart: bool) -> int:
    if is_multipart and isinstance(value, str) and re.fullmatch("[1-8]", value):
        return int(value)
    if type(value) is int and 1 <= value <= 8:
        return value
    raise GatewayError(400, "n has to be a whole number from 1 to 8.")


def _size(value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    sides = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value)
    if sides is None or any(int(side) not in _SIDES for side in sides.groups()):
        raise GatewayError(422, f"size has to be WIDTHxHEIGHT, {_SIDES[0]} to {_SIDES[-1]} pixels each.")
    return int(sides[1]), int(sides[2])


def _response_format(value: str | None) -> str:
    if value not in (None, "url", "b64_json"):
        raise GatewayError(422, "response_format has to be url or b64_json.")
    return value or "url"
