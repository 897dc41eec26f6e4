"""One deployed stack: its resources, and how events and messages reach its functions."""

import json
import os
import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from importlib import util
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from greenlet import getcurrent

from backdrop import bootstrap
from tools.files import ROOT
from tools.simulation.plan import Conditions
from tools.simulation.region import Killed, Session, Worker
from tools.simulation.simulated_aws import Bill
from tools.simulation.simulated_lambda import SimulatedLambda
from tools.simulation.simulated_queue import Queue
from tools.simulation.simulated_s3 import Bucket, StoredObject
from tools.simulation.simulated_table import SimulatedTable

if TYPE_CHECKING:
    from tools.simulation.play import Play

FUNCTION_SECONDS = {"trigger": 150.0, "retry": 150.0, "reconcile": 600.0}
VISIBILITY_SECONDS = 180.0
FOLDERS = {"trigger": "replace_background", "retry": "retry", "reconcile": "reconcile"}
PRICE = 0.03
_KEY = re.compile(r'"key": "([^"]+)"')


@cache
def handler(function: str) -> ModuleType:
    """A function's app.py, working with the services of whichever worker runs it."""
    name = FOLDERS[function]
    spec = util.spec_from_file_location(f"simulated_{name}", ROOT / "functions" / name / "app.py")
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = util.module_from_spec(spec)
    with patch.object(bootstrap, "prepare"):  # a worker here builds its services itself
        spec.loader.exec_module(module)
    vars(module)["get_services"] = lambda: getcurrent().worker.services
    return module


class Stack:
    """See the module."""

    def __init__(self, play: "Play", number: int) -> None:
        self.play = play
        self.name = f"stack{number}"
        self.output_bucket = f"out-{number}"
        self.retry_url = f"https://sqs/{self.name}-retry"
        self.table = SimulatedTable()
        self.results = Bucket()
        self.queue = Queue(play.time)
        self.dead_letters: list[dict[str, Any]] = []
        self.published: list[dict[str, Any]] = []
        self.metrics: Counter[str] = Counter()
        self.environment = _environment(self, play.conditions)
        self.lambda_ = SimulatedLambda(
            play.time, Bill(), self._new_worker, play.conditions.retry_concurrency, executions=1000
        )
        self.queue.due = self.poll
        self.invocations: Counter[str] = Counter()
        self.rates = {int(self.environment["REQUESTS_PER_MINUTE"])}
        self.limits = {int(self.environment["DAILY_IMAGE_LIMIT"])}
        self.policies = {self.environment["ON_UNKNOWN_OUTCOME"]}
        self._workers = self._handles = self._requests = 0

    def deploy(self, changes: tuple[tuple[str, str], ...]) -> None:
        """New workers have other settings; running ones end with their invocation."""
        self.environment = {**self.environment, **dict(changes)}
        self.lambda_.retire()
        self.rates.add(int(self.environment["REQUESTS_PER_MINUTE"]))
        self.limits.add(int(self.environment["DAILY_IMAGE_LIMIT"]))
        self.policies.add(self.environment["ON_UNKNOWN_OUTCOME"])

    def _new_worker(self) -> Worker:
        self._workers += 1
        name = f"{self.name} worker {self._workers}"
        skew = (self.play.chance(name) * 2 - 1) * self.play.conditions.skew_seconds
        worker = Worker(name, self, skew)
        getcurrent().worker = worker
        worker.ends_at = self.play.time.now + 10**6
        self.play.next_session = Session(self.play, self, worker)
        with patch.dict(os.environ, self.environment):
            worker.services = bootstrap.get_services.__wrapped__()
        return worker

    def notify(self, photo: StoredObject) -> None:
        """S3's event for an upload."""
        make = _eventbridge_event if self.play.conditions.has_eventbridge else _s3_event
        event = make(photo)

        def failed(error: str) -> None:
            envelope = {
                "requestContext": {"condition": "RetriesExhausted"},
                "requestPayload": event,
                "responsePayload": {"errorType": error},
            }
            self.queue.send(json.dumps(envelope), 0)

        def work(worker: Worker) -> bool:
            _, error = self._run("trigger", worker, event, photo.key)
            if error:
                failed(error)
            return not worker.is_dead

        self.lambda_.invoke("trigger", work)

    def reconcile(self) -> None:
        """The schedule's event."""
        self.lambda_.invoke("reconcile", lambda worker: not self._run("reconcile", worker, {}, "reconcile")[1])

    def poll(self) -> None:
        """Give due messages to RetryFunction, as many as may run."""
        while self.queue.has_due and self.lambda_.may_poll:
            self._handles += 1
            handle = f"{self.name} handle {self._handles}"
            message = self.queue.receive(handle, VISIBILITY_SECONDS)
            found = _KEY.search(message.body)
            subject = found[1] if found else ""
            seconds = self.play.redelivery_of(subject)
            if seconds is not None:
                self.play.note("SQS", f"shows {message.id} about {subject} again in {seconds:g} s")
                self.queue.send(message.body, seconds)
            record = {
                "messageId": message.id,
                "receiptHandle": handle,
                "body": message.body,
                "attributes": {
                    "ApproximateReceiveCount": str(message.received),
                    "SentTimestamp": str(int(message.sent_at * 1000)),
                },
            }

            def work(worker: Worker, handle: str = handle, record: Any = record, subject: str = subject) -> bool:
                answer, error = self._run("retry", worker, {"Records": [record]}, subject)
                if not error and not answer["batchItemFailures"]:
                    self.queue.delete(handle)
                self.queue.forget(handle)
                return not worker.is_dead

            if not self.lambda_.poll(work, self.poll):
                self.queue.make_visible(handle)
                return

    def send(self, body: dict[str, Any]) -> None:
        """Put a message into RetryQueue by hand."""
        self.queue.send(json.dumps(body), 0)

    def redrive(self) -> None:
        """Move all dead letters back."""
        dead_letters, self.dead_letters[:] = list(self.dead_letters), []
        for dead_letter in dead_letters:
            self.send(dead_letter)

    def _run(self, function: str, worker: Worker, event: dict[str, Any], subject: str) -> tuple[Any, str]:
        """The answer of a function, and what ended it if it was no answer."""
        play = self.play
        self._requests += 1
        self.invocations[subject] += 1
        request_id = f"{self.name}-{self._requests}"
        getcurrent().worker = worker
        worker.subject, worker.delayed = subject, 0.0
        worker.ends_at = play.time.now + FUNCTION_SECONDS[function]
        context = SimpleNamespace(
            aws_request_id=request_id,
            function_name=function,
            memory_limit_in_mb=256,
            invoked_function_arn="a",
            get_remaining_time_in_millis=lambda: int((worker.ends_at - play.time.now) * 1000),
        )
        play.note(worker.name, f"begins {function} for {subject}")
        lambda_handler: Callable[..., Any] = handler(function).lambda_handler
        try:
            answer = lambda_handler(event, context)
        except Killed as killed:
            play.note(worker.name, f"is killed: {killed}")
            return None, "Killed"
        except Exception as error:
            play.note(worker.name, f"ends with {type(error).__name__}")
            play.promises.ended_with(self, function, worker, error)
            return None, type(error).__name__
        play.note(worker.name, f"ends {function}")
        return json.loads(json.dumps(answer)), ""


