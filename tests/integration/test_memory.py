"""A worker's memory is bounded, whatever comes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.aws_events import s3_event
from tests.integration.harness import Harness
from tests.integration.result_faults import CAP, MEGABYTE, Fault, raw

ROOT = Path(__file__).parents[2]
CHILD = """
import json, runpy, sys
from types import SimpleNamespace

def memory(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))

context = SimpleNamespace(
    aws_request_id="1", function_name="f", memory_limit_in_mb=512, invoked_function_arn="arn:aws:lambda:::function:f",
    get_remaining_time_in_millis=lambda: 150_000,
)
handle = runpy.run_path("functions/replace_background/app.py")["lambda_handler"]
resting = None
for line in sys.stdin:
    handle(json.loads(line), context)
    resting = resting or memory("VmRSS:")
    print("grown by", memory("VmHWM:") - resting, flush=True)
"""
"""A worker: handles an event a line, and says how far its memory has grown at most since the first was handled.

Not by getrusage: a child begins with its parent's peak.
"""


@contextmanager
def worker() -> Iterator[Callable[[dict[str, Any]], int]]:
    """A worker in a process of its own, as a function from an event to bytes."""
    path = os.pathsep.join(str(ROOT / folder) for folder in (".", "layers/backdrop/python"))
    with subprocess.Popen(
        [sys.executable, "-c", CHILD],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        ask, answers = process.stdin, process.stdout

        def grown_by(event: dict[str, Any]) -> int:
            print(json.dumps(event), file=ask, flush=True)
            return next(int(line.split()[-1]) for line in answers if line.startswith("grown by"))

        yield grown_by


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_row_43_memory_is_bounded_whatever_comes(harness: Harness, photo: bytes) -> None:
    head = "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"

    def webp(size: int) -> str:
        return (b"RIFF%bWEBPVP8 %b" % ((size - 8).to_bytes(4, "little"), (size - 20).to_bytes(4, "little"))).decode(
            "latin-1"
        )

    with worker() as grown_by:

        def growth(key: str, fault: Fault | None, where: str = "media") -> float:
            harness.gateway.faults([{"where": where, "times": 0, **fault}] if fault else [])
            return grown_by(s3_event(harness.put(key, photo, prompt="wood"))) / CAP

        growth("first.jpg", None)
        assert growth("endless.jpg", {"kind": "endless"}) < 2
        assert growth("bomb.jpg", {"kind": "gzip_bomb", "megabytes": 67}) < 2
        assert growth("slow.jpg", raw(head % (100 * MEGABYTE) + webp(100 * MEGABYTE), "\0" * MEGABYTE, 100, 0.01)) < 2
        assert set(harness.outputs()) == {"first.jpg.png"}
        assert len(harness.waiting()) == 3
        assert growth("largest.jpg", raw(head % CAP + webp(CAP), "\0" * MEGABYTE, 34)) < 3
        harness.gateway.settings(answer="b64_json")
        # Its base64 has 43 MiB, which json and base64 copy each.
        assert growth("inline.jpg", {"kind": "inline", "text": webp(33 * MEGABYTE + 20), "megabytes": 33}, "images") < 6

    assert set(harness.outputs()) == {"first.jpg.png", "largest.jpg.webp", "inline.jpg.webp"}
    assert len(harness.outputs()["largest.jpg.webp"]["Body"]) == CAP
    assert harness.charged() == len(harness.gateway.calls()) == 6
