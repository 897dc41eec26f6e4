"""What Lambda does: it loads the handlers, invokes them, and brings failed events and waiting messages to them."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

from backdrop import bootstrap
from backdrop.job import Job
from tests.aws_events import envelope, s3_event, sample
from tests.integration import moved_clock
from tests.integration.moved_queues import MovedQueues

FUNCTION_SECONDS = 150.0
_FUNCTIONS = Path(__file__).parents[2] / "functions"


class Killed(BaseException):
    """The worker process ends here and now: no handler of ours runs, as with SIGKILL."""


@dataclass
class Context:
    """What a handler reads of Lambda's context."""

    aws_request_id: str
    function_name: str = "backdrop-test"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:000000000000:function:backdrop-test"

    def get_remaining_time_in_millis(self) -> int:
        return int(FUNCTION_SECONDS * 1000)


class SimulatedLambda:
    """The three functions, and what invokes them."""

    def __init__(self, queues: MovedQueues) -> None:
        self._queues = queues
        self.event: Callable[..., dict[str, Any]] = s3_event
        """What the input bucket's events look like."""
        self.trigger_function = _loaded("replace_background")
        self.retry_function = _loaded("retry")
        self.reconcile_function = _loaded("reconcile")
        self.restart()  # the environment may still be changed

    def restart(self) -> None:
        """All workers start anew, with the environment as it is now."""
        bootstrap.get_services.cache_clear()

    def invoke(self, function: ModuleType, event: dict[str, Any]) -> Any:
        """Call a handler as Lambda does: its answer has to be JSON."""
        return json.loads(json.dumps(function.lambda_handler(event, Context(str(uuid4())))))

    def notify(self, *jobs: Job) -> Any:
        """Invoke the trigger with one event for `jobs`; a failing one goes to RetryQueue."""
        event = self.event(*jobs)
        try:
            return self.invoke(self.trigger_function, event)
        except (Exception, Killed) as error:
            self._queues.send(envelope(event, error))
            return None

    def retry_once(self) -> None:
        """Give the message that is due first to the retry function."""
        with self._queues.first() as received:
            record = {
                "messageId": received["MessageId"],
                "receiptHandle": received["ReceiptHandle"],
                "body": received["Body"],
                "attributes": received["Attributes"],
                "eventSource": "aws:sqs",
            }
            try:
                answer = self.invoke(self.retry_function, {"Records": [record]})
            except (Exception, Killed):
                answer = {"batchItemFailures": [{"itemIdentifier": received["MessageId"]}]}
            failed = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
            assert set(failed) <= {received["MessageId"]}
            if not failed:
                self._queues.delete(received)

    def reconcile(self) -> Any:
        """Invoke the reconciler as its schedule does."""
        return self.invoke(self.reconcile_function, sample("schedule"))

    def drain(self, seconds: float = 3600.0, most: int = 500) -> int:
        """Let the retry function have waiting messages, each at its time, until none is left; how many it took.

        Stops after `seconds` of moved time or `most` invocations.
        """
        ends = moved_clock.now() + seconds
        for taken in range(most):
            due = self._queues.next_due()
            if due is None or due > ends:
                return taken
            self._queues.advance(max(0.0, due - moved_clock.now()))
            self.retry_once()
        raise AssertionError(f"not at rest after {most} invocations: {self._queues.waiting()}")


def _loaded(name: str) -> ModuleType:
    """A function's app.py, as Lambda loads it."""
    spec = importlib.util.spec_from_file_location(f"functions_{name}", _FUNCTIONS / name / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
