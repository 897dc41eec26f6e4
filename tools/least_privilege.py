"""`python -m tools.least_privilege`: does every function need every permission of its role?

On a local stack of its own, which enforces IAM, each permission is taken out of its deployed role for a moment. The
role's function then gets a few uploads that need all of the permissions together, and something has to go wrong that
goes right with them. One line a statement says what; the exit code is 1 when the lack of a permission goes unnoticed.

The functions are invoked here, with the events that S3 and SQS would bring: left to themselves, the others would make
good what one of them can't do.
"""

import json
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus
from uuid import uuid4

from botocore.exceptions import ClientError

from tools.local_stack import SAMPLE_EVENT, SAMPLE_PHOTO, LocalStack, LocalStackError, until, with_iam_enforced

LOST_KEY = "lost/mug.jpg"
LOST_SECONDS = 122.0  # ReconcileFunction leaves younger uploads alone
MOST_SECONDS = 480.0
_GATEWAY_SECONDS = 10
_FUNCTION_SECONDS = 30  # a call needs _GATEWAY_SECONDS and 10 more, or it is not begun
_SOON_SECONDS = 5.0
_POLLED_SECONDS = 15.0
_OLDER = "older"

_TRIGGER, _RETRY, _RECONCILE = "ReplaceBackground", "Retry", "Reconcile"
# What the emulator lets happen whatever a role says, and why nothing can go wrong here without it. Believed only when
# an explicit Deny changes nothing either.
_LOGS = dict.fromkeys(("logs:CreateLogStream", "logs:PutLogEvents"), "it writes the functions' logs itself")
_MISSING = {"s3:ListBucket": "it answers 404 for a missing object in any case; AWS 403 without this"}
_POLLER = dict.fromkeys(
    ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"), "its poller reaches into the queue itself"
)
NOT_ENFORCED = {_TRIGGER: _LOGS | _MISSING, _RETRY: _LOGS | _MISSING | _POLLER, _RECONCILE: _LOGS}


@dataclass(frozen=True)
class Permission:
    """One action on one resource: a statement that says nothing else."""

    sid: str
    statement: dict[str, Any]

    @property
    def action(self) -> str:
        """As `service:Operation`."""
        return str(self.statement["Action"])

    @property
    def resource(self) -> str:
        """Without what is the same for all of a service's resources here."""
        return str(self.statement["Resource"]).rpartition(":")[2]


def permissions_of(statement: dict[str, Any]) -> Iterator[Permission]:
    """What a statement allows, one by one."""
    rest = {name: value for name, value in statement.items() if name != "Sid"}
    for action in _listed(statement["Action"]):
        for resource in _listed(statement["Resource"]):
            yield Permission(statement.get("Sid", "(no Sid)"), rest | {"Action": action, "Resource": resource})


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


