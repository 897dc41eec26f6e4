"""Serves the page on 127.0.0.1 until it is ended."""

import os
import socket
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path

import uvicorn

from backdrop_cli.deployment import Deployment
from backdrop_cli.options import CliContext
from backdrop_cli.pixels import without_remarks
from backdrop_cli.review.guard import Guard
from backdrop_cli.review.pictures import Cache, Pictures
from backdrop_cli.review.server import Review

_GOODBYE_SECONDS = 1  # for requests that still run when it is ended


def cache_folder() -> Path:
    """Where this system keeps what can be made again."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "backdrop" / "review"


class _Server(uvicorn.Server):
    """Calls `started` when it is there."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As its base, then `started`."""
        await super().startup(sockets)
        self._started()


def server(
    deployment: Deployment, prefix: str, folder: Path, listener: socket.socket, started: Callable[[str], None]
) -> uvicorn.Server:
    """To be run with `listener`; `started` is told its whole address. Pictures are kept in `folder`."""
    application = Review(deployment, prefix, Pictures(deployment, Cache(folder))).application()
    guard = Guard(application, listener.getsockname()[1])
    config = uvicorn.Config(
        guard,
        log_level="error",
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=_GOODBYE_SECONDS,
    )
    return _Server(config, lambda: started(guard.address))


def serve(context: CliContext, prefix: str, opens: bool) -> None:
    """On a free port, until Ctrl-C."""

    def tell(address: str) -> None:
        context.answer({"address": address}, address)
        sys.stdout.flush()
        if opens:
            context.remark("Ctrl-C ends it. The address is for you alone.")
            webbrowser.open(address)

    with socket.socket() as listener, without_remarks():
        listener.bind(("127.0.0.1", 0))
        server(context.deployment, prefix, cache_folder(), listener, tell).run([listener])
