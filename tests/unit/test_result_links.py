"""Results are fetched from the gateway's own origin or a public address, and from nowhere else."""

import socket
import time

import httpx
import pytest

from backdrop.errors import ResultUnreachable, ResultUnusable
from backdrop.results import Results
from tests.unit.result_host import HTTPS_GATEWAY, IMAGE, LOCAL_GATEWAY, PUBLIC, PUBLIC_V6, Far, response


@pytest.mark.parametrize(
    ("gateway", "link"),
    [
        pytest.param(LOCAL_GATEWAY, "http://127.0.0.1:9000/files/1.png", id="loopback"),
        pytest.param("http://localhost:9000", "http://localhost:9000/files/1.png?a=1", id="localhost"),
        pytest.param("http://[::1]:9000/v1", "http://[::1]:9000/files/1.png", id="IPv6 loopback"),
        pytest.param("http://host.docker.internal:9000", "http://host.docker.internal:9000/1.png", id="docker's host"),
        pytest.param("http://[::1]", "http://[::1]:80/files/1.png", id="default port"),
        pytest.param(HTTPS_GATEWAY, "https://gateway.test/files/1.png", id="https"),
        pytest.param(HTTPS_GATEWAY, "https://GATEWAY.test:443/files/1.png", id="https, spelled another way"),
    ],
)
def test_the_gateways_own_origin_may_be_anywhere(gateway: str, link: str) -> None:
    """Row 42."""
    far = Far("127.0.0.1")
    assert far.fetch(link, gateway) == IMAGE
    assert far.requests[0].url == httpx.URL(link)


@pytest.mark.parametrize("address", [PUBLIC, PUBLIC_V6])
@pytest.mark.parametrize(("netloc", "port"), [("cdn.test", None), ("cdn.test:8443", 8443)])
def test_https_connects_to_the_address_that_was_checked_under_the_links_name(
    address: str, netloc: str, port: int | None
) -> None:
    """Row 42."""
    far = Far(address)
    assert far.fetch(f"https://{netloc}/a%20b/1.png?X-Signature=1%2F2#top") == IMAGE
    [request] = far.requests
    assert (request.url.scheme, request.url.host, request.url.port) == ("https", address, port)
    assert request.url.raw_path == b"/a%20b/1.png?X-Signature=1%2F2"
    assert request.headers["host"] == netloc
    assert request.extensions["sni_hostname"] == "cdn.test"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        pytest.param("xn--bcher-kva.test", "xn--bcher-kva.test", id="Punycode"),
        pytest.param("b\xfccher.test", "xn--bcher-kva.test", id="dead_letters outside ASCII"),
        pytest.param("fa\xdf.test", "xn--fa-hia.test", id="a letter that older rules map"),
        pytest.param("cdn.test.", "cdn.test.", id="trailing dot"),
    ],
)
def test_the_name_that_is_looked_up_is_the_one_that_is_sent(host: str, name: str) -> None:
    """Row 42."""
    asked = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return [PUBLIC]

    far = Far()
    Results(HTTPS_GATEWAY, resolve, httpx.MockTransport(far.reply)).fetch(f"https://{host}/1.png", 5)
    [request] = far.requests
    assert asked == [(name, 443)]
    assert (request.url.host, request.headers["host"], request.extensions["sni_hostname"]) == (PUBLIC, name, name)


