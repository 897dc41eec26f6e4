"""The documented endpoints over HTTP, and the pictures behind the links."""

import asyncio
import base64
import hashlib
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import cast

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from . import orders, source
from .account import Account, Call, Fetch, Settings, dollars, price_usd
from .answers import Answer, answer_with
from .control import Control
from .delivery import Dropped, Raw, delivered, instead_of_work, served, status_response
from .dialects import DIALECTS, Dialect
from .errors import GatewayError
from .faults import BEFORE_THE_WORK, Fault
from .orders import Form, Order
from .picture import Picture, UndecodableError, draw, identified

_CREATED = 1_764_460_800  # of the model, in Unix seconds

_Handler = Callable[[Request], Awaitable[Response]]


def create_app(settings: Settings) -> Starlette:
    """The whole stand-in, control API included, with one account."""
    gateway = Gateway(settings)
    return Starlette(
        routes=[
            Route("/v1/models", _documented(gateway.models)),
            Route("/v1/models/{model:path}/schema", _documented(gateway.schema)),
            Route("/v1/balance", _documented(gateway.balance)),
            Route("/v1/{endpoint:path}", _documented(gateway.buy), methods=["POST"]),
            Route("/v1/{endpoint:path}", _documented(gateway.unknown)),
            Route("/media/{name}", gateway.picture),
            *gateway.control.routes(),
        ],
        exception_handlers={GatewayError: _refusal, ClientDisconnect: _nobody},
    )


def _documented(handler: _Handler) -> _Handler:
    """An endpoint of the documented API: every answer carries an x-request-id."""

    async def answered(request: Request) -> Response:
        request.state.request_id = f"req_{uuid.uuid4().hex}"
        try:
            response = await handler(request)
        except GatewayError as error:
            response = error.response()
        response.headers.setdefault("x-request-id", request.state.request_id)
        return response

    return answered


async def _refusal(_request: Request, error: Exception) -> Response:
    return cast(GatewayError, error).response()


async def _nobody(_request: Request, _error: Exception) -> Response:
    """The client left during its upload."""
    return Dropped()


