"""S3, SQS, Lambda and the gateway on played time, with the limits that matter and a count of what is billed.

Times and limits are AWS's published ones or typical measurements of a quiet region; each says where it is from.
"""

import json
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from botocore.exceptions import ClientError

from backdrop.clock import utc_day
from backdrop.errors import AccountFault, CallFailed, FailureFacts, GatewayBusy
from backdrop.gateway import Answer, Gateway
from backdrop.job import Job
from backdrop.settings import Settings
from tools.simulation.simulated_table import SimulatedTable, write_units
from tools.simulation.simulated_time import SimulatedTime

PNG = b"\x89PNG\r\n\x1a\n" + bytes(12 * 80) + b"\0\0\0\0IEND\xae\x42\x60\x82"  # its end is looked for
JPEG = b"\xff\xd8\xff" + bytes(29)

SECONDS = {"dynamodb": 0.006, "s3 read": 0.025, "s3 write": 0.045, "sqs": 0.010, "events": 0.015, "fetch": 0.3}
COLD_START_SECONDS = 1.2
ITEM_WRITES_A_SECOND = (
    1000.0  # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
)
CONCURRENT_EXECUTIONS = (
    1000  # an account's default; https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
)
NEW_WORKERS_A_SECOND = 100.0  # 1,000 every ten seconds for each function
POLLERS_AT_FIRST, POLLERS_A_SECOND = (
    5,
    5.0,
)  # 300 more a minute; https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
# An account's default for a table that has grown with its load, and what a new one takes at once.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html
TABLE_UNITS_A_SECOND, NEW_TABLE_UNITS_A_SECOND = 40_000.0, 4_000.0
IN_FLIGHT = 120_000  # of a standard queue, hidden ones included


@dataclass
class Bill:
    """What AWS counts."""

    counts: Counter[str] = field(default_factory=Counter)
    lambda_seconds: float = 0.0
    most: Counter[str] = field(default_factory=Counter)
    """The most of something at one time."""

    def peak(self, what: str, value: float) -> None:
        """Note a new height."""
        self.most[what] = max(self.most[what], int(value))


class Bucket:
    """A token bucket."""

    def __init__(self, time: SimulatedTime, a_second: float, size: float) -> None:
        self._time, self._a_second, self._size = time, a_second, size
        self._tokens, self._at = size, time.now

    def take(self, tokens: int = 1) -> bool:
        """Whether there were as many tokens."""
        now = self._time.now
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._a_second)
        self._at = now
        if self._tokens < tokens:
            return False
        self._tokens -= tokens
        return True


class SimulatedDynamoDB:
    """A table client that takes its time and refuses more writes than DynamoDB takes: to one item, to a new table.

    `units_a_second` is what the table takes, in write units.
    """

    def __init__(self, time: SimulatedTime, bill: Bill, units_a_second: float) -> None:
        self._time, self._bill = time, bill
        self._of_the_pace = Bucket(time, ITEM_WRITES_A_SECOND, ITEM_WRITES_A_SECOND / 10)
        self._of_the_table = Bucket(time, units_a_second, units_a_second)
        self._seconds: Counter[int] = Counter()
        self.table = SimulatedTable(self._wrote)

    def get_item(self, **arguments: Any) -> Any:
        """As DynamoDB's."""
        self._bill.counts["dynamodb reads"] += 1
        self._time.sleep(SECONDS["dynamodb"])
        return self.table.get_item(**arguments)

    def put_item(self, **arguments: Any) -> Any:
        """As DynamoDB's."""
        self._admit(arguments["Item"]["id"]["S"], "PutItem", write_units(arguments["Item"]))
        self._time.sleep(SECONDS["dynamodb"])
        return self.table.put_item(**arguments)

    def update_item(self, **arguments: Any) -> Any:
        """As DynamoDB's."""
        item_id = arguments["Key"]["id"]["S"]
        self._admit(item_id, "UpdateItem", write_units(self.table.items.get(item_id, {})))
        self._time.sleep(SECONDS["dynamodb"])
        return self.table.update_item(**arguments)

    def _admit(self, item_id: str, operation: str, needed: int) -> None:
        """As boto3's standard mode: three more tries, then the error."""
        is_pace = item_id == "pace"  # nothing else is written by more than one worker at a time
        for tries in range(4):
            if (not is_pace or self._of_the_pace.take()) and self._of_the_table.take(needed):
                if is_pace:
                    self._bill.counts["writes of the pace"] += 1
                    self._seconds[int(self._time.now)] += 1
                    self._bill.peak("writes of the pace", self._seconds[int(self._time.now)])
                return
            self._bill.counts["writes of the pace refused" if is_pace else "writes refused"] += 1
            self._time.sleep(random.uniform(0, min(20, 2**tries)))
        raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, operation)

    def _wrote(self, _item_id: str, units: int) -> None:
        self._bill.counts["dynamodb write units"] += units


