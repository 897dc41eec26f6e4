"""`python -m tools.bench.scale`: up to a million uploads against the project's own decisions, on simulated time.

The real handlers run with the real ledger, pace, queues and decisions; only what they call is simulated.
"""

import argparse
import json
import logging
import sys
import time as real_time
from collections import Counter
from typing import Any

from backdrop.job import Job
from backdrop.log import logger
from tools.bench.money import costs
from tools.bench.perfect_scheduler import perfect_end
from tools.bench.play import UPLOADS_A_SECOND, Play, photo_key
from tools.bench.scenario import Scenario
from tools.bench.simulated_gateway import Trouble
from tools.simulation.simulated_time import START

HOUR = 3600.0
SCENARIOS = [
    *(Scenario("", uploads, 10) for uploads in (1_000, 10_000)),
    *(Scenario("", uploads, 600) for uploads in (1_000, 10_000, 100_000, 200_000)),
    *(Scenario("", uploads, 30_000) for uploads in (1_000, 10_000, 100_000, 1_000_000)),
    Scenario("", 10_000, 3_000),
    Scenario("each hundredth event twice", 1_000, 600, twice_every=100),
    Scenario("8,000 executions allowed", 10_000, 30_000, executions=8_000),
    Scenario("an outage of an hour", 10_000, 600, Trouble(outage=(120.0, 120.0 + HOUR)), HOUR),
    Scenario("an hour without credit", 10_000, 600, Trouble(empty_wallet=(120.0, 120.0 + HOUR)), HOUR),
]


def simulated(scenario: Scenario, seed: int = 1) -> dict[str, Any]:
    """What came of a scenario."""
    began = real_time.time()
    fitting = max(20, min(1000, round(scenario.rpm * scenario.call_seconds[1] / 60 * 1.5)))
    retry_concurrency = scenario.retry_concurrency or fitting
    play = Play(scenario, retry_concurrency, seed)
    play.run()
    stored = {key: versions[-1].modified for key, versions in play.results.versions.items()}
    arrived = {f"{photo_key(number)}.png": START + number / UPLOADS_A_SECOND for number in range(play.uploads)}
    waits = [at - arrived[key] for key, at in stored.items()]
    came = {
        Job("in", photo.key, photo.version_id).id: photo.modified - START for [photo] in play.photos.versions.values()
    }
    closed = max(scenario.trouble.outage, scenario.trouble.empty_wallet)
    perfect, unlimited = (
        perfect_end(came, play.gateway.calls, scenario.rpm, executions, closed)
        for executions in (scenario.executions, len(play.gateway.calls))
    )
    drained = max(stored.values(), default=START) - START
    ideal = scenario.uploads * 60 / scenario.rpm + scenario.extra_seconds + scenario.call_seconds[1]
    answers = play.gateway.answers
    counts = play.bill.counts
    return {
        "scenario": scenario.name,
        "uploads": scenario.uploads,
        "rpm": scenario.rpm,
        "retry_concurrency": retry_concurrency,
        "drain / ideal": drained / ideal,
        "drain / perfect": drained / perfect,
        "drain / perfect, any executions": drained / unlimited,
        "stored": len(stored),
        "dead letters": len(play.dead_letters),
        "paid": answers["200"],
        "answers": dict(answers),
        "charges": dict(play.gateway.charges),
        "dead_letters": dict(Counter(dead_letter["reason"]["code"] for dead_letter in play.dead_letters)),
        "unexpected": counts["unexpected errors"],
        "writes refused": counts["writes refused"],
        "reads refused": counts["reads refused"],
        "expired": play.queue.expired,
        "invocations": counts["invocations"] / scenario.uploads,
        "oldest": max(waits, default=0.0),
        "counts": {name: count / scenario.uploads for name, count in counts.items()},
        "lambda seconds": play.bill.lambda_seconds / scenario.uploads,
        "most": dict(play.bill.most),
        "took": real_time.time() - began,
    }


EXPLAINED = """The project's own handlers, pace, ledger, queues and decisions on simulated time. S3, Lambda,
SQS, DynamoDB and the gateway are simulated with their limits: 1,000 concurrent executions, 1,000 writes a second to
one item, 120,000 messages in flight, a strict number of calls in any minute. Calls take 4 to 60 seconds, 12 on
average; 1 % fail with 5xx. *perfect* is a perfect scheduler with the arrivals, the calls, their failures and the
limits of the same run: a slot each 60 / RequestsPerMinute, then that call's own time. *ideal*, the yardstick until
2026-11-30, is the uploads' share of the limit and one average call; nobody reaches it, because the last call is not an
average one: a perfect scheduler needs 1.2 to 4.3 times as long where all calls leave within two minutes. Each run has
a seed of its own; of several, the one with the median drain is shown.

Which limit comes first: Lambda's concurrent executions, from a thousand uploads at once on. What doesn't fit waits with
Lambda, for six hours at most. In the same moment the rate limiter's item is asked for more than its thousand writes a
second; those that are refused take a place in the queue a little later. Both are over within seconds. From a few
thousand calls a minute on, Lambda's pollers of the queue matter, which grow by 300 a minute to 1,000. SQS's 120,000
messages in flight come from about 130,000 waiting uploads on: SQS then hands out no more, and the rest waits until
some are done. Not simulated: that Lambda reads a long line of events more slowly.
The requests of an upload, eight to AWS, are far from DynamoDB's and S3's other limits at any pace that Lambda allows.

`make bench` leaves out what takes long to simulate; [larger runs](#larger-runs) were made apart."""


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """What of a scenario goes into the table: the run with the median drain, and the span of the others."""
    in_order = sorted(results, key=lambda each: each["drain / perfect"])
    result = in_order[len(in_order) // 2]
    answers = result["answers"]
    wasted = sum(count for status, count in answers.items() if status != "200")
    most = result["most"]
    return {
        "uploads": result["uploads"],
        "calls/min": result["rpm"],
        "with": result["scenario"],
        "runs": len(results),
        "drain / ideal": result["drain / ideal"],
        "drain / perfect": result["drain / perfect"],
        "lowest": in_order[0]["drain / perfect"],
        "highest": in_order[-1]["drain / perfect"],
        "stored": result["stored"],
        "paid": result["paid"],
        "dead letters": result["dead letters"],
        "429": answers.get("429", 0),
        "calls without an image": wasted,
        "invocations an upload": result["invocations"],
        "AWS USD / 1,000": sum(costs(result).values()) * 1000,
        "longest wait (min)": result["oldest"] / 60,
        "concurrent executions": most.get("concurrent executions", 0),
        "in flight": most.get("messages in flight", 0),
        "busiest second of the rate limiter's item": most.get("writes of the pace", 0),
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.scale", description=__doc__)
    parser.add_argument("--most", type=int, default=10_000, help="leave out scenarios with more uploads")
    most = parser.parse_args().most
    logger.setLevel(logging.CRITICAL)
    for scenario in SCENARIOS:
        if scenario.uploads <= most:
            for seed in scenario.seeds:
                print(json.dumps(simulated(scenario, seed)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
