"""The two queues: what waits and what can't succeed."""

import json
import random
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from backdrop.call import Purchase
from backdrop.errors import Reason
from backdrop.events_in import Malformed
from backdrop.failure_codes import FailureCode
from backdrop.job import Job

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MAX_DELAY_SECONDS = 900  # of SendMessage
MAX_VISIBILITY_SECONDS = 43_000  # of ChangeMessageVisibility: 12 hours after the receive
THROTTLED_SECONDS = (10.0, 300.0)  # least and most of the wait when AWS asks for fewer requests
_NOT_HIDDEN = {"MessageNotInflight", "ReceiptHandleIsInvalid", "InvalidParameterValue"}
MAX_BODY_CHARACTERS = 60_000  # of a malformed message that is passed on; JSON escapes one as up to 12 bytes


class Queues:
    """RetryQueue and DeadLetterQueue."""

    def __init__(self, client: "SQSClient", retry_url: str, dead_letter_url: str) -> None:
        self._client = client
        self._retry_url = retry_url
        self._dead_letter_url = dead_letter_url

    def retry(self, job: Job, seconds: float, purchase: Purchase | None = None) -> None:
        """Let the retry function look at `job` in `seconds`, or in a quarter of an hour when that is later."""
        message: dict[str, Any] = {"job": job.as_dict()}
        if job.failed_at:
            message["failed_at"] = job.failed_at
        purchase = purchase or job.purchase
        if purchase:
            message["purchase"] = asdict(purchase)
        self.renew(json.dumps(message), seconds)

    def renew(self, body: str, seconds: float) -> None:
        """Put a message into RetryQueue anew: SQS then forgets how old it is."""
        self._client.send_message(
            QueueUrl=self._retry_url, MessageBody=body, DelaySeconds=_whole(seconds, MAX_DELAY_SECONDS)
        )

    def hide(self, receipt_handle: str, seconds: float) -> None:
        """Let the message that is being worked on come back in `seconds`, 12 hours at most."""
        self._client.change_message_visibility(
            QueueUrl=self._retry_url,
            ReceiptHandle=receipt_handle,
            VisibilityTimeout=_whole(seconds, MAX_VISIBILITY_SECONDS),
        )

    def wake(self, receipt_handle: str) -> bool:
        """Let a hidden message be seen now; False when it is not hidden any more, or looked at already."""
        try:
            self.hide(receipt_handle, 0)
        except ClientError as error:
            if error.response["Error"]["Code"].rpartition(".")[2] not in _NOT_HIDDEN:
                raise
            return False
        return True

    def dead_letter(self, job: Job, reason: dict[str, Any], failed_at: str, history: tuple[str, ...]) -> None:
        """Send an upload that can't succeed by itself to DeadLetterQueue."""
        self._send_dead_letter(
            {"job": job.as_dict(), "reason": reason, "failed_at": failed_at, "history": list(history)}
        )

    def dead_letter_malformed(self, malformed: Malformed, failed_at: str) -> dict[str, Any]:
        """Send a message that is no upload to DeadLetterQueue; returns its reason."""
        reason = asdict(Reason(FailureCode.MALFORMED_MESSAGE, malformed.message))
        body = malformed.body[:MAX_BODY_CHARACTERS]
        self._send_dead_letter({"job": None, "reason": reason, "failed_at": failed_at, "body": body})
        return reason

    def _send_dead_letter(self, letter: dict[str, Any]) -> None:
        self._client.send_message(QueueUrl=self._dead_letter_url, MessageBody=json.dumps(letter))


def backoff(tries: int, least: float, most: float) -> float:
    """Seconds to wait after `tries` failures: exponential, with full jitter above `least`."""
    return least + random.uniform(0, min(most - least, least * 2.0 ** min(tries, 30)))


def _whole(seconds: float, most: int) -> int:
    return min(most, max(0, int(-(-seconds // 1))))
