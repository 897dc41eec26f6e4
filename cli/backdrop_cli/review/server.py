"""The server behind the page: thin handlers over the board, the desk, the pictures and another try."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from backdrop_cli.csv_cells import protected
from backdrop_cli.deployment import Deployment, Unreachable, explained
from backdrop_cli.review.again import NotAgain, ask_again, price
from backdrop_cli.review.board import Board
from backdrop_cli.review.desk import Conflict, Desk, NotDecided
from backdrop_cli.review.pairs import Pair, Picture, Status
from backdrop_cli.review.pictures import SIDES, Pictures
from backdrop_cli.review.rendering import Rendering
from backdrop_cli.review.watch import Watcher
from backdrop_cli.thumbnails import NotShown

MOST_BODY_BYTES = 64 * 1024
_STATIC = Path(__file__).parent.parent / "static"
_TOGETHER_SECONDS = 0.1  # what changes within this time is told at once
_SIGN_OF_LIFE_SECONDS = 15.0
_FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}


class Review:
    """The handlers, and the application that they make."""

    def __init__(self, deployment: Deployment, prefix: str, pictures: Pictures) -> None:
        self._deployment = deployment
        self._pictures = pictures
        self.board = Board()
        self._watcher = Watcher(deployment, prefix, self.board)
        self._desk = Desk(deployment, self.board)
        place = f"s3://{deployment.settings.input_bucket}/{prefix}"
        self._rendering = Rendering(deployment, self.board, place)

    def application(self) -> Starlette:
        """To be put behind the guard."""

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            watching = asyncio.create_task(self._watcher.run())
            yield
            watching.cancel()

        return Starlette(
            lifespan=lifespan,
            routes=[
                Route("/", self.page),
                Route("/events", self.events),
                Route("/pair/{pair}", self.pair),
                Route("/pair/{pair}/decision", self.decide, methods=["POST"]),
                Route("/pair/{pair}/again", self.price),
                Route("/pair/{pair}/again", self.again, methods=["POST"]),
                Route("/undo", self.undo, methods=["POST"]),
                Route("/picture/{token}/{size}", self.picture),
                Route("/whole/{token}", self.whole),
                Route("/rejected.csv", self.rejected),
                Mount("/static", StaticFiles(directory=_STATIC)),
            ],
            exception_handlers={
                Unreachable: _said(503, "Not done, AWS can't be asked: "),
                Conflict: _said(409),
                NotDecided: _said(422),
                NotAgain: _said(422),
                NotShown: _said(404),
            },
        )

    def page(self, _: Request) -> Response:
        """The whole page, with all pairs that are known by now."""
        return HTMLResponse(self._rendering.page())

    def pair(self, request: Request) -> Response:
        """A pair to be looked at closely, with the decisions as they are in the bucket now."""
        with explained():
            return HTMLResponse(self._rendering.large(self._watcher.refreshed(self._pair(request))))

    async def events(self, request: Request) -> Response:
        """What changes, as server-sent events."""
        since = request.headers.get("last-event-id") or request.query_params.get("since", "0")
        return StreamingResponse(self._changes(int(since) if since.isdecimal() else 0), media_type="text/event-stream")

    async def _changes(self, since: int) -> AsyncIterator[str]:
        bell, loop = asyncio.Event(), asyncio.get_running_loop()

        def ring() -> None:
            loop.call_soon_threadsafe(bell.set)

        with self.board.listening(ring):
            self._watcher.wake()
            while True:
                bell.clear()
                if self.board.number > since:
                    news = self.board.since(since)
                    since = news.number
                    data = json.dumps(await run_in_threadpool(self._rendering.news, news))
                    yield f"id: {since}\ndata: {data}\n\n"
                try:
                    await asyncio.wait_for(bell.wait(), _SIGN_OF_LIFE_SECONDS)
                    await asyncio.sleep(_TOGETHER_SECONDS)
                except TimeoutError:
                    yield ":\n\n"

    async def decide(self, request: Request) -> Response:
        """Approve or reject."""
        body = await _body(request)
        pair = self._pair(request)
        choice = body.get("choice", 0)
        decided = await run_in_threadpool(
            _explained,
            self._desk.decide,
            pair.id,
            str(body.get("verdict")),
            choice if isinstance(choice, int) else -1,
            str(body.get("seen")),
        )
        return JSONResponse({"id": decided.id, "status": decided.status})

    async def undo(self, request: Request) -> Response:
        """Take the last decision back."""
        await _body(request)
        pair = await run_in_threadpool(_explained, self._desk.undo)
        return JSONResponse({"id": pair.id, "status": pair.status})

    def price(self, request: Request) -> Response:
        """What another try costs, and the prompt of the last one."""
        pair = self._pair(request)
        with explained():
            told = price(self._deployment, pair)
        prompt = (pair.asked.prompt if pair.asked else None) or ""
        return JSONResponse({**vars(told), "prompt": prompt, "job": pair.job.id})

    async def again(self, request: Request) -> Response:
        """Another try, for the price that the page has shown."""
        body = await _body(request)
        pair = self._pair(request)
        await run_in_threadpool(_explained, self._buy, pair, body)
        self._watcher.wake()
        return JSONResponse({"id": pair.id})

    def _buy(self, pair: Pair, body: dict[str, Any]) -> None:
        told = price(self._deployment, pair)
        if (body.get("images"), body.get("usd")) != (told.images, told.usd):
            raise Conflict(f"The price is another now: {told.words}.")
        if body.get("job") != pair.job.id:
            raise Conflict("The photo was uploaded anew meanwhile. Look at what comes of that first.")
        ask_again(self._deployment, pair, str(body.get("prompt", "")))

    def picture(self, request: Request) -> Response:
        """A picture as large as the page needs it."""
        size = request.path_params["size"]
        if size not in SIDES:
            raise HTTPException(404)
        with explained():
            data = self._pictures.scaled(self._shown(request), size)
        return Response(data, media_type="image/webp", headers=_FOR_EVER)

    def whole(self, request: Request) -> Response:
        """A picture as it is in its bucket."""
        with explained():
            whole = self._pictures.whole(self._shown(request))
        return Response(whole.data, media_type=whole.content_type, headers=_FOR_EVER)

    def rejected(self, _: Request) -> Response:
        """The rejected ones as a manifest for `submit`."""
        file = io.StringIO()
        table = csv.writer(file)
        table.writerow(["file", "prompt", "n", "size", "tag"])
        for pair in self.board.pairs():
            if pair.status is Status.REJECTED and pair.asked:
                asked = pair.asked
                prompt = (asked.prompt or "").replace("{", "{{").replace("}", "}}")  # as a manifest writes braces
                table.writerow(
                    [protected(pair.job.key), protected(prompt), asked.n, asked.size, protected(asked.tag or "")]
                )
        headers = {"Content-Disposition": 'attachment; filename="rejected.csv"'}
        return Response(file.getvalue(), media_type="text/csv", headers=headers)

    def _pair(self, request: Request) -> Pair:
        pair = self.board.get(request.path_params["pair"])
        if pair is None:
            raise HTTPException(404, "The photo is not there any more.")
        return pair

    def _shown(self, request: Request) -> Picture:
        picture = self.board.picture(request.path_params["token"])
        if picture is None:
            raise NotShown("The page is of another time. Load it again.")
        return picture


def _explained(work: Callable[..., Any], *arguments: Any) -> Any:
    with explained():
        return work(*arguments)


def _said(status: int, before: str = "") -> Callable[[Request, Exception], Response]:
    return lambda _, error: PlainTextResponse(f"{before}{error}", status)


async def _body(request: Request) -> dict[str, Any]:
    """A small JSON object. Raises HTTPException for anything else."""
    if request.headers.get("content-type") != "application/json":  # no form of another page can send this
        raise HTTPException(415)
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > MOST_BODY_BYTES:
            raise HTTPException(413)
    try:
        body = json.loads(data)
    except ValueError:
        raise HTTPException(400) from None
    if not isinstance(body, dict):
        raise HTTPException(400)
    return body
