"""A host of results, faked below httpx, and a table in place of name servers."""

import httpx

from backdrop.results import Results

HTTPS_GATEWAY = "https://gateway.test/v1"
LOCAL_GATEWAY = "http://127.0.0.1:9000/v1"
PUBLIC = "93.184.216.34"
PUBLIC_V6 = "2606:4700::1111"
SIGNATURE = "5f1e0c0ffee"
SIGNED = f"cdn.test/1.png?signature={SIGNATURE}"
IMAGE = b"\x89PNG\r\n\x1a\n\0\0\0\x3cIDAT" + b"pixels" * 10 + bytes(4) + b"\0\0\0\0IEND\xae\x42\x60\x82"


class Far:
    """The far end: what names resolve to, what is answered, and the requests that arrive."""

    def __init__(self, *addresses: str, answer: httpx.Response | Exception | None = None) -> None:
        self.addresses = list(addresses)
        self.answer = answer or httpx.Response(200, content=iter([IMAGE]))
        self.requests: list[httpx.Request] = []

    def resolve(self, host: str, port: int) -> list[str]:
        return self.addresses

    def reply(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def fetch(self, link: str, gateway: str = HTTPS_GATEWAY) -> bytes:
        return Results(gateway, self.resolve, httpx.MockTransport(self.reply)).fetch(link, 5)


def fetched(answer: httpx.Response | Exception) -> bytes:
    return Far(PUBLIC, answer=answer).fetch(f"https://{SIGNED}")


def response(body: bytes, status: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(
        status, headers={name.replace("_", "-"): value for name, value in headers.items()}, content=iter([body])
    )