@pytest.mark.parametrize(
    ("gateway", "link"), [(HTTPS_GATEWAY, "https://cdn.test/1.png"), (LOCAL_GATEWAY, "http://127.0.0.1:9000/1.png")]
)
def test_nothing_is_sent_along_with_a_fetch(gateway: str, link: str) -> None:
    """Row 42."""
    far = Far(PUBLIC)
    far.fetch(link, gateway)
    [request] = far.requests
    assert request.method == "GET"
    assert set(request.headers) == {"host", "accept", "accept-encoding", "connection", "user-agent"}
    assert request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("gateway", "link"),
    [
        pytest.param(LOCAL_GATEWAY, "http://127.0.0.1:9001/1.png", id="another port of the gateway's host"),
        pytest.param(LOCAL_GATEWAY, "http://127.0.0.1/1.png", id="the default port of the gateway's host"),
        pytest.param(LOCAL_GATEWAY, "http://localhost:9000/1.png", id="another name of the gateway's host"),
        pytest.param(LOCAL_GATEWAY, "http://127.0.0.1:9000@cdn.test/1.png", id="gateway as user"),
        pytest.param(LOCAL_GATEWAY, "http://127.0.0.1:9000.cdn.test/1.png", id="gateway as part of a name"),
        pytest.param(LOCAL_GATEWAY, "http://127.0.0.1:9000\\@cdn.test/1.png", id="gateway before a backslash"),
        pytest.param(LOCAL_GATEWAY, "http://127.0.0.1:9000\t/1.png", id="tab"),
        pytest.param(LOCAL_GATEWAY, "http://user@127.0.0.1:9000/1.png", id="user at the gateway"),
        pytest.param(HTTPS_GATEWAY, "http://gateway.test/1.png", id="http at an https gateway"),
        pytest.param(HTTPS_GATEWAY, "http://cdn.test/1.png", id="http"),
        pytest.param(HTTPS_GATEWAY, "https://user:word@cdn.test/1.png", id="user information"),
        pytest.param(HTTPS_GATEWAY, "https://user@cdn.test/1.png", id="user"),
        pytest.param(HTTPS_GATEWAY, "https://@cdn.test/1.png", id="empty user"),
        pytest.param(HTTPS_GATEWAY, "https://:word@cdn.test/1.png", id="password only"),
        pytest.param("http://[::1]", "http://[::1]9000/1.png", id="port without a colon"),
        pytest.param(LOCAL_GATEWAY, " http://127.0.0.1:9000/1.png", id="leading blank"),
        pytest.param(LOCAL_GATEWAY, "\u200bhttp://127.0.0.1:9000/1.png", id="leading zero-width space"),
        pytest.param(LOCAL_GATEWAY, "http://127.0.0.1.:9000/1.png", id="trailing dot"),
        pytest.param(LOCAL_GATEWAY, "http://[::ffff:127.0.0.1]:9000/1.png", id="gateway's address in IPv6"),
        pytest.param(HTTPS_GATEWAY, "ftp://cdn.test/1.png", id="ftp"),
        pytest.param(HTTPS_GATEWAY, "javascript:alert(1)", id="script"),
        pytest.param(HTTPS_GATEWAY, "file:///etc/passwd", id="file"),
        pytest.param(HTTPS_GATEWAY, "data:image/png;base64,AAAA", id="data"),
        pytest.param(HTTPS_GATEWAY, "//cdn.test/1.png", id="no scheme"),
        pytest.param(HTTPS_GATEWAY, "/files/1.png", id="path only"),
        pytest.param(HTTPS_GATEWAY, "https:///1.png", id="no host"),
        pytest.param(HTTPS_GATEWAY, "https://cdn.test:port/1.png", id="no port"),
        pytest.param(HTTPS_GATEWAY, "https://cdn.test:99999/1.png", id="port too high"),
        pytest.param(HTTPS_GATEWAY, "https://cdn.test:-1/1.png", id="port too low"),
        pytest.param(HTTPS_GATEWAY, "https://cdn.test:0/1.png", id="port 0"),
        pytest.param(HTTPS_GATEWAY, "https://cdn.test/\ud800.png", id="half a character"),
        pytest.param(HTTPS_GATEWAY, "https://cdn.test/" + "a" * 70_000, id="too long"),
        pytest.param(HTTPS_GATEWAY, "https://[::1/1.png", id="half an address"),
        pytest.param(HTTPS_GATEWAY, "https://cdn.test/\x00.png", id="control character"),
        pytest.param(HTTPS_GATEWAY, "", id="nothing"),
    ],
)
def test_links_that_may_not_be_followed_are_not(gateway: str, link: str) -> None:
    """Row 42."""
    far = Far(PUBLIC)
    with pytest.raises(ResultUnusable):
        far.fetch(link, gateway)
    assert far.requests == []


