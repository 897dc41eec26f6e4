"""`make demo`: sample photos through a local stack with the command line, and a page with before and after.

Uses the stack of `make up` when that runs and leaves it running; otherwise starts one of its own and stops it again.
"""

import fcntl
import io
import json
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from tools.files import ROOT, SAMPLE_PHOTO, SAMPLES
from tools.kept_stack import kept_stack, up
from tools.local_stack import LocalStack, LocalStackError, environment
from tools.polling import until

HOME = ROOT / ".local" / "demo"
PAGE = "before-after.html"
DEADLINE_SECONDS = 180.0  # of each command
PROMPTS = {
    "car": "a sandy beach under an orange sky",
    "clock": "a mint green wall",
    "headphones": "a teal café table on a rainy night",
    "lamp": "an oak desk in front of a navy blue wall",
    "mug": "a beige marble counter in soft morning light",
    "perfume": "moss in an olive forest",
}


def run(stack: LocalStack, home: Path = HOME) -> None:
    """Submit the samples, drop in one more without a prompt, and show what became of them.

    Writes PAGE below `home`. Raises LocalStackError when something doesn't come out as it should.
    """
    try:
        bucket = stack.outputs["InputBucketName"]
    except (BotoCoreError, ClientError) as error:
        raise LocalStackError(
            "A local stack is running, but Backdrop is not deployed in it. Wait until `make up` is done, or"
            " `make down`; then try again."
        ) from error
    folder = _photos(home)
    print(f"\nFirst, somebody uploads a photo and forgets the prompt: s3://{bucket}/{folder}/no-prompt.jpg")
    stack.client("s3").put_object(Bucket=bucket, Key=f"{folder}/no-prompt.jpg", Body=SAMPLE_PHOTO.read_bytes())
    print("Then a folder of photos is submitted. What is wanted is in a prompt.txt beside each.")
    _backdrop(stack, home, "submit", folder, "--wait", "--out", "results")

    def failed() -> int:
        counts: dict[str, int] = json.loads(_backdrop(stack, home, "status", f"{folder}/", "--json", shown=False))
        return counts["failed"]

    until("the photo without a prompt fails", failed, DEADLINE_SECONDS)
    _backdrop(stack, home, "failures", f"{folder}/")
    _backdrop(stack, home, "gallery", f"{folder}/", "--out", PAGE)
    print("\nThe stand-in gateway made the new backgrounds: no AI, and no money.")
    print(f"Before and after, to open in a browser: {home / PAGE}")
    print(f"To approve, to reject and to ask again, while a stack runs: backdrop review {folder}/")


def _photos(home: Path) -> str:
    """A new folder with the samples, each in a folder of its own with its prompt.txt; the new folder's name."""
    for earlier in (*home.glob("demo-*"), home / "results"):
        shutil.rmtree(earlier, ignore_errors=True)
    folder = home / f"demo-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    for sample in SAMPLES:
        (folder / sample.stem).mkdir(parents=True)
        shutil.copy(sample, folder / sample.stem)
        (folder / sample.stem / "prompt.txt").write_text(PROMPTS[sample.stem], encoding="utf-8")
    return folder.name


def _backdrop(stack: LocalStack, home: Path, *arguments: str, shown: bool = True) -> str:
    """Run the installed command; what it printed, unless that was shown."""
    if shown:
        print(f"\n$ backdrop {shlex.join(arguments)}")
    try:
        done = subprocess.run(
            [Path(sys.executable).with_name("backdrop"), *arguments],
            cwd=home,
            env=environment(AWS_ENDPOINT_URL=stack.endpoint_url),
            stdin=subprocess.DEVNULL,
            stdout=None if shown else subprocess.PIPE,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=True,
        )
    except subprocess.SubprocessError as error:
        raise LocalStackError(
            f"`backdrop {shlex.join(arguments)}` failed, or took more than {DEADLINE_SECONDS:g} s. The logs of"
            f" the functions and the gateway are in {stack.home}: emulator.log, gateway.log."
        ) from error
    return done.stdout


@contextmanager
def _stack_of_its_own() -> Iterator[LocalStack]:
    """A stack that lives as long as the block. Raises LocalStackError when that can't be."""
    stack = LocalStack(HOME)
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalStackError("Another `make demo` is running. Wait until it is done, then try again.") from None
        stack.stop()  # what a demo that was killed has left: nobody else has the lock
        try:
            up(stack)
            yield stack
        finally:
            impatient = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave processes behind
            stack.stop()
            signal.signal(signal.SIGINT, impatient)


def main() -> int:
    """The exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True, errors="replace")  # progress in a pipe; terminals without UTF-8
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, lambda number, _: sys.exit(128 + number))  # an exception, so that the stack is stopped
    print("Backdrop's demo: photos go in, photos with new backgrounds come out. All of it on this machine.\n")
    kept = kept_stack()
    try:
        if kept.is_running:
            print("The local stack is running (`make up`), so it is used, and left running.")
            run(kept)
            print("Next: photos of your own, with the commands that `make up` printed; `make down` stops the stack.")
        else:
            with _stack_of_its_own() as stack:
                run(stack)
            print("Next: `make up` keeps a stack running, for photos of your own and for `backdrop review`.")
    except (LocalStackError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
