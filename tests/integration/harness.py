"""A whole Backdrop in one process: moto as AWS, the stand-in gateway, the real handlers, and a clock that tests move.

`Harness` simulates Lambda and SQS: it hands S3 events to the trigger, sends failed ones to RetryQueue in Lambda's
envelope, and gives waiting messages to the retry function when their time has come, moving the clock there.
"""

import importlib.util
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote_plus
from uuid import uuid4

import boto3
from moto.backends import get_backend

from backdrop import bootstrap
from backdrop.clock import Clock
from backdrop.job import Job
from backdrop.services import Services
from backdrop.upload import Record
from tests.integration import in_process
from tools.stand_in_gateway.server import GatewayControl

ROOT = Path(__file__).parents[2]
INPUT = "backdrop-input-000000000000"
OUTPUT = "backdrop-output-000000000000"
TABLE = "backdrop-ledger"
KEY_PARAMETER = "/backdrop/gateway-api-key"
FUNCTION_SECONDS = 150.0
VISIBILITY_SECONDS = 180.0


class Killed(BaseException):
    """The worker process ends here and now: no handler of ours runs, as with SIGKILL."""


class MovedClock(Clock):
    """Real time plus what the test has moved it on; waiting in place moves it, too."""

    moved = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.is_set = True

    def now(self) -> float:
        return time.time() + MovedClock.moved

    def observe(self, date_header: str | None) -> None:
        pass

    def sleep_until(self, when: float) -> None:
        MovedClock.moved += max(0.0, when - self.now())


@cache
def clients(endpoint_url: str) -> Any:
    """The tests' own clients; making one takes longer than most tests."""
    return [
        in_process.connected(boto3.client(name, endpoint_url=endpoint_url)) for name in ("s3", "sqs", "dynamodb", "ssm")
    ]


@dataclass
class Context:
    """What a handler reads of Lambda's context."""

    aws_request_id: str
    function_name: str = "backdrop-test"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:000000000000:function:backdrop-test"

    def get_remaining_time_in_millis(self) -> int:
        return int(FUNCTION_SECONDS * 1000)


def handler(name: str) -> ModuleType:
    """A function's app.py, as Lambda loads it."""
    spec = importlib.util.spec_from_file_location(f"functions_{name}", ROOT / "functions" / name / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Harness:
    """See the module."""

    def __init__(self, endpoint_url: str, gateway: GatewayControl) -> None:
        self.gateway = gateway
        self.event: Callable[..., dict[str, Any]] = s3_event
        """What the input bucket's events look like."""
        self.s3, self.sqs, self.dynamodb, self.ssm = clients(endpoint_url)
        self.trigger_function = handler("replace_background")
        self.retry_function = handler("retry")
        self.reconcile_function = handler("reconcile")
        self.restart()  # the environment may still be changed
        self.s3.create_bucket(Bucket=INPUT)
        self.s3.put_bucket_versioning(Bucket=INPUT, VersioningConfiguration={"Status": "Enabled"})
        self.s3.create_bucket(Bucket=OUTPUT)
        self.retry_url = self.sqs.create_queue(
            QueueName="backdrop-retry", Attributes={"VisibilityTimeout": str(int(VISIBILITY_SECONDS))}
        )["QueueUrl"]
        self.dead_letter_url = self.sqs.create_queue(QueueName="backdrop-dead-letters")["QueueUrl"]
        self.dynamodb.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        )
        self.put_key(gateway.key)
        MovedClock.moved = 0.0

    # What users and operators do

    @property
    def services(self) -> Services:
        """What the handlers work with."""
        return bootstrap.get_services()

    def restart(self) -> None:
        """All workers start anew, with the environment as it is now."""
        bootstrap.get_services.cache_clear()

    def put_key(self, value: str) -> None:
        """Put the gateway's key into SSM."""
        self.ssm.put_parameter(Name=KEY_PARAMETER, Value=value, Type="SecureString", Overwrite=True)

    def put(self, key: str, data: bytes, **metadata: str) -> Job:
        """Upload an object without any notification; metadata names take _ for -."""
        names = {name.replace("_", "-"): value for name, value in metadata.items()}
        answer = self.s3.put_object(Bucket=INPUT, Key=key, Body=data, Metadata=names)
        self.set_modified(key, self.now())  # moto takes the real time
        return Job(INPUT, key, answer.get("VersionId"), answer["ETag"].strip('"'), len(data))

    def set_modified(self, key: str, at: float) -> None:
        """Change when the current object of a key was written, in epoch seconds."""
        found = get_backend("s3")["123456789012"]["aws"].buckets[INPUT].keys[key]
        found.last_modified = datetime.fromtimestamp(at, UTC).replace(tzinfo=None)

    def upload(self, key: str, data: bytes, **metadata: str) -> Job:
        """Upload an object and let the trigger have its event."""
        job = self.put(key, data, **metadata)
        self.notify(job)
        return job

    def redrive(self) -> None:
        """Move all dead letters back to RetryQueue."""
        for body in self._take(self.dead_letter_url):
            self.sqs.send_message(QueueUrl=self.retry_url, MessageBody=body)

    # What AWS does

    def notify(self, *jobs: Job) -> Any:
        """Invoke the trigger with one event for `jobs`; a failing one goes to RetryQueue."""
        event = self.event(*jobs)
        try:
            return self.invoke(self.trigger_function, event)
        except (Exception, Killed) as error:
            self.send(envelope(event, error))
            return None

    def send(self, message: Any) -> None:
        """Put a message into RetryQueue."""
        self.sqs.send_message(QueueUrl=self.retry_url, MessageBody=json.dumps(message))

    def invoke(self, function: ModuleType, event: dict[str, Any]) -> Any:
        """Call a handler as Lambda does: its answer has to be JSON."""
        return json.loads(json.dumps(function.lambda_handler(event, Context(str(uuid4())))))

    def drain(self, seconds: float = 3600.0, most: int = 500) -> int:
        """Let the retry function have waiting messages, each at its time, until none is left; how many it took.

        Stops after `seconds` of moved time or `most` invocations.
        """
        ends = time.time() + MovedClock.moved + seconds
        for taken in range(most):
            due = self.next_due()
            if due is None or due > ends:
                return taken
            self.advance(max(0.0, due - time.time() - MovedClock.moved))
            self.retry_once()
        raise AssertionError(f"not at rest after {most} invocations: {self.waiting()}")

    def retry_once(self) -> None:
        """Give the message that is due first to the retry function."""
        message = min(self._messages(), key=_due)
        message.visible_at = message.delayed_until = 0
        others = [other for other in self._messages() if other is not message]
        received = self.sqs.receive_message(
            QueueUrl=self.retry_url, AttributeNames=["All"], VisibilityTimeout=int(VISIBILITY_SECONDS)
        )["Messages"][0]
        before = MovedClock.moved
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
            self.sqs.delete_message(QueueUrl=self.retry_url, ReceiptHandle=received["ReceiptHandle"])
        _bring_closer(others, MovedClock.moved - before)

    def now(self) -> float:
        """Moved epoch seconds."""
        return time.time() + MovedClock.moved

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        MovedClock.moved += seconds
        _bring_closer(self._messages(), seconds)

    def next_due(self) -> float | None:
        """When the first waiting message is due, in moved epoch seconds; None for no message."""
        dues = [_due(message) for message in self._messages()]
        return None if not dues else min(dues) + MovedClock.moved

    def _messages(self) -> list[Any]:
        queue = get_backend("sqs")["123456789012"]["us-east-1"].queues["backdrop-retry"]
        return list(queue._messages)

    # What is there to see

    def outputs(self) -> dict[str, dict[str, Any]]:
        """Stored results by key, each with Body, ContentType and Metadata."""
        found = {}
        for key in self.output_keys():
            answer = self.s3.get_object(Bucket=OUTPUT, Key=key)
            found[key] = {**answer, "Body": answer["Body"].read()}
        return found

    def output_keys(self) -> list[str]:
        """The keys of stored results."""
        return [entry["Key"] for entry in self.s3.list_objects_v2(Bucket=OUTPUT).get("Contents", [])]

    def dead_letters(self) -> list[dict[str, Any]]:
        """What is in DeadLetterQueue; they stay there."""
        queue = get_backend("sqs")["123456789012"]["us-east-1"].queues["backdrop-dead-letters"]
        return [json.loads(message.body) for message in queue._messages]

    def waiting(self) -> list[dict[str, Any]]:
        """The bodies in RetryQueue."""
        return [json.loads(message.body) for message in self._messages()]

    def record(self, job: Job) -> Record | None:
        """The upload's item in the ledger."""
        return self.services.ledger.known([job.id]).get(job.id)

    def charged(self) -> int:
        """Images that the gateway charged."""
        return sum(charge["images"] for charge in self.gateway.charges())

    def _take(self, url: str) -> Iterable[str]:
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                yield message["Body"]


