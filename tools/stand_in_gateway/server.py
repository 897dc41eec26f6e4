"""Running the stand-in, in a thread of a test or on its own, and steering it from outside."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn

from .account import Settings
from .app import create_app
from .delivery import ClosableProtocol

KEY = "sk-aig-stand-in"

_DEADLINE_SECONDS = 10.0


class GatewayControl:
    """A stand-in that runs somewhere, by its `base_url` (which ends in /v1). May be used by several threads at once.

    All methods raise `httpx.HTTPStatusError` for what the stand-in refuses.
    """

    def __init__(self, base_url: str, key: str = KEY) -> None:
        self.base_url = base_url.rstrip("/")
        self.key = key

    def charges(self) -> list[dict[str, Any]]:
        """What was sold, oldest first; see `account.Charge`."""
        return self._ask("GET", "charges")  # type: ignore[no-any-return]

    def calls(self) -> list[dict[str, Any]]:
        """Every POST that was received, oldest first; see `account.Call`."""
        return self._ask("GET", "calls")  # type: ignore[no-any-return]

    def fetches(self) -> list[dict[str, Any]]:
        """Every GET of a picture, oldest first; see `account.Fetch`."""
        return self._ask("GET", "fetches")  # type: ignore[no-any-return]

    def settings(self, **changes: object) -> dict[str, Any]:
        """Change some of `account.Settings` or `wallet_usd`; returns all of them."""
        return self._ask("POST", "settings", changes)  # type: ignore[no-any-return]

    def faults(self, script: list[dict[str, Any]]) -> None:
        """Replace the scripted faults; see `faults`."""
        self._ask("POST", "faults", script)

    def reset(self) -> None:
        """Back to how it started. Calls that still run end unseen."""
        self._ask("POST", "reset")

    def _ask(self, method: str, name: str, body: object = None) -> Any:
        url = f"{self.base_url.removesuffix('/v1')}/control/{name}"
        # Plain http without a proxy: there are no certificates to load, which would take longer than all the rest.
        response = httpx.request(method, url, json=body, timeout=_DEADLINE_SECONDS, trust_env=False, verify=False)  # noqa: S501
        response.raise_for_status()
        return response.json()


@contextmanager
def running_gateway() -> Iterator[GatewayControl]:
    """A stand-in on a free loopback port, in a thread with an event loop of its own, until the block ends."""
    server = Server(Settings(keys=(KEY,)))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), name="stand-in-gateway", daemon=True)
        thread.start()
        try:
            if not server.listening.wait(_DEADLINE_SECONDS):
                raise TimeoutError(f"The stand-in gateway did not start within {_DEADLINE_SECONDS:g} s.")
            yield GatewayControl(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        finally:
            server.should_exit = True
            thread.join(_DEADLINE_SECONDS)


class Server(uvicorn.Server):
    """uvicorn that says when it listens, and that does not wait for hanging calls when it stops."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(settings),
                http=ClosableProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                headers=[("server", "backdrop-stand-in-gateway")],
            )
        )
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Cut all connections and stop at once."""
        self.force_exit = True
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets)
