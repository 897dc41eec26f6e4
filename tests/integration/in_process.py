"""Moto, faster: requests of boto3's clients reach it without a connection, and it looks up less for each.

What moto answers stays as it is.
"""

import gc
import io
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any, TypeVar
from urllib.parse import unquote

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from moto import backends
from moto.core.serialize import BaseJSONSerializer
from werkzeug.test import EnvironBuilder, run_wsgi_app

Client = TypeVar("Client")
_PLAIN_VALUES = ({"S"}, {"N"}, {"BOOL"}, {"NULL"})
_apps: dict[str, Callable[..., Any]] = {}


def serve(endpoint_url: str, app: Callable[..., Any]) -> None:
    """Let `app`, which is moto's, answer what `connected` clients send to an endpoint."""
    _apps[endpoint_url] = app
    modules = tuple(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: modules  # else it reads its folder for every request
    BaseJSONSerializer._serialize_type_structure = _structure  # type: ignore[method-assign]
    gc.collect()
    gc.freeze()  # file uploads collect garbage; what tests and moto have loaded is none


def connected(client: Client) -> Client:
    """The client, whose requests to a served endpoint take the short way."""
    endpoint = client._endpoint  # type: ignore[attr-defined]
    endpoint.http_session = _Session(endpoint.http_session)
    return client


class _Session:
    """In the place of botocore's, behind all of its events: what a test refuses there never gets here."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        return _send(request) or self._real.send(request)

    def close(self) -> None:
        self._real.close()


_structure_of_moto = BaseJSONSerializer._serialize_type_structure


def _structure(self: Any, serialized: Any, value: Any, shape: Any, key: str) -> None:
    """An attribute of DynamoDB is taken as it is; moto would ask for each of the ten types whether it is of that."""
    if shape.name == "AttributeValue" and isinstance(value, dict) and value.keys() in _PLAIN_VALUES:
        self._default_serialize(serialized, value, shape, key)
    else:
        _structure_of_moto(self, serialized, value, shape, key)


class _Body(io.BytesIO):
    """As urllib3 has it."""

    def stream(self, amt: int = 2**16, **_: Any) -> Iterator[bytes]:
        while chunk := self.read(amt):
            yield chunk


def _send(request: AWSPreparedRequest) -> AWSResponse | None:
    origin, _slash, rest = request.url.partition("://")[2].partition("/")
    app = _apps.get(f"http://{origin}")
    if app is None:
        return None
    path, _mark, query = rest.partition("?")
    body: Any = request.body or b""
    if hasattr(body, "read"):
        body = body.read()
    data = body.encode() if isinstance(body, str) else bytes(body)
    headers = {
        name: value.decode() if isinstance(value, bytes) else value
        for name, value in request.headers.items()
        if name.lower() != "transfer-encoding"
    }
    environ = EnvironBuilder(
        method=request.method, base_url=f"http://{origin}", headers=[*headers.items()], data=data
    ).get_environ() | {
        "PATH_INFO": unquote(f"/{path}", "latin-1"),
        "QUERY_STRING": query,
        "REQUEST_URI": f"/{rest}",
        "RAW_URI": f"/{rest}",
        "CONTENT_LENGTH": str(len(data)),
    }
    content, status, answered = run_wsgi_app(app, environ, buffered=True)
    return AWSResponse(
        request.url,
        int(status.split()[0]),
        HTTPHeaders.from_dict({"Date": formatdate(usegmt=True), **dict(answered.items())}),
        _Body(b"".join(content)),
    )
