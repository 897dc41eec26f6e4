"""`python -m tools.bench.upload_line --aws PATH`: `backdrop submit` beside `aws s3 cp --recursive`, in pairs.

Both send to the local stack's S3 over one line of so many MB/s and so long a round trip. Nothing is notified.
"""

import argparse
import asyncio
import io
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from PIL import Image

from tools.local_stack import CREDENTIALS, LocalStack

PIECE = 64 * 1024


class Line:
    """A TCP proxy whose way up carries `bytes_a_second` in all, and whose way back takes `seconds`."""

    def __init__(self, port: int, bytes_a_second: float, seconds: float) -> None:
        self._port, self._rate, self._delay = port, bytes_a_second, seconds
        self._free_at = 0.0
        self.sent = 0
        self.first_at = 0.0

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE):
            now = time.monotonic()
            if self.sent == 0:
                self.first_at = now
            self._free_at = max(self._free_at, now) + len(piece) / self._rate
            self.sent += len(piece)
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


def photos(folder: Path, count: int, size: int) -> int:
    """Write so many JPEGs of about `size` bytes, each another; returns their bytes."""
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


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--aws", required=True, help="the AWS CLI")
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--bytes", type=int, default=1_000_000)
    parser.add_argument("--megabytes-a-second", type=float, default=12.5)
    parser.add_argument("--round-trip-seconds", type=float, default=0.04)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        stack = LocalStack(Path(home) / "stack")
        (Path(home) / "stack").mkdir()
        stack.start()
        try:
            stack.deploy(ReconcileSchedule="off")
            return measure(stack, Path(home), options)
        finally:
            stack.stop()


def measure(stack: LocalStack, home: Path, options: argparse.Namespace) -> int:
    """Both commands in turn, and a line for each pair."""
    bucket = stack.outputs["InputBucketName"]
    stack.client("s3").put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    folder = home / "photos"
    folder.mkdir()
    total = photos(folder, options.photos, options.bytes)
    line = Line(
        int(stack.endpoint_url.rpartition(":")[2]), options.megabytes_a_second * 1e6, options.round_trip_seconds
    )
    ratios = []
    with line.running() as port:
        variables = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | CREDENTIALS
        variables |= {"AWS_ENDPOINT_URL": stack.endpoint_url, "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}"}

        def seconds(*command: object) -> tuple[float, float]:
            line.sent = 0
            began = time.monotonic()
            subprocess.run(list(map(str, command)), cwd=home, env=variables, check=True, capture_output=True)
            return time.monotonic() - began, line.first_at - began

        for pair in range(options.pairs):
            commands = {
                "aws s3 cp": (options.aws, "s3", "cp", "--recursive", folder, f"s3://{bucket}/aws-{pair}/"),
                "backdrop submit": (
                    *(Path(sys.executable).with_name("backdrop"), "submit", folder, "--prompt", "snow", "--yes"),
                    *("--to", f"ours-{pair}/"),
                ),
            }
            names = list(commands)[:: 1 if pair % 2 else -1]
            took = {name: seconds(*commands[name]) for name in names}
            ratios.append(took["backdrop submit"][0] / took["aws s3 cp"][0])
            print(
                *(
                    f"{name}: {all_of_it:.1f} s, {total / 1e6 / all_of_it:.1f} MB/s"
                    for name, (all_of_it, _) in took.items()
                ),
                f"ratio {ratios[-1]:.3f}",
                sep="; ",
                flush=True,
            )
    print(f"{options.photos} photos, {total / 1e6:.0f} MB, median ratio {median(ratios):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
