"""`python -m tools.bench.executions`: what few executions make of uploads, on simulated time; for docs/many-uploads.md.

With S3 notifying the function, as by default, and with `NotifyQueue=true`.
"""

import json
import logging
import sys
from collections.abc import Iterator
from statistics import median
from typing import Any

from backdrop.log import logger
from tools.bench.money import costs
from tools.bench.report import table
from tools.bench.scale import simulated
from tools.bench.scenario import Scenario

PACES = {10: (300, 60), 30: (300, 600), 100: (600, 600), 1_000: (1_200, 3_000)}
"""Uploads and calls a minute, by executions."""
CALL_SECONDS = (4.0, 12.0, 20.0, 60.0)


TEN_EXPLAINED = """A new account runs ten functions at once. 500 uploads at 60 calls a minute, with all calls of one
length; *perfect* also has ten executions, *of any number* has as many as it wants. Medians."""


def of_ten(runs: int) -> list[dict[str, Any]]:
    """500 uploads at 60 a minute with ten executions, both ways."""
    return [_of_ten(seconds, runs, notifies_queue=queue) for seconds in (12.0, 20.0) for queue in (False, True)]


def _of_ten(seconds: float, runs: int, *, notifies_queue: bool) -> dict[str, Any]:
    calls = (seconds, seconds, seconds)
    scenario = Scenario(
        "", 500, 60, call_seconds=calls, executions=10, retry_concurrency=10, notifies_queue=notifies_queue
    )
    played = [simulated(scenario, seed) for seed in range(1, runs + 1)]
    return {
        "seconds a call": f"{seconds:g}",
        "NotifyQueue": notifies_queue,
        "runs": runs,
        "drain / perfect": round(median(run["drain / perfect"] for run in played), 3),
        "of any number": round(median(run["drain / perfect, any executions"] for run in played), 3),
        "stored": min(run["stored"] for run in played),
        "429": max(run["answers"].get("429", 0) for run in played),
    }


def row(executions: int, seconds: float) -> dict[str, Any]:
    """One line: both ways, each the run with the median drain."""
    uploads, rpm = PACES[executions]
    runs = {}
    for notifies_queue in (False, True):
        scenario = Scenario(
            "",
            uploads,
            rpm,
            call_seconds=(seconds, seconds, seconds),
            executions=executions,
            retry_concurrency=executions,
            notifies_queue=notifies_queue,
        )
        # Runs differ by when Lambda happens to try events again; with the queue hardly at all, so one tells.
        seeds = (1,) if notifies_queue or executions == 1_000 else (1, 2, 3)
        played = sorted((simulated(scenario, seed) for seed in seeds), key=lambda run: run["drain / perfect"])
        runs[notifies_queue] = played[len(played) // 2]
    by_function, by_queue = runs[False], runs[True]
    return {
        "executions": executions,
        "calls/min": rpm,
        "seconds a call": f"{seconds:g}",
        "uploads": uploads,
        "drain / perfect": f"{by_function['drain / perfect']:.2f}",
        "with NotifyQueue": f"{by_queue['drain / perfect']:.2f}",
        "Lambda USD / 1,000": f"{costs(by_function)['Lambda'] * 1000:.3f}",
        "USD with NotifyQueue": f"{costs(by_queue)['Lambda'] * 1000:.3f}",
        "429": max(run["answers"].get("429", 0) for run in runs.values()),
        "stored": min(run["stored"] for run in runs.values()),
    }


def rows() -> Iterator[dict[str, Any]]:
    """The table, as it comes."""
    return (row(executions, seconds) for executions in PACES for seconds in CALL_SECONDS)


def main() -> int:
    """The command."""
    logger.setLevel(logging.CRITICAL)
    found = []
    for each in rows():
        print(json.dumps(each), flush=True)
        found.append(each)
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
