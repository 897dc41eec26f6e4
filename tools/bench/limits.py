"""`python -m tools.bench.limits`: what AWS's limits make of uploads, on simulated time.

The table `many` is that of docs/many-uploads.md, the others are docs/aws.md's.
"""

import argparse
import logging
import statistics
import sys
from typing import Any

from backdrop.log import logger
from tools.bench.money import IMAGE_USD, costs
from tools.bench.report import table
from tools.bench.scale import simulated
from tools.bench.scenario import Scenario
from tools.bench.simulated_gateway import Trouble
from tools.simulation.simulated_aws import NEW_TABLE

NEW_ACCOUNT = 10  # concurrent executions
SCENARIOS = [
    *(
        Scenario(name, uploads, 60, executions=NEW_ACCOUNT, retry_concurrency=retries, visibility=visibility)
        for uploads in (100, 1_000)
        for name, retries, visibility in (
            ("hidden for 900 s, RetryConcurrency 20", 20, 900.0),
            ("hidden for 180 s, RetryConcurrency 20", 20, 180.0),
            ("hidden for 180 s, RetryConcurrency 10", 10, 180.0),
            ("hidden for 180 s, RetryConcurrency 8", 8, 180.0),
        )
    ),
]

_TWELVE, _TWENTY = (12.0, 12.0, 12.0), (20.0, 20.0, 20.0)
MANY = [
    *(
        Scenario(name, 500, 60, executions=NEW_ACCOUNT, retry_concurrency=10, call_seconds=calls, notifies_queue=queue)
        for calls in (_TWELVE, _TWENTY)
        for name, queue in (("S3 notifies the function", False), ("S3 notifies RetryQueue", True))
    ),
    Scenario("S3 notifies the function", 1_000, 600, executions=30, retry_concurrency=30),
    Scenario("S3 notifies RetryQueue", 1_000, 600, executions=30, retry_concurrency=30, notifies_queue=True),
    Scenario("S3 notifies the function", 4_000, 3_000, retry_concurrency=900),
    Scenario("and pollers are provisioned", 4_000, 3_000, retry_concurrency=900, is_provisioned=True),
    Scenario(
        "S3 notifies RetryQueue, pollers are provisioned",
        4_000,
        3_000,
        retry_concurrency=1_000,
        is_provisioned=True,
        notifies_queue=True,
    ),
]

DAY = 86_400.0
WEEK = (30.0, 30.0 + 7 * DAY)
LONG = [
    Scenario("the gateway is down for a week", 100, 60, trouble=Trouble(outage=WEEK), extra_seconds=7 * DAY),
    Scenario("a hundred days' backlog at ten images a day", 1_010, 60, daily_limit=10),
    Scenario(
        "other functions take all executions for two days",
        100,
        60,
        executions=NEW_ACCOUNT,
        starved=(30.0, 30.0 + 2 * DAY),
    ),
]
AT_ONCE = [Scenario("", 10_000, 600, table=NEW_TABLE)]


def many_row(scenario: Scenario) -> dict[str, Any]:
    """One line of the second table: the median of three runs, or of one where there are many uploads."""
    runs = [simulated(scenario, seed) for seed in ((1, 2, 3) if scenario.uploads <= 1_000 else (1,))]
    least, mean, _ = scenario.call_seconds
    return {
        "executions": scenario.executions,
        "calls/min": scenario.rpm,
        "seconds a call": f"{mean:g}" if least == mean else f"{mean:g} on average",
        "uploads": scenario.uploads,
        "": scenario.name,
        "drain / perfect": f"{statistics.median(run['drain / perfect'] for run in runs):.2f}",
        "longest wait (min)": f"{statistics.median(run['oldest'] for run in runs) / 60:.0f}",
        "429": max(run["answers"].get("429", 0) for run in runs),
    }


def row(scenario: Scenario) -> dict[str, Any]:
    """One line of the table: the medians of several runs."""
    runs = [simulated(scenario, seed) for seed in (1, 2, 3)]
    return {
        "10 executions": scenario.name,
        "uploads": scenario.uploads,
        "drain / ideal": f"{statistics.median(run['drain / ideal'] for run in runs):.2f}",
        "longest wait (min)": f"{statistics.median(run['oldest'] for run in runs) / 60:.0f}",
        "invocations an upload": f"{statistics.median(run['invocations'] for run in runs):.2f}",
        "stored": min(run["stored"] for run in runs),
        "unexpected errors": max(run["unexpected"] for run in runs),
    }


def waits(seed: int) -> dict[str, Any]:
    """One line of the table of a hundred uploads at ten a day."""
    run = simulated(Scenario("", 100, 60, daily_limit=10), seed)
    return {
        "uploads": 100,
        "DailyImageLimit": 10,
        "invocations an upload": f"{run['invocations']:.1f}",
        "AWS, of the images' price": f"{sum(costs(run).values()) / IMAGE_USD:.1%}",
        "days": f"{run['oldest'] / 86_400:.1f}",
        "stored": run["stored"],
    }


def long_row(scenario: Scenario) -> dict[str, Any]:
    """One line of the table of waits that are longer than SQS keeps a message, or Lambda lets functions feed others."""
    run = simulated(scenario)
    usd = sum(costs(run).values())
    return {
        "": scenario.name,
        "uploads": scenario.uploads,
        "stored": run["stored"],
        "dead letters": run["dead letters"],
        "messages that grew too old": run["expired"],
        "days": f"{run['oldest'] / DAY:.1f}",
        "messages of an upload": run["most"].get("chain", 1),
        "receives of a message": run["most"]["receives"],
        "invocations an upload": f"{run['invocations']:.0f}",
        "AWS, USD an upload": f"{usd:.4f}",
        "of an image's price": f"{usd / IMAGE_USD:.1%}",
        "unexpected errors": run["unexpected"],
    }


def at_once_row(scenario: Scenario) -> dict[str, Any]:
    """One line of the table of ten thousand uploads at once on a new table."""
    run = simulated(scenario)
    counts = run["counts"]
    return {
        "uploads": scenario.uploads,
        "calls/min": scenario.rpm,
        "stored": run["stored"],
        "unexpected errors": run["unexpected"],
        "writes refused an upload": f"{counts.get('writes refused', 0):.2f}",
        "writes of the rate limiter's item refused an upload": f"{counts.get('writes of the pace refused', 0):.2f}",
        "reads refused an upload": f"{counts.get('reads refused', 0):.2f}",
        "drain / perfect": f"{run['drain / perfect']:.3f}",
        "invocations an upload": f"{run['invocations']:.2f}",
    }


TABLES = {
    "account": lambda: map(row, SCENARIOS),
    "many": lambda: map(many_row, MANY),
    "waits": lambda: map(waits, (1, 2, 3)),
    "long": lambda: map(long_row, LONG),
    "at-once": lambda: map(at_once_row, AT_ONCE),
}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.limits", description=__doc__)
    parser.add_argument("tables", nargs="*", choices=[[], *TABLES], help="all of them, if none is named")
    logger.setLevel(logging.CRITICAL)
    for name in parser.parse_args().tables or TABLES:
        print(table(list(TABLES[name]())), end="\n\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
