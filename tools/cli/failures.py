"""`backdrop failures` and `backdrop resume`: what is in DeadLetterQueue, and back to work with it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from tools.cli.deployment import Deployment
from tools.cli.forecast import in_words, offer
from tools.cli.options import Setting, common, spending
from tools.cli.progress import bar, side_by_side
from tools.cli.uploads import records_of
from tools.page import counted

HIDDEN_SECONDS = 120  # while letters are read, nobody else sees them; after a crash they come back by themselves
ADVICE = {
    "missing_prompt": "Put a prompt.txt into the folder, then resume; or upload it again with a prompt.",
    "invalid_option": "Upload it again with what the message asks for.",
    "unsupported_media_type": "Upload it again as JPEG, PNG or WebP.",
    "too_large": "Upload it again with 25 MiB at most.",
    "rejected_by_gateway": "Upload another photo, or with another prompt.",
    "no_image_returned": "It was paid. Ask the gateway for the money; resume asks for the same call's answer.",
    "result_unavailable": "It was paid. Resume fetches it again while its link lives, 24 hours.",
    "outcome_unknown": "Look whether the gateway charged it; resume repeats the same call under its key.",
    "attempts_exhausted": "Resume when the gateway is well.",
    "malformed_message": "Look at its body: it is no message of Backdrop's.",
}


@dataclass(frozen=True)
class Letter:
    """A message of DeadLetterQueue. One that is no JSON object counts as a malformed one."""

    body: str
    receipt_handle: str

    @property
    def content(self) -> dict[str, Any]:
        """As it was written."""
        try:
            content = json.loads(self.body)
        except ValueError:
            content = None
        return content if isinstance(content, dict) else {}

    @property
    def key(self) -> str:
        """Of the upload; empty for a malformed message."""
        return str((self.content.get("job") or {}).get("key") or "")

    @property
    def reason(self) -> dict[str, Any]:
        """Code, message and so on."""
        return self.content.get("reason") or {"code": "malformed_message", "message": "", "billed": "no"}

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "key": self.key or None,
            "job": self.content.get("job"),
            "reason": self.reason,
            "failed_at": self.content.get("failed_at"),
            "what_to_do": ADVICE.get(self.reason["code"], ""),
        }


def take(deployment: Deployment) -> Iterator[Letter]:
    """All letters, hidden from others for a while; duplicates that SQS delivers are left out."""
    url = deployment.settings.dead_letter_queue_url
    known: set[str] = set()
    while found := deployment.sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=HIDDEN_SECONDS
    ).get("Messages"):
        fresh = [message for message in found if message["MessageId"] not in known]
        if not fresh:
            return  # the first ones are visible again
        for message in fresh:
            known.add(message["MessageId"])
            yield Letter(message["Body"], message["ReceiptHandle"])


def put_back(deployment: Deployment, letters: list[Letter]) -> None:
    """Let everybody see them again."""
    for start in range(0, len(letters), 10):
        deployment.sqs.change_message_visibility_batch(
            QueueUrl=deployment.settings.dead_letter_queue_url,
            Entries=[
                {"Id": str(number), "ReceiptHandle": letter.receipt_handle, "VisibilityTimeout": 0}
                for number, letter in enumerate(letters[start : start + 10])
            ],
        )


def _wanted(letter: Letter, keys: tuple[str, ...], reason: str | None) -> bool:
    of_keys = not keys or any(letter.key == key or (key.endswith("/") and letter.key.startswith(key)) for key in keys)
    return of_keys and reason in (None, letter.reason["code"])


@contextmanager
def _read(
    setting: Setting, keys: tuple[str, ...], reason: str | None
) -> Iterator[tuple[list[Letter], Callable[[Letter], None]]]:
    """The wanted letters, and how to say that one has gone; whatever happens, the others are put back."""
    letters: list[Letter] = []
    gone: set[str] = set()
    try:
        with bar(setting.aside, "Reading DeadLetterQueue", None) as step:
            for letter in take(setting.deployment):
                letters.append(letter)
                step(1)
        yield (
            [letter for letter in letters if _wanted(letter, keys, reason)],
            lambda letter: gone.add(letter.receipt_handle),
        )
    finally:
        put_back(setting.deployment, [letter for letter in letters if letter.receipt_handle not in gone])


_REASON = click.option("--reason", metavar="CODE", type=click.Choice(sorted(ADVICE)), help="Only with this code.")


@click.command()
@click.argument("keys", nargs=-1, metavar="[KEY|FOLDER/]...")
@_REASON
@common
@click.pass_obj
def failures(setting: Setting, keys: tuple[str, ...], reason: str | None) -> None:
    """Show what failed and why, whether it was billed, and what to do."""
    with _read(setting, keys, reason) as (letters, _):
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for title in ("key", "reason", "billed", "what to do"):
            table.add_column(title, overflow="fold")
        for letter in letters:
            code = letter.reason["code"]
            why = f"{code}: {letter.reason.get('message', '')}"
            table.add_row(Text(letter.key or "–"), Text(why), letter.reason.get("billed", ""), ADVICE.get(code, ""))
        setting.answer(
            [letter.as_dict() for letter in letters],
            table if letters else "Nothing has failed. (Dead letters are kept for 14 days.)",
        )


@click.command()
@click.argument("keys", nargs=-1, metavar="[KEY|FOLDER/]...")
@_REASON
@spending
@common
@click.pass_obj
def resume(setting: Setting, keys: tuple[str, ...], reason: str | None) -> int:
    """Try failed uploads again, all or those that are named. Only what was not paid is bought."""
    deployment = setting.deployment
    with _read(setting, keys, reason) as (letters, went):
        unpaid = [letter for letter in letters if letter.key and letter.reason.get("billed") != "yes"]
        records = records_of(deployment, [letter.content["job"]["id"] for letter in unpaid])
        images = len(unpaid) + sum(max(0, record.images - 1) for record in records.values())
        most = offer(deployment, len(unpaid), images)
        paid = len(letters) - len(unpaid)
        if letters:
            setting.remark(f"To try again: {len(letters)}; {paid} without buying. At most: {in_words(most)}.")
        if not setting.agreed(most):
            setting.remark("Nothing was moved.")
            return 2

        def move(letter: Letter) -> None:
            deployment.queues.renew(letter.body, 0)  # first: a crash in between leaves two, never none
            went(letter)
            deployment.sqs.delete_message(
                QueueUrl=deployment.settings.dead_letter_queue_url, ReceiptHandle=letter.receipt_handle
            )

        with bar(setting.aside, "Moving to RetryQueue", len(letters)) as step:
            side_by_side(move, letters, step)
    missing = [key for key in keys if not any(_wanted(letter, (key,), reason) for letter in letters)]
    setting.answer(
        {"resumed": [letter.key or None for letter in letters], "not_found": missing},
        f"{counted(len(letters), 'upload')} back in RetryQueue.",
        *(f"There is no dead letter for {key}." for key in missing),
    )
    return 1 if missing else 0
