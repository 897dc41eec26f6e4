"""`python -m tools.bench`: every measurement, one after the other, into docs/benchmarks.md and its picture.

Takes about half an hour, and wants a machine that does nothing else. `--quick` takes fewer samples, plays small numbers
of uploads only, and writes nothing. Of the larger simulated runs it plays those that have a target;
`python -m tools.bench.scale --most 1000000` plays all, for hours.
"""

import argparse
import logging
import os
import platform
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from backdrop.log import logger
from tools.bench import bulk, cold, executions, memory, money, over_tls, review_page, scale, targets, warm
from tools.bench.chart import chart
from tools.bench.report import table
from tools.bench.workers import ALTERNATIVE, FLOOR, OURS, benched
from tools.files import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
PICTURE = ROOT / "docs" / "benchmarks.svg"
APART = "\n## Measured apart\n"
"""Heading of what others than this make; it stays."""
PACKAGES = ("boto3", "httpx", "aws-lambda-powertools", "openai", "ministack")

HEAD = """# Benchmarks

Made by `make bench`. *ours* is Backdrop. *alternative* is what the model's page leads to: a function with the OpenAI
SDK and boto3 that sends the photo inline and keeps the result in memory. *floor* is the bare calls (HEAD, POST, GET,
PUT) with botocore and httpx, *bare* is Python with boto3. The last three keep no ledger and no pace, and nothing keeps
them from paying twice. The functions are measured in turn, and a ratio is the median of the ratios of the single
rounds, but for those with AWS's times. Ratios hold on other machines, milliseconds don't.

{machine}

![Beside the alternative](benchmarks.svg)
"""


def machine() -> str:
    """What it was measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    return f"{when}; {os.cpu_count()} cores of {model}; Python {platform.python_version()}; {versions}."


def sections(quick: bool) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """Title, text and rows of each measurement, as they come."""
    samples = 3 if quick else 12
    with benched() as bench:
        yield (
            "Cold start",
            "From the start of a process to a handler that is ready, and to its first result stored.",
            [row for compiled in (False, True) for row in cold.rows(bench, samples, compiled)],
        )
        yield (
            "What our imports take",
            "By package, from 1 ms on; `app` is the building of all clients.",
            cold.imports(bench),
        )
        yield (
            "A warm upload against the local stack",
            "Without the time of the POST. A round trip to the emulator's DynamoDB takes as long as one to its S3.",
            warm.over_http(bench, samples),
        )
        yield (
            "A warm upload by itself",
            "CPU time, with AWS and the gateway simulated inside of the process; and with what AWS's calls typically"
            " take (S3 25 and 45 ms, EventBridge 15, DynamoDB 6).",
            warm.in_process(bench, samples),
        )
        yield "An upload over TLS", over_tls.EXPLAINED, over_tls.warm(bench, samples)
        yield (
            "Cold start over TLS",
            "From the start of a process to its first result. The alternative *as it is* has no bytecode in its layer.",
            over_tls.cold(bench, samples),
        )
        yield "Memory over TLS", "A dozen small uploads, all connections closed.", over_tls.memory(bench)
        yield (
            "Memory",
            "The most memory that a process has had after a dozen uploads, in MiB. What Lambda's runtime itself needs"
            " comes on top. *b64_json*: the gateway sends the result inline, which it isn't asked to.",
            memory.rows(bench),
        )
    yield (
        "Three hundred uploads at once",
        f"On the local stack, {bulk.CALLS_A_SECOND} calls a second allowed, {bulk.CALL_SECONDS} s a call; seconds from"
        " the first upload on. It runs 4 and 8 workers at a time, and gives events that don't fit to RetryQueue at"
        " once, where Lambda would keep them for a while.",
        bulk.rows(),
    )
    logger.setLevel(logging.CRITICAL)
    yield "Ten executions, simulated", executions.TEN_EXPLAINED, executions.of_ten(runs=1 if quick else 3)
    simulated = [
        [scale.simulated(scenario, seed) for seed in scenario.seeds]
        for scenario in scale.SCENARIOS
        if scenario.uploads <= 1_000 or (not quick and targets.has_one(scenario))
    ]
    yield "Scale, simulated", scale.EXPLAINED, [scale.summary(each) for each in simulated]
    usual = next(runs[0] for runs in simulated if runs[0]["rpm"] == 600)
    yield "What AWS asks for", money.EXPLAINED, money.rows(usual)
    yield "A month without uploads", "At the same list prices.", money.idle_rows()
    if review_page.BROWSER and not quick:
        shown, rest = review_page.rows(1000, 3)
        yield "The review page with a thousand pairs", review_page.EXPLAINED, shown
        yield "The review page at rest", "An open page, while nothing happens.", [rest]


def picture(rows: dict[str, list[dict[str, Any]]]) -> str:
    """Ours beside the others."""
    cold_rows = [row for row in rows["Cold start"] if row["function"] in (OURS, ALTERNATIVE) and not row["bytecode"]]
    warm_rows = [
        row for row in rows["A warm upload against the local stack"] if row["function"] in (OURS, ALTERNATIVE, FLOOR)
    ]
    return chart(
        [
            *((f"cold: {row['until']}", row["function"], row["ms"]) for row in cold_rows),
            *((f"warm: {row['photo MB']:g} MB", row["function"], row["ms"]) for row in warm_rows),
        ],
        "milliseconds",
    )


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    text = HEAD.format(machine=machine())
    found = {}
    for title, explained, rows in sections(quick):
        found[title] = rows
        part = f"\n## {title}\n\n{explained}\n\n{table(rows)}\n"
        print(part, flush=True)
        text += part
    aims = targets.rows(found)
    part = f"\n## Targets\n\n{targets.EXPLAINED}\n\n{table(aims)}\n\n{targets.explanations(aims)}\n"
    print(part, flush=True)
    if not quick:
        _, heading, apart = PAGE.read_text().partition(APART)
        PAGE.write_text(text + part + heading + apart)
        PICTURE.write_text(picture(found))
        print(f"Written: {PAGE.relative_to(ROOT)}, {PICTURE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
