"""AWS answers the functions' clients with an error, as it is documented on the wire."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from moto.core.botocore_stubber import MockRawResponse

from tests.integration.conftest import SharedSession
from tests.integration.harness import Harness

Asked = Callable[[Any], bool]
"""Of a request that is about to be sent: `url`, `headers`, `method`."""


@dataclass
class Fault:
    """How often it was answered so far."""

    answered: int = 0


def client_of(harness: Harness, service: str) -> Any:
    """The functions' own client of a service, which tests may wrap."""
    assert harness.services  # makes the clients
    return SharedSession().client(service, None)  # type: ignore[arg-type]


@contextmanager
def refusing(
    harness: Harness,
    operation: str,
    code: str,
    status: int,
    *,
    times: int = 10**9,
    asked: Asked = lambda _: True,
    more: str = "",
) -> Iterator[Fault]:
    """`operation`, as `s3.GetObject`, is answered `times` times with an error; `more` is XML beside its code."""
    service, _, name = operation.partition(".")
    events = client_of(harness, service).meta.events
    fault = Fault()

    def answer(request: Any, **_: Any) -> AWSResponse | None:
        if fault.answered == times or not asked(request):
            return None
        fault.answered += 1
        if service == "s3":
            body = f"<Error><Code>{code}</Code><Message>no</Message>{more}</Error>" if request.method != "HEAD" else ""
        else:
            body = json.dumps({"__type": code, "message": "no"})
        return AWSResponse(request.url, status, HTTPHeaders(), MockRawResponse(body.encode()))

    events.register(f"before-send.{service}.{name}", answer)
    try:
        yield fault
    finally:
        events.unregister(f"before-send.{service}.{name}", answer)


def about(key: str) -> Asked:
    """Requests for one key."""
    return lambda request: request.url.partition("?")[0].endswith("/" + key)
