"""What is outside of a measured process: either only its time is taken, or it is simulated without a socket."""

import io
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.httpsession import URLLib3Session

from tools.bench.stubbed_services import StubbedServices, operation_of

STUBBED_ENVIRONMENT = {"AWS_ENDPOINT_URL": "", "GATEWAY_BASE_URL": "https://gateway.test/v1"}
"""What to change in a function's environment to have it simulated with."""


class Away:
    """How long this process has waited for others, and for what."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.seconds = self.cpu_seconds = 0.0
        self.calls: Counter[str] = Counter()

    @contextmanager
    def watch(self, name: str) -> Iterator[None]:
        """Take what the block takes as away."""
        began, began_cpu = time.monotonic(), time.process_time()
        yield
        self.seconds += time.monotonic() - began
        self.cpu_seconds += time.process_time() - began_cpu
        self.calls[name] += 1


def install(how: str) -> Away:
    """`http`: take the time of POSTs by httpx, from connecting to the head of the answer. `simulated`: all."""
    away = Away()
    simulated = Simulated(away)
    for client in _http_clients():
        real = client.HTTPTransport.handle_request

        def handle(transport: Any, request: Any, real: Any = real, client: Any = client) -> Any:
            if how == "simulated":
                return simulated.web(client, request)
            if request.method != "POST":
                return real(transport, request)
            with away.watch("POST"):
                return real(transport, request)

        _replace(client.HTTPTransport, "handle_request", handle)
    if how == "simulated":
        _replace(URLLib3Session, "send", lambda _, request: simulated.aws(request))
        _replace(urllib.request, "urlopen", simulated.download)
    return away


def _http_clients() -> list[Any]:
    """httpx, and the OpenAI SDK's offspring of it; a function brings one of them."""
    found = []
    for name in ("httpx", "httpx2"):
        with suppress(ImportError):
            found.append(import_module(name))
    return found


def _replace(owner: Any, name: str, function: Any) -> None:
    setattr(owner, name, function)


class Simulated:
    """AWS and the gateway, each answer made in this process."""

    def __init__(self, away: Away) -> None:
        self._away = away
        self._services = StubbedServices("https://gateway.test")

    def aws(self, request: Any) -> AWSResponse:
        """In place of botocore's connections."""
        with self._away.watch(operation_of(request.method, request.headers)):
            found = self._services.aws(request.method, request.url, request.headers, request.body)
            return _answer(request, *found)

    def web(self, client: Any, request: Any) -> Any:
        """In place of httpx's connections."""
        with self._away.watch(request.method):
            for _ in request.stream:  # it is made while it is sent
                pass
            status, headers, body = self._services.gateway(request.method)
            return client.Response(status, headers=headers, stream=client.ByteStream(body))

    def download(self, _link: str) -> io.BytesIO:
        """In place of urllib's."""
        with self._away.watch("GET"):
            return io.BytesIO(self._services.gateway("GET")[2])


class _Raw(io.BytesIO):
    """As much of urllib3's response as botocore reads."""

    def stream(self, size: int = 2**16, **_: object) -> Iterator[bytes]:
        """In pieces."""
        while piece := self.read(size):
            yield piece


def _answer(request: Any, status: int, headers: dict[str, str], body: bytes) -> AWSResponse:
    answer = AWSResponse(request.url, status, headers, _Raw(body))  # type: ignore[arg-type]
    if not request.stream_output:
        _ = answer.content  # as botocore reads what is not streamed
    return answer
