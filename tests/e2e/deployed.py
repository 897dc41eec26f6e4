"""The deployed local stack as its users see it."""

import copy
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, ClassVar

from backdrop.pace_item import PACE_ID
from tools.local_stack import STACK_NAME, LocalStack
from tools.polling import until


class Deployed:
    """Uploads go under a folder of their own, so that tests don't see each other's."""

    dead_letters_seen: ClassVar[list[str]] = []
    """All dead letters that tests have taken out of a queue, as they were."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.gateway = stack.gateway
        self.folder = f"{uuid.uuid4().hex[:8]}/"
        self.versions: dict[str, str] = {}
        """Of this test's uploads, by key."""
        self.input_bucket = stack.outputs["InputBucketName"]
        self.output_bucket = stack.outputs["OutputBucketName"]

    @cached_property
    def s3(self) -> Any:
        return self.stack.client("s3")

    @cached_property
    def sqs(self) -> Any:
        return self.stack.client("sqs")

    @cached_property
    def dynamodb(self) -> Any:
        return self.stack.client("dynamodb")

    @cached_property
    def functions(self) -> Any:
        return self.stack.client("lambda")

    def forget_the_pace(self) -> None:
        """A new day: no pause, no line, nothing bought."""
        self.dynamodb.delete_item(TableName=self.stack.outputs["LedgerTableName"], Key={"id": {"S": PACE_ID}})

    def put(self, name: str, data: bytes, **metadata: str) -> str:
        """Upload under this test's folder; the version id."""
        answer = self.s3.put_object(Bucket=self.input_bucket, Key=self.folder + name, Body=data, Metadata=metadata)
        self.versions[self.folder + name] = str(answer["VersionId"])
        return str(answer["VersionId"])

    def results(self) -> dict[str, str]:
        """Etags of this test's stored results by name below its folder."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.output_bucket, Prefix=self.folder)
        entries = [entry for page in pages for entry in page.get("Contents", [])]
        return {entry["Key"].removeprefix(self.folder): entry["ETag"] for entry in entries}

    def result(self, name: str) -> dict[str, Any]:
        """One stored result with its bytes as `data`."""
        answer = self.s3.get_object(Bucket=self.output_bucket, Key=self.folder + name)
        return {**answer, "data": answer["Body"].read()}

    def record(self, name: str) -> dict[str, Any] | None:
        """The newest ledger item of an upload, as plain values."""
        items = [item for item in self.records() if item["key"] == self.folder + name]
        return max(items, key=lambda item: float(item["created_at"]), default=None)

    def records(self) -> list[dict[str, Any]]:
        """All ledger items of this test's uploads."""
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=self.stack.outputs["LedgerTableName"])
        items = [
            {name: next(iter(value.values())) for name, value in item.items()}
            for page in pages
            for item in page["Items"]
        ]
        return [item for item in items if str(item.get("key", "")).startswith(self.folder)]

    def until_stored(self, *names: str, seconds: float = 60.0) -> None:
        """Wait until all of `names` are in the output bucket; a TimeoutError tells what the ledger has of them."""
        try:
            until(f"stored: {names}", lambda: set(names) <= set(self.results()), seconds)
        except TimeoutError as error:
            error.add_note(f"records: {self.records()}")
            raise

    def until_known(self, count: int, seconds: float) -> None:
        """Wait until the ledger knows `count` uploads."""
        until(
            f"{count} uploads known", lambda: len({item["key"] for item in self.records()}) >= count, seconds, every=0.5
        )

    def until_finished(self, count: int, seconds: float) -> None:
        """Wait until `count` uploads are DONE or REJECTED."""

        def finished() -> set[str]:
            return {item["key"] for item in self.records() if item["state"] in ("DONE", "REJECTED")}

        until(f"{count} uploads finished", lambda: len(finished()) >= count, seconds, every=0.5)

    def dead_letters(self) -> list[dict[str, Any]]:
        """This test's dead letters; they are taken out of the queue."""
        bodies = taken(self.sqs, self.stack.outputs["DeadLetterQueueUrl"])
        self.dead_letters_seen.extend(bodies)
        dead_letters = [json.loads(body) for body in bodies]
        return [
            dead_letter
            for dead_letter in dead_letters
            if str((dead_letter["job"] or {}).get("key", "")).startswith(self.folder)
        ]

    def charged(self) -> int:
        """Images that the gateway charged since this test began."""
        return sum(charge["images"] for charge in self.gateway.charges())

    def waiting(self) -> int:
        """How many messages RetryQueue holds, hidden or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        names.append("ApproximateNumberOfMessagesDelayed")
        answer = self.sqs.get_queue_attributes(QueueUrl=self.stack.outputs["RetryQueueUrl"], AttributeNames=names)
        return sum(map(int, answer["Attributes"].values()))

    def until_retry_queue_is_empty(self, seconds: float) -> None:
        """Wait until nothing waits any more."""
        until("an empty retry queue", lambda: self.waiting() == 0, seconds, every=0.5)

    def reconcile(self) -> dict[str, Any]:
        """Run ReconcileFunction and return its answer."""
        answer = self.functions.invoke(FunctionName=self.stack.outputs["ReconcileFunctionName"], Payload=b"{}")
        counts: dict[str, Any] = json.loads(answer["Payload"].read())
        return counts

    def logs(self, function: str = "") -> list[str]:
        """What the functions logged since the emulator was started, a line each; of one, by the end of its group."""
        client = self.stack.client("logs")
        lines: list[str] = []
        for group in client.describe_log_groups()["logGroups"]:
            if not group["logGroupName"].endswith(function):
                continue
            for page in client.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
                lines += [line for event in page["events"] for line in event["message"].splitlines()]
        return lines

    def metrics(self) -> list[dict[str, Any]]:
        """What this test's uploads emitted CloudWatch, by log line."""
        ids = {item["id"] for item in self.records()}
        lines = [json.loads(line) for line in self.logs() if '"_aws"' in line]
        return [line for line in lines if line["correlation_id"] in ids]