class Role:
    """A function's role. Its policies, which others may have too, give way to one of its own that says the same."""

    def __init__(self, stack: LocalStack, function: str) -> None:
        self._iam = stack.client("iam")
        arn: str = stack.client("lambda").get_function_configuration(FunctionName=function)["Role"]
        self._name = arn.rpartition("/")[2]
        self.permissions = [one for statement in self._take_statements() for one in permissions_of(statement)]
        self.allow(self.permissions)

    def allow(self, permissions: list[Permission], denied: Permission | None = None) -> None:
        """Allow these and nothing else, from the next call on."""
        statements = [permission.statement for permission in permissions]
        if denied:
            statements.append(denied.statement | {"Effect": "Deny"})
        self._iam.put_role_policy(
            RoleName=self._name,
            PolicyName="Permissions",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
        )

    def _take_statements(self) -> list[dict[str, Any]]:
        iam, role = self._iam, {"RoleName": self._name}
        statements = []
        for policy in iam.list_attached_role_policies(**role)["AttachedPolicies"]:
            arn = policy["PolicyArn"]
            version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            found = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]
            statements += found["Document"]["Statement"]
            iam.detach_role_policy(**role, PolicyArn=arn)
        for name in iam.list_role_policies(**role)["PolicyNames"]:
            statements += iam.get_role_policy(**role, PolicyName=name)["PolicyDocument"]["Statement"]
            iam.delete_role_policy(**role, PolicyName=name)
        return statements


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
        self._poller = self._functions.list_event_source_mappings(FunctionName=outputs[f"{_RETRY}FunctionName"])[
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
        messages = sorted(self._receive(4), key=lambda message: str(json.loads(message["body"])["job"]["key"]))
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

    def wait_for_the_lost(self) -> None:
        """Until `reconcile` can find something."""
        until("the lost upload is old enough", lambda: time.monotonic() - self._lost_since > LOST_SECONDS, LOST_SECONDS)

    # What plays do

    def _uploads(self) -> dict[str, Any]:
        event = {"Records": [self._upload(name) for name in ("deleted", "no-prompt", "photo", "waits")]}
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

    def _invoke(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """The function's answer; None when it ended with an exception."""
        answer = self._functions.invoke(FunctionName=self._function, Payload=json.dumps(event))
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
        if not self._has_result("photo"):
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
        return any(f"{self._folder}{name}" in message["Body"] for message in answer.get("Messages", []))

    def _count_waiting(self) -> int:
        """Messages in RetryQueue, visible or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        names.append("ApproximateNumberOfMessagesDelayed")
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._retry_url, AttributeNames=names)["Attributes"]
        return sum(int(attributes[name]) for name in names)


Play = Callable[[Stage], Iterator[str]]
PLAYS: dict[str, Play] = {
    _TRIGGER: Stage.replace_background,
    _RETRY: Stage.retry,
    _RECONCILE: Stage.reconcile,
}


def _soon(condition: Callable[[], bool], seconds: float = _SOON_SECONDS) -> bool:
    try:
        until("it", condition, seconds)
    except TimeoutError:
        return False
    return True


class Examination:
    """Of one function's role."""

    def __init__(self, stage: Stage, stack: LocalStack, name: str) -> None:
        self._stage = stage
        self._name = name
        self._function = stack.outputs[f"{name}FunctionName"]
        self._role = Role(stack, self._function)
        self.unnoticed = 0

    def check(self) -> None:
        """Raises LocalStackError when something goes wrong with all permissions in place."""
        plays = [PLAYS[self._name]] + [Stage.polled] * (self._name == _RETRY)
        for play in plays:
            wrong = self._play(play, self._role.permissions)
            if wrong:
                raise LocalStackError(f"{self._name}Role has all its permissions, and yet: {wrong}.")

    def lines(self) -> Iterator[str]:
        """One a statement."""
        statements: dict[str, list[Permission]] = defaultdict(list)
        for permission in self._role.permissions:
            statements[permission.sid].append(permission)
        for sid, permissions in statements.items():
            is_one_resource = len({permission.resource for permission in permissions}) == 1
            found: dict[str, list[str]] = defaultdict(list)
            for permission in permissions:
                name = permission.action if is_one_resource else f"{permission.action} on {permission.resource}"
                found[self._without(permission)].append(name)
            results = "; ".join(f"{', '.join(names)}: {result}" for result, names in found.items())
            yield f"{self._name + 'Role':<23}{sid:<27}{results}"

    def _without(self, permission: Permission) -> str:
        """What goes wrong without a permission."""
        play = Stage.polled if permission.action in _POLLER else PLAYS[self._name]
        others = [other for other in self._role.permissions if other is not permission]
        wrong = self._play(play, others)
        if wrong:
            return wrong
        why = NOT_ENFORCED[self._name].get(permission.action)
        if why and not self._play(play, others, denied=permission):
            return f"not enforced by the emulator ({why})"
        self.unnoticed += 1
        return "NOTHING GOES WRONG"

    def _play(self, play: Play, permissions: list[Permission], denied: Permission | None = None) -> str:
        self._stage.clear(self._function)
        self._role.allow(permissions, denied)
        try:
            return next(play(self._stage), "")
        finally:
            self._role.allow(self._role.permissions)


def _run(home: Path) -> int:
    deadline = time.monotonic() + MOST_SECONDS
    with with_iam_enforced(home) as stack:
        stack.deploy(RequestsPerMinute=600, ReconcileSchedule="off", GatewayTimeoutSeconds=_GATEWAY_SECONDS)
        stage = Stage(stack)
        unnoticed = 0
        print(f"{'role':<23}{'statement':<27}what goes wrong without it", flush=True)
        for name in PLAYS:
            if name == _RECONCILE:
                stage.wait_for_the_lost()
            examination = Examination(stage, stack, name)
            examination.check()
            for line in examination.lines():
                print(line, flush=True)
                if time.monotonic() > deadline:
                    raise LocalStackError(f"This takes longer than {MOST_SECONDS:g} s, so it is given up.")
            unnoticed += examination.unnoticed
    print(f"\nPermissions whose lack goes unnoticed: {unnoticed}")
    return 1 if unnoticed else 0


def main() -> int:
    """The command."""
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, lambda number, _: sys.exit(128 + number))  # an exception, so that the stack is stopped
    try:
        with tempfile.TemporaryDirectory(prefix="backdrop-") as home:
            return _run(Path(home))
    except (LocalStackError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
