"""`python -m tools.bench.limits`: what AWS's limits make of uploads, with time played; for docs/aws.md."""

import logging
import statistics
import sys
from typing import Any

from backdrop.log import logger
from tools.bench.report import table
from tools.bench.scale import Scenario, played

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


def row(scenario: Scenario) -> dict[str, Any]:
    """One line of the table: the medians of several games."""
    games = [played(scenario, seed) for seed in (1, 2, 3)]
    return {
        "10 executions": scenario.name,
        "uploads": scenario.uploads,
        "drain / ideal": f"{statistics.median(game['drain / ideal'] for game in games):.2f}",
        "longest wait (min)": f"{statistics.median(game['oldest'] for game in games) / 60:.0f}",
        "invocations an upload": f"{statistics.median(game['invocations'] for game in games):.2f}",
        "stored": min(game["stored"] for game in games),
        "unexpected errors": max(game["unforeseen"] for game in games),
    }


def main() -> int:
    """The command."""
    logger.setLevel(logging.CRITICAL)
    print(table([row(scenario) for scenario in SCENARIOS]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
