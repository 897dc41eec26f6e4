"""What SQS does, in moved time; moto itself shows messages by real time."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from moto.backends import get_backend

from tests.integration.moved_clock import MovedClock
from tests.integration.stack import DEAD_LETTER_QUEUE, RETRY_QUEUE, VISIBILITY_SECONDS, Stack

Received = dict[str, Any]
"""A message as SQS hands it out."""


class MovedQueues:
    """RetryQueue and DeadLetterQueue."""

    def __init__(self, stack: Stack) -> None:
        self._sqs, self._retry_url, self._dead_letter_url = stack.sqs, stack.retry_url, stack.dead_letter_url

    def send(self, message: Any) -> None:
        """Put a message into RetryQueue."""
        self._sqs.send_message(QueueUrl=self._retry_url, MessageBody=json.dumps(message))

    def waiting(self) -> list[dict[str, Any]]:
        """The bodies in RetryQueue."""
        return [json.loads(message.body) for message in _messages(RETRY_QUEUE)]

    def dead_letters(self) -> list[dict[str, Any]]:
        """What is in DeadLetterQueue; they stay there."""
        return [json.loads(message.body) for message in _messages(DEAD_LETTER_QUEUE)]

    def redrive(self) -> None:
        """Move all dead letters back to RetryQueue."""
        for body in self._taken(self._dead_letter_url):
            self._sqs.send_message(QueueUrl=self._retry_url, MessageBody=body)

    def next_due(self) -> float | None:
        """When the first message of RetryQueue is due, in moved epoch seconds; None for no message."""
        dues = [_due(message) for message in _messages(RETRY_QUEUE)]
        return None if not dues else min(dues) + MovedClock.moved

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        MovedClock.moved += seconds
        _bring_closer(_messages(RETRY_QUEUE), seconds)

    @contextmanager
    def first(self) -> Iterator[Received]:
        """The message of RetryQueue that is due first, at its time; what passes meanwhile, the others have waited."""
        message = min(_messages(RETRY_QUEUE), key=_due)
        message.visible_at = message.delayed_until = 0
        others = [other for other in _messages(RETRY_QUEUE) if other is not message]
        before = MovedClock.moved
        yield self._sqs.receive_message(
            QueueUrl=self._retry_url, AttributeNames=["All"], VisibilityTimeout=VISIBILITY_SECONDS
        )["Messages"][0]
        _bring_closer(others, MovedClock.moved - before)

    def delete(self, received: Received) -> None:
        """Take a message out of RetryQueue for good."""
        self._sqs.delete_message(QueueUrl=self._retry_url, ReceiptHandle=received["ReceiptHandle"])

    def _taken(self, url: str) -> Iterator[str]:
        while messages := self._sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self._sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                yield message["Body"]


def _messages(queue: str) -> list[Any]:
    return list(get_backend("sqs")["123456789012"]["us-east-1"].queues[queue]._messages)


def _bring_closer(messages: Iterable[Any], seconds: float) -> None:
    """Moto shows messages by real time: moved time has to come off."""
    for message in messages:
        message.visible_at -= seconds * 1000
        message.delayed_until -= seconds * 1000


def _due(message: Any) -> float:
    """When moto would show a message, in real epoch seconds."""
    return float(max(message.visible_at, message.delayed_until)) / 1000
