"""AWS on a bad day, as one worker meets it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError

from tools.simulation.connection import Result
from tools.simulation.plan import AwsTrouble
from tools.simulation.simulated_aws import SimulatedDynamoDB, SimulatedEvents
from tools.simulation.simulated_queue import SimulatedQueues
from tools.simulation.simulated_s3 import SimulatedS3

if TYPE_CHECKING:
    from tools.simulation.play import Play
    from tools.simulation.stack import Stack

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


class Killed(BaseException):
    """The worker's process ends here and now: no handler runs, as with SIGKILL."""


@dataclass(eq=False)
class Worker:
    """One execution environment of Lambda, and what it works on."""

    name: str
    stack: "Stack"
    skew: float
    services: Any = None
    subject: str = ""
    """The key that its invocation is about."""
    ends_at: float = 0.0
    is_dead: bool = False
    delayed: float = 0.0
    """Seconds that AWS took longer than usual since it asked for its last slot."""
    delayed_before_request: float = 0.0
    """The same until its present request to AWS began."""
    observe: Callable[[str], None] = field(default=lambda _: None)


class BadRegion:
    """A `Connection` of one worker: time passes, and what the plan says goes wrong."""

    def __init__(self, play: "Play", stack: "Stack", worker: Worker) -> None:
        self._play, self._stack, self._worker = play, stack, worker

    def now(self) -> float:
        """AWS's time."""
        return self._play.time.now

    def call(
        self,
        service: str,
        operation: str,
        apply: Callable[[], Result],
        about: str = "",
        written: Mapping[str, Any] | None = None,  # noqa: ARG002 - nothing is billed here
    ) -> Result:
        """As `Connection`'s, with boto3's own tries."""
        play, worker = self._play, self._worker
        play.check_alive(worker)
        name = f"{service}.{operation}"
        worker.delayed_before_request = worker.delayed
        trouble = play.trouble_of(worker.subject, name)
        kill = play.kill_of(worker.subject)
        for tried in range(TRIES):
            now = trouble if trouble and tried < trouble.times else play.outage_of(service)
            if kill == "before":
                play.kill(worker, f"before {name}")
            error = self._before(service, operation, now)
            if error is None:
                there = play.promises.before(self._stack, name, about)
                answer, error = self._applied(apply)
                if error is None:
                    play.promises.after(self._stack, worker, name, about, there)
                play.note(worker.name, f"{name} {about}{' refused' if error else ''}")
                if kill == "after":
                    play.kill(worker, f"after {name}")
                if now and now.kind == "slow":
                    self._delay(now.seconds)
                if not (now and now.kind == "lost"):
                    if service == "dynamodb":
                        worker.observe(formatdate(play.time.now, usegmt=True))
                    if error is not None:
                        raise error
                    return answer  # type: ignore[return-value]
                error = ReadTimeoutError(endpoint_url="https://aws")
                play.note("AWS", f"the answer to {name} of {worker.name} is lost")
            if tried == TRIES - 1 or (isinstance(error, ClientError) and now and now.kind == "refused"):
                play.promises.lost_answers += isinstance(error, ReadTimeoutError)
                raise error
            self._delay(BACKOFF_SECONDS[tried])
        raise AssertionError("unreachable")

    def _before(self, service: str, operation: str, trouble: AwsTrouble | None) -> Exception | None:
        self._play.pause(CALL_SECONDS)
        if trouble is None or trouble.kind in ("lost", "slow"):
            return None
        self._play.note("AWS", f"{service}.{operation} of {self._worker.name}: {trouble.kind}")
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
        self._play.pause(seconds)


class SimulatedSsm:
    """SSM's client."""

    def __init__(self, play: "Play", connection: BadRegion) -> None:
        self._play, self._connection = play, connection

    def get_parameter(self, **_: Any) -> dict[str, Any]:
        """As SSM's."""
        return self._connection.call("ssm", "GetParameter", lambda: {"Parameter": {"Value": self._play.ssm_key}})


class Session:
    """In place of a boto3 session, for one worker."""

    def __init__(self, play: "Play", stack: "Stack", worker: Worker) -> None:
        self._play, self._stack, self._worker = play, stack, worker

    def client(self, service: str, **_: Any) -> Any:
        """As boto3's."""
        play, stack = self._play, self._stack
        connection = BadRegion(play, stack, self._worker)
        if service == "dynamodb":
            client: Any = SimulatedDynamoDB(stack.table, connection)
            client.meta = SimpleNamespace(events=SimpleNamespace(register=self._register))
            return client
        if service == "s3":
            return SimulatedS3({"in": play.photos, stack.output_bucket: stack.results}, connection)
        if service == "sqs":
            return SimulatedQueues(stack.retry_url, stack.queue, stack.dead_letters, connection)
        if service == "events":
            return SimulatedEvents(stack.published, connection)
        return SimulatedSsm(play, connection)

    def _register(self, _name: str, observe: Callable[..., None]) -> None:
        self._worker.observe = lambda date: observe(http_response=SimpleNamespace(headers={"date": date}))
