"""`backdrop failures` and `backdrop resume`: what is in DeadLetterQueue, and back to work with it."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import click

from backdrop.events_in import from_message
from backdrop.failure_codes import FailureCode
from backdrop.job import Job
from backdrop_cli.deployment import THREADS, Deployment
from backdrop_cli.forecast import in_words, offer
from backdrop_cli.options import CliContext, common, examples, spending
from backdrop_cli.page import counted
from backdrop_cli.progress import bar, side_by_side
from backdrop_cli.uploads import asks_for, records_of

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

MOST_AGAIN = 100  # dead letters that come again while they are read: reading takes too long to end by itself
HIDDEN_SECONDS = 120  # while dead letters are read, nobody else sees them; after a crash they come back by themselves
UNEXPECTED = "unexpected"
"""Code of a dead letter that SQS has moved, so that no function gave it a reason."""


def advice(code: str) -> str:
    """What to do about a dead letter; nothing for a code that this version doesn't know."""
    if code == UNEXPECTED:
        return "See the log of RetryFunction (docs/runbook.md, dead-letters), then resume."
    return next((each.advice for each in FailureCode if each == code), "")


@dataclass(frozen=True)
class DeadLetter:
    """A message of DeadLetterQueue."""

    id: str
    body: str
    receipt_handle: str
    job: Job | None
    """The upload, as RetryFunction will read it; None for a message that is about none."""

    @property
    def content(self) -> dict[str, Any]:
        """As it was written; empty for what is no JSON object."""
        try:
            content = json.loads(self.body)
        except (ValueError, RecursionError):
            content = None
        return content if isinstance(content, dict) else {}

    @property
    def key(self) -> str:
        """Of the upload; empty for a message that is about none."""
        return self.job.key if self.job else ""

    @property
    def reason(self) -> dict[str, Any]:
        """Code, message and so on."""
        reason = self.content.get("reason")
        if isinstance(reason, dict) and isinstance(reason.get("code"), str):
            return reason
        if self.job:
            return {
                "code": UNEXPECTED,
                "message": "SQS moved it here: RetryFunction was killed over it, or could not start, a thousand times",
                "billed": "unknown",
            }
        return {"code": FailureCode.MALFORMED_MESSAGE, "message": "it is no message of Backdrop's", "billed": "no"}

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "key": self.key or None,
            "job": self.job.as_dict() if self.job else None,
            "reason": self.reason,
            "failed_at": self.content.get("failed_at"),
            "what_to_do": advice(self.reason["code"]),
            **({} if self.job else {"body": self.content.get("body", self.body)}),
        }


def received(deployment: Deployment) -> Iterator[list[DeadLetter]]:
    """All dead letters, hidden from others for a while; once more with a new handle when SQS delivers one again."""
    known: set[str] = set()
    again = 0
    while again < MOST_AGAIN:
        found = deployment.sqs.receive_message(
            QueueUrl=deployment.settings.dead_letter_queue_url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=HIDDEN_SECONDS,
            WaitTimeSeconds=1,  # without it SQS asks only some of its servers, and an empty answer means nothing
        ).get("Messages")
        if not found:
            return
        again += sum(message["MessageId"] in known for message in found)
        known.update(message["MessageId"] for message in found)
        yield [_dead_letter(message, deployment.settings.input_bucket) for message in found]


def _dead_letter(message: "MessageTypeDef", input_bucket: str) -> DeadLetter:
    jobs = from_message(message["Body"], input_bucket).jobs
    return DeadLetter(message["MessageId"], message["Body"], message["ReceiptHandle"], next(iter(jobs), None))


def put_back(deployment: Deployment, dead_letters: list[DeadLetter]) -> None:
    """Let everybody see them again."""
    for start in range(0, len(dead_letters), 10):
        deployment.sqs.change_message_visibility_batch(
            QueueUrl=deployment.settings.dead_letter_queue_url,
            Entries=[
                {"Id": str(number), "ReceiptHandle": each.receipt_handle, "VisibilityTimeout": 0}
                for number, each in enumerate(dead_letters[start : start + 10])
            ],
        )


def _wanted(dead_letter: DeadLetter, keys: tuple[str, ...], reason: str | None) -> bool:
    of_keys = not keys or any(
        dead_letter.key == key or (key.endswith("/") and dead_letter.key.startswith(key)) for key in keys
    )
    return of_keys and reason in (None, dead_letter.reason["code"])


