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
    """One line of the second table: the median of three games, or of one where there are many uploads."""
    games = [simulated(scenario, seed) for seed in ((1, 2, 3) if scenario.uploads <= 1_000 else (1,))]
    least, mean, _ = scenario.call_seconds
    return {
        "executions": scenario.executions,
        "calls/min": scenario.rpm,
        "seconds a call": f"{mean:g}" if least == mean else f"{mean:g} on average",
        "uploads": scenario.uploads,
        "": scenario.name,
        "drain / perfect": f"{statistics.median(game['drain / perfect'] for game in games):.2f}",
        "longest wait (min)": f"{statistics.median(game['oldest'] for game in games) / 60:.0f}",
        "429": max(game["answers"].get("429", 0) for game in games),
    }


def row(scenario: Scenario) -> dict[str, Any]:
    """One line of the table: the medians of several games."""
    games = [simulated(scenario, seed) for seed in (1, 2, 3)]
    return {
        "10 executions": scenario.name,
        "uploads": scenario.uploads,
        "drain / ideal": f"{statistics.median(game['drain / ideal'] for game in games):.2f}",
        "longest wait (min)": f"{statistics.median(game['oldest'] for game in games) / 60:.0f}",
        "invocations an upload": f"{statistics.median(game['invocations'] for game in games):.2f}",
        "stored": min(game["stored"] for game in games),
        "unexpected errors": max(game["unexpected"] for game in games),
    }


def waits(seed: int) -> dict[str, Any]:
    """One line of the table of a hundred uploads at ten a day."""
    game = simulated(Scenario("", 100, 60, daily_limit=10), seed)
    return {
        "uploads": 100,
        "DailyImageLimit": 10,
        "invocations an upload": f"{game['invocations']:.1f}",
        "AWS, of the images' price": f"{sum(costs(game).values()) / IMAGE_USD:.1%}",
        "days": f"{game['oldest'] / 86_400:.1f}",
        "stored": game["stored"],
    }


def long_row(scenario: Scenario) -> dict[str, Any]:
    """One line of the table of waits that are longer than SQS keeps a message, or Lambda lets functions feed others."""
    game = simulated(scenario)
    usd = sum(costs(game).values())
    return {
        "": scenario.name,
        "uploads": scenario.uploads,
        "stored": game["stored"],
        "dead letters": game["dead letters"],
        "messages that grew too old": game["expired"],
        "days": f"{game['oldest'] / DAY:.1f}",
        "messages of an upload": game["most"].get("chain", 1),
        "receives of a message": game["most"]["receives"],
        "invocations an upload": f"{game['invocations']:.0f}",
        "AWS, USD an upload": f"{usd:.4f}",
        "of an image's price": f"{usd / IMAGE_USD:.1%}",
        "unexpected errors": game["unexpected"],
    }


def at_once_row(scenario: Scenario) -> dict[str, Any]:
    """One line of the table of ten thousand uploads at once on a new table."""
    game = simulated(scenario)
    return {
        "uploads": scenario.uploads,
        "calls/min": scenario.rpm,
        "stored": game["stored"],
        "unexpected errors": game["unexpected"],
        "writes refused an upload": f"{game['counts'].get('writes refused', 0):.2f}",
        "writes of the pace refused an upload": f"{game['counts'].get('writes of the pace refused', 0):.2f}",
        "reads refused an upload": f"{game['counts'].get('reads refused', 0):.2f}",
        "drain / perfect": f"{game['drain / perfect']:.3f}",
        "invocations an upload": f"{game['invocations']:.2f}",
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
