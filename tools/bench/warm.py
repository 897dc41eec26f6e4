"""`python -m tools.bench.warm`: what an upload costs a worker that has had one before, without the gateway's time.

Twice: against the local stack, where the time of the POST is taken off (its answer's head ends it), and with AWS and
the gateway simulated inside of the process, where all their time is taken off and the worker's own CPU time is left.
The first counts a round trip to DynamoDB like one to S3; so what AWS typically takes is also added to the second.
"""

import argparse
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from statistics import median, quantiles
from typing import Any

from tools.bench.report import table
from tools.bench.stubbed_network import STUBBED_ENVIRONMENT
from tools.bench.workers import ALTERNATIVE, FLOOR, OURS, Answer, Bench, benched, event_of

PHOTO_MB = (0.1, 5.0, 20.0)
FUNCTIONS = (OURS, ALTERNATIVE, FLOOR)
# What calls typically take in a quiet region; only their order of magnitude matters here.
_TYPICAL_MS = {
    "UpdateItem": 6,
    "PutItem": 6,
    "PutEvents": 15,
    "GET object": 25,
    "HEAD object": 25,
    "PUT object": 45,
    "GET": 0,  # the result: the gateway's time
    "POST": 0,
}


def over_http(bench: Bench, samples: int) -> list[dict[str, Any]]:
    """Milliseconds of an upload against the local stack, without those of its POST."""
    return [
        row
        for size, answers in _measured(bench, "http", samples).items()
        for row in _compared(size, answers, lambda one: one.seconds - one.away["seconds"])
    ]


def in_process(bench: Bench, samples: int) -> list[dict[str, Any]]:
    """CPU milliseconds of an upload by itself, and with what its calls to AWS typically take."""
    rows = []
    for size, answers in _measured(bench, "simulated", samples).items():
        compared = _compared(size, answers, lambda one: one.cpu_seconds - one.away["cpu_seconds"])
        for row in compared:
            calls = answers[row["function"]][-1].away["calls"]
            row["calls"] = sum(calls.values())
            row["ms with AWS"] = round(row["ms"] + sum(_TYPICAL_MS[name] * number for name, number in calls.items()))
        total = {row["function"]: row["ms with AWS"] for row in compared}
        for row in compared:
            row["with AWS / floor"] = round(row["ms with AWS"] / total[FLOOR], 2)
            row["with AWS / alternative"] = round(row["ms with AWS"] / total[ALTERNATIVE], 2)
        rows += compared
    return rows


def _measured(bench: Bench, how: str, samples: int) -> dict[float, dict[str, list[Answer]]]:
    """Answers by size and function; the functions take turns."""
    answers: dict[float, dict[str, list[Answer]]] = {size: {name: [] for name in FUNCTIONS} for size in PHOTO_MB}
    environment = STUBBED_ENVIRONMENT if how == "simulated" else None
    with ExitStack() as ended:
        workers = {name: ended.enter_context(bench.worker(name, how, environment)) for name in FUNCTIONS}
        for size in PHOTO_MB:
            for turn in range(samples + 2):
                for name, worker in workers.items():
                    with _photo(bench, how, int(size * 1e6)) as event:
                        answer = worker.upload(event)
                    if turn >= 2:  # before that, it is not warm
                        answers[size][name].append(answer)
    return answers


def _photo(bench: Bench, how: str, size: int) -> AbstractContextManager[dict[str, Any]]:
    if how == "simulated":
        return nullcontext(event_of(bench.environment["INPUT_BUCKET"], size))
    return bench.uploaded(size)


def _compared(
    size: float, answers: dict[str, list[Answer]], seconds: Callable[[Answer], float]
) -> list[dict[str, Any]]:
    """A row for each function; shares are medians of those of the single turns."""
    ms = {function: [seconds(answer) * 1000 for answer in answers[function]] for function in FUNCTIONS}
    return [
        {
            "photo MB": size,
            "function": function,
            "samples": len(ms[function]),
            "ms": round(median(ms[function]), 1),
            "lower quartile": round(quantiles(ms[function])[0], 1),
            "upper quartile": round(quantiles(ms[function])[2], 1),
            "/ floor": round(median(a / b for a, b in zip(ms[function], ms[FLOOR], strict=True)), 2),
            "/ alternative": round(median(a / b for a, b in zip(ms[function], ms[ALTERNATIVE], strict=True)), 2),
        }
        for function in FUNCTIONS
    ]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.warm", description=__doc__)
    parser.add_argument("--samples", type=int, default=15)
    samples = parser.parse_args().samples
    with benched() as bench:
        print(table(over_http(bench, samples)))
        print(table(in_process(bench, samples)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
