"""Every way to make the gateway, or a picture's link, fail."""

import base64
import logging
import socket
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.integration.stand_in_gateway.client import LOOPBACK, buy, get, link_of, order, until
from tools.stand_in_gateway.server import GatewayControl, running_gateway


def test_scripted_status_answers_in_its_own_words(gateway: GatewayControl) -> None:
    gateway.faults(
        [
            {"kind": "status", "status": 429, "retry_after": "Wed, 21 Oct 2099 07:28:00 GMT"},
            {"kind": "status", "status": 502, "body": "<h1>Bad gateway</h1>"},
            {"kind": "status", "status": 403, "code": "scope_exceeded"},
        ]
    )

    limited, broken, refused, good = (buy(gateway) for _ in range(4))

    assert (limited.status_code, limited.headers["retry-after"]) == (429, "Wed, 21 Oct 2099 07:28:00 GMT")
    assert (broken.status_code, broken.text) == (502, "<h1>Bad gateway</h1>")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "scope_exceeded")
    assert good.status_code == 200
    assert len(gateway.charges()) == 1
    assert [call["fault"] for call in gateway.calls()] == ["status", "status", "status", None]


def test_faults_hit_matching_prompts_as_often_as_asked(gateway: GatewayControl) -> None:
    gateway.faults(
        [
            {"kind": "status", "status": 500, "match": "forest", "times": 2},
            {"kind": "status", "status": 503, "match": "city", "times": 0},
        ]
    )

    def statuses(prompt: str) -> list[int]:
        return [buy(gateway, order(prompt=prompt)).status_code for _ in range(4)]

    assert statuses("a beach") == [200] * 4
    assert statuses("a forest") == [500, 500, 200, 200]
    assert statuses("a city") == [503] * 4
    gateway.faults([])
    assert statuses("a city") == [200] * 4


@pytest.mark.parametrize("fault", [{"kind": "drop"}, {"kind": "hang", "seconds": 0.05}])
def test_connection_dropped_before_the_work_costs_nothing(gateway: GatewayControl, fault: dict[str, object]) -> None:
    gateway.faults([fault])

    with pytest.raises(httpx.RemoteProtocolError):
        buy(gateway)

    assert gateway.charges() == []
    assert [call["status"] for call in gateway.calls()] == [None]


@pytest.mark.parametrize("kind", ["drop_after_charge", "truncate"])
def test_answer_lost_after_the_charge_is_found_by_a_replay(gateway: GatewayControl, kind: str) -> None:
    gateway.faults([{"kind": kind}])

    with pytest.raises(httpx.RemoteProtocolError):
        buy(gateway, idempotency_key="a")
    assert len(gateway.charges()) == 1

    assert get(link_of(buy(gateway, idempotency_key="a"))).status_code == 200
    assert len(gateway.charges()) == 1


def test_answer_late_after_the_charge_comes_in_the_end(gateway: GatewayControl) -> None:
    gateway.faults([{"kind": "hang_after_charge", "seconds": 1}])

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(buy, gateway)
        until(lambda: len(gateway.charges()) == 1)
        assert gateway.calls()[0]["status"] is None
        assert answer.result().status_code == 200


def test_dripping_answer_comes_byte_by_byte(gateway: GatewayControl) -> None:
    gateway.faults([{"kind": "drip", "interval": 0.001}])

    with httpx.stream(
        "POST",
        f"{gateway.base_url}/images/generations",
        json=order(),
        headers={"authorization": f"Bearer {gateway.key}"},
        **LOOPBACK,
    ) as answer:
        pieces = list(answer.iter_raw())

    assert len(pieces) > 10
    assert b"".join(pieces).startswith(b'{"created"')
    assert len(b"".join(pieces)) == int(answer.headers["content-length"])


