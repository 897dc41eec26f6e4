"""SQS in memory: a queue that Lambda polls, and one of dead letters."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from greenlet import getcurrent

from tools.simulation.connection import Connection
from tools.simulation.simulated_time import SimulatedTime

IN_FLIGHT = 120_000  # of a standard queue, hidden ones included
RETENTION_SECONDS = 14 * 86_400.0  # the longest that SQS keeps a message


@dataclass
class Message:
    """A message; `hidden` counts how often it was, so that an outdated end of a wait is told from the valid one."""

    id: str
    body: str
    sent_at: float
    chain: int = 1
    """How many messages to Lambda, each sent while the one before was worked on, led to this one."""
    received: int = 0
    hidden: int = 0
    in_flight: bool = False
    is_deleted: bool = False


class Queue:
    """The messages; `due` is called when one can be received."""

    def __init__(self, time: SimulatedTime) -> None:
        self._time = time
        self._sent = 0
        self._visible: list[Message] = []
        self._taken: dict[str, Message] = {}
        self.in_flight = 0
        self.waiting = 0
        """Messages that are not deleted."""
        self.expired = 0
        """Messages that nobody deleted in time."""
        self.due: Callable[[], None] = lambda: None

    def send(self, body: str, delay: float, chain: int = 1) -> Message:
        """Put a message in, to be seen in `delay` seconds."""
        self._sent += 1
        self.waiting += 1
        message = Message(f"m{self._sent}", body, self._time.now, chain)
        self._show_at(message, self._time.now + delay)
        return message

    @property
    def has_due(self) -> bool:
        """Whether a message can be received."""
        return bool(self._visible) and self.in_flight < IN_FLIGHT

    def receive(self, handle: str, visibility: float | None = None) -> Message:
        """Take any of the visible messages; SQS keeps no order. It comes back after `visibility` seconds."""
        index = random.randrange(len(self._visible))
        self._visible[index], self._visible[-1] = self._visible[-1], self._visible[index]
        message = self._taken[handle] = self._visible.pop()
        message.received += 1
        message.hidden += 1
        message.in_flight = True
        self.in_flight += 1
        if visibility is not None:
            self._show_at(message, self._time.now + visibility)
        return message

    def hide(self, handle: str, seconds: float) -> None:
        """Let a message that was received come back in `seconds`."""
        message = self._taken.get(handle)
        if message is not None and not message.is_deleted:
            self._show_at(message, self._time.now + seconds)

    def delete(self, handle: str) -> None:
        """What Lambda does after an invocation without failures."""
        message = self._taken[handle]
        if message.is_deleted:
            return
        message.is_deleted = True
        self.waiting -= 1
        self.in_flight -= message.in_flight
        message.in_flight = False
        message.hidden += 1
        if message in self._visible:
            self._visible.remove(message)

    def forget(self, handle: str) -> None:
        """Lambda's invocation is over: nobody has this handle any more."""
        self._taken.pop(handle, None)

    def make_visible(self, handle: str) -> None:
        """No worker was free after all."""
        message = self._taken.pop(handle)
        message.hidden += 1
        message.in_flight = False
        self.in_flight -= 1
        self._visible.append(message)

    def _show_at(self, message: Message, when: float) -> None:
        message.hidden += 1
        hidden = message.hidden

        def show() -> None:
            if message.hidden == hidden and not message.is_deleted:
                self.in_flight -= message.in_flight
                message.in_flight = False
                if self._time.now - message.sent_at > RETENTION_SECONDS:
                    message.is_deleted = True
                    self.waiting -= 1
                    self.expired += 1
                    return
                self._visible.append(message)
                self.due()

        # SQS shows messages a little late.
        self._time.at(when + random.uniform(0, 1.0), show)


class SimulatedQueues:
    """The client of RetryQueue and of DeadLetterQueue."""

    def __init__(
        self, retry_url: str, retry: Queue, dead_letters: list[dict[str, Any]], connection: Connection
    ) -> None:
        self._retry_url, self._retry, self._dead_letters = retry_url, retry, dead_letters
        self._connection = connection

    def send_message(self, QueueUrl: str, MessageBody: str, DelaySeconds: int = 0) -> None:
        """As SQS's."""

        def sent() -> None:
            if QueueUrl == self._retry_url:
                # As Lambda's SDKs do in the trace header, by which Lambda recognizes functions that feed themselves.
                self._retry.send(MessageBody, DelaySeconds, getattr(getcurrent(), "chain", 0) + 1)
            else:
                self._dead_letters.append(json.loads(MessageBody))

        name = "RetryQueue" if QueueUrl == self._retry_url else "DeadLetterQueue"
        self._connection.call("sqs", "SendMessage", sent, name)

    def change_message_visibility(self, ReceiptHandle: str, VisibilityTimeout: int, **_: Any) -> None:
        """As SQS's."""
        self._connection.call(
            "sqs",
            "ChangeMessageVisibility",
            lambda: self._retry.hide(ReceiptHandle, VisibilityTimeout),
            "RetryQueue",
        )
