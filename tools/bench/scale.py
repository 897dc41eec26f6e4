"""`python -m tools.bench.scale`: up to a million uploads against the project's own decisions, on simulated time.

The real handlers run with the real ledger, pace, queues and settling of errors; only what they call is simulated.
"""

import argparse
import json
import logging
import random
import sys
import time as real_time
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, partial
from importlib import util
from types import ModuleType, SimpleNamespace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from greenlet import getcurrent

from backdrop.batches import Batches
from backdrop.events import EventPublisher
from backdrop.job import Job
from backdrop.ledger import Ledger
from backdrop.log import logger
from backdrop.metrics import Metrics
from backdrop.prompts import FolderPrompts
from backdrop.queues import Queues
from backdrop.rate_limiter import RateLimiter
from backdrop.reconcile_progress import ReconcileProgress
from backdrop.records import Records
from backdrop.result_storage import ResultStorage
from backdrop.services import Services
from backdrop.settings import Settings
from backdrop.storage import Storage
from tools.bench.money import costs
from tools.bench.perfect_scheduler import perfect_end
from tools.bench.simulated_gateway import SimulatedGateway, SimulatedResults, Trouble
from tools.local_stack import ROOT
from tools.simulation.simulated_aws import (
    CONCURRENT_EXECUTIONS,
    GROWN_TABLE,
    Bill,
    QuietRegion,
    SimulatedDynamoDB,
    SimulatedEvents,
    TableLimits,
)
from tools.simulation.simulated_lambda import SimulatedLambda
from tools.simulation.simulated_queue import Queue, SimulatedQueues
from tools.simulation.simulated_s3 import Bucket, SimulatedS3
from tools.simulation.simulated_table import SimulatedTable
from tools.simulation.simulated_time import START, SimulatedClock, SimulatedTime

UPLOADS_A_SECOND = 1000.0
FUNCTION_SECONDS = 150.0
VISIBILITY_SECONDS = 180.0
"""The template's: how long RetryQueue hides a message that Lambda has no room for."""
CALL_SECONDS = (4.0, 12.0, 60.0)  # at least, on average, at most
JPEG = b"\xff\xd8\xff" + bytes(29)
METADATA = {"prompt": "a marble kitchen counter in soft morning light"}
MOST_RECEIVES = 1000
"""The template's: of a message, before SQS moves it to DeadLetterQueue."""
MOST_OF_A_CHAIN = 16
"""https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html"""
EVENT_SECONDS = 6 * 3600.0  # Lambda keeps an event that it has no room for
ENDS_BY_SECONDS = 200 * 86_400.0


class Counting(Metrics):
    """No log lines; the bill counts the AWS errors that were not expected."""

    def __init__(self, bill: Bill) -> None:
        super().__init__("backdrop")
        self._bill = bill

    def unexpected(self) -> None:
        """One more of AWS's; any other is a fault of the program or of the simulation, and ends it."""
        if not isinstance(sys.exception(), BotoCoreError | ClientError):
            raise
        self._bill.counts["unexpected errors"] += 1

    def _publish(self, *_: Any, **__: Any) -> None:
        pass


@cache
def handler(name: str) -> ModuleType:
    """A function's app.py, working with the app of whichever worker runs it."""
    spec = util.spec_from_file_location(f"simulated_{name}", ROOT / "functions" / name / "app.py")
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    vars(module)["get_services"] = lambda: getcurrent().app
    return module


