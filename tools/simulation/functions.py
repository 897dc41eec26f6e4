"""The functions of one deployed stack: how events and messages reach them."""

import json
import os
import re
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import boto3
from greenlet import getcurrent

from backdrop import bootstrap
from backdrop.services import Services
from tools.simulation.handlers import handler
from tools.simulation.promises import Promises
from tools.simulation.region import Session
from tools.simulation.shared_state import SharedState
from tools.simulation.simulated_aws import Bill
from tools.simulation.simulated_lambda import SimulatedLambda
from tools.simulation.simulated_s3 import StoredObject
from tools.simulation.stack import Killed, Stack, Worker, environment_of

FUNCTION_SECONDS = {"trigger": 150.0, "retry": 150.0, "reconcile": 600.0}
VISIBILITY_SECONDS = 180.0
FOLDERS = {"trigger": "replace_background", "retry": "retry", "reconcile": "reconcile"}
_KEY = re.compile(r'"key": "([^"]+)"')


def _services() -> Services:
    services: Services = getcurrent().worker.services
    return services


class Functions:
    """Of one stack."""

    def __init__(self, shared: SharedState, stack: Stack, promises: Promises) -> None:
        self._shared, self.stack, self._promises = shared, stack, promises
        concurrency = shared.conditions.retry_concurrency
        self._lambda = SimulatedLambda(shared.time, Bill(), self._new_worker, concurrency, executions=1000)
        self._environment: dict[str, str] = {}
        self._workers = self._handles = self._requests = 0
        stack.queue.due = self.poll
        self.deploy(environment_of(stack, shared.conditions))

    @property
    def are_idle(self) -> bool:
        """Whether none runs, and no message waits for one."""
        return not (self.stack.queue.waiting or self._lambda.running)

    def deploy(self, changes: Mapping[str, str]) -> None:
        """New workers have other settings; running ones end with their invocation."""
        self._environment = {**self._environment, **changes}
        self._lambda.retire()
        self.stack.rates.add(int(self._environment["REQUESTS_PER_MINUTE"]))
        self.stack.limits.add(int(self._environment["DAILY_IMAGE_LIMIT"]))
        self.stack.policies.add(self._environment["ON_UNKNOWN_OUTCOME"])

    def _new_worker(self) -> Worker:
        self._workers += 1
        shared = self._shared
        name = f"{self.stack.name} worker {self._workers}"
        skew = (shared.chance(name) * 2 - 1) * shared.conditions.skew_seconds
        worker = Worker(name, self.stack, skew)
        getcurrent().worker = worker
        worker.ends_at = shared.time.now + 10**6
        session = Session(shared, self._promises.writes, worker)
        with patch.dict(os.environ, self._environment), patch.object(boto3, "Session", lambda: session):
            worker.services = bootstrap.get_services.__wrapped__()
        return worker

    def notify(self, photo: StoredObject) -> None:
        """S3's event for an upload."""
        make = _eventbridge_event if self._shared.conditions.has_eventbridge else _s3_event
        event = make(photo)

        def failed(error: str) -> None:
            envelope = {
                "requestContext": {"condition": "RetriesExhausted"},
                "requestPayload": event,
                "responsePayload": {"errorType": error},
            }
            self.stack.queue.send(json.dumps(envelope), 0)

        def work(worker: Worker) -> bool:
            _, error = self._run("trigger", worker, event, photo.key)
            if error:
                failed(error)
            return not worker.is_dead

        self._lambda.invoke("trigger", work)

    def reconcile(self) -> None:
        """The schedule's event."""
        self._lambda.invoke("reconcile", lambda worker: not self._run("reconcile", worker, {}, "reconcile")[1])

    def poll(self) -> None:
        """Give due messages to RetryFunction, as many as may run."""
        queue = self.stack.queue
        while queue.has_due and self._lambda.may_poll:
            self._handles += 1
            handle = f"{self.stack.name} handle {self._handles}"
            message = queue.receive(handle, VISIBILITY_SECONDS)
            found = _KEY.search(message.body)
            subject = found[1] if found else ""
            seconds = self._shared.troubles.redelivery_of(subject)
            if seconds is not None:
                self._shared.note("SQS", f"shows {message.id} about {subject} again in {seconds:g} s")
                queue.send(message.body, seconds)
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
                    queue.delete(handle)
                queue.forget(handle)
                return not worker.is_dead

            if not self._lambda.poll(work, self.poll):
                queue.make_visible(handle)
                return

    def send(self, body: dict[str, Any]) -> None:
        """Put a message into RetryQueue by hand."""
        self.stack.queue.send(json.dumps(body), 0)

    def redrive(self) -> None:
        """Move all dead letters back."""
        dead_letters, self.stack.dead_letters[:] = list(self.stack.dead_letters), []
        for dead_letter in dead_letters:
            self.send(dead_letter)

    def _run(self, function: str, worker: Worker, event: dict[str, Any], subject: str) -> tuple[Any, str]:
        """The answer of a function, and what ended it if it was no answer."""
        shared = self._shared
        self._requests += 1
        self.stack.invocations[subject] += 1
        request_id = f"{self.stack.name}-{self._requests}"
        getcurrent().worker = worker
        worker.subject, worker.delayed = subject, 0.0
        worker.ends_at = shared.time.now + FUNCTION_SECONDS[function]
        context = SimpleNamespace(
            aws_request_id=request_id,
            function_name=function,
            memory_limit_in_mb=256,
            invoked_function_arn="a",
            get_remaining_time_in_millis=lambda: int((worker.ends_at - shared.time.now) * 1000),
        )
        shared.note(worker.name, f"begins {function} for {subject}")
        lambda_handler: Callable[..., Any] = handler(FOLDERS[function], _services).lambda_handler
        try:
            answer = lambda_handler(event, context)
        except Killed as killed:
            shared.note(worker.name, f"is killed: {killed}")
            return None, "Killed"
        except Exception as error:
            shared.note(worker.name, f"ends with {type(error).__name__}")
            self._promises.ended_with(function, worker, error)
            return None, type(error).__name__
        shared.note(worker.name, f"ends {function}")
        return json.loads(json.dumps(answer)), ""


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
