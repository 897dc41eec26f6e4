"""`python -m tools.bench.limits`: what AWS's limits make of uploads, on simulated time.

The first table is docs/aws.md's, the second that of docs/many-uploads.md.
"""

import logging
import statistics
import sys
from typing import Any

from backdrop.log import logger
from tools.bench.money import IMAGE_USD, costs
from tools.bench.report import table
from tools.bench.scale import Scenario, simulated

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


def main() -> int:
    """The command."""
    logger.setLevel(logging.CRITICAL)
    print(table([row(scenario) for scenario in SCENARIOS]), end="\n\n")
    print(table([many_row(scenario) for scenario in MANY]), end="\n\n")
    print(table([waits(seed) for seed in (1, 2, 3)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