class Play:
    """One scenario: `uploads` photos arrive, and everything runs until nothing is due."""

    def __init__(self, scenario: "Scenario", retry_concurrency: int, seed: int) -> None:
        random.seed(seed)
        self.uploads, self.rpm = scenario.uploads, scenario.rpm
        self.settings = Settings(
            stack="backdrop",
            input_bucket="in",
            output_bucket="out",
            retry_queue_url="retry",
            dead_letter_queue_url="dead-letters",
            ledger_table="ledger",
            gateway_base_url="https://gateway.test/v1",
            gateway_api_key_parameter="/key",
            gateway_model="ideogram/ideogram-v3-replace-background",
            gateway_route="generations",
            gateway_timeout_seconds=100,
            requests_per_minute=self.rpm,
            daily_image_limit=scenario.daily_limit,
            price_per_image_usd=Decimal("0.03"),
            default_prompt="",
            max_attempts=6,
            on_unknown_outcome="retry",
            local_endpoint=False,
        )
        self.time = SimulatedTime()
        self.bill = Bill()
        self.clock = SimulatedClock(self.time)
        aws = QuietRegion(self.time, self.bill, scenario.table)
        self.photos, self.results = Bucket(is_versioned=True), Bucket()
        self.queue, self.dead_letters = Queue(self.time), list[dict[str, Any]]()
        self.dynamodb: Any = SimulatedDynamoDB(SimulatedTable(), aws)
        self.s3: Any = SimulatedS3({"in": self.photos, "out": self.results}, aws)
        self.sqs: Any = SimulatedQueues("retry", self.queue, self.dead_letters, aws)
        self.events: Any = SimulatedEvents([], aws)
        self.gateway = SimulatedGateway(self.settings, self.time, scenario.trouble, self.rpm, scenario.call_seconds)
        self.functions = SimulatedLambda(self.time, self.bill, self.new_app, retry_concurrency, scenario.executions)
        if scenario.is_provisioned:
            self.functions.provision(retry_concurrency)
        self.queue.due = self.poll
        self.handles = iter(range(10**9))
        self.visibility = scenario.visibility
        self.notifies_queue = scenario.notifies_queue
        self.twice_every = scenario.twice_every
        self.may_feed_itself = scenario.may_feed_itself
        for at, executions in zip(scenario.starved, (0, scenario.executions), strict=False):
            self.time.at(START + at, partial(self.functions.allow, executions))
        self._looks_again = False

    def new_app(self) -> Services:
        """What a new worker builds."""
        storage = Storage(self.s3)
        return Services(
            settings=self.settings,
            clock=self.clock,
            storage=storage,
            result_storage=ResultStorage(self.s3, "out"),
            prompts=FolderPrompts(storage, self.clock),
            ledger=Ledger(self.dynamodb, "ledger", self.clock),
            records=Records(self.dynamodb, "ledger", self.clock),
            progress=ReconcileProgress(self.dynamodb, "ledger"),
            batches=Batches(self.dynamodb, "ledger", self.clock),
            rate_limiter=RateLimiter(self.dynamodb, "ledger", self.clock, self.rpm, self.settings.daily_image_limit),
            gateway=self.gateway,
            results=SimulatedResults(self.time),  # type: ignore[arg-type]
            queues=Queues(self.sqs, "retry", "dead-letters"),
            events=EventPublisher(self.events),
            metrics=Counting(self.bill),
        )

    def run(self) -> None:
        """Until everything is done."""
        for number in range(self.uploads):
            is_twice = self.twice_every and number % self.twice_every == 0
            for _ in range(1 + bool(is_twice)):
                self.time.at(START + number / UPLOADS_A_SECOND, partial(self.notify, number))
        self.time.run(until=START + ENDS_BY_SECONDS)

    def notify(self, number: int, tries: int = 0) -> None:
        """S3's event; Lambda keeps throttled ones for six hours, and tries them again after 1 s to 5 min."""
        key = photo_key(number)
        photo = self.photos.current(key) or self.photos.put(key, JPEG, self.time.now, METADATA, size=2_000_000)
        event = {
            "Records": [
                {
                    "eventVersion": "2.1",
                    "eventName": "ObjectCreated:Put",
                    "s3": {
                        "bucket": {"name": "in"},
                        "object": {
                            "key": key,
                            "versionId": photo.version_id,
                            "eTag": photo.etag,
                            "size": photo.size,
                        },
                    },
                }
            ]
        }

        if self.notifies_queue:
            self.queue.send(json.dumps(event), delay=0.0)
            return

        if self.time.now > photo.modified + EVENT_SECONDS:
            envelope = {"requestContext": {"condition": "EventAgeExceeded"}, "requestPayload": event}
            self.queue.send(json.dumps(envelope), delay=0.0)
            return

        def work(app: Services) -> None:
            self._run(handler("replace_background"), app, event, chain=0)

        if not self.functions.invoke("trigger", work):
            again = random.uniform(0.5, 1) * min(300.0, 2.0**tries)
            self.time.at(self.time.now + again, lambda: self.notify(number, tries + 1))

    def poll(self) -> None:
        """Give due messages to RetryFunction, as many as may run."""
        while self.queue.has_due and self.functions.may_poll:
            handle = str(next(self.handles))
            message = self.queue.receive(handle, self.visibility)
            self.bill.peak("messages in flight", self.queue.in_flight)
            self.bill.peak("chain", message.chain)
            self.bill.peak("receives", message.received)
            if message.received > MOST_RECEIVES or (message.chain > MOST_OF_A_CHAIN and not self.may_feed_itself):
                self.queue.delete(handle)
                self.queue.forget(handle)
                self.dead_letters.append({"reason": {"code": "moved by SQS"}})
                continue
            attributes = {
                "ApproximateReceiveCount": str(message.received),
                "SentTimestamp": str(int(message.sent_at * 1000)),
            }
            record = {"messageId": handle, "receiptHandle": handle, "body": message.body, "attributes": attributes}

            def work(
                app: Services, handle: str = handle, record: dict[str, Any] = record, chain: int = message.chain
            ) -> None:
                answer = self._run(handler("retry"), app, {"Records": [record]}, chain)
                self.bill.counts["sqs requests"] += 1 + (not answer["batchItemFailures"])
                if not answer["batchItemFailures"]:
                    self.queue.delete(handle)
                self.queue.forget(handle)

            if not self.functions.poll(work, self.poll):
                self.queue.forget(handle)
                self.bill.counts["messages throttled"] += 1
                break
        if self.queue.has_due and not self._looks_again:
            self._looks_again = True
            self.time.at(self.time.now + 1.0, self._look_again)

    def _look_again(self) -> None:
        self._looks_again = False
        self.poll()

    def _run(self, function: ModuleType, app: Services, event: dict[str, Any], chain: int) -> Any:
        getcurrent().app, getcurrent().chain = app, chain
        until = self.time.now + FUNCTION_SECONDS
        context = SimpleNamespace(
            aws_request_id="r",
            function_name="f",
            memory_limit_in_mb=256,
            invoked_function_arn="a",
            get_remaining_time_in_millis=lambda: int((until - self.time.now) * 1000),
        )
        return function.lambda_handler(event, context)