@pytest.mark.parametrize(
    ("fault", "data"),
    [
        ({"kind": "empty"}, []),
        ({"kind": "null_url"}, [{"url": None}, {"url": None}]),
        ({"kind": "link", "url": "http://10.0.0.1/x.png"}, [{"url": "http://10.0.0.1/x.png"}] * 2),
    ],
)
def test_answer_without_a_usable_link_is_charged_and_recorded(
    gateway: GatewayControl, fault: dict[str, object], data: list[dict[str, str | None]]
) -> None:
    gateway.faults([fault])

    first, replay = (buy(gateway, order(n=2), idempotency_key="a") for _ in range(2))

    assert first.json()["data"] == data
    assert replay.content == first.content
    assert [charge["images"] for charge in gateway.charges()] == [2]


def test_fewer_images_than_asked_for_are_charged_in_full(gateway: GatewayControl) -> None:
    gateway.faults([{"kind": "fewer"}])

    assert len(buy(gateway, order(n=3)).json()["data"]) == 2
    assert gateway.charges()[0]["images"] == 3


def test_page_in_place_of_an_answer_is_charged(gateway: GatewayControl) -> None:
    gateway.faults([{"kind": "html"}])

    answer = buy(gateway)

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert len(gateway.charges()) == 1


@pytest.mark.parametrize(
    "fault", [{"kind": "bug"}, {"kind": "empty", "where": "media"}, {"kind": "drop", "tiems": 1}, "drop"]
)
def test_unknown_fault_is_refused(gateway: GatewayControl, fault: Any) -> None:
    with pytest.raises(httpx.HTTPStatusError):
        gateway.faults([fault])


def test_link_is_built_from_the_name_that_the_client_used(gateway: GatewayControl) -> None:
    port = httpx.URL(gateway.base_url).port
    link = link_of(buy(GatewayControl(f"http://localhost:{port}/v1", gateway.key)))

    assert link.startswith(f"http://localhost:{port}/media/")
    assert link.endswith(".png")


def test_unknown_picture_is_not_found(gateway: GatewayControl) -> None:
    assert get(gateway.base_url.replace("/v1", "/media/none.png")).status_code == 404


def test_refused_picture_is_served_later(gateway: GatewayControl) -> None:
    link = link_of(buy(gateway))
    gateway.faults([{"kind": "status", "where": "media", "status": 503, "retry_after": "7", "match": "beach"}])

    refused, served = get(link), get(link)

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "7")
    assert served.status_code == 200


def test_picture_can_be_something_else(gateway: GatewayControl) -> None:
    link = link_of(buy(gateway))
    gateway.faults(
        [{"kind": kind, "where": "media", "location": "http://10.0.0.1/"} for kind in ("redirect", "html", "zero")]
    )

    redirect, page, nothing = (get(link) for _ in range(3))

    assert (redirect.status_code, redirect.headers["location"]) == (302, "http://10.0.0.1/")
    assert (page.status_code, page.headers["content-type"]) == (200, "image/png")
    assert page.content.startswith(b"<!doctype html>")
    assert (nothing.status_code, nothing.content) == (200, b"")


def test_picture_can_be_shorter_than_announced(gateway: GatewayControl) -> None:
    link = link_of(buy(gateway))
    gateway.faults([{"kind": "short", "where": "media"}])

    with pytest.raises(httpx.RemoteProtocolError):
        get(link)


def test_picture_can_be_a_gzip_bomb(gateway: GatewayControl) -> None:
    link = link_of(buy(gateway))
    gateway.faults([{"kind": "gzip_bomb", "where": "media", "megabytes": 5}])

    with httpx.stream("GET", link, **LOOPBACK) as answer:
        packed = b"".join(answer.iter_raw())

    assert answer.headers["content-encoding"] == "gzip"
    assert len(packed) < 100_000
    assert len(zlib.decompress(packed, zlib.MAX_WBITS | 16)) > 5_000_000


