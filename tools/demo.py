"""`make demo`: sample photos through a local stack, and a page with before and after.

Uses the stack of `make up` when that runs and leaves it running; otherwise starts one of its own and stops it again.
"""

import base64
import fcntl
import io
import json
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from backdrop_cli.page import Pair, before_after, counted, dollars, embedded
from tools.local_stack import ROOT, LocalStack, LocalStackError

HOME = ROOT / ".local" / "demo"
PAGE = HOME / "before-after.html"
SAMPLES = ROOT / "tools" / "samples"
DEADLINE_SECONDS = 180.0
_LOOK_EVERY_SECONDS = 0.5
_PEEK_SECONDS = 30  # how long a dead letter stays hidden from others when the demo is killed while it looks
# In the page's order: photos of a similar shape stand next to each other.
_PROMPTS = {
    "car": "a sandy beach at sunset",
    "clock": "a white marble shelf, a mint green wall",
    "headphones": "a wooden café table in a rainy city at night",
    "lamp": "an oak desk in front of a navy blue wall",
    "perfume": "moss in a misty forest",
    "mug": "a marble kitchen counter in soft morning light",
}
_OTHER_PROMPT = "a wooden terrace above the sea, à la Riviera"
_NOTE = (
    "The backgrounds on this page were painted by a stand-in that ships with Backdrop, not by an AI, and nothing was"
    " bought. They show the way that a photo takes, not how good the model is. One photo was uploaded without a prompt,"
    " to show a failure."
)


@dataclass
class Upload:
    """A photo on its way. `seconds` is from upload to the last result's or the failure's arrival."""

    key: str
    photo: Path
    prompt: str
    n: int = 1
    uploaded_at: float = 0.0
    result_keys: list[str] = field(default_factory=list)
    dead_letter: dict[str, Any] | None = None
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """The key without this run's folder."""
        return self.key.partition("/")[2]

    @property
    def is_accounted_for(self) -> bool:
        """Whether all of its results or the reason for their lack are there."""
        return self.dead_letter is not None or len(self.result_keys) == self.n

    @property
    def metadata(self) -> dict[str, str]:
        """What the user writes on the object. Headers are ASCII, hence base64 for everything else."""
        metadata = {"n": str(self.n)} if self.n > 1 else {}
        if self.prompt.isascii():
            return metadata | ({"prompt": self.prompt} if self.prompt else {})
        return metadata | {"prompt-b64": base64.b64encode(self.prompt.encode()).decode()}

    def is_result(self, key: str) -> bool:
        """Whether an object of the output bucket is a result of this upload."""
        number = r"\.\d+" if self.n > 1 else ""
        return re.fullmatch(rf"{re.escape(self.key)}{number}\.[a-z]+", key) is not None


@dataclass(frozen=True)
class Result:
    """A stored image."""

    key: str
    content_type: str
    data: bytes


def planned(folder: str) -> list[Upload]:
    """Every sample photo with a prompt, a few of them in unusual ways, and one without, which has to fail."""
    order = {stem: place for place, stem in enumerate(_PROMPTS)}
    photos = sorted(
        (path for path in SAMPLES.iterdir() if path.suffix in (".jpg", ".png", ".webp")),
        key=lambda path: (order.get(path.stem, len(order)), path.name),
    )
    uploads = [Upload(f"{folder}/{photo.name}", photo, _PROMPTS.get(photo.stem, _OTHER_PROMPT)) for photo in photos]
    uploads[0].n = 2
    odd = uploads[-1]
    odd.key = f"{folder}/new arrivals/{odd.photo.stem} + box{odd.photo.suffix}"
    return [*uploads, Upload(f"{folder}/no-prompt{odd.photo.suffix}", odd.photo, "")]


