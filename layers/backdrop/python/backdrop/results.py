"""Fetching paid results from links that a third party chose: only from where they may come, only images, bounded."""

import socket
import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

import httpx

from backdrop import http_client
from backdrop.errors import ResultUnreachable, ResultUnusable
from backdrop.images import ImageType, is_whole, sniff

MAX_RESULT_BYTES = 32 * 2**20
MAX_ADDRESSES = 4  # of one host, tried one after the other
OTHER_ADDRESS_SECONDS = 3.0  # to connect, when there is another address to try
_PORTS = {"http": 80, "https": 443}
_GLOBAL_UNICAST = ip_network("2000::/3")  # RFC 4291


def checked(data: bytes) -> ImageType:
    """The type of a result's bytes.

    Raises ResultUnusable when they are no image or too many, ResultUnreachable when the end of the image is missing.
    """
    if len(data) > MAX_RESULT_BYTES:
        raise ResultUnusable(f"the result is larger than {MAX_RESULT_BYTES} bytes")
    kind = sniff(data)
    if kind is None:
        raise ResultUnusable("the result is no PNG, JPEG, WebP or AVIF image")
    if not is_whole(data, kind):
        raise ResultUnreachable("the result is cut off: the end of the image is missing")
    return kind


def addresses_of(host: str, port: int) -> list[str]:
    """The addresses of a host name, from the system's resolver."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Results:
    """Fetches result links from the gateway's own origin, or over https from public addresses."""

    def __init__(
        self,
        gateway_base_url: str,
        resolve: Callable[[str, int], list[str]] = addresses_of,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._gateway_origin = _origin(httpx.URL(gateway_base_url))
        self._resolve = resolve
        self._client = http_client.new_client(transport)

    def fetch(self, link: str, seconds: float) -> bytes:
        """The bytes behind a link, within `seconds` in all; `checked` says whether they are an image.

        Raises ResultUnusable for a link that is dead or must not be followed, ResultUnreachable when it may work later.
        """
        ends_at = time.monotonic() + seconds
        response = self._exchange(self._requests(link), ends_at)
        if response.status in (403, 404, 410) or 300 <= response.status < 400:
            raise ResultUnusable(f"the result's link answered {response.status}")
        if response.is_cut:
            raise ResultUnusable(f"the result is larger than {MAX_RESULT_BYTES} bytes")
        if response.status != 200:
            raise ResultUnreachable(f"the result's link answered {response.status}")
        return response.body

    def _exchange(self, requests: list[httpx.Request], ends_at: float) -> http_client.Response:
        """Asks the host's addresses one after the other; the answer of the first that can be reached."""
        while True:
            request, *others = requests
            seconds = ends_at - time.monotonic()  # a hostile name server may have taken most of it
            if seconds <= 0:
                raise ResultUnreachable("the result's host was not found in time")
            connect_seconds = OTHER_ADDRESS_SECONDS if others else http_client.CONNECT_SECONDS
            try:
                return http_client.exchange(self._client, request, seconds, MAX_RESULT_BYTES, connect_seconds)
            except httpx.TransportError as error:
                if not (others and isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)):
                    what = f"the result's host gave no complete answer: {type(error).__name__}"
                    raise ResultUnreachable(what) from None
            requests = others

    def _requests(self, link: str) -> list[httpx.Request]:
        try:
            # Parsed by httpx, which also connects: another parser could find another host in the same text.
            url = httpx.URL(link)
            if url.userinfo or "@" in urlsplit(link).netloc:
                raise ResultUnusable("the result's link carries user information")
            scheme, host, port = origin = _origin(url)
            if origin == self._gateway_origin:
                return [self._client.build_request("GET", url)]
            if scheme != "https":
                raise ResultUnusable("the result's link is not https")
            # Connecting to addresses that were checked, and not to the name again, leaves no time to change them.
            return [
                self._client.build_request(
                    "GET",
                    url.copy_with(host=address, fragment=None),
                    headers={"Host": url.netloc.decode("ascii")},
                    extensions={"sni_hostname": host},
                )
                for address in self._public_addresses(host, port)
            ]
        except (ValueError, httpx.InvalidURL):
            raise ResultUnusable("the result's link is no URL") from None

    def _public_addresses(self, host: str, port: int) -> list[str]:
        try:
            addresses = self._resolve(host, port)
        except OSError:
            raise ResultUnreachable("the result's host has no address") from None
        if not addresses or not all(_is_public(address) for address in addresses):
            raise ResultUnusable("the result's link leads to an address that is not public")
        return addresses[:MAX_ADDRESSES]


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    host = url.raw_host.decode("ascii")
    if url.scheme not in _PORTS or not host:
        raise ValueError("no http(s) URL")
    port = _PORTS[url.scheme] if url.port is None else url.port
    if not 0 < port < 2**16:
        raise ValueError("no port")
    return url.scheme, host, port


def _is_public(text: str) -> bool:
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and (address not in _GLOBAL_UNICAST or address.sixtofour or address.teredo):
        return False  # local, or wraps an IPv4 address that nobody has looked at
    return address.is_global and not address.is_multicast
