"""The AWS emulator: MiniStack, with its queues' lock held wherever messages come and go, and quicker cold starts.

MiniStack 1.5 holds the lock only in the threads that feed functions from queues. They write a queue's list of messages
anew, and what is sent in that moment is lost: about one message in a hundred under load.

It unpacks the layers for every worker, and Python compiles them there: three of a cold start's four CPU seconds.
"""

import asyncio
import functools
import hashlib
import resource
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack import app
from ministack.services import eventbridge, lambda_svc, sns, sqs

_LOCK = threading.RLock()


def _locked(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def locked(*arguments: Any, **named: Any) -> Any:
        with _LOCK:
            return function(*arguments, **named)

    return locked


class _SharedFiles:
    """What archives hold, unpacked once for all workers; the first that imports a module leaves its bytecode there."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp())
        self._lock = threading.Lock()
        self._extract_all = zipfile.ZipFile.extractall

    def link(self, archive: zipfile.ZipFile, path: str) -> None:
        """In the place of `ZipFile.extractall`."""
        with self._lock:
            unpacked = self._folder / hashlib.sha256(Path(str(archive.filename)).read_bytes()).hexdigest()
            if not unpacked.exists():
                self._extract_all(archive, unpacked)
        for child in unpacked.iterdir():
            (Path(path) / child.name).symlink_to(child)


def main() -> None:
    """`python -m tools.emulator FD`: run it on an inherited socket that listens, otherwise as the environment says."""
    sqs._queues_lock = _LOCK
    for action in ("SendMessage", "SendMessageBatch", "DeleteMessage", "DeleteMessageBatch", "PurgeQueue"):
        sqs._HANDLERS[action] = _locked(sqs._HANDLERS[action])
    for module, name in (
        (sqs, "_dlq_sweep"),
        (sqs, "_expire_retained"),
        (lambda_svc, "_route_async_failure"),
        (eventbridge, "_dispatch_to_sqs"),
        (sns, "_deliver_to_sqs"),
    ):
        setattr(module, name, _locked(getattr(module, name)))
    shared_files = _SharedFiles()
    zipfile.ZipFile.extractall = lambda archive, path: shared_files.link(archive, path)  # type: ignore[method-assign, assignment, misc]
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))  # bursts of uploads need many connections
    config = Config.from_mapping(bind=f"fd://{sys.argv[1]}", keep_alive_timeout=75)
    asyncio.run(serve(app.app, config))


if __name__ == "__main__":
    main()