def taken(sqs: Any, url: str) -> list[str]:
    """The bodies of all visible messages, which are taken out of the queue."""
    bodies = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            bodies.append(message["Body"])
    return bodies


class Mailbox:
    """A queue of the tests' own."""

    def __init__(self, stack: LocalStack) -> None:
        self._sqs = stack.client("sqs")
        self.name = f"test-{uuid.uuid4().hex[:8]}"
        self.url = self._sqs.create_queue(QueueName=self.name)["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]
        self.arn: str = attributes["QueueArn"]

    def let_in(self, service: str, source_arn: str) -> None:
        """Allow an AWS service to deliver for one of its resources."""
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sqs:SendMessage",
            "Resource": self.arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": source_arn}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self._sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": policy})

    def take(self) -> list[dict[str, Any]]:
        """What has come, which is taken out."""
        return [json.loads(body) for body in taken(self._sqs, self.url)]

    def delete(self) -> None:
        """Delete the queue."""
        self._sqs.delete_queue(QueueUrl=self.url)


@contextmanager
def listening(stack: LocalStack, pattern: dict[str, Any]) -> Iterator[Mailbox]:
    """A mailbox behind a rule on the default event bus, as an integration has it."""
    events = stack.client("events")
    mailbox = Mailbox(stack)
    mailbox.let_in(
        "events.amazonaws.com", events.put_rule(Name=mailbox.name, EventPattern=json.dumps(pattern))["RuleArn"]
    )
    events.put_targets(Rule=mailbox.name, Targets=[{"Id": "mailbox", "Arn": mailbox.arn}])
    try:
        yield mailbox
    finally:
        events.remove_targets(Rule=mailbox.name, Ids=["mailbox"])
        events.delete_rule(Name=mailbox.name)
        mailbox.delete()


@contextmanager
def subscribed(stack: LocalStack, topic_arn: str) -> Iterator[Mailbox]:
    """A mailbox for what is published to an SNS topic."""
    sns = stack.client("sns")
    mailbox = Mailbox(stack)
    mailbox.let_in("sns.amazonaws.com", topic_arn)
    subscription = sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=mailbox.arn)["SubscriptionArn"]
    try:
        yield mailbox
    finally:
        sns.unsubscribe(SubscriptionArn=subscription)
        mailbox.delete()


def create(stack: LocalStack, name: str, template: str, **parameters: str) -> dict[str, str]:
    """Make a CloudFormation stack beside the deployed one; its outputs."""
    client = stack.client("cloudformation")
    client.create_stack(
        StackName=name,
        TemplateBody=template,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )

    def made() -> Any:
        found = client.describe_stacks(StackName=name)["Stacks"][0]
        return found if found["StackStatus"] == "CREATE_COMPLETE" else None

    found = until(f"stack {name}", made)
    return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}


def another(stack: LocalStack, name: str, **parameters: str) -> Deployed:
    """Backdrop once more under another name: the template and the code that the SAM CLI has uploaded."""
    template = stack.client("cloudformation").get_template(StackName=STACK_NAME, TemplateStage="Original")
    common = {"GatewayBaseUrl": stack.gateway.base_url, "ReconcileSchedule": "off", "RequestsPerMinute": "600"}
    other = copy.copy(stack)
    other.outputs = create(stack, name, template["TemplateBody"], **(common | parameters))
    other.correct_the_emulator()
    return Deployed(other)
