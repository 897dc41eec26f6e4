"""`python -m tools.bench.first_upload`: how soon `backdrop submit` uploads once it may, and its memory.

It runs in a terminal, asks, and is answered. Over a line to the local stack's S3 as fast as this machine has it.
"""

import argparse
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tools.bench.line import Sender, photos, sender, submit
from tools.bench.report import table

QUESTION = b"Go on?"
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


def measure(to: Sender, folder: Path, count: int, name: str) -> dict[str, Any]:
    """One run, as a row."""
    ours, theirs = pty.openpty()
    to.line.start()
    began = time.monotonic()
    process = subprocess.Popen(
        list(map(str, submit(folder, f"{name}/", "--ask-above-images", "0"))),
        cwd=to.home,
        env=to.variables,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said, asked_at, answered_at, peak_kb = b"", 0.0, 0.0, 0
    try:
        while piece := os.read(ours, 65536):
            said += piece
            peak_kb = _peak_kb(process.pid) or peak_kb
            if not answered_at and QUESTION in said:
                asked_at = time.monotonic()
                os.write(ours, b"y\n")
                answered_at = time.monotonic()
    except OSError:
        pass  # how Linux says that the other end is closed
    os.close(ours)
    if process.wait() or not to.line.first_put_at:
        raise subprocess.CalledProcessError(process.returncode, process.args, said)
    return {
        "photos": count,
        "start until question, s": round(asked_at - began, 2),
        "answer until first upload, s": round(to.line.first_put_at - answered_at, 3),
        "answer until end, s": round(time.monotonic() - answered_at, 1),
        "peak memory, MB": round(peak_kb / 1024),
    }


def _peak_kb(pid: int) -> int:
    """The most memory that a process has had until now; the bars of a terminal make this told ten times a second."""
    try:
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.first_upload", description=__doc__)
    parser.add_argument("--photos", type=int, nargs="+", default=[100, 1_000, 5_000])
    parser.add_argument("--bytes", type=int, default=100_000, help="of a photo")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    rows = []
    with sender(bytes_a_second=1e9, round_trip_seconds=0.0) as to:
        few = to.home / "few"
        photos(few, 2, 1_000)
        measure(to, few, 2, "few")  # writes the bytecode
        for count in options.photos:
            folder = to.home / f"photos-{count}"
            photos(folder, count, options.bytes)
            rows += [measure(to, folder, count, f"{count}-{run}") for run in range(options.runs)]
            print(rows[-options.runs :], file=sys.stderr, flush=True)
    print(f"Load {', '.join(f'{load:.1f}' for load in os.getloadavg())} on {os.cpu_count()} cores.\n")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
