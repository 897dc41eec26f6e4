"""One run of many uploads: the real handlers, and what they call simulated."""

import json
import random
import sys
from dataclasses import replace
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from greenlet import getcurrent

from backdrop.batches import Batches
from backdrop.events import EventPublisher
from backdrop.ledger import Ledger
from backdrop.metrics import Metrics
from backdrop.prompts import FolderPrompts
from backdrop.queues import Queues
from backdrop.rate_limiter import RateLimiter
from backdrop.reconcile_progress import ReconcileProgress
from backdrop.records import Records
from backdrop.result_storage import ResultStorage
from backdrop.services import Services
from backdrop.storage import Storage
from tools.bench.scenario import Scenario
from tools.bench.simulated_gateway import SimulatedGateway, SimulatedResults
from tools.default_settings import DEFAULT_SETTINGS
from tools.simulation.handlers import handler
from tools.simulation.simulated_aws import (
    Bill,
    QuietRegion,
    SimulatedDynamoDB,
    SimulatedEvents,
)
from tools.simulation.simulated_lambda import SimulatedLambda
from tools.simulation.simulated_queue import Queue, SimulatedQueues
from tools.simulation.simulated_s3 import Bucket, SimulatedS3
from tools.simulation.simulated_table import SimulatedTable
from tools.simulation.simulated_time import START, SimulatedClock, SimulatedTime

UPLOADS_A_SECOND = 1000.0
FUNCTION_SECONDS = 150.0
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


def _services() -> Services:
    services: Services = getcurrent().app
    return services


class Play:
    """One scenario: `uploads` photos arrive, and everything runs until nothing is due."""

    def __init__(self, scenario: Scenario, retry_concurrency: int, seed: int) -> None:
        random.seed(seed)
        self.uploads, self.rpm = scenario.uploads, scenario.rpm
        self.settings = replace(DEFAULT_SETTINGS, requests_per_minute=self.rpm, daily_image_limit=scenario.daily_limit)
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
            self._run(handler("replace_background", _services), app, event, chain=0)

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
                answer = self._run(handler("retry", _services), app, {"Records": [record]}, chain)
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
