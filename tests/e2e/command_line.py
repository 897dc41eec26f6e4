"""The installed command, as people run it."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.deployed import Deployed
from tools.files import SAMPLES
from tools.local_stack import CREDENTIALS
from tools.polling import until

COLUMNS = 100


def _interruptible() -> None:
    """Whoever runs the tests in the background may have switched Ctrl-C off."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Cli:
    """Runs the installed console script in a folder of its own."""

    def __init__(self, deployed: Deployed, folder: Path) -> None:
        self.deployed = deployed
        self.folder = folder
        self.endpoint_url = deployed.stack.endpoint_url

    def start(self, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("backdrop")), *map(str, arguments)],
            cwd=self.folder,
            env=os.environ | CREDENTIALS | {"AWS_ENDPOINT_URL": self.endpoint_url},
            text=True,
            preexec_fn=_interruptible,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
        )

    def run(self, *arguments: object, code: int = 0) -> str:
        """Standard output, and standard error behind it, of a run that ends with `code`."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=90)
        assert process.returncode == code, out + err
        assert "\x1b" not in out + err, "colours are for terminals"
        return out + err

    def json(self, *arguments: object, code: int = 0) -> Any:
        process = self.start(*arguments, "--json")
        out, err = process.communicate(timeout=90)
        assert process.returncode == code, out + err
        return json.loads(out)

    def in_terminal(self, *arguments: object) -> tuple[int, str]:
        """Exit code and everything that a terminal was sent."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
        process = self.start(*arguments, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # Linux's way to say that the other side is closed
            while piece := os.read(ours, 65536):
                shown += piece
        os.close(ours)
        return process.wait(10), shown.decode()

    def interrupted(self, *arguments: object, after: str, when: Callable[[], object]) -> int:
        """Exit code after Ctrl-C, as soon as the command says that it is doing `after` and `when` is true."""
        process = self.start(*arguments)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(after):
                break
        until("the moment for Ctrl-C", when, every=0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert "Traceback" not in err
        return process.returncode

    def photos(self, number: int, folder: str = "photos") -> Path:
        """A folder with a tree of photos, and things that are none."""
        top = self.folder / folder
        for index in range(number):
            sample = SAMPLES[index % len(SAMPLES)]
            path = top / ("new arrivals" if index % 3 else "été") / f"{sample.stem}-{index}{sample.suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(sample.read_bytes())
        (top / "notes.md").write_text("no photo")
        return top


@pytest.fixture
def cli(deployed: Deployed, tmp_path: Path) -> Cli:
    return Cli(deployed, tmp_path)
