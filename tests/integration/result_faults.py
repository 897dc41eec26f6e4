"""What a result's host may answer, over real HTTP."""

from typing import Any

import pytest

from tests.integration.harness import Harness
from tests.integration.simulated_lambda import Killed

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\x3cIDAT" + b"pixels" * 10 + bytes(4) + b"\0\0\0\0IEND\xae\x42\x60\x82"
PRIVATE = "PRIVATE"
"""In a fault: the host and port of `private`."""
MEGABYTE = 1_000_000
CAP = 32 * 2**20
Fault = dict[str, Any]


def answer(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> Fault:
    """These very bytes, labelled as a PNG unless `headers` say something else."""
    label = () if any(header.startswith("Content-Type") for header in headers) else ("Content-Type: image/png",)
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *label, *headers]
    return raw("\r\n".join(lines) + "\r\n\r\n" + body.decode("latin-1"))


def raw(text: str, more: str = "", count: int = 0, interval: float = 0.0) -> Fault:
    return {"kind": "raw", "text": text, "more": more, "count": count, "interval": interval}


def script(harness: Harness, fault: Fault, private: str = "", times: int = 0) -> None:
    """Let it happen to the next fetches, all of them when `times` is 0."""
    texts = {name: value.replace(PRIVATE, private) for name, value in fault.items() if isinstance(value, str)}
    harness.gateway.faults([{"where": "media", "times": times, **fault, **texts}])


def assert_fetched_at_last(harness: Harness) -> None:
    """Stored after two tries that failed, and paid once."""
    assert list(harness.outputs()) == ["a.jpg.png"]
    assert len(harness.gateway.fetches()) == 3
    assert harness.dead_letters() == harness.waiting() == []
    assert len(harness.gateway.calls()) == harness.charged() == 1


def upload_killed_while_storing(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch, prompt: str = "wood"
) -> None:
    """Upload a.jpg; its worker is killed when the result is about to be stored."""

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(harness.services.result_storage, "store", killed)
        harness.upload("a.jpg", photo, prompt=prompt)