class Demo:
    """One run against a stack that is up."""

    def __init__(self, stack: LocalStack) -> None:
        try:
            outputs = stack.outputs
        except (BotoCoreError, ClientError) as error:
            raise LocalStackError(
                "A local stack is running, but Backdrop is not deployed in it. Wait until `make up` is done, or"
                " `make down`; then try again."
            ) from error
        self._stack = stack
        self._s3, self._sqs = stack.client("s3"), stack.client("sqs")
        self._input, self._output = outputs["InputBucketName"], outputs["OutputBucketName"]
        self._dead_letters_url = outputs["DeadLetterQueueUrl"]
        self._folder = f"demo-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        self.uploads = planned(self._folder)

    def run(self) -> bool:
        """Upload, wait, report; False when not everything came out as it should."""
        print(f"\nUploading {len(self.uploads)} photos to s3://{self._input}/{self._folder}/")
        for upload in self.uploads:
            self._s3.put_object(
                Bucket=self._input, Key=upload.key, Body=upload.photo.read_bytes(), Metadata=upload.metadata
            )
            upload.uploaded_at = time.monotonic()
            number = f" ({upload.n} images)" if upload.n > 1 else ""
            print(
                f"  {upload.name:<{self._width}}  {upload.prompt or '– no prompt, so this one has to fail –'}{number}"
            )
        print(f"\nWaiting for s3://{self._output}/{self._folder}/ (functions start cold, so give it a moment)")
        if not self._wait():
            missing = [f"  {upload.name}: {_state(upload)}" for upload in self.uploads if not upload.is_accounted_for]
            logs = self._stack.home.relative_to(ROOT)
            print(
                f"\nNot everything came back within {DEADLINE_SECONDS:g} s. Missing:",
                *missing,
                f"The functions' log is in {logs}/emulator.log, the stand-in gateway's in {logs}/gateway.log.",
                sep="\n",
                file=sys.stderr,
            )
            return False
        self._report()
        return all(upload.dead_letter is None for upload in self.uploads if upload.prompt)

    @property
    def _width(self) -> int:
        return max(len(upload.name) for upload in self.uploads)

    # Waiting

    def _wait(self) -> bool:
        progress = Progress()
        start = time.monotonic()
        while True:
            self._look()
            waited = time.monotonic() - start
            rows = [f"  {_mark(upload)} {upload.name:<{self._width}}  {_state(upload)}" for upload in self.uploads]
            done = sum(upload.is_accounted_for for upload in self.uploads)
            progress.show(rows, f"  {done} of {len(rows)} after {waited:.0f} s")
            if done == len(rows) or waited > DEADLINE_SECONDS:
                progress.end()
                return done == len(rows)
            time.sleep(_LOOK_EVERY_SECONDS)

    def _look(self) -> None:
        """What can be seen from outside: the output bucket and the dead letters."""
        listed = self._s3.list_objects_v2(Bucket=self._output, Prefix=f"{self._folder}/").get("Contents", [])
        letters = {letter["job"]["key"]: letter for letter in self._dead_letters() if letter.get("job")}
        for upload in self.uploads:
            if not upload.is_accounted_for:
                upload.result_keys = sorted(entry["Key"] for entry in listed if upload.is_result(entry["Key"]))
                upload.dead_letter = letters.get(upload.key)
                upload.seconds = time.monotonic() - upload.uploaded_at

    def _dead_letters(self) -> list[dict[str, Any]]:
        """This run's. They stay in the queue, and so do everybody else's."""
        messages: list[dict[str, Any]] = []
        while batch := self._sqs.receive_message(
            QueueUrl=self._dead_letters_url, MaxNumberOfMessages=10, VisibilityTimeout=_PEEK_SECONDS
        ).get("Messages"):
            messages += batch
        for message in messages:
            self._sqs.change_message_visibility(
                QueueUrl=self._dead_letters_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )
        return [json.loads(message["Body"]) for message in messages if f'"{self._folder}/' in message["Body"]]

    # Reporting

    def _report(self) -> None:
        charges = self._stack.gateway.charges()
        images, usd = 0, 0.0
        pairs = []
        print("\nResults")
        for upload in self.uploads:
            results, job_id = self._fetch(upload)
            # An idempotency key is the upload's id and a number: nobody else's charges are counted.
            charged = [charge for charge in charges if (charge["idempotency_key"] or "").startswith(f"{job_id}-")]
            cost = sum(charge["usd"] for charge in charged)
            images, usd = images + sum(charge["images"] for charge in charged), usd + cost
            failure = _failure(upload)
            print(f"  {_mark(upload)} {upload.name}")
            for result in results:
                print(f"      s3://{self._output}/{result.key}")
            if results:
                kinds = "; ".join(f"{result.content_type}, {_size(len(result.data))}" for result in results)
                print(f"      {kinds}; {upload.seconds:.1f} s; {dollars(cost)}")
            if failure:
                print(f"      {failure}; charged: {dollars(cost)}")
            pairs.append(
                Pair(
                    before=embedded(upload.photo.read_bytes(), upload.key),
                    after=tuple(embedded(result.data, result.key) for result in results),
                    prompt=upload.prompt,
                    seconds=upload.seconds,
                    cost_usd=cost,
                    failure=failure,
                )
            )
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        with PAGE.open("w", encoding="utf-8") as page:
            before_after(page, "Backdrop: before and after", _NOTE, pairs)
        print(f"\nCharged by the stand-in gateway: {counted(images, 'image')}, {dollars(usd)} (of play money)")
        print(f"Before and after, to look at:    {PAGE.relative_to(ROOT)}")

    def _fetch(self, upload: Upload) -> tuple[list[Result], str]:
        """The stored images and the upload's id, which results and dead letters carry."""
        job_id = upload.dead_letter["job"]["id"] if upload.dead_letter else ""
        results = []
        for key in upload.result_keys:
            found = self._s3.get_object(Bucket=self._output, Key=key)
            job_id = found["Metadata"]["job-id"]
            results.append(Result(key, found["ContentType"], found["Body"].read()))
        return results, job_id