@contextmanager
def _read(
    context: CliContext, keys: tuple[str, ...], reason: str | None
) -> Iterator[tuple[list[DeadLetter], Callable[[DeadLetter], None], bool]]:
    """The wanted dead letters, how to say that one has gone, and whether there are more that somebody else looks at.

    Whatever happens, those that have not gone are put back.
    """
    dead_letters: dict[str, DeadLetter] = {}
    try:
        with bar(context.stderr, "Reading DeadLetterQueue", None) as step:
            for some in received(context.deployment):
                before = len(dead_letters)
                dead_letters.update((each.id, each) for each in some)
                step(len(dead_letters) - before)
        hidden = _hidden(context.deployment) - len(dead_letters)
        if hidden > 0:
            more = f"{counted(hidden, 'dead letter')} more {'is' if hidden == 1 else 'are'}"
            context.remark(f"{more} being looked at by somebody else. Try again in two minutes.")
        wanted = [each for each in dead_letters.values() if _wanted(each, keys, reason)]
        yield wanted, lambda each: dead_letters.__delitem__(each.id), hidden > 0
    finally:
        put_back(context.deployment, list(dead_letters.values()))


def _hidden(deployment: Deployment) -> int:
    name: Literal["ApproximateNumberOfMessagesNotVisible"] = "ApproximateNumberOfMessagesNotVisible"
    url = deployment.settings.dead_letter_queue_url
    return int(deployment.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])


def _purchases(deployment: Deployment, dead_letters: list[DeadLetter]) -> list[int]:
    """The images of each call that trying these again can make; what will fail again as it did makes none."""
    jobs = {each.job.id: each.job for each in dead_letters if each.job and each.reason.get("billed") != "yes"}
    called = {job_id: record.images for job_id, record in records_of(deployment, list(jobs)).items() if record.images}
    with ThreadPoolExecutor(THREADS) as pool:
        resolved = pool.map(deployment.storage.resolve, (jobs[job_id] for job_id in jobs.keys() - called.keys()))
        asked = pool.map(lambda job: asks_for(deployment, job)[0], resolved)
        return list(filter(None, [*called.values(), *asked]))


_CODES = sorted([*(code.value for code in FailureCode), UNEXPECTED])
_REASON = click.option("--reason", metavar="CODE", type=click.Choice(_CODES), help="Only with this code.")


@examples(
    "backdrop failures spring/",
    "backdrop failures --reason too_large --json",
)
@click.command()
@click.argument("keys", nargs=-1, metavar="[KEY|FOLDER/]...")
@_REASON
@common
@click.pass_obj
def failures(context: CliContext, keys: tuple[str, ...], reason: str | None) -> int:
    """Show what failed and why, whether it was billed, and what to do."""
    with _read(context, keys, reason) as (dead_letters, _, are_there_more):
        shown = [_shown(each) for each in dead_letters]
        if not dead_letters and not are_there_more:
            nothing = "There is no such dead letter." if keys or reason else "Nothing has failed."
            shown = [f"{nothing} (Dead letters are kept for 14 days.)"]
        context.answer([each.as_dict() for each in dead_letters], *shown)
    return int(are_there_more)


def _shown(dead_letter: DeadLetter) -> str:
    """The key on a line of its own, to be copied."""
    code, billed = dead_letter.reason["code"], dead_letter.reason.get("billed", "")
    why = f"{code}: {str(dead_letter.reason.get('message', '')).rstrip('.')}. Billed: {billed}."
    return f"{dead_letter.key or '–'}\n  {why}\n  {advice(code)}"


@examples(
    "backdrop resume spring/red.jpg",
    "backdrop resume --reason attempts_exhausted",
)
@click.command()
@click.argument("keys", nargs=-1, metavar="[KEY|FOLDER/]...")
@_REASON
@spending
@common
@click.pass_obj
def resume(context: CliContext, keys: tuple[str, ...], reason: str | None) -> int:
    """Try failed uploads again, all or those that are named. Only what was not paid is bought."""
    deployment = context.deployment
    with _read(context, keys, reason) as (dead_letters, went, _):
        purchases = _purchases(deployment, dead_letters)
        most = offer(deployment, len(purchases), sum(purchases))
        free = len(dead_letters) - len(purchases)
        if dead_letters:
            context.remark(f"To try again: {len(dead_letters)}; {free} without buying. At most: {in_words(most)}.")
        if not context.agreed(most):
            context.remark("Nothing was moved.")
            return 2

        def move(dead_letter: DeadLetter) -> None:
            deployment.queues.renew(dead_letter.body, 0)  # first: a crash in between leaves two, never none
            went(dead_letter)
            deployment.sqs.delete_message(
                QueueUrl=deployment.settings.dead_letter_queue_url, ReceiptHandle=dead_letter.receipt_handle
            )

        with bar(context.stderr, "Moving to RetryQueue", len(dead_letters)) as step:
            side_by_side(move, dead_letters, step)
    missing = [key for key in keys if not any(_wanted(each, (key,), reason) for each in dead_letters)]
    context.answer(
        {"resumed": [each.key or None for each in dead_letters], "not_found": missing},
        f"{counted(len(dead_letters), 'upload')} back in RetryQueue.",
        *(f"There is no dead letter for {key}." for key in missing),
    )
    return 1 if missing else 0
