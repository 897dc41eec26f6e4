"""A line of a limited speed to the local stack's S3, photos to send over it, and a command that sends them."""

import asyncio
import io
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tools.local_stack import CREDENTIALS, LocalStack

PIECE = 64 * 1024
BACKDROP = Path(sys.executable).with_name("backdrop")


class Line:
    """A TCP proxy whose way up carries `bytes_a_second` in all, and whose way back takes `seconds`."""

    def __init__(self, port: int, bytes_a_second: float, seconds: float) -> None:
        self._port, self._rate, self._delay = port, bytes_a_second, seconds
        self._free_at = 0.0
        self.first_put_at = 0.0
        """When the first photo since `start` began to leave, by the monotonic clock; 0 before that."""

    def start(self) -> None:
        """Forget what was sent before."""
        self.first_put_at = 0.0

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE):
            now = time.monotonic()
            if not self.first_put_at and piece.startswith(b"PUT "):
                self.first_put_at = now
            self._free_at = max(self._free_at, now) + len(piece) / self._rate
            await asyncio.sleep(self._free_at - now)
            writer.write(piece)
            await writer.drain()
        writer.close()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE):
            await asyncio.sleep(self._delay)
            writer.write(piece)
            await writer.drain()
        writer.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._port, limit=PIECE)
        await asyncio.gather(self._up(reader, ours), self._down(theirs, writer), return_exceptions=True)

    @contextmanager
    def running(self) -> Iterator[int]:
        """Its port."""
        loop = asyncio.new_event_loop()
        server = loop.run_until_complete(asyncio.start_server(self._connected, "127.0.0.1", 0, limit=PIECE))
        threading.Thread(target=loop.run_forever, daemon=True).start()
        yield server.sockets[0].getsockname()[1]
        loop.call_soon_threadsafe(loop.stop)


@dataclass(frozen=True)
class Run:
    """What a command took, as a process: `cpu_seconds` are its own and the system's for it."""

    seconds: float
    cpu_seconds: float
    first_put_seconds: float
    """From its start until the first photo began to leave."""


@dataclass(frozen=True)
class Sender:
    """Runs commands that send photos to the stack's input bucket over a line, without anything being notified.

    Python's bytecode is kept for all of them, as it is where they are installed.
    """

    home: Path
    bucket: str
    line: Line
    variables: dict[str, str]

    def run(self, *command: object) -> Run:
        """Run a command to its end. Raises CalledProcessError."""
        self.line.start()
        with tempfile.TemporaryFile() as errors:
            began = time.monotonic()
            process = subprocess.Popen(
                list(map(str, command)),
                cwd=self.home,
                env=self.variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
            _, status, usage = os.wait4(process.pid, 0)
            ended = time.monotonic()
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                errors.seek(0)
                print(errors.read().decode(errors="replace"), file=sys.stderr)
                raise subprocess.CalledProcessError(process.returncode, process.args)
        return Run(ended - began, usage.ru_utime + usage.ru_stime, self.line.first_put_at - began)


@contextmanager
def sender(bytes_a_second: float, round_trip_seconds: float) -> Iterator[Sender]:
    """Over a line of this speed, to a local stack of its own."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        stack = LocalStack(home / "stack")
        stack.start()
        try:
            stack.deploy(ReconcileSchedule="off")
            bucket = stack.outputs["InputBucketName"]
            stack.client("s3").put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
            line = Line(int(stack.endpoint_url.rpartition(":")[2]), bytes_a_second, round_trip_seconds)
            with line.running() as port:
                yield Sender(home, bucket, line, _variables(home, stack.endpoint_url, port))
        finally:
            stack.stop()


def _variables(home: Path, endpoint_url: str, port: int) -> dict[str, str]:
    dropped = ("AWS_", "PYTHONDONTWRITEBYTECODE")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {
        **variables,
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        "PYTHONPYCACHEPREFIX": str(home / "bytecode"),
    }


def submit(folder: Path, to: str, *options: str) -> Sequence[object]:
    """The command that sends a folder."""
    return (BACKDROP, "submit", folder, "--prompt", "snow", "--to", to, *options)


def photos(folder: Path, count: int, size: int) -> int:
    """Write so many JPEGs of about `size` bytes, each another; returns their bytes."""
    folder.mkdir()
    side = 64
    while True:
        file = io.BytesIO()
        Image.frombytes("RGB", (side, side), random.randbytes(3 * side * side)).save(file, "JPEG", quality=85)
        if file.tell() >= size:
            break
        side = int(side * max(1.05, (size / file.tell()) ** 0.5 * 1.01))
    data, total = file.getvalue(), 0
    for number in range(count):
        comment = f"photo {number}".encode()
        head = b"\xff\xd8\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        (folder / f"{number:04}.jpg").write_bytes(head + data[2:])
        total += len(head) + len(data) - 2
    return total
