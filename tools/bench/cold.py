"""`python -m tools.bench.cold`: from the start of a process to a handler that is ready, and to its first upload.

Each sample is a process of its own, and the functions take turns. On Lambda, what the runtime does before it loads the
function comes on top, for all alike.
"""

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass
from statistics import median
from typing import Any

from tools.bench.report import table
from tools.bench.workers import ALTERNATIVE, BARE, FLOOR, OURS, Bench, benched

PHOTO_BYTES = 100_000


def rows(bench: Bench, samples: int, is_compiled: bool = False) -> list[dict[str, Any]]:
    """Milliseconds until each function is ready and has stored its first result.

    Shares are medians of those of the single turns. `is_compiled` gives all layers bytecode, as our Makefiles do;
    without it, as a plain build leaves them, their sources are compiled at every cold start.
    """
    functions = (OURS, ALTERNATIVE, FLOOR, BARE)
    turns = [_turn(bench, functions, is_compiled) for _ in range(samples + 1)][1:]  # the first reads files from disk
    found = []
    for until in ("ready", "first upload"):
        for function in functions:
            if (function, until) not in turns[0]:
                continue
            each = [turn[function, until] for turn in turns]
            others = [turn[ALTERNATIVE, until] for turn in turns]
            found.append(
                {
                    "function": function,
                    "until": until,
                    "bytecode": is_compiled,
                    "samples": samples,
                    "ms": round(median(one.ms for one in each)),
                    "lowest": round(min(one.ms for one in each)),
                    "highest": round(max(one.ms for one in each)),
                    "/ alternative": round(median(a.ms / b.ms for a, b in zip(each, others, strict=True)), 2),
                    "cpu ms": round(median(one.cpu_ms for one in each)),
                    "cpu / alternative": round(
                        median(a.cpu_ms / b.cpu_ms for a, b in zip(each, others, strict=True)), 2
                    ),
                    "modules": each[0].modules,
                }
            )
    return found


@dataclass(frozen=True)
class Cost:
    """What a function has cost since its process was started."""

    ms: float
    cpu_ms: float
    modules: int


def _turn(bench: Bench, functions: tuple[str, ...], is_compiled: bool) -> dict[tuple[str, str], Cost]:
    found = {}
    for function in functions:
        with bench.uploaded(PHOTO_BYTES) as event, bench.worker(function, is_compiled=is_compiled) as worker:
            answers = {"ready": worker.ready}
            if function != BARE:
                answers["first upload"] = worker.upload(event)
        for until, answer in answers.items():
            milliseconds = (answer.at - worker.started_at) * 1000
            found[function, until] = Cost(milliseconds, answer.cpu_at * 1000, answer.modules)
    return found


def imports(bench: Bench, samples: int = 3, is_compiled: bool = False) -> list[dict[str, Any]]:
    """Milliseconds that each package's own modules take to import, in our handler with its clients built."""
    turns = [_imported(bench, is_compiled) for _ in range(samples)]
    packages = sorted(turns[0], key=lambda package: -turns[0][package][1])
    return [
        {
            "package": package,
            "bytecode": is_compiled,
            "modules": turns[0][package][0],
            "self ms": round(median(turn[package][1] for turn in turns), 1),
        }
        for package in packages
        if turns[0][package][1] >= 1
    ]


def _imported(bench: Bench, is_compiled: bool) -> dict[str, tuple[int, float]]:
    """Modules and milliseconds by package, the standard library as one."""
    code = "import sys; sys.path[:0] = sys.argv[1:]; import app; app.get_services()"
    done = subprocess.run(
        [sys.executable, *("-I", "-S", "-B", "-X", "importtime", "-c", code), *bench.folders(OURS, is_compiled)],
        env=bench.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: dict[str, tuple[int, float]] = {}
    for own, name in re.findall(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", done.stderr, re.MULTILINE):
        package = name.partition(".")[0]
        package = "the standard library" if package in sys.stdlib_module_names else package
        modules, milliseconds = found.get(package, (0, 0.0))
        found[package] = modules + 1, milliseconds + int(own) / 1000
    return found


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.cold", description=__doc__)
    parser.add_argument("--samples", type=int, default=10)
    samples = parser.parse_args().samples
    with benched() as bench:
        for is_compiled in (False, True):
            print(table(rows(bench, samples, is_compiled)))
            print(table(imports(bench, is_compiled=is_compiled)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
