"""What a call asks for, checked as the gateway documents it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from .dialects import Dialect, link_at
from .errors import GatewayError

SOURCE_BYTES_LIMIT = 25 * 1024 * 1024

_SIDES = range(256, 2049)


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
    """The last part of the path, as `generations` or `edits`; of a form, `edits-multipart`."""
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
                upload = form.get("image") or form.get("image[]")
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


def check(path: str, form: Form, headers: Mapping[str, str], dialect: Dialect) -> Order:
    """The order behind a POST to /v1/`path`. Raises `GatewayError` 400, 404, 413 or what the dialect refuses with."""
    endpoints = [endpoint for endpoint in dialect.endpoints if endpoint.path == path.rstrip("/")]
    if not endpoints:
        raise GatewayError(404, f"There is no endpoint {path}.", code="not_found")
    fields = form.fields
    endpoint = next((each for each in endpoints if each.is_form == form.is_multipart), None)
    if not fields or endpoint is None:
        raise GatewayError(400, "The body has to be a JSON object, or for edits a multipart form.")
    if dialect.required_header and dialect.required_header not in headers:
        raise GatewayError(400, f"The header {dialect.required_header} is missing.")
    model, prompt = (_text(fields, name) for name in ("model", "prompt"))
    if not model:
        raise GatewayError(400, "model is missing.")
    if model != dialect.model:
        raise GatewayError(404, f"There is no model {model!r}.")
    if not prompt or not prompt.strip():
        raise GatewayError(400, "prompt is missing.")
    if not dialect.drops_unknown:
        for unknown in sorted(fields.keys() - endpoint.fields):
            raise GatewayError(dialect.unknown_status, f"{unknown} is no parameter of {path}.", code=dialect.unknown)
    link = link_at(fields, endpoint.photo)
    if link is not None and not isinstance(link, str):
        raise GatewayError(400, f"{endpoint.photo} has to be text.")
    if endpoint.needs_photo and link is None and form.image is None:
        raise GatewayError(400, "An edit needs an image.")
    if form.image is not None and len(form.image) > SOURCE_BYTES_LIMIT:
        raise GatewayError(413, "The image is larger than 25 MB.")
    known = {name: value for name, value in fields.items() if name in endpoint.fields}
    return Order(
        route=path.rpartition("/")[2] + ("-multipart" if form.is_multipart else ""),
        model=model,
        prompt=prompt,
        n=_count(known.get("n", 1), form.is_multipart),
        size=_size(_text(known, "size"), dialect),
        response_format="b64_json" if dialect.is_inline else _response_format(_text(known, "response_format"), dialect),
        image_url=link,
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


def _size(value: str | None, dialect: Dialect) -> tuple[int, int] | None:
    if value is None:
        return None
    if dialect.sizes is not None and value not in dialect.sizes:
        raise GatewayError(400, f"size has to be one of {', '.join(sorted(dialect.sizes))}.")
    if value == "auto":
        return None
    sides = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value)
    if sides is None or any(int(side) not in _SIDES for side in sides.groups()):
        raise GatewayError(422, f"size has to be WIDTHxHEIGHT, {_SIDES[0]} to {_SIDES[-1]} pixels each.")
    return int(sides[1]), int(sides[2])


def _response_format(value: str | None, dialect: Dialect) -> str:
    if value not in (None, *dialect.formats):
        raise GatewayError(422, f"response_format has to be {' or '.join(dialect.formats)}.")
    return "b64_json" if value == "base64" else value or "url"
