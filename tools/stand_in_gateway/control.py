"""The control API under /control, for tests and demos: no key, and no counterpart on the real gateway."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .account import Account, RateLimit, Settings, dollars, mills
from .dialects import DIALECTS
from .errors import GatewayError
from .faults import Fault
from .picture import FORMATS

_WALLET_USD = 1000


def _one_of(*choices: str | None) -> Callable[[Any], str | None]:
    def parse(value: Any) -> str | None:
        if value not in choices:
            raise ValueError(f"{value!r} is none of {choices}")
        return value  # type: ignore[no-any-return]

    return parse


_SETTINGS: dict[str, Callable[[Any], object]] = {
    "wallet_usd": mills,
    "keys": tuple,
    "rate_limit": lambda limit: limit and RateLimit(int(limit["requests"]), float(limit["seconds"])),
    "latency_seconds": float,
    "honours_idempotency_keys": bool,
    "stores_failures": bool,
    "tells_replays": bool,
    "image_format": _one_of(*FORMATS),
    "image_pixels": int,
    "answer": _one_of("url", "b64_json", None),
    "dialect": _one_of(*DIALECTS),
}


class Control:
    """Holds the account that the endpoints work on, and changes it."""

    def __init__(self, settings: Settings) -> None:
        self._initial = settings
        self.account = self._new_account()

    def routes(self) -> list[Route]:
        """All of the control API."""
        return [
            Route("/control/reset", self._reset, methods=["POST"]),
            Route("/control/settings", self._change_settings, methods=["POST"]),
            Route("/control/faults", self._script_faults, methods=["POST"]),
            Route("/control/charges", self._charges),
            Route("/control/calls", self._calls),
            Route("/control/fetches", self._fetches),
        ]

    def _new_account(self) -> Account:
        return Account(self._initial, mills(_WALLET_USD))

    async def _reset(self, _request: Request) -> Response:
        # A new account instead of an emptied one: calls that still run end in the old one, not in the next test's.
        self.account = self._new_account()
        return self._settings()

    async def _change_settings(self, request: Request) -> Response:
        wanted = await request.json()
        try:
            changes = {name: _SETTINGS[name](value) for name, value in wanted.items()}
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise GatewayError(400, f"No such setting or value: {error}.") from error
        wallet_mills = changes.pop("wallet_usd", None)
        if isinstance(wallet_mills, int):
            self.account.wallet_mills = wallet_mills
        self.account.settings = replace(self.account.settings, **changes)  # type: ignore[arg-type]
        return self._settings()

    def _settings(self) -> Response:
        return JSONResponse({"wallet_usd": dollars(self.account.wallet_mills), **asdict(self.account.settings)})

    async def _script_faults(self, request: Request) -> Response:
        self.account.faults = [Fault.parse(item) for item in await request.json()]
        return JSONResponse([asdict(fault) for fault in self.account.faults])

    async def _charges(self, _request: Request) -> Response:
        return JSONResponse([asdict(charge) for charge in self.account.charges])

    async def _calls(self, _request: Request) -> Response:
        return JSONResponse([asdict(call) for call in self.account.calls])

    async def _fetches(self, _request: Request) -> Response:
        return JSONResponse([asdict(fetch) for fetch in self.account.fetches])