class SimulatedS3:
    """Both buckets, with any number of photos that all look alike."""

    def __init__(self, time: SimulatedTime, bill: Bill) -> None:
        self._time, self._bill = time, bill
        self.stored: dict[str, float] = {}
        """When each result was stored."""

    def get_object(self, **_: Any) -> dict[str, Any]:
        """As S3's, of the first bytes."""
        self._read()
        return {
            "Body": _Body(JPEG),
            "VersionId": "1",
            "ETag": '"e"',
            "ContentRange": "bytes 0-31/2000000",
            "Metadata": {"prompt": "a marble kitchen counter in soft morning light"},
            "LastModified": _Modified(),
        }

    def head_object(self, **_: Any) -> dict[str, Any]:
        """As S3's, of a photo; each stays what it was."""
        self._read()
        return {"VersionId": "1", "ETag": '"e"', "ContentLength": 2_000_000, "LastModified": _Modified()}

    def list_objects_v2(self, **_: Any) -> dict[str, Any]:
        """As S3's, of a key that has no result yet."""
        self._time.sleep(SECONDS["s3 read"])
        self._bill.counts["s3 lists"] += 1
        return {}

    def put_object(self, Key: str, **_: Any) -> None:
        """As S3's."""
        self._time.sleep(SECONDS["s3 write"])
        self._bill.counts["s3 writes"] += 1
        self.stored[Key] = self._time.now

    def generate_presigned_url(self, *_: Any, **__: Any) -> str:
        """As long as a real one."""
        return "https://backdrop-input-000000000000.s3.us-east-1.amazonaws.com/" + "x" * 1400

    def _read(self) -> None:
        self._time.sleep(SECONDS["s3 read"])
        self._bill.counts["s3 reads"] += 1


class _Body:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def __enter__(self) -> "_Body":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, _size: int) -> bytes:
        return self._data


class _Modified:
    def timestamp(self) -> float:
        return 0.0


class SimulatedEvents:
    """EventBridge."""

    def __init__(self, time: SimulatedTime, bill: Bill) -> None:
        self._time, self._bill = time, bill

    def put_events(self, Entries: list[Any]) -> dict[str, Any]:
        """As EventBridge's."""
        self._time.sleep(SECONDS["events"])
        self._bill.counts["events"] += len(Entries)
        return {"FailedEntryCount": 0}


@dataclass
class Message:
    """A message; `hidden` counts how often it was, so that an outdated end of a wait is told from the valid one."""

    body: str
    sent_at: float
    received: int = 0
    hidden: int = 0
    in_flight: bool = False