def _environment(stack: Stack, conditions: Conditions) -> dict[str, str]:
    return {
        "STACK_NAME": stack.name,
        "INPUT_BUCKET": "in",
        "OUTPUT_BUCKET": stack.output_bucket,
        "RETRY_QUEUE_URL": stack.retry_url,
        "DEAD_LETTER_QUEUE_URL": f"https://sqs/{stack.name}-dead-letters",
        "LEDGER_TABLE": "ledger",
        "GATEWAY_BASE_URL": "https://gateway.test/v1",
        "GATEWAY_API_KEY_PARAMETER": "/key",
        "GATEWAY_MODEL": "ideogram/ideogram-v3-replace-background",
        "GATEWAY_ROUTE": conditions.route,
        "GATEWAY_TIMEOUT_SECONDS": str(conditions.timeout_seconds),
        "REQUESTS_PER_MINUTE": str(conditions.requests_per_minute),
        "DAILY_IMAGE_LIMIT": str(conditions.daily_image_limit),
        "PRICE_PER_IMAGE_USD": str(PRICE),
        "DEFAULT_PROMPT": "",
        "MAX_ATTEMPTS": str(conditions.max_attempts),
        "ON_UNKNOWN_OUTCOME": conditions.on_unknown,
    }


def _s3_event(photo: StoredObject) -> dict[str, Any]:
    found: dict[str, Any] = {"key": photo.key, "eTag": photo.etag, "size": photo.size}
    if photo.version_id != "null":
        found["versionId"] = photo.version_id
    record = {
        "eventVersion": "2.1",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "in"}, "object": found},
    }
    return {"Records": [record]}


def _eventbridge_event(photo: StoredObject) -> dict[str, Any]:
    found: dict[str, Any] = {"key": photo.key, "etag": photo.etag, "size": photo.size}
    if photo.version_id != "null":
        found["version-id"] = photo.version_id
    detail = {"bucket": {"name": "in"}, "object": found}
    return {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}
