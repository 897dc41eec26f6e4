"""What a deploy makes, in moto: buckets, queues, table, the gateway's key, and clients for them."""

from functools import cache
from typing import Any

import boto3

from tests.integration import in_process

INPUT = "backdrop-input-000000000000"
OUTPUT = "backdrop-output-000000000000"
TABLE = "backdrop-ledger"
KEY_PARAMETER = "/backdrop/gateway-api-key"
RETRY_QUEUE = "backdrop-retry"
DEAD_LETTER_QUEUE = "backdrop-dead-letters"
VISIBILITY_SECONDS = 180


@cache
def clients(endpoint_url: str) -> Any:
    """The tests' own clients; making one takes longer than most tests."""
    return [
        in_process.connected(boto3.client(name, endpoint_url=endpoint_url)) for name in ("s3", "sqs", "dynamodb", "ssm")
    ]


class Stack:
    """Deployed where it is made."""

    def __init__(self, endpoint_url: str) -> None:
        self.s3, self.sqs, self.dynamodb, self.ssm = clients(endpoint_url)
        self.s3.create_bucket(Bucket=INPUT)
        self.s3.put_bucket_versioning(Bucket=INPUT, VersioningConfiguration={"Status": "Enabled"})
        self.s3.create_bucket(Bucket=OUTPUT)
        self.retry_url = self._queue(RETRY_QUEUE, VisibilityTimeout=str(VISIBILITY_SECONDS))
        self.dead_letter_url = self._queue(DEAD_LETTER_QUEUE)
        self.dynamodb.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        )

    def _queue(self, name: str, **attributes: str) -> str:
        url: str = self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return url
