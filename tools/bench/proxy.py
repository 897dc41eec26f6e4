"""`python -m tools.bench.proxy`: what uploads cost behind a proxy that loses one answer in three, on simulated time.

Three gateways: one that honours idempotency keys, one that doesn't, and one that keeps failures with their keys.
"""

import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from backdrop.log import logger
from tools.bench.scale import simulated
from tools.bench.scenario import Scenario
from tools.bench.simulated_gateway import Trouble

UPLOADS = 600
LIMIT = 300
TROUBLE = Trouble(lost_answers=1 / 3)
SCENARIOS = [
    Scenario("keys honoured", UPLOADS, 60, replace(TROUBLE, keys="honoured")),
    Scenario("keys ignored", UPLOADS, 60, replace(TROUBLE, keys="ignored")),
    Scenario("failures kept with their key", UPLOADS, 60, replace(TROUBLE, keys="failures kept")),
    Scenario("keys honoured", UPLOADS, 60, replace(TROUBLE, keys="honoured"), daily_limit=LIMIT),
    Scenario("keys ignored", UPLOADS, 60, replace(TROUBLE, keys="ignored"), daily_limit=LIMIT),
]


def row(scenario: Scenario) -> dict[str, Any]:
    """One line of the table."""
    result = simulated(scenario)
    days = {name: count for name, count in result["charges"].items() if name.count("-") == 2}
    uploads = [count for name, count in result["charges"].items() if name not in days]
    return {
        "gateway": scenario.name,
        "DailyImageLimit": scenario.daily_limit or "none",
        "charges an upload": f"{sum(uploads) / scenario.uploads:.3f}",
        "most for one upload": max(uploads),
        "most on a day": max(days.values()),
        "stored": result["stored"],
        "dead letters": ", ".join(f"{count} {code}" for code, count in result["dead_letters"].items()) or "none",
        "drain / ideal": f"{result['drain / ideal']:.2f}" if not scenario.daily_limit else "–",
        "invocations an upload": f"{result['invocations']:.1f}",
    }


def lines() -> Iterator[str]:
    """The table, as Markdown."""
    for number, cells in enumerate(map(row, SCENARIOS)):
        if number == 0:
            yield f"| {' | '.join(cells)} |"
            yield "|---" * len(cells) + "|"
        yield f"| {' | '.join(map(str, cells.values()))} |"


def main() -> int:
    """The command."""
    logger.setLevel(logging.CRITICAL)
    for line in lines():
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
