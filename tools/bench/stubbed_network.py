"""What is outside of a measured process: either only its time is taken, or it is played without a socket."""

import io
import json
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from functools import cache
from importlib import import_module
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session

from tools.simulation.simulated_table import SimulatedTable

STUBBED_ENVIRONMENT = {"AWS_ENDPOINT_URL": "", "GATEWAY_BASE_URL": "https://gateway.test/v1"}
"""What to change in a function's environment to have it played with."""

_PROMPT = "a marble kitchen counter in soft morning light"
_MODIFIED = "Sun, 22 Nov 2026 08:00:00 GMT"
_RESULT = b"\x89PNG\r\n\x1a\n" + (10**6).to_bytes(4) + b"IDAT" + bytes(10**6 + 4) + b"\0\0\0\0IEND\xae\x42\x60\x82"


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
    """`http`: take the time of POSTs by httpx, from connecting to the head of the answer. `played`: play everything."""
    away = Away()
    played = Played(away)
    for client in _http_clients():
        real = client.HTTPTransport.handle_request

        def handle(transport: Any, request: Any, real: Any = real, client: Any = client) -> Any:
            if how == "played":
                return played.web(client, request)
            if request.method != "POST":
                return real(transport, request)
            with away.watch("POST"):
                return real(transport, request)

        _replace(client.HTTPTransport, "handle_request", handle)
    if how == "played":
        _replace(URLLib3Session, "send", lambda _, request: played.aws(request))
        _replace(urllib.request, "urlopen", played.download)
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


class Played:
    """AWS and the gateway, each answer made in this process."""

    def __init__(self, away: Away) -> None:
        self._away = away
        self._table = SimulatedTable()

    def aws(self, request: Any) -> AWSResponse:
        """In place of botocore's connections."""
        target = request.headers.get("X-Amz-Target", b"").decode()
        operation = target.rpartition(".")[2] or f"{request.method} object"
        with self._away.watch(operation):
            status, headers, body = self._json(operation, request) if target else self._s3(request)
            return _answer(request, status, headers | {"Date": formatdate(usegmt=True)}, body)

    def web(self, client: Any, request: Any) -> Any:
        """In place of httpx's connections."""
        with self._away.watch(request.method):
            for _ in request.stream:  # it is made while it is sent
                pass
            answer = _RESULT
            if request.method == "POST":
                answer = json.dumps({"data": [{"url": "https://gateway.test/media/1.png"}]}).encode()
            headers = {"Content-Type": "application/json", "x-request-id": "req_1"}
            return client.Response(200, headers=headers, stream=client.ByteStream(answer))

    def download(self, _link: str) -> io.BytesIO:
        """In place of urllib's."""
        with self._away.watch("GET"):
            return io.BytesIO(_RESULT)

    def _json(self, operation: str, request: Any) -> tuple[int, dict[str, str], bytes]:
        asked = json.loads(request.body)
        answer: dict[str, Any]
        if operation == "GetParameter":
            answer = {"Parameter": {"Name": asked["Name"], "Value": "key", "Type": "SecureString"}}
        elif operation == "PutEvents":
            answer = {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}
        else:
            call: Callable[..., dict[str, Any]] = getattr(self._table, _snake(operation))
            try:
                answer = call(**asked)
            except ClientError as error:
                refused = {"__type": error.response["Error"]["Code"], "Item": error.response.get("Item")}
                return 400, {}, json.dumps(refused).encode()
        return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(answer).encode()

    def _s3(self, request: Any) -> tuple[int, dict[str, str], bytes]:
        if request.method == "PUT":
            return 200, {"ETag": '"stored"'}, b""
        if "list-type=2" in request.url:
            return 200, {"Content-Type": "application/xml"}, b"<ListBucketResult/>"
        found = re.search(r"/photo-(\d+)-\d+\.jpg(\?|$)", request.url)
        if not found:
            return 404, {}, b""
        size = int(found[1])
        headers = {
            "ETag": '"etag"',
            "Last-Modified": _MODIFIED,
            "Content-Type": "image/jpeg",
            "x-amz-version-id": "1",
            "x-amz-meta-prompt": _PROMPT,
        }
        if request.method == "HEAD":
            return 200, headers | {"Content-Length": found[1]}, b""
        photo, status = _photo(size), 200
        if wanted := re.fullmatch(rb"bytes=0-(\d+)", request.headers.get("Range") or b""):
            photo, status = photo[: int(wanted[1]) + 1], 206
            headers["Content-Range"] = f"bytes 0-{len(photo) - 1}/{size}"
        return status, headers | {"Content-Length": str(len(photo))}, photo


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


@cache
def _photo(size: int) -> bytes:
    return b"\xff\xd8\xff" + bytes(size - 3)


def _snake(operation: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).lower()