class SimulatedQueue:
    """RetryQueue's client; `due` is called when a message can be received."""

    def __init__(self, time: SimulatedTime, bill: Bill, retry_url: str) -> None:
        self._time, self._bill, self._retry_url = time, bill, retry_url
        self._visible: list[Message] = []
        self._taken: dict[str, Message] = {}
        self._in_flight = 0
        self.dead_letters: list[dict[str, Any]] = []
        self.due: Callable[[], None] = lambda: None

    def send_message(self, QueueUrl: str, MessageBody: str, DelaySeconds: int = 0) -> None:
        """As SQS's."""
        self._call()
        if QueueUrl != self._retry_url:
            self.dead_letters.append(json.loads(MessageBody))
            return
        message = Message(MessageBody, self._time.now)
        self._show_at(message, self._time.now + DelaySeconds)

    def change_message_visibility(self, ReceiptHandle: str, VisibilityTimeout: int, **_: Any) -> None:
        """As SQS's."""
        self._call()
        self._show_at(self._taken[ReceiptHandle], self._time.now + VisibilityTimeout)

    @property
    def has_due(self) -> bool:
        """Whether a message can be received."""
        return bool(self._visible) and self._in_flight < IN_FLIGHT

    def receive(self, handle: str) -> Message:
        """Take any of the visible messages; SQS keeps no order."""
        index = random.randrange(len(self._visible))
        self._visible[index], self._visible[-1] = self._visible[-1], self._visible[index]
        message = self._taken[handle] = self._visible.pop()
        message.received += 1
        message.hidden += 1
        message.in_flight = True
        self._in_flight += 1
        self._bill.peak("messages in flight", self._in_flight)
        self._bill.counts["sqs requests"] += 1
        return message

    def done(self, handle: str, is_deleted: bool) -> None:
        """What Lambda does after an invocation."""
        message = self._taken.pop(handle)
        if is_deleted:
            self._bill.counts["sqs requests"] += 1
            self._in_flight -= 1
            message.hidden += 1

    def give_back(self, handle: str) -> None:
        """No worker was free after all."""
        message = self._taken.pop(handle)
        message.in_flight = False
        self._in_flight -= 1
        self._visible.append(message)

    def _show_at(self, message: Message, when: float) -> None:
        message.hidden += 1
        hidden = message.hidden

        def show() -> None:
            if message.hidden == hidden:
                self._in_flight -= message.in_flight
                message.in_flight = False
                self._visible.append(message)
                self.due()

        # SQS shows messages a little late.
        self._time.at(when + random.uniform(0, 1.0), show)

    def _call(self) -> None:
        self._time.sleep(SECONDS["sqs"])
        self._bill.counts["sqs requests"] += 1


@dataclass(frozen=True)
class Trouble:
    """What goes wrong at the gateway, in seconds since the start."""

    keys: Literal["honoured", "ignored", "failures kept"] = "honoured"
    """What the gateway does with idempotency keys; the last also answers a failure again to its key."""
    lost_answers: float = 0.0
    """Share of the charged answers in place of which a proxy says 504."""
    error_rate: float = 0.01
    outage: tuple[float, float] = (0.0, 0.0)
    empty_wallet: tuple[float, float] = (0.0, 0.0)


