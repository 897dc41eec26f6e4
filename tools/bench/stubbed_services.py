"""What AWS and the gateway answer to a measured function, however it asks; one table, and photos of any size."""

import json
import re
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import cache
from typing import Any

from botocore.exceptions import ClientError

from tools.simulation.simulated_table import SimulatedTable

Found = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""

_PROMPT = "a marble kitchen counter in soft morning light"
_MODIFIED = "Sun, 22 Nov 2026 08:00:00 GMT"
_RESULT = b"\x89PNG\r\n\x1a\n" + (10**6).to_bytes(4) + b"IDAT" + bytes(10**6 + 4) + b"\0\0\0\0IEND\xae\x42\x60\x82"


def operation_of(method: str, headers: Mapping[str, Any]) -> str:
    """DynamoDB's, SSM's or EventBridge's operation, or a method of S3."""
    return _target(headers).rpartition(".")[2] or f"{method} object"


class StubbedServices:
    """The gateway's results are at `origin`."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._table = SimulatedTable()

    def aws(self, method: str, url: str, headers: Mapping[str, Any], body: Any) -> Found:
        """An answer of one of its services."""
        if _target(headers):
            status, answered, data = self._json(operation_of(method, headers), json.loads(body))
        else:
            status, answered, data = _s3(method, url, headers)
        return status, answered | {"Date": formatdate(usegmt=True)}, data

    def gateway(self, method: str) -> Found:
        """A link for a POST, and what it leads to."""
        headers = {"Content-Type": "application/json", "x-request-id": "req_1"}
        if method == "POST":
            return 200, headers, json.dumps({"data": [{"url": f"{self._origin}/media/1.png"}]}).encode()
        return 200, headers, _RESULT

    def _json(self, operation: str, asked: dict[str, Any]) -> Found:
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


def _s3(method: str, url: str, asked: Mapping[str, Any]) -> Found:
    if method == "PUT":
        return 200, {"ETag": '"stored"'}, b""
    if "list-type=2" in url:
        return 200, {"Content-Type": "application/xml"}, b"<ListBucketResult/>"
    found = re.search(r"/photo-(\d+)-\d+\.jpg(\?|$)", url)
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
    if method == "HEAD":
        return 200, headers | {"Content-Length": found[1]}, b""
    photo, status = _photo(size), 200
    if wanted := re.fullmatch(r"bytes=0-(\d+)", _text(asked.get("Range"))):
        photo, status = photo[: int(wanted[1]) + 1], 206
        headers["Content-Range"] = f"bytes 0-{len(photo) - 1}/{size}"
    return status, headers | {"Content-Length": str(len(photo))}, photo


def _target(headers: Mapping[str, Any]) -> str:
    return _text(headers.get("X-Amz-Target"))


def _text(header: Any) -> str:
    """botocore keeps some as bytes."""
    return header.decode() if isinstance(header, bytes) else header or ""


@cache
def _photo(size: int) -> bytes:
    return b"\xff\xd8\xff" + bytes(size - 3)


def _snake(operation: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).lower()
