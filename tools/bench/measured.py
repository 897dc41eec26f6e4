"""What runs in a measured process: a function as Lambda loads it, then one upload for each event that is read.

`workers` starts it, with nothing to import from but what the first argument names; the second is what `outside` does.
Before the function nothing is imported that it would not import itself.
"""

import os
import sys
import time
from importlib import import_module
from typing import Any


class Context:
    """What a handler reads of Lambda's context."""

    aws_request_id = "11111111-2222-3333-4444-555555555555"
    function_name = "bench"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:bench"

    def get_remaining_time_in_millis(self) -> int:
        """More than any upload takes."""
        return 150_000


def main(folders: str, outside: str = "") -> None:
    """Answer on standard output, a line of JSON each: when the function is ready, then each upload."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # where functions log to
    sys.path[:0] = folders.split(os.pathsep)
    away = import_module("tools.bench.stubbed_network").install(outside) if outside else None
    app = import_module("app")
    ready_at, ready_cpu = time.monotonic(), time.process_time()

    import json

    def answer(**fields: Any) -> None:
        print(json.dumps({**fields, "peak_mib": peak_mib(), "modules": len(sys.modules)}), file=answers)

    answer(at=ready_at, cpu_at=ready_cpu)
    for line in sys.stdin:
        event = json.loads(line)
        if away:
            away.reset()
        began, began_cpu = time.monotonic(), time.process_time()
        said = app.lambda_handler(event, Context())
        ended, ended_cpu = time.monotonic(), time.process_time()
        answer(
            at=ended,
            cpu_at=ended_cpu,
            seconds=ended - began,
            cpu_seconds=ended_cpu - began_cpu,
            away=vars(away) if away else None,
            said=said,
        )


def peak_mib() -> float:
    """The most memory that this process has had, in MiB."""
    import resource

    try:
        with open("/proc/self/status") as status:
            # ru_maxrss also knows what the parent had when it started this process; see getrusage(2), proc(5).
            line = next(line for line in status if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


if __name__ == "__main__":
    main(*sys.argv[1:])