def test_picture_can_be_endless(gateway: GatewayControl) -> None:
    link = link_of(buy(gateway))
    gateway.faults([{"kind": "endless", "where": "media"}])
    received = 0

    with httpx.stream("GET", link, **LOOPBACK) as answer:
        for chunk in answer.iter_raw():
            received += len(chunk)
            if received > 20_000_000:
                break

    assert "content-length" not in answer.headers
    assert received > 20_000_000


def test_anything_can_come_in_place_of_an_answer(gateway: GatewayControl) -> None:
    link = link_of(buy(gateway))
    text = "HTTP/1.1 206 Some\r\nContent-Length: 7\r\n\r\n\xff"
    raw = {"kind": "raw", "text": text, "more": "ab", "count": 3, "interval": 0}
    gateway.faults([raw, {**raw, "where": "media"}])

    for answer in (buy(gateway), get(link)):
        assert (answer.status_code, answer.content) == (206, b"\xffababab")
    assert (gateway.calls()[-1]["status"], gateway.calls()[-1]["charged"]) == (None, False)


def test_inline_picture_can_be_anything(gateway: GatewayControl) -> None:
    gateway.settings(answer="b64_json")
    gateway.faults([{"kind": "inline", "text": "\xff", "megabytes": 1}])

    [image] = buy(gateway).json()["data"]

    assert base64.b64decode(image["b64_json"]) == b"\xff" + bytes(1_000_000)


def test_fetches_of_pictures_are_recorded(gateway: GatewayControl) -> None:
    link = link_of(buy(gateway))
    gateway.faults([{"kind": "status", "where": "media"}])

    for _ in range(2):
        httpx.get(link, headers={"X-Mine": "1"}, **LOOPBACK)

    assert [fetch["name"] for fetch in gateway.fetches()] == [link.rpartition("/")[2]] * 2
    assert gateway.fetches()[0]["headers"]["x-mine"] == "1"


def test_picture_can_drip(gateway: GatewayControl) -> None:
    link = link_of(buy(gateway))
    gateway.faults([{"kind": "drip", "where": "media", "interval": 60}])

    with httpx.stream("GET", link, **LOOPBACK) as answer:
        assert next(answer.iter_raw()) == b"\x89"
    assert int(answer.headers["content-length"]) > 1000


def test_broken_connections_leave_no_trace_in_the_log(
    gateway: GatewayControl, caplog: pytest.LogCaptureFixture
) -> None:
    link = link_of(buy(gateway))
    gateway.faults(
        [{"kind": kind} for kind in ("drop", "drop_after_charge", "truncate")]
        + [{"kind": kind, "where": "media"} for kind in ("short", "endless", "drip")]
        + [{"kind": "raw", "where": "media", "text": "HTTP/1.1 200 OK\r\n\r\n", "more": "x", "count": 9}]
    )
    for _ in range(3):
        with pytest.raises(httpx.RemoteProtocolError):
            buy(gateway)
    with pytest.raises(httpx.RemoteProtocolError):
        get(link)
    for _ in range(3):
        with httpx.stream("GET", link, **LOOPBACK) as answer:
            next(answer.iter_raw())
    assert buy(gateway).status_code == 200

    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_gateway_stops_while_a_call_hangs(caplog: pytest.LogCaptureFixture) -> None:
    with ThreadPoolExecutor(2) as pool:
        with running_gateway() as gateway:
            gateway.faults([{"kind": "hang", "seconds": 3600}])
            hanging = pool.submit(buy, gateway)
            until(lambda: len(gateway.calls()) == 1)
            began = time.monotonic()
        assert time.monotonic() - began < 2
        with pytest.raises(httpx.TransportError):
            hanging.result()

    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_upload_that_breaks_off_is_no_call(gateway: GatewayControl, caplog: pytest.LogCaptureFixture) -> None:
    url = httpx.URL(gateway.base_url)
    with socket.create_connection((url.host, url.port or 80)) as connection:
        connection.sendall(b"POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert buy(gateway).status_code == 200

    assert len(gateway.calls()) == 1
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
