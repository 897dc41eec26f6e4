"""What a function is given to do on the deployed stack, and what goes wrong with it."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus, unquote_plus
from uuid import uuid4

from botocore.exceptions import ClientError

from backdrop.pace_item import PACE_ID
from tools.files import SAMPLE_EVENT, SAMPLE_PHOTO
from tools.local_stack import LocalStack
from tools.polling import until

TRIGGER, RETRY, RECONCILE = "ReplaceBackground", "Retry", "Reconcile"
LOST_KEY = "lost/mug.jpg"
LOST_SECONDS = 122.0  # ReconcileFunction leaves younger uploads alone
_FUNCTION_SECONDS = 90  # waking keeps 60 of them free; a call needs ten and the gateway's ten, or it is not begun
_SOON_SECONDS = 5.0
_POLLED_SECONDS = 15.0
_OLDER = "older"
_UPLOADS = ("deleted", "no-prompt", "photo", "second", "waits")  # the second waits in place for its slot


class Stage:
    """The deployed stack with its notifications and its poller switched off, and an ear for its events."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._s3, self._sqs, self._functions = stack.client("s3"), stack.client("sqs"), stack.client("lambda")
        self._dynamodb, self._logs = stack.client("dynamodb"), stack.client("logs")
        outputs = stack.outputs
        self._input, self._output = outputs["InputBucketName"], outputs["OutputBucketName"]
        self._table = outputs["LedgerTableName"]
        self._retry_url, self._dead_letters_url = outputs["RetryQueueUrl"], outputs["DeadLetterQueueUrl"]
        self._poller = self._functions.list_event_source_mappings(FunctionName=outputs[f"{RETRY}FunctionName"])[
            "EventSourceMappings"
        ][0]["UUID"]
        self._switch_poller(on=False)
        self._s3.put_bucket_notification_configuration(Bucket=self._input, NotificationConfiguration={})
        self._events_url = self._sqs.create_queue(QueueName="events")["QueueUrl"]
        queue = self._sqs.get_queue_attributes(QueueUrl=self._events_url, AttributeNames=["QueueArn"])
        events = stack.client("events")
        events.put_rule(Name="all", EventPattern=json.dumps({"source": ["backdrop"]}))
        events.put_targets(Rule="all", Targets=[{"Id": "queue", "Arn": queue["Attributes"]["QueueArn"]}])
        self._put(LOST_KEY, "a lost upload")
        self._lost_since = time.monotonic()

    def clear(self, function: str) -> None:
        """Forget what was, in the stack and in the workers of `function`, which is to be tried next."""
        for url in (self._retry_url, self._dead_letters_url, self._events_url):
            self._sqs.purge_queue(QueueUrl=url)
        for item in self._ledger():
            self._dynamodb.delete_item(TableName=self._table, Key={"id": item["id"]})
        listed = self._s3.list_object_versions(Bucket=self._input)
        for version in [*listed["Versions"], *listed.get("DeleteMarkers", [])]:
            if version["Key"] != LOST_KEY:
                self._s3.delete_object(Bucket=self._input, Key=version["Key"], VersionId=version["VersionId"])
        gateway = self._stack.gateway
        gateway.reset()
        gateway.settings(image_pixels=20_000, rate_limit=None)
        gateway.faults([{"kind": "status", "status": 429, "retry_after": "1", "match": "waits"}])
        self._function, self._folder, self._cleared_at = function, f"{uuid4().hex[:8]}/", time.time()
        # Ends its workers, which remember the gateway's key.
        self._functions.update_function_configuration(FunctionName=function, Timeout=_FUNCTION_SECONDS)

    # Plays: what the function is given to do; each tells what goes wrong

    def replace_background(self) -> Iterator[str]:
        """All kinds of uploads in one S3 event."""
        if self._invoke(self._uploads()) is None:
            yield "the function fails"
        yield from self._missing()
        if not self._count_waiting():
            yield "nothing in RetryQueue"

    def retry(self) -> Iterator[str]:
        """The same uploads in one message, and then in the messages that become of it."""
        self._sqs.send_message(QueueUrl=self._retry_url, MessageBody=json.dumps(self._uploads()))
        [message] = self._receive(1)
        if self._invoke({"Records": [message]}) != {"batchItemFailures": []}:
            yield "no message of its own for each upload"
            return
        self._sqs.delete_message(QueueUrl=self._retry_url, ReceiptHandle=message["receiptHandle"])
        # In the order of their names: the one that waits comes last, because all others would have to wait with it.
        messages = sorted(
            self._receive(len(_UPLOADS)), key=lambda message: str(json.loads(message["body"])["job"]["key"])
        )
        last = {"batchItemFailures": [{"itemIdentifier": messages[-1]["messageId"]}]}
        answer = self._invoke({"Records": messages})
        yield from self._missing()
        if answer != last:
            yield "a message comes back that should not"
        elif not _soon(lambda: self._peek(self._retry_url, "waits")):
            yield "a message that waits comes back too late"

    def polled(self) -> Iterator[str]:
        """An upload in a message that the poller brings to the function and deletes."""
        self._sqs.send_message(QueueUrl=self._retry_url, MessageBody=json.dumps({"Records": [self._upload("photo")]}))
        self._switch_poller(on=True)
        is_done = _soon(lambda: self._has_result("photo") and not self._count_waiting(), _POLLED_SECONDS)
        self._switch_poller(on=False)
        if not is_done:
            yield "no result, or its message stays"

    def reconcile(self) -> Iterator[str]:
        """An upload that nobody noticed."""
        answer = self._invoke({})
        if answer is None:
            yield "the function fails"
            return
        if answer["enqueued"] != 1 or self._count_waiting() != 1:
            yield "a lost upload stays lost"
        if (self._invoke({}) or {}).get("enqueued") != 0:
            yield "a lost upload is enqueued twice"
        if {"S": "reconcile"} not in [item["id"] for item in self._ledger()]:
            yield "the place in the listing is not kept"
        yield from self._missing_log()

    def wake(self) -> Iterator[str]:
        """An upload that sleeps until tomorrow, and room for it today."""
        full = {"id": {"S": PACE_ID}, "day": {"S": f"{datetime.now(UTC):%Y-%m-%d}"}, "images": {"N": "1000"}}
        self._dynamodb.put_item(TableName=self._table, Item=full)
        self._sqs.send_message(QueueUrl=self._retry_url, MessageBody=json.dumps({"Records": [self._upload("photo")]}))
        self._invoke({"Records": self._receive(1)}, self._stack.outputs[f"{RETRY}FunctionName"])
        self._dynamodb.update_item(
            TableName=self._table,
            Key={"id": full["id"]},
            UpdateExpression="SET images = :none",
            ExpressionAttributeValues={":none": {"N": "0"}},
        )
        answer = self._invoke({"only": "wake"})
        if answer is None:
            yield "the function fails"
        elif answer["woken"] != 1 or not _soon(lambda: self._peek(self._retry_url, "photo")):
            yield "an upload sleeps although there is room"

    def wait_for_the_lost(self) -> None:
        """Until `reconcile` can find something."""
        until("the lost upload is old enough", lambda: time.monotonic() - self._lost_since > LOST_SECONDS, LOST_SECONDS)

    # What plays do

    def _uploads(self) -> dict[str, Any]:
        event = {"Records": [self._upload(name) for name in _UPLOADS]}
        self._s3.delete_object(Bucket=self._input, Key=f"{self._folder}deleted")
        # As of an earlier upload of the key, which is to be replaced.
        key = f"{self._folder}photo"
        older = {"job-id": _OLDER, "source-key": key, "source-modified": "0"}
        self._s3.put_object(Bucket=self._output, Key=f"{key}.png", Body=b"older", Metadata=older)
        return event

    def _upload(self, name: str) -> dict[str, Any]:
        """Put a photo and return its record of an S3 event."""
        version = self._put(self._folder + name, "" if name == "no-prompt" else name)
        record: dict[str, Any] = json.loads(SAMPLE_EVENT.read_text())["Records"][0]
        record["s3"]["bucket"]["name"] = self._input
        record["s3"]["object"] |= {"key": quote_plus(self._folder + name), "versionId": version}
        return record

    def _put(self, key: str, prompt: str) -> str:
        metadata = {"prompt": prompt} if prompt else {}
        answer = self._s3.put_object(Bucket=self._input, Key=key, Body=SAMPLE_PHOTO.read_bytes(), Metadata=metadata)
        return str(answer["VersionId"])

    def _invoke(self, event: dict[str, Any], function: str = "") -> dict[str, Any] | None:
        """The answer of the function that is tried, or of another; None when it ended with an exception."""
        answer = self._functions.invoke(FunctionName=function or self._function, Payload=json.dumps(event))
        found: dict[str, Any] = json.loads(answer["Payload"].read())
        return None if "FunctionError" in answer else found

    def _receive(self, count: int) -> list[dict[str, Any]]:
        """Take this many messages of RetryQueue, as records of an SQS event."""
        messages: list[dict[str, Any]] = []

        def has_all() -> bool:
            answer = self._sqs.receive_message(
                QueueUrl=self._retry_url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
            )
            messages.extend(answer.get("Messages", []))
            return len(messages) >= count

        until(f"{count} messages", has_all, _SOON_SECONDS)
        return [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
            }
            for message in messages
        ]

    def _switch_poller(self, *, on: bool) -> None:
        self._functions.update_event_source_mapping(UUID=self._poller, Enabled=on)

    # What plays look at

    def _missing(self) -> Iterator[str]:
        """What should have become of `_uploads` and did not."""
        states = {item["key"]["S"]: item["state"]["S"] for item in self._ledger() if "key" in item}
        if not (self._has_result("photo") and self._has_result("second")):
            yield "no result"
        if not self._peek(self._dead_letters_url, "no-prompt"):
            yield "no dead letter"
        if not (self._peek(self._events_url, "photo") and self._peek(self._events_url, "no-prompt")):
            yield "no events"
        if states.get(f"{self._folder}deleted") != "SUPERSEDED":
            yield "a deleted upload is not recognized"
        yield from self._missing_log()

    def _missing_log(self) -> Iterator[str]:
        configuration = self._functions.get_function_configuration(FunctionName=self._function)
        group = configuration["LoggingConfig"]["LogGroup"]
        if not self._logs.filter_log_events(logGroupName=group, startTime=int(self._cleared_at * 1000))["events"]:
            yield "no log"

    def _has_result(self, name: str) -> bool:
        try:
            found = self._s3.head_object(Bucket=self._output, Key=f"{self._folder}{name}.png")
        except ClientError:
            return False
        return bool(found["Metadata"]["job-id"] != _OLDER)

    def _ledger(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self._dynamodb.scan(TableName=self._table)["Items"]
        return items

    def _peek(self, url: str, name: str) -> bool:
        """Whether a visible message of the queue is about this upload; all stay there."""
        answer = self._sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        bodies = [unquote_plus(message["Body"]) for message in answer.get("Messages", [])]
        return any(f"{self._folder}{name}" in body for body in bodies)

    def _count_waiting(self) -> int:
        """Messages in RetryQueue, visible or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        names.append("ApproximateNumberOfMessagesDelayed")
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._retry_url, AttributeNames=names)["Attributes"]
        return sum(int(attributes[name]) for name in names)


def _soon(condition: Callable[[], bool], seconds: float = _SOON_SECONDS) -> bool:
    try:
        until("it", condition, seconds)
    except TimeoutError:
        return False
    return True