@pytest.mark.parametrize(
    "addresses",
    [
        pytest.param(["10.0.0.1"], id="private 10"),
        pytest.param(["172.16.0.1"], id="private 172.16"),
        pytest.param(["192.168.1.1"], id="private 192.168"),
        pytest.param(["100.64.0.1"], id="carrier"),
        pytest.param(["127.0.0.1"], id="loopback"),
        pytest.param(["127.8.8.8"], id="loopback, another"),
        pytest.param(["0.0.0.0"], id="this host"),
        pytest.param(["169.254.169.254"], id="link-local, metadata service"),
        pytest.param(["224.0.0.1"], id="multicast"),
        pytest.param(["192.0.2.1"], id="documentation"),
        pytest.param(["198.18.0.1"], id="benchmarks"),
        pytest.param(["240.0.0.1"], id="reserved"),
        pytest.param(["255.255.255.255"], id="broadcast"),
        pytest.param(["::1"], id="IPv6 loopback"),
        pytest.param(["::"], id="IPv6 this host"),
        pytest.param(["fc00::1"], id="IPv6 unique local fc"),
        pytest.param(["fd00:ec2::254"], id="IPv6 unique local, metadata service"),
        pytest.param(["fe80::1"], id="IPv6 link-local"),
        pytest.param(["fe80::1%eth0"], id="IPv6 link-local with a zone"),
        pytest.param(["fec0::1"], id="IPv6 site-local"),
        pytest.param(["ff02::1"], id="IPv6 multicast"),
        pytest.param(["2001:db8::1"], id="IPv6 documentation"),
        pytest.param(["::ffff:127.0.0.1"], id="mapped loopback"),
        pytest.param(["::ffff:93.184.216.34"], id="mapped public"),
        pytest.param(["::127.0.0.1"], id="IPv4-compatible loopback"),
        pytest.param(["64:ff9b::7f00:1"], id="NAT64 loopback"),
        pytest.param(["64:ff9b:1::7f00:1"], id="NAT64 of a local network"),
        pytest.param(["2002:7f00:1::"], id="6to4 loopback"),
        pytest.param(["2001:0:7f00:1::"], id="Teredo"),
        pytest.param([PUBLIC, "10.0.0.1"], id="public and private"),
        pytest.param(["10.0.0.1", PUBLIC], id="private and public"),
        pytest.param([PUBLIC, PUBLIC_V6, "::1"], id="public and loopback"),
        pytest.param([], id="none"),
    ],
)
def test_addresses_that_are_not_public_are_not_connected_to(addresses: list[str]) -> None:
    """Row 42."""
    far = Far(*addresses)
    with pytest.raises(ResultUnusable):
        far.fetch("https://cdn.test/1.png")
    assert far.requests == []


@pytest.mark.parametrize("port", [443, 9000])
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "0177.0.0.1",
        "017700000001",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "\uff11\uff12\uff17.0.0.1",
        "127\u30020\u30020\u30021",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:0:0:1]",
        "a" * 64,
    ],
)
def test_addresses_in_links_are_checked_in_every_spelling(host: str, port: int) -> None:
    """Row 42."""
    far = Far()
    with pytest.raises(ResultUnusable):
        Results(LOCAL_GATEWAY, transport=httpx.MockTransport(far.reply)).fetch(f"https://{host}:{port}/1.png", 5)
    assert far.requests == []


def test_a_name_that_has_no_address_now_may_have_one_later() -> None:
    """Row 45."""

    def no_address(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    with pytest.raises(ResultUnreachable):
        Results(HTTPS_GATEWAY, no_address).fetch("https://cdn.test/1.png", 5)


def test_a_slow_name_server_uses_up_the_time_of_the_fetch() -> None:
    """Row 31."""

    def resolve(host: str, port: int) -> list[str]:
        time.sleep(0.05)
        return [PUBLIC]

    far = Far()
    with pytest.raises(ResultUnreachable):
        Results(HTTPS_GATEWAY, resolve, httpx.MockTransport(far.reply)).fetch("https://cdn.test/1.png", 0.04)
    assert far.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/",
        "https://cdn.test/2.png",
        "/2.png",
        "file:///etc/passwd",
        "data:image/png;base64,iVBORw0KGgo=",
        "javascript:alert(1)",
        "mailto:cdn@cdn.test",
        "http://xn--/",
        "http://[::1",
        "https://cdn.test:99999/",
        "\x00",
        "a" * 70_000,
    ],
)
@pytest.mark.parametrize(
    ("gateway", "link"), [(HTTPS_GATEWAY, "https://cdn.test/1.png"), (LOCAL_GATEWAY, "http://127.0.0.1:9000/1.png")]
)
def test_redirects_are_not_followed(status: int, target: str, gateway: str, link: str) -> None:
    """Row 42."""
    far = Far(PUBLIC, answer=response(IMAGE, status, location=target))
    with pytest.raises(ResultUnusable):
        far.fetch(link, gateway)
    assert len(far.requests) == 1
