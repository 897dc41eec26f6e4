"""AWS on a bad day, as one worker meets it."""

from collections.abc import Callable, Mapping
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError

from tools.simulation.connection import Result
from tools.simulation.plan import AwsTrouble
from tools.simulation.shared_state import SharedState
from tools.simulation.simulated_aws import SimulatedDynamoDB, SimulatedEvents
from tools.simulation.simulated_queue import SimulatedQueues
from tools.simulation.simulated_s3 import SimulatedS3
from tools.simulation.stack import Worker
from tools.simulation.write_promises import WritePromises

TRIES = 4  # of boto3, in all
BACKOFF_SECONDS = (0.3, 0.9, 2.1)
CALL_SECONDS = 0.01
_THROTTLED = {
    "dynamodb": ("ProvisionedThroughputExceededException", 400),
    "s3": ("SlowDown", 503),
    "sqs": ("RequestThrottled", 403),
    "ssm": ("ThrottlingException", 400),
    "events": ("ThrottlingException", 400),
}


class BadRegion:
    """A `Connection` of one worker: time passes, and what the plan says goes wrong."""

    def __init__(self, shared: SharedState, promises: WritePromises, worker: Worker) -> None:
        self._shared, self._promises, self._worker = shared, promises, worker

    def now(self) -> float:
        """AWS's time."""
        return self._shared.time.now

    def call(
        self,
        service: str,
        operation: str,
        apply: Callable[[], Result],
        about: str = "",
        written: Mapping[str, Any] | None = None,  # noqa: ARG002 - nothing is billed here
    ) -> Result:
        """As `Connection`'s, with boto3's own tries."""
        shared, worker = self._shared, self._worker
        shared.check_alive(worker)
        name = f"{service}.{operation}"
        worker.delayed_before_request = worker.delayed
        trouble = shared.troubles.of_aws(worker.subject, name)
        kill = shared.troubles.kill_of(worker.subject)
        for tried in range(TRIES):
            now = trouble if trouble and tried < trouble.times else shared.troubles.aws_outage(service)
            if kill == "before":
                shared.kill(worker, f"before {name}")
            error = self._before(service, operation, now)
            if error is None:
                there = self._promises.before(worker.stack, name, about)
                answer, error = self._applied(apply)
                if error is None:
                    self._promises.after(worker, name, about, there)
                shared.note(worker.name, f"{name} {about}{' refused' if error else ''}")
                if kill == "after":
                    shared.kill(worker, f"after {name}")
                if now and now.kind == "slow":
                    self._delay(now.seconds)
                if not (now and now.kind == "lost"):
                    if service == "dynamodb":
                        worker.observe(formatdate(shared.time.now, usegmt=True))
                    if error is not None:
                        raise error
                    return answer  # type: ignore[return-value]
                error = ReadTimeoutError(endpoint_url="https://aws")
                shared.note("AWS", f"the answer to {name} of {worker.name} is lost")
            if tried == TRIES - 1 or (isinstance(error, ClientError) and now and now.kind == "refused"):
                shared.lost_answers += isinstance(error, ReadTimeoutError)
                raise error
            self._delay(BACKOFF_SECONDS[tried])
        raise AssertionError("unreachable")

    def _before(self, service: str, operation: str, trouble: AwsTrouble | None) -> Exception | None:
        self._shared.pause(CALL_SECONDS)
        if trouble is None or trouble.kind in ("lost", "slow"):
            return None
        self._shared.note("AWS", f"{service}.{operation} of {self._worker.name}: {trouble.kind}")
        if trouble.kind == "late":
            self._delay(trouble.seconds)
            return None
        if trouble.kind == "failed" and service == "events":
            return ConnectTimeoutError(endpoint_url="https://aws")
        code, status = {
            "throttled": _THROTTLED[service],
            "refused": ("AccessDeniedException" if service != "s3" else "AccessDenied", 403),
            "failed": ("InternalError", 500),
        }[trouble.kind]
        response: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        return ClientError(response, operation)

    @staticmethod
    def _applied(apply: Callable[[], Result]) -> tuple[Result | None, Exception | None]:
        try:
            return apply(), None
        except ClientError as error:
            return None, error

    def _delay(self, seconds: float) -> None:
        self._worker.delayed += seconds
        self._shared.pause(seconds)


class SimulatedSsm:
    """SSM's client."""

    def __init__(self, shared: SharedState, connection: BadRegion) -> None:
        self._shared, self._connection = shared, connection

    def get_parameter(self, **_: Any) -> dict[str, Any]:
        """As SSM's."""
        return self._connection.call("ssm", "GetParameter", lambda: {"Parameter": {"Value": self._shared.ssm_key}})


class Session:
    """In place of a boto3 session, for one worker."""

    def __init__(self, shared: SharedState, promises: WritePromises, worker: Worker) -> None:
        self._shared, self._promises, self._worker = shared, promises, worker

    def client(self, service: str, **_: Any) -> Any:
        """As boto3's."""
        shared, stack = self._shared, self._worker.stack
        connection = BadRegion(shared, self._promises, self._worker)
        if service == "dynamodb":
            client: Any = SimulatedDynamoDB(stack.table, connection)
            client.meta = SimpleNamespace(events=SimpleNamespace(register=self._register))
            return client
        if service == "s3":
            return SimulatedS3({"in": shared.photos, stack.output_bucket: stack.results}, connection)
        if service == "sqs":
            return SimulatedQueues(stack.retry_url, stack.queue, stack.dead_letters, connection)
        if service == "events":
            return SimulatedEvents(stack.published, connection)
        return SimulatedSsm(shared, connection)

    def _register(self, _name: str, observe: Callable[..., None]) -> None:
        self._worker.observe = lambda date: observe(http_response=SimpleNamespace(headers={"date": date}))