class SimulatedGateway(Gateway):
    """The gateway with a strict limit of calls in any minute; what is sent is made by the real `Gateway`."""

    def __init__(self, settings: Settings, time: SimulatedTime, trouble: Trouble, rpm: int) -> None:
        self._settings = settings
        self._time, self._trouble, self._rpm = time, trouble, rpm
        self._started = time.now
        self._recent: deque[float] = deque()
        self.answers: Counter[str] = Counter()
        self.charges: Counter[str] = Counter()
        """By upload and, as the UTC day, in all."""
        self._known: dict[str, str] = {}
        """What was answered to an idempotency key: `bought`, or the request id of a failure."""

    def have_key(self) -> None:
        """It is."""

    def send(self, call: Any, photo: Any, seconds: float) -> Answer:  # noqa: ARG002 - as the real one
        """Take 4 to 60 seconds over an image."""
        now = self._time.now
        since = now - self._started
        while self._recent and self._recent[0] <= now - 60:
            self._recent.popleft()
        if len(self._recent) >= self._rpm:
            self.answers["429"] += 1
            self._time.sleep(0.1)
            raise GatewayBusy(429, "too many", retry_after=self._recent[0] + 60 - now)
        self._recent.append(now)
        if _within(since, self._trouble.empty_wallet):
            self.answers["402"] += 1
            self._time.sleep(0.1)
            raise AccountFault(402, "no credit")
        known = self._known.get(call.idempotency_key, "") if self._trouble.keys != "ignored" else ""
        is_down = _within(since, self._trouble.outage) or random.random() < self._trouble.error_rate
        if known != "bought" and (known or is_down):
            self.answers["5xx"] += 1
            self._time.sleep(1.0)
            facts = FailureFacts(request_id=known or f"request {len(self.answers)} {now}", is_documented=True)
            if self._trouble.keys == "failures kept":
                self._known[call.idempotency_key] = facts.request_id
            raise CallFailed(503, "unavailable", facts=facts)
        self._time.sleep(min(60.0, 4.0 + random.expovariate(1 / 8.0)) if not known else 0.2)
        if not known:
            self._known[call.idempotency_key] = "bought"
            self.charges.update([call.idempotency_key.partition("-")[0], utc_day(self._time.now)])
        if random.random() < self._trouble.lost_answers:
            self.answers["504"] += 1
            raise CallFailed(504, "gateway time-out")
        self.answers["200"] += 1
        return Answer(("https://results.test/" + "y" * 80,), (), "r" * 24, self._settings.price_per_image_usd)


def _within(moment: float, span: tuple[float, float]) -> bool:
    return span[0] <= moment < span[1]


class SimulatedResults:
    """The host of the results."""

    def __init__(self, time: SimulatedTime) -> None:
        self._time = time

    def fetch(self, _link: str, _seconds: float) -> bytes:
        """An image."""
        self._time.sleep(SECONDS["fetch"])
        return PNG


class SimulatedLambda:
    """Workers of one account; an event waits in line while none is free."""

    def __init__(
        self, time: SimulatedTime, bill: Bill, new_app: Callable[[], Any], most_retries: int, executions: int
    ) -> None:
        self._time, self._bill, self._new_app, self._executions = time, bill, new_app, executions
        self._running = 0
        self._idle: dict[str, list[Any]] = {}
        self._new = {name: Bucket(time, NEW_WORKERS_A_SECOND, 1000) for name in ("trigger", "retry")}
        self._most_retries = most_retries
        self._retries = 0
        self._started = time.now

    def invoke(self, function: str, work: Callable[[Any], None]) -> bool:
        """Run `work` with a worker's app; False when Lambda throttles."""
        workers = self._idle.setdefault(function, [])
        if self._running >= self._executions or not (workers or self._new[function].take()):
            self._bill.counts["throttled"] += 1
            return False
        self._running += 1
        self._bill.peak("concurrent executions", self._running)
        self._bill.counts["invocations"] += 1

        def run() -> None:
            begins = self._time.now
            if workers:
                app = workers.pop()
            else:
                app = self._new_app()
                self._time.sleep(COLD_START_SECONDS)
                self._bill.counts["cold starts"] += 1
            work(app)
            workers.append(app)
            self._running -= 1
            self._bill.lambda_seconds += self._time.now - begins

        self._time.start(run)
        return True

    @property
    def may_poll(self) -> bool:
        """Whether the queue's event source may start one more."""
        allowed = POLLERS_AT_FIRST + (self._time.now - self._started) * POLLERS_A_SECOND
        return self._retries < min(self._most_retries, allowed)

    def poll(self, work: Callable[[Any], None], ended: Callable[[], None]) -> bool:
        """As `invoke`, for a message."""

        def counted(app: Any) -> None:
            work(app)
            self._retries -= 1
            self._time.at(self._time.now, ended)

        if not self.invoke("retry", counted):
            return False
        self._retries += 1
        self._bill.peak("concurrent retries", self._retries)
        return True


def upload(number: int, bucket: str) -> Job:
    """One of many."""
    return Job(bucket, f"shoes/{number:07}.jpg", "1", "e", 2_000_000)
