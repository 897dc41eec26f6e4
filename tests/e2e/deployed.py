"""The deployed local stack as its users see it."""

import json
import uuid
from functools import cached_property
from typing import Any

from backdrop.pace import PACE_ID
from tools.local_stack import LocalStack, until


class Deployed:
    """Uploads go under a folder of their own, so that tests don't see each other's."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.gateway = stack.gateway
        self.folder = f"{uuid.uuid4().hex[:8]}/"
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
        """Wait until all of `names` are in the output bucket."""
        until(f"stored: {names}", lambda: set(names) <= set(self.results()), seconds)

    def until_finished(self, count: int, seconds: float) -> None:
        """Wait until `count` uploads are DONE or REJECTED."""

        def finished() -> bool:
            return sum(item["state"] in ("DONE", "REJECTED") for item in self.records()) >= count

        until(f"{count} uploads finished", finished, seconds, every=0.5)

    def dead_letters(self) -> list[dict[str, Any]]:
        """This test's dead letters; they are taken out of the queue."""
        letters = []
        url = self.stack.outputs["DeadLetterQueueUrl"]
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                letters.append(json.loads(message["Body"]))
        return [letter for letter in letters if str((letter["job"] or {}).get("key", "")).startswith(self.folder)]

    def charged(self) -> int:
        """Images that the gateway charged since this test began."""
        return sum(charge["images"] for charge in self.gateway.charges())

    def until_retry_queue_is_empty(self, seconds: float) -> None:
        """Wait until nothing waits any more, hidden or not."""
        url = self.stack.outputs["RetryQueueUrl"]
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        names.append("ApproximateNumberOfMessagesDelayed")

        def is_empty() -> bool:
            return not any(
                int(value)
                for value in self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()
            )

        until("an empty retry queue", is_empty, seconds, every=0.5)

    def reconcile(self) -> dict[str, Any]:
        """Run ReconcileFunction and return its answer."""
        answer = self.functions.invoke(FunctionName=self.stack.outputs["ReconcileFunctionName"], Payload=b"{}")
        counts: dict[str, Any] = json.loads(answer["Payload"].read())
        return counts

    def logs(self) -> list[str]:
        """What the functions logged since the stack was started, a line each."""
        client = self.stack.client("logs")
        lines: list[str] = []
        for group in client.describe_log_groups()["logGroups"]:
            for page in client.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
                lines += [line for event in page["events"] for line in event["message"].splitlines()]
        return lines
