"""Who may talk to the review's server: the browser that was given the address, and no other page in it.

Other users of this machine, and other pages in the same browser, can send requests to a port of 127.0.0.1. So every
request needs the secret, as a cookie that only this server's own path is sent; its Host has to be this very address
(a name that leads to 127.0.0.1 is none); and a request that another page makes is told by its Origin.
"""

import secrets
from hmac import compare_digest

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "backdrop-review"
PARAMETER = "secret"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_FORBIDDEN = (
    "This page is only for who has its whole address. `backdrop review` opens it, or prints it with --no-browser.\n"
)


class Guard:
    """Lets through to `app` what comes from the page at `address`; everything else gets 403."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._host = f"127.0.0.1:{port}"
        self._secret = secrets.token_urlsafe(24)
        self.root = f"/{secrets.token_urlsafe(12)}"
        """Before all paths. Cookies don't know ports: another server of this machine would be sent one for `/`."""

    @property
    def address(self) -> str:
        """The whole address, with the secret."""
        return f"http://{self._host}{self.root}/?{PARAMETER}={self._secret}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        brings_secret = self._is_secret(request.query_params.get(PARAMETER))
        is_ours = (
            request.headers.get("host") == self._host
            and request.url.path.startswith(f"{self.root}/")
            and self._is_from_here(request)
            and (brings_secret or self._is_secret(request.cookies.get(COOKIE)))
        )

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
                if brings_secret and is_ours:
                    headers.append(
                        "Set-Cookie", f"{COOKIE}={self._secret}; Path={self.root}/; HttpOnly; SameSite=Strict"
                    )
            await send(message)

        if not is_ours:
            await PlainTextResponse(_FORBIDDEN, 403)(scope, receive, with_headers)
            return
        inside = dict(scope, root_path=self.root)
        await self._app(inside, receive, with_headers)

    def _is_secret(self, text: str | None) -> bool:
        return text is not None and compare_digest(text.encode(), self._secret.encode())

    def _is_from_here(self, request: Request) -> bool:
        origin = request.headers.get("origin")
        if request.method in ("GET", "HEAD") and origin is None:
            return request.headers.get("sec-fetch-site", "none") in ("none", "same-origin") or (
                request.headers.get("sec-fetch-mode") == "navigate"  # the address, clicked on in another page
            )
        return origin == f"http://{self._host}"