def _bring_closer(messages: Iterable[Any], seconds: float) -> None:
    """Moto shows messages by real time: moved time has to come off."""
    for message in messages:
        message.visible_at -= seconds * 1000
        message.delayed_until -= seconds * 1000


def _due(message: Any) -> float:
    """When moto would show a message, in real epoch seconds."""
    return float(max(message.visible_at, message.delayed_until)) / 1000


def s3_event(*jobs: Job) -> dict[str, Any]:
    """The S3 event for uploads, in the shape of events/s3_object_created.json."""
    event: dict[str, Any] = json.loads((ROOT / "events" / "s3_object_created.json").read_text())
    template = json.dumps(event["Records"][0])
    records = []
    for job in jobs:
        record = json.loads(template)
        record["s3"]["bucket"]["name"] = job.bucket
        record["s3"]["object"] = {
            "key": quote_plus(job.key),
            "size": job.size,
            "eTag": job.etag,
            "versionId": job.version_id,
            "sequencer": "0055AED6DCD90281E5",
        }
        records.append(record)
    return {"Records": records}


def eventbridge_event(job: Job) -> dict[str, Any]:
    """The event that EventBridge makes of an upload.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
    """
    found = {"key": job.key, "size": job.size, "etag": job.etag, "sequencer": "0055AED6DCD90281E5"}
    if job.version_id:
        found["version-id"] = job.version_id
    return {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": "Object Created",
        "source": "aws.s3",
        "account": "123456789012",
        "time": "2026-11-22T08:00:00Z",
        "region": "us-east-1",
        "resources": [f"arn:aws:s3:::{job.bucket}"],
        "detail": {"version": "0", "bucket": {"name": job.bucket}, "object": found, "reason": "PutObject"},
    }


def envelope(event: dict[str, Any], error: BaseException) -> dict[str, Any]:
    """What Lambda sends to an OnFailure destination, in the shape of events/lambda_failure.json."""
    body: dict[str, Any] = json.loads((ROOT / "events" / "lambda_failure.json").read_text())
    return body | {"requestPayload": event, "responsePayload": {"errorType": type(error).__name__}}