class Progress:
    """Rows that are kept up to date in a terminal; elsewhere each is printed when it changes."""

    def __init__(self) -> None:
        self._rows: list[str] = []
        self._in_place = sys.stdout.isatty()

    def show(self, rows: Sequence[str], footer: str) -> None:
        """Show the rows; the footer only where it can be replaced later."""
        if self._in_place:
            columns = shutil.get_terminal_size().columns - 1  # a wrapped row would put the cursor out of step
            up = f"\x1b[{len(self._rows)}F" if self._rows else ""
            self._rows = [*rows, footer]
            print(up + "".join(f"{row[:columns]}\x1b[K\n" for row in self._rows), end="", flush=True)
            return
        for row in rows:
            if row not in self._rows:
                print(row)
        self._rows = list(rows)

    def end(self) -> None:
        """Leave the rows and take the footer away."""
        if self._in_place:
            print("\x1b[1F\x1b[K", end="", flush=True)


def _mark(upload: Upload) -> str:
    if upload.dead_letter:
        return "✗"
    return "✓" if upload.is_accounted_for else "·"


def _state(upload: Upload) -> str:
    if upload.dead_letter:
        return f"{upload.dead_letter['reason']['code']} after {upload.seconds:.1f} s"
    if upload.is_accounted_for:
        return f"done in {upload.seconds:.1f} s"
    return f"{len(upload.result_keys)} of {upload.n} images" if upload.result_keys else "on its way"


def _failure(upload: Upload) -> str:
    if not upload.dead_letter:
        return ""
    reason = upload.dead_letter["reason"]
    return f"{reason['code']}: {reason['message']}"


def _size(length: int) -> str:
    return f"{length / 1e6:.1f} MB" if length >= 1e6 else f"{length / 1e3:.0f} KB"


@contextmanager
def _step(what: str) -> Iterator[None]:
    print(f"{what} …", end=" ", flush=True)
    start = time.monotonic()
    try:
        yield
    except BaseException:
        print()
        raise
    print(f"{time.monotonic() - start:.1f} s")


@contextmanager
def _stack_of_its_own() -> Iterator[LocalStack]:
    """A stack that lives as long as the block. Raises LocalStackError when that can't be."""
    stack = LocalStack(HOME, build_folder=HOME / "build")
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalStackError("Another `make demo` is running. Wait until it is done, then try again.") from None
        stack.stop()  # what a demo that was killed has left: nobody else has the lock
        try:
            with _step("Starting the AWS emulator and the stand-in gateway"):
                stack.start()
            with _step("Deploying template.yaml with the SAM CLI"):
                stack.deploy()
            yield stack
        finally:
            impatient = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave processes behind
            stack.stop()
            signal.signal(signal.SIGINT, impatient)


def _run() -> bool:
    print("Backdrop's demo: photos go in, photos with new backgrounds come out. All of it on this machine.\n")
    kept = LocalStack(ROOT / ".local")
    if kept.is_running:
        print("The local stack is running (`make up`), so it is used, and left running.")
        succeeded = Demo(kept).run()
        print("Go on: upload photos of your own to the running stack; `make down` stops it.")
        return succeeded
    with _stack_of_its_own() as stack:
        succeeded = Demo(stack).run()
    print("The demo's stack is stopped. Go on: `make up` keeps one running, for photos of your own.")
    return succeeded


def main() -> int:
    """The command."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True, errors="replace")  # progress in a pipe; terminals without UTF-8
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, lambda number, _: sys.exit(128 + number))  # an exception, so that the stack is stopped
    try:
        return 0 if _run() else 1
    except LocalStackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
