"""`python -m tools.bench.memory`: the most memory that a worker has had, for photos and results of several sizes.

Each row is a process of its own with a dozen uploads, so that what one leaves behind counts. On Lambda, what the
runtime itself needs comes on top.
"""

import argparse
import sys
from typing import Any

from tools.bench.report import table
from tools.bench.workers import ALTERNATIVE, BARE, OURS, Bench, benched

MIB = 2**20
PHOTO_MIB = (0.1, 5, 25)
RESULT_MIB = (1, 8, 32)
UPLOADS = 12
OUR_ROUTES = ("generations", "edits-multipart")


def rows(bench: Bench) -> list[dict[str, Any]]:
    """MiB (what Lambda calls MB) at the highest, by function, route, and MiB of photo and result.

    "b64_json" is our function when the gateway sends the result inline, which it was not asked to.
    """
    found = [_row(bench, BARE, "", 0, 0, "")]
    for function, route in (*((OURS, route) for route in OUR_ROUTES), (ALTERNATIVE, "inline")):
        found += [_row(bench, function, route, photo, RESULT_MIB[0]) for photo in PHOTO_MIB]
        found += [_row(bench, function, route, PHOTO_MIB[0], result) for result in RESULT_MIB[1:]]
        found.append(_row(bench, function, route, PHOTO_MIB[-1], RESULT_MIB[-1]))
    return found + [_row(bench, OURS, route, PHOTO_MIB[-1], RESULT_MIB[-1], "b64_json") for route in OUR_ROUTES]


def _row(bench: Bench, function: str, route: str, photo: float, result: int, answer: str = "url") -> dict[str, Any]:
    environment = {"GATEWAY_ROUTE": route} if route in OUR_ROUTES else None
    answers = [_inline(result) if answer == "b64_json" else _linked(result)] if result else []
    bench.gateway.faults(answers)
    with bench.worker(function, environment=environment) as worker:
        last = worker.ready
        for _ in range(UPLOADS if photo else 0):
            with bench.uploaded(int(photo * MIB)) as event:
                last = worker.upload(event)
    bench.gateway.faults([])
    return {
        "function": function,
        "route": route,
        "answer": answer,
        "photo MiB": photo,
        "result MiB": result,
        "MiB when ready": round(worker.ready.peak_mib),
        "MiB": round(last.peak_mib),
    }


def _linked(mib: int) -> dict[str, Any]:
    """Every link leads to something of this size that has the frame of a WebP."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: image/webp\r\nContent-Length: {mib * MIB}\r\n\r\n"
    media = {"kind": "raw", "where": "media", "times": 0, "interval": 0}
    return media | {"text": head + _webp(mib * MIB).ljust(MIB), "more": " " * MIB, "count": max(0, mib - 1)}


def _inline(mib: int) -> dict[str, Any]:
    """Every answer holds something of about this size that has the frame of a WebP."""
    megabytes = mib * MIB // 1_000_000
    return {"kind": "inline", "times": 0, "text": _webp(20 + megabytes * 1_000_000), "megabytes": megabytes}


def _webp(size: int) -> str:
    """The first bytes of a WebP of `size` bytes, an even number, as Latin-1."""
    head = b"RIFF" + (size - 8).to_bytes(4, "little") + b"WEBPVP8 " + (size - 20).to_bytes(4, "little")
    return head.decode("latin-1")


def main() -> int:
    """The command."""
    argparse.ArgumentParser(prog="python -m tools.bench.memory", description=__doc__).parse_args()
    with benched() as bench:
        print(table(rows(bench)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