def photo_key(number: int) -> str:
    """The key of one of many photos."""
    return f"shoes/{number:07}.jpg"


NO_TROUBLE = Trouble()


@dataclass(frozen=True)
class Scenario:
    """What is simulated; `extra_seconds` is what no design could have used."""

    name: str
    uploads: int
    rpm: int
    trouble: Trouble = NO_TROUBLE
    extra_seconds: float = 0.0
    call_seconds: tuple[float, float, float] = CALL_SECONDS
    """At least, on average, at most."""
    executions: int = CONCURRENT_EXECUTIONS
    """How many Lambda runs at a time."""
    notifies_queue: bool = False
    """S3 tells RetryQueue of uploads, and not the function."""
    is_provisioned: bool = False
    """The queue's pollers are there from the start."""
    twice_every: int = 0
    """Each so manyth event comes twice at once; 0 for none."""
    daily_limit: int = 0
    """DailyImageLimit, 0 for none."""
    visibility: float = VISIBILITY_SECONDS
    retry_concurrency: int = 0
    """RetryConcurrency; 0 for what the pace asks for."""
    table: TableLimits = GROWN_TABLE
    """What the ledger's table takes."""
    starved: tuple[float, float] | tuple[()] = ()
    """From when to when other functions take all executions of the account, in seconds since the start."""
    may_feed_itself: bool = True
    """RetryFunction has `RecursiveLoop: Allow`."""

    @property
    def seeds(self) -> range:
        """One game for each; those with many uploads differ little, and take long."""
        return range(1, 6) if self.uploads <= 1_000 else range(1, 2)


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


EXPLAINED = """The project's own handlers, pace, ledger, queues and settling of errors on simulated time. S3, Lambda,
SQS, DynamoDB and the gateway are simulated with their limits: 1,000 concurrent executions, 1,000 writes a second to
one item, 120,000 messages in flight, a strict number of calls in any minute. Calls take 4 to 60 seconds, 12 on
average; 1 % fail with 5xx. *perfect* is a perfect scheduler with the arrivals, the calls, their failures and the
limits of the same game: a slot each 60 / RequestsPerMinute, then that call's own time. *ideal*, the yardstick until
2026-11-30, is the uploads' share of the limit and one average call; nobody reaches it, because the last call is not an
average one: a perfect scheduler needs 1.2 to 4.3 times as long where all calls leave within two minutes. Each game has
a seed of its own; of several, the one with the median drain is shown.

Which limit comes first: Lambda's concurrent executions, from a thousand uploads at once on. What doesn't fit waits with
Lambda, for six hours at most. In the same moment the pace item is asked for more than its thousand writes a second;
those that are refused take a place in line a little later. Both are over within seconds. From a few thousand calls a
minute on, Lambda's pollers of the queue matter, which grow by 300 a minute to 1,000. SQS's 120,000 messages in flight
come from about 130,000 waiting uploads on: SQS then hands out no more, and the rest waits until some are done. Not
simulated: that Lambda reads a long line of events more slowly.
The requests of an upload, eight to AWS, are far from DynamoDB's and S3's other limits at any pace that Lambda allows.

`make bench` leaves out what takes long to play; [larger games](#larger-games) were played apart."""


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """What of a scenario goes into the table: the game with the median drain, and the span of the others."""
    in_order = sorted(results, key=lambda each: each["drain / perfect"])
    result = in_order[len(in_order) // 2]
    answers = result["answers"]
    wasted = sum(count for status, count in answers.items() if status != "200")
    most = result["most"]
    return {
        "uploads": result["uploads"],
        "calls/min": result["rpm"],
        "with": result["scenario"],
        "games": len(results),
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
        "busiest second of the pace item": most.get("writes of the pace", 0),
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
