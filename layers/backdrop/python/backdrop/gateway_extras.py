"""What a gateway wants besides or instead of what Backdrop sends: a path, fields and headers, checked and merged."""

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from backdrop.errors import NotConfigured
from backdrop.request import MAX_IMAGES
from backdrop.routes import Route

IMAGE = "{image}"
"""Stands for the photo's link in the texts of the extra fields."""
TAG_HEADER = "x-aig-tag"
MAX_FIELDS_CHARACTERS = 1000  # of the JSON. Lambda allows 4 KB for all variables of a function, DefaultPrompt included
MAX_HEADERS_CHARACTERS = 500
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+/?", re.ASCII)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_OUR_HEADERS = re.compile(r"authorization|idempotency-key|host|content-.*|transfer-encoding|connection", re.I)


def checked_path(text: str) -> str:
    """GatewayPath: empty, or an absolute path. Raises NotConfigured."""
    if text and (not _PATH.fullmatch(text) or not {".", ".."}.isdisjoint(text.split("/"))):
        raise _refusal(
            "GatewayPath (GATEWAY_PATH)", "must be a path that begins with /, as in /images, without ? and #"
        )
    return text


def checked_fields(text: str, route: Route) -> dict[str, Any]:
    """GatewayExtraFields as an object, for calls by `route`. Raises NotConfigured."""
    name = "GatewayExtraFields (GATEWAY_EXTRA_FIELDS)"
    fields = _object(name, text, MAX_FIELDS_CHARACTERS)
    photo = route.photo_field
    if photo in fields and route.is_upload:
        raise _refusal(name, f"sets {photo}, which is the photo itself in a file upload")
    if photo in fields and not _has_image(fields):
        raise _refusal(name, f"takes the place of {photo} and has no {IMAGE}, so calls would buy images of no photo")
    n = fields.get("n")
    if n is not None and (type(n) is not int or not 1 <= n <= MAX_IMAGES):
        raise _refusal(name, f"has an n that is neither null nor a whole number from 1 to {MAX_IMAGES}")
    return fields


def checked_headers(text: str) -> dict[str, str]:
    """GatewayExtraHeaders as an object of texts. Raises NotConfigured."""
    name = "GatewayExtraHeaders (GATEWAY_EXTRA_HEADERS)"
    headers = _object(name, text, MAX_HEADERS_CHARACTERS)
    for header, value in headers.items():
        if not _HEADER_NAME.fullmatch(header):
            raise _refusal(name, f"has {header[:40]!r}, which is no name of a header")
        if _OUR_HEADERS.fullmatch(header):
            raise _refusal(name, f"sets {header}, which is Backdrop's own to set")
        is_plain = isinstance(value, str) and value.isascii() and value.isprintable()
        if not is_plain and (isinstance(value, bool) or not isinstance(value, int)):
            raise _refusal(name, f"has a value for {header} that is no printable ASCII text")
    return {header: str(value).strip() for header, value in headers.items()}


def photo_fields(extra: Mapping[str, Any], route_field: str) -> list[str]:
    """The fields of a call's body that bring the photo; `route_field` does unless an extra field takes its place."""
    own = [route_field] if route_field not in extra else []
    return own + [name for name, value in extra.items() if _has_image(value)]


def merged(fields: Mapping[str, Any], extra: Mapping[str, Any], image_link: str) -> dict[str, Any]:
    """The fields of a call: an extra value replaces one, null leaves it out, IMAGE becomes the link."""
    filled = {name: _filled(value, image_link) for name, value in extra.items()}
    return {name: value for name, value in (dict(fields) | filled).items() if value is not None}


def headers(extra: Mapping[str, str], tag: str) -> dict[str, str]:
    """The headers of a call beside those that every call has; an upload's tag goes before an extra header."""
    if not tag:
        return dict(extra)
    return {name: value for name, value in extra.items() if name.lower() != TAG_HEADER} | {TAG_HEADER: tag}


def _filled(value: Any, image_link: str) -> Any:
    if isinstance(value, str):
        return value.replace(IMAGE, image_link)
    if isinstance(value, list):
        return [_filled(each, image_link) for each in value]
    if isinstance(value, dict):
        return {name: _filled(each, image_link) for name, each in value.items()}
    return value


def _has_image(value: Any) -> bool:
    return bool(_filled(value, "") != value)


def _object(name: str, text: str, most: int) -> dict[str, Any]:
    if len(text) > most:
        raise _refusal(name, f"has {len(text)} characters; the most is {most}")
    try:
        value = json.loads(text, parse_constant=_no_json)
        text.encode()
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate can't be sent in a form
    except (ValueError, RecursionError):
        why = "is no JSON; the quotes may have got lost on their way through the shell (docs/gateways.md)"
        raise _refusal(name, why) from None
    if not isinstance(value, dict):
        raise _refusal(name, "is JSON, but no object, as {} is")
    return value


def _no_json(constant: str) -> NoReturn:
    raise ValueError(constant)


def _refusal(name: str, why: str) -> NotConfigured:
    return NotConfigured(f"{name} {why}")
