"""Where the photo comes from: an upload, a data: link, or a link that is fetched over real HTTP."""

import asyncio
import base64
import binascii
from ipaddress import ip_address
from urllib.parse import unquote_to_bytes

import httpx

from .errors import GatewayError
from .orders import SOURCE_BYTES_LIMIT, Order

_FETCH_SECONDS = 30.0

# Names of this machine, as programs on it and in its containers call it.
_LOOPBACK_NAMES = ("localhost", "host.docker.internal")


async def photo(order: Order) -> bytes | None:
    """The photo's bytes, None for a call that brings none. Raises `GatewayError` 400 or 413."""
    if order.image is not None or order.image_url is None:
        return order.image
    if order.image_url.startswith("data:"):
        return _decoded(order.image_url)
    try:
        async with asyncio.timeout(_FETCH_SECONDS):
            return await _fetched(order.image_url)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise GatewayError(400, f"image_url can't be fetched: {type(error).__name__}.") from error


def _decoded(url: str) -> bytes:
    head, _, payload = url.partition(",")
    try:
        data = base64.b64decode(payload, validate=True) if head.endswith(";base64") else unquote_to_bytes(payload)
    except binascii.Error as error:
        raise GatewayError(400, "image_url is no valid data: link.") from error
    _check_size(data)
    return data


async def _fetched(link: str) -> bytes:
    url = httpx.URL(link)
    if url.scheme != "http":
        raise GatewayError(400, "The stand-in fetches http: links only.")
    # A presigned link signs the Host header, so that stays when the address changes.
    headers = {"host": url.netloc.decode("ascii"), "accept-encoding": "identity"}
    request = httpx.Request(
        "GET",
        url.copy_with(host=loopback_address(url.host)),
        headers=headers,
        extensions={"timeout": httpx.Timeout(_FETCH_SECONDS).as_dict()},
    )
    # The bare transport follows no redirects, knows no proxies, and writes no links with signatures into the log.
    async with httpx.AsyncHTTPTransport(verify=False) as transport:
        response = await transport.handle_async_request(request)
        try:
            if response.status_code != 200:
                raise GatewayError(400, f"image_url can't be fetched: HTTP {response.status_code}.")
            data = bytearray()
            async for chunk in response.aiter_raw():
                data += chunk
                _check_size(data)
            return bytes(data)
        finally:
            await response.aclose()


def loopback_address(host: str) -> str:
    """The loopback address that a host name or address means. Raises `GatewayError` 400 for any other machine."""
    if any(host == name or host.endswith(f".{name}") for name in _LOOPBACK_NAMES):
        return "127.0.0.1"
    try:
        if ip_address(host).is_loopback:
            return host
    except ValueError:
        pass
    raise GatewayError(400, "The stand-in fetches images from this machine only.")


def _check_size(data: bytes | bytearray) -> None:
    if len(data) > SOURCE_BYTES_LIMIT:
        raise GatewayError(413, "The image is larger than 25 MB.")