class Gateway:
    """The endpoints, on the account that the control API holds."""

    def __init__(self, settings: Settings) -> None:
        self.control = Control(settings)

    async def models(self, request: Request) -> Response:
        """GET /v1/models."""
        self._authorize(request)
        return JSONResponse(
            {
                "object": "list",
                "data": [{"id": self._dialect.model, "object": "model", "created": _CREATED, "owned_by": "stand-in"}],
            }
        )

    async def schema(self, request: Request) -> Response:
        """GET /v1/models/{model}/schema, the model with its slashes."""
        self._authorize(request)
        model = request.path_params["model"]
        if not self._dialect.has_schema:
            raise GatewayError(404, "There is no such endpoint.", code="not_found")
        if model != self._dialect.model:
            raise GatewayError(404, f"There is no model {model!r}.")
        return JSONResponse(
            {
                "id": model,
                "endpoint": "/v1/images/generations",
                "method": "POST",
                "request": {
                    "model": model,
                    "prompt": "a marble table at sunset",
                    "n": 1,
                    "response_format": "url",
                    "image_url": "https://example.com/photo.jpg",
                },
                "quirks": [
                    "This is a stand-in: the real gateway's schema decides.",
                    "Without image_url it sells an unrelated picture.",
                ],
            }
        )

    async def balance(self, request: Request) -> Response:
        """GET /v1/balance."""
        self._authorize(request)
        if not self._dialect.has_schema:
            raise GatewayError(404, "There is no such endpoint.", code="not_found")
        return JSONResponse({"balance_usd": dollars(self.control.account.wallet_mills)})

    async def unknown(self, request: Request) -> Response:
        """GET of anything else under /v1."""
        raise GatewayError(404, f"There is no endpoint {request.path_params['endpoint']}.", code="not_found")

    async def buy(self, request: Request) -> Response:
        """POST of anything under /v1; every one is recorded, whatever becomes of it."""
        # The whole call works on the account that it found, so that a reset does not mix two tests' calls.
        account = self.control.account
        body = await request.body()
        form = await orders.read_form(request)
        call = Call(
            path=request.url.path,
            idempotency_key=request.headers.get("idempotency-key"),
            content_type=request.headers.get("content-type", ""),
            body_sha256=hashlib.sha256(body).hexdigest(),
            authorization_ok=account.accepts(request.headers.get("authorization")),
            fields=orders.shown(form),
            request_id=request.state.request_id,
            headers={name: value for name, value in request.headers.items() if name != "authorization"},
        )
        account.calls.append(call)
        try:
            response = await self._answer(request, account, call, form)
        except GatewayError as error:
            call.status = error.status
            raise
        call.status = None if isinstance(response, Dropped | Raw) else response.status_code
        return response

    async def _answer(self, request: Request, account: Account, call: Call, form: Form) -> Response:
        if not call.authorization_ok:
            raise _unauthorized()
        limit_headers = account.admit()
        dialect = DIALECTS[account.settings.dialect]
        order = orders.check(request.path_params["endpoint"], form, request.headers, dialect)
        if stored := account.stored_failure(call):
            failure, request_id = stored
            return _replayed(status_response(failure), account, request_id)
        fault = account.take_fault("images", order.prompt)
        call.fault = fault.kind if fault else None
        if fault and fault.kind in BEFORE_THE_WORK:
            if fault.kind == "status":
                account.store_failure(call, fault)
            return await instead_of_work(fault)

        replay = account.recorded(call)
        answer = replay or await _bought(account, call, order, fault, f"http://{request.headers['host']}/media")
        headers = limit_headers | _price_headers(dialect, price_usd(order))
        response = Response(answer.body, answer.status, headers, answer.media_type)
        if replay:
            response = _replayed(response, account)
        return await delivered(response, fault)

    async def picture(self, request: Request) -> Response:
        """GET /media/{name}."""
        account = self.control.account
        name = request.path_params["name"]
        account.fetches.append(Fetch(name, dict(request.headers)))
        media = account.media(name)
        if media is None:
            raise GatewayError(404, "There is no such picture.", code="not_found")
        response = Response(media.picture.data, media_type=media.picture.content_type)
        return await served(response, account.take_fault("media", media.prompt))

    @property
    def _dialect(self) -> Dialect:
        return DIALECTS[self.control.account.settings.dialect]

    def _authorize(self, request: Request) -> None:
        if not self.control.account.accepts(request.headers.get("authorization")):
            raise _unauthorized()


def _price_headers(dialect: Dialect, usd: float) -> dict[str, str]:
    match dialect.tells_price:
        case "cents":
            return {"x-cost-cents": f"{usd * 100:g}"}
        case "litellm":
            return {"x-litellm-response-cost": str(usd)}
        case _:
            return {}


def _replayed(response: Response, account: Account, request_id: str | None = None) -> Response:
    """Marked as a stored answer, in whichever way the settings say."""
    if account.settings.tells_replays:
        response.headers["idempotent-replayed"] = "true"
    elif request_id:
        response.headers["x-request-id"] = request_id
    return response


def _unauthorized() -> GatewayError:
    return GatewayError(401, "Invalid or missing API key.")


async def _bought(account: Account, call: Call, order: Order, fault: Fault | None, links: str) -> Answer:
    """Do the work and charge it, also when the client leaves meanwhile: uvicorn lets a handler run to its end."""
    settings = account.settings
    with account.purchase(call, order):
        await asyncio.sleep(settings.latency_seconds)
        photo, pictures = await asyncio.to_thread(_drawn, await source.photo(order), order, settings)
        images: list[dict[str, str | None]]
        if (settings.answer or order.response_format) == "b64_json":
            images = [{"b64_json": base64.b64encode(picture.data).decode()} for picture in pictures]
        else:
            images = [{"url": f"{links}/{account.keep(picture, order.prompt)}"} for picture in pictures]
        told = price_usd(order) if DIALECTS[settings.dialect].tells_price == "usage" else None
        answer = answer_with(images, int(time.time()), fault, told)
        account.charge(call, order, photo, answer)
        return answer


def _drawn(photo: bytes | None, order: Order, settings: Settings) -> tuple[Picture | None, list[Picture]]:
    try:
        return (
            None if photo is None else identified(photo),
            draw(photo, order.prompt, order.size or settings.image_pixels, settings.image_format, order.n),
        )
    except UndecodableError as error:
        raise GatewayError(400, f"The image can't be decoded: {error}.") from error
