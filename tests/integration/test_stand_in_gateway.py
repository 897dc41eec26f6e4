"""The stand-in gateway over real HTTP on loopback: what its documentation promises, and every way to make it fail."""

import base64
import hashlib
import io
import logging
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import openai
import pytest
from PIL import Image, ImageDraw

from tools.stand_in_gateway.errors import GatewayError
from tools.stand_in_gateway.server import GatewayControl, running_gateway
from tools.stand_in_gateway.source import loopback_address

MODEL = "ideogram/ideogram-v3-replace-background"
DEADLINE_SECONDS = 10.0
# No proxy, and no certificates to load for each call: that takes longer than the call.
LOOPBACK: dict[str, Any] = {"trust_env": False, "verify": False}
SMALL_PIXELS = 10_000
"""Area of the pictures where their look does not matter."""


class PhotoServer:
    """Serves what a test puts into `files`, and keeps the Host header of each request."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.files: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.hosts: list[str] = []

    def put(self, body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> str:
        path = f"/{len(self.files)}.jpg"
        self.files[path] = (status, headers or {}, body)
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture(scope="module")
def shared_gateway() -> Iterator[GatewayControl]:
    with running_gateway() as gateway:
        yield gateway


@pytest.fixture
def gateway(shared_gateway: GatewayControl) -> GatewayControl:
    shared_gateway.reset()
    shared_gateway.settings(image_pixels=SMALL_PIXELS)
    return shared_gateway


@pytest.fixture
def photos() -> Iterator[PhotoServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.hosts.append(self.headers["Host"])
            status, headers, body = served.files[self.path.partition("?")[0]]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = PhotoServer(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield served
        server.shutdown()
        thread.join()


def photo(size: tuple[int, int] = (200, 200), image_format: str = "JPEG", **options: Any) -> bytes:
    """A red square on white."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).rectangle((size[0] * 0.3, size[1] * 0.3, size[0] * 0.7, size[1] * 0.7), "#c01020")
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def data_link(data: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def order(**changes: object) -> dict[str, object]:
    """A good order without a photo; None leaves a field out."""
    fields = {"model": MODEL, "prompt": "a beach", **changes}
    return {name: value for name, value in fields.items() if value is not None}


def buy(
    gateway: GatewayControl,
    body: dict[str, object] | None = None,
    *,
    route: str = "generations",
    idempotency_key: str | None = None,
    timeout: float = DEADLINE_SECONDS,
) -> httpx.Response:
    headers = {"authorization": f"Bearer {gateway.key}"}
    if idempotency_key:
        headers["idempotency-key"] = idempotency_key
    url = f"{gateway.base_url}/images/{route}"
    return httpx.post(url, json=order() if body is None else body, headers=headers, timeout=timeout, **LOOPBACK)


def get(url: str, gateway: GatewayControl | None = None) -> httpx.Response:
    headers = {"authorization": f"Bearer {gateway.key}"} if gateway else {}
    return httpx.get(url, headers=headers, timeout=DEADLINE_SECONDS, **LOOPBACK)


def link_of(answer: httpx.Response) -> str:
    link = answer.json()["data"][0]["url"]
    assert isinstance(link, str)
    return link


def picture_of(answer: httpx.Response) -> Image.Image:
    return Image.open(io.BytesIO(get(link_of(answer)).content))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def is_about(colour: object, expected: tuple[int, int, int]) -> bool:
    assert isinstance(colour, tuple)
    return all(abs(part - wanted) < 24 for part, wanted in zip(colour, expected, strict=True))


# Selling


def test_openai_sdk_call_of_the_model_page_works(gateway: GatewayControl) -> None:
    with openai.OpenAI(base_url=gateway.base_url, api_key=gateway.key, max_retries=0) as client:
        result = client.images.generate(model=MODEL, prompt="a cyberpunk cat at sunset", size="1024x1024")

    assert result.data
    assert result.data[0].url
    assert result.data[0].url.startswith(gateway.base_url.removesuffix("/v1") + "/media/")
    answer = get(result.data[0].url)
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).size == (1024, 1024)
    (charge,) = gateway.charges()
    assert (charge["images"], charge["usd"], charge["image_sha256"]) == (1, 0.03, None)


def test_openai_sdk_gets_inline_images(gateway: GatewayControl) -> None:
    with openai.OpenAI(base_url=gateway.base_url, api_key=gateway.key, max_retries=0) as client:
        result = client.images.generate(model=MODEL, prompt="a cat", n=2, response_format="b64_json")

    assert result.data
    assert [Image.open(io.BytesIO(base64.b64decode(image.b64_json or ""))).format for image in result.data] == [
        "PNG"
    ] * 2
    assert gateway.charges()[0]["usd"] == 0.06


def test_openai_sdk_uploads_a_photo_for_an_edit(gateway: GatewayControl) -> None:
    data = photo()
    with openai.OpenAI(base_url=gateway.base_url, api_key=gateway.key, max_retries=0) as client:
        result = client.images.edit(model=MODEL, prompt="a beach", image=("photo.jpg", data), n=2)

    assert len(result.data or []) == 2
    (charge,) = gateway.charges()
    assert (charge["route"], charge["images"]) == ("edits-multipart", 2)
    assert (charge["image_sha256"], charge["image_bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
    assert charge["image_content_type"] == "image/jpeg"


@pytest.mark.parametrize("route", ["generations", "edits"])
def test_photo_is_fetched_from_its_link(gateway: GatewayControl, photos: PhotoServer, route: str) -> None:
    data = photo(image_format="WEBP")

    answer = buy(gateway, order(image_url=photos.put(data)), route=route)

    assert answer.status_code == 200
    (charge,) = gateway.charges()
    assert (charge["route"], charge["image_content_type"]) == (route, "image/webp")
    assert charge["image_sha256"] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("host", ["host.docker.internal", "bucket.localhost"])
def test_link_by_another_name_of_this_machine_keeps_the_signed_host(
    gateway: GatewayControl, photos: PhotoServer, host: str
) -> None:
    link = photos.put(photo()).replace("127.0.0.1", host) + "?X-Amz-Signature=1"

    assert buy(gateway, order(image_url=link)).status_code == 200
    assert photos.hosts == [f"{host}:{photos.port}"]


@pytest.mark.parametrize("host", ["169.254.169.254", "example.com", "0.0.0.0", "localhost.example.com"])
def test_another_machine_is_refused_before_anything_is_sent(host: str) -> None:
    with pytest.raises(GatewayError, match="this machine only"):
        loopback_address(host)


@pytest.mark.parametrize("link", ["https://127.0.0.1:1/photo.jpg", "file:///etc/passwd", "photo.jpg"])
def test_link_that_is_not_http_is_refused(gateway: GatewayControl, link: str) -> None:
    answer = buy(gateway, order(image_url=link))

    assert answer.status_code == 400
    assert "http: links only" in answer.json()["error"]["message"]


@pytest.mark.parametrize("link", ["http://[broken/", "http://127.0.0.1:1/photo.jpg", "data:image/jpeg;base64,*"])
def test_link_that_leads_nowhere_is_refused(gateway: GatewayControl, link: str) -> None:
    assert buy(gateway, order(image_url=link)).status_code == 400


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (302, {"Location": "/0.jpg"}, photo()),
        (403, {}, photo()),
        (200, {}, b"no image"),
        (200, {}, b""),
        (200, {}, photo()[:400]),
        (200, {}, photo(image_format="GIF")),
    ],
    ids=["redirect", "expired link", "text", "nothing", "half a photo", "unsupported format"],
)
def test_photo_that_is_none_is_refused(
    gateway: GatewayControl, photos: PhotoServer, status: int, headers: dict[str, str], body: bytes
) -> None:
    photos.put(photo())

    assert buy(gateway, order(image_url=photos.put(body, status=status, headers=headers))).status_code == 400
    assert gateway.charges() == []


def test_photo_over_25_megabytes_is_refused_by_link_and_by_upload(gateway: GatewayControl, photos: PhotoServer) -> None:
    data = photo() + bytes(25 * 1024 * 1024)

    by_link = buy(gateway, order(image_url=photos.put(data)))
    by_upload = httpx.post(
        f"{gateway.base_url}/images/edits",
        data={"model": MODEL, "prompt": "a beach"},
        files={"image": data},
        headers={"authorization": f"Bearer {gateway.key}"},
        **LOOPBACK,
    )

    assert (by_link.status_code, by_upload.status_code) == (413, 413)
    assert by_upload.json()["error"]["code"] == "payload_too_large"
    assert gateway.charges() == []


@pytest.mark.parametrize(
    ("route", "body", "status", "kind", "code"),
    [
        ("generations", order(model="ideogram/other"), 404, "not_found", "unknown_model"),
        ("variations", order(), 404, "not_found", "not_found"),
        ("generations", order(prompt=None), 400, "invalid_request_error", "invalid_request"),
        ("generations", order(prompt=" "), 400, "invalid_request_error", "invalid_request"),
        ("generations", order(model=None), 400, "invalid_request_error", "invalid_request"),
        ("generations", order(n=0), 400, "invalid_request_error", "invalid_request"),
        ("generations", order(n=9), 400, "invalid_request_error", "invalid_request"),
        ("generations", order(n="2"), 400, "invalid_request_error", "invalid_request"),
        ("generations", order(n=True), 400, "invalid_request_error", "invalid_request"),
        ("generations", order(image_url=7), 400, "invalid_request_error", "invalid_request"),
        ("generations", {}, 400, "invalid_request_error", "invalid_request"),
        ("edits", order(), 400, "invalid_request_error", "invalid_request"),
        ("generations", order(size="huge"), 422, "invalid_request_error", "unsupported_parameter"),
        ("generations", order(size="999999x1"), 422, "invalid_request_error", "unsupported_parameter"),
        ("generations", order(response_format="png"), 422, "invalid_request_error", "unsupported_parameter"),
        ("generations", order(imageurl="x"), 422, "invalid_request_error", "unsupported_parameter"),
    ],
)
def test_bad_order_is_refused_as_documented_and_not_charged(
    gateway: GatewayControl, route: str, body: dict[str, object], status: int, kind: str, code: str
) -> None:
    answer = buy(gateway, body, route=route)

    assert answer.status_code == status
    assert (answer.json()["error"]["type"], answer.json()["error"]["code"]) == (kind, code)
    assert answer.json()["error"]["message"]
    assert answer.headers["x-request-id"]
    assert gateway.charges() == []


def test_bad_key_is_refused_and_a_new_key_works_at_once(gateway: GatewayControl) -> None:
    gateway.settings(keys=["sk-aig-rotated"])

    answer = buy(gateway)

    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")
    assert get(f"{gateway.base_url}/balance").status_code == 401
    assert get(f"{gateway.base_url}/models").status_code == 401
    assert buy(GatewayControl(gateway.base_url, "sk-aig-rotated")).status_code == 200
    assert [call["authorization_ok"] for call in gateway.calls()] == [False, True]


def test_models_schema_and_balance_are_told(gateway: GatewayControl) -> None:
    with openai.OpenAI(base_url=gateway.base_url, api_key=gateway.key) as client:
        assert [model.id for model in client.models.list()] == [MODEL]
    schema = get(f"{gateway.base_url}/models/{MODEL}/schema", gateway).json()
    assert schema["endpoint"] == "/v1/images/generations"
    assert "image_url" in schema["request"]
    assert schema["quirks"]
    assert get(f"{gateway.base_url}/models/some/other/schema", gateway).status_code == 404

    gateway.settings(wallet_usd=1.23)
    buy(gateway)
    assert get(f"{gateway.base_url}/balance", gateway).json() == {"balance_usd": 1.2}


def test_empty_wallet_sells_nothing(gateway: GatewayControl) -> None:
    gateway.settings(wallet_usd=0.05)

    assert buy(gateway, order(n=2)).status_code == 402
    assert buy(gateway).status_code == 200
    answer = buy(gateway)
    assert (answer.status_code, answer.json()["error"]["type"]) == (402, "insufficient_credits")
    assert len(gateway.charges()) == 1


def test_simultaneous_calls_cannot_overdraw_the_wallet(gateway: GatewayControl) -> None:
    gateway.settings(wallet_usd=0.09, latency_seconds=0.2)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: buy(gateway), range(8)))

    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [402] * 5
    assert get(f"{gateway.base_url}/balance", gateway).json() == {"balance_usd": 0.0}


def test_failed_work_costs_nothing(gateway: GatewayControl) -> None:
    gateway.settings(wallet_usd=0.03)

    assert buy(gateway, order(image_url=data_link(b"no image"))).status_code == 400
    assert buy(gateway).status_code == 200


def test_calls_run_at_the_same_time(gateway: GatewayControl) -> None:
    gateway.settings(latency_seconds=1)

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(buy, gateway) for _ in range(8)]
        until(lambda: [call["status"] for call in gateway.calls()] == [None] * 8)
        assert {answer.result().status_code for answer in answers} == {200}


def test_drawing_does_not_hold_up_other_calls(gateway: GatewayControl) -> None:
    with ThreadPoolExecutor(1) as pool:
        large = pool.submit(buy, gateway, order(n=8, size="2048x1024"))
        until(lambda: len(gateway.calls()) == 1)
        assert gateway.calls()[0]["status"] is None
        assert large.result().status_code == 200


def test_calls_are_recorded_as_received_without_the_key(gateway: GatewayControl) -> None:
    body = order(n=2, image_url=data_link(photo()))
    answer = buy(gateway, body, idempotency_key="upload-1")
    buy(gateway, order(n=0))

    sold, refused = gateway.calls()
    assert (sold["path"], sold["idempotency_key"]) == ("/v1/images/generations", "upload-1")
    assert (sold["status"], sold["charged"], sold["content_type"]) == (200, True, "application/json")
    assert sold["body_sha256"] == hashlib.sha256(answer.request.content).hexdigest()
    assert sold["request_id"] == answer.headers["x-request-id"]
    assert sold["fields"].items() >= {"model": MODEL, "prompt": "a beach", "n": 2}.items()
    assert len(sold["fields"]["image_url"]) < 50
    assert "response_format" not in sold["fields"]
    assert (refused["status"], refused["charged"]) == (400, False)
    assert gateway.key not in str(gateway.calls())


def test_unreadable_bodies_are_refused_and_recorded(gateway: GatewayControl) -> None:
    headers = {"authorization": f"Bearer {gateway.key}"}
    for content_type in ("application/json", "multipart/form-data; boundary=x"):
        answer = httpx.post(
            f"{gateway.base_url}/images/edits",
            content=b"\xff{",
            headers={**headers, "content-type": content_type},
            **LOOPBACK,
        )
        assert answer.status_code == 400
    assert [call["fields"] for call in gateway.calls()] == [{}, {}]


# Rate limit


def test_rate_limit_is_told_and_enforced(gateway: GatewayControl) -> None:
    gateway.settings(rate_limit={"requests": 2, "seconds": 30})

    answers = [buy(gateway) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers[:2]] == ["1", "0"]
    assert answers[0].headers["x-ratelimit-limit-requests"] == "2"
    assert 1 <= int(answers[1].headers["x-ratelimit-reset-requests"]) <= 30
    assert 1 <= int(answers[2].headers["retry-after"]) <= 30
    assert answers[2].json()["error"]["type"] == "rate_limit_error"
    assert len(gateway.charges()) == 2


def test_rate_window_slides(gateway: GatewayControl) -> None:
    gateway.settings(rate_limit={"requests": 1, "seconds": 1})

    assert buy(gateway).status_code == 200
    refused = buy(gateway)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    until(lambda: buy(gateway).status_code == 200)


def test_limit_can_be_lifted(gateway: GatewayControl) -> None:
    gateway.settings(rate_limit={"requests": 0, "seconds": 60})
    assert buy(gateway).headers["retry-after"] == "60"

    gateway.settings(rate_limit=None)
    answer = buy(gateway)
    assert answer.status_code == 200
    assert "x-ratelimit-limit-requests" not in answer.headers


# Idempotency


def test_replay_gets_the_first_answer_and_is_not_charged(gateway: GatewayControl) -> None:
    first, replay = (buy(gateway, idempotency_key="a") for _ in range(2))

    assert first.content == replay.content
    assert "idempotent-replayed" not in first.headers
    assert replay.headers["idempotent-replayed"] == "true"
    assert len(gateway.charges()) == 1
    assert [call["charged"] for call in gateway.calls()] == [True, False]


def test_key_with_another_body_or_route_is_a_conflict(gateway: GatewayControl) -> None:
    body = order(image_url=data_link(photo()))
    buy(gateway, body, idempotency_key="a")

    for answer in (
        buy(gateway, order(prompt="a forest"), idempotency_key="a"),
        buy(gateway, body, route="edits", idempotency_key="a"),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "idempotency_conflict")
    assert len(gateway.charges()) == 1


def test_replay_while_the_first_call_runs_is_told_so(gateway: GatewayControl) -> None:
    gateway.settings(latency_seconds=1)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(buy, gateway, idempotency_key="a")
        until(lambda: len(gateway.calls()) == 1)
        replay = buy(gateway, idempotency_key="a")
        assert (replay.status_code, replay.json()["error"]["code"]) == (409, "idempotency_in_progress")
        assert first.result().status_code == 200
    assert len(gateway.charges()) == 1


def test_simultaneous_calls_with_one_key_are_charged_once(gateway: GatewayControl) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: buy(gateway, idempotency_key="a"), range(16)))

    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len(gateway.charges()) == 1


def test_call_whose_client_left_is_finished_charged_and_found_by_its_replay(gateway: GatewayControl) -> None:
    gateway.settings(latency_seconds=0.5)

    with pytest.raises(httpx.ReadTimeout):
        buy(gateway, idempotency_key="a", timeout=0.1)

    until(lambda: len(gateway.charges()) == 1)
    replay = buy(gateway, idempotency_key="a")
    assert (replay.status_code, replay.headers["idempotent-replayed"]) == (200, "true")
    assert len(gateway.charges()) == 1


def test_only_successes_are_recorded(gateway: GatewayControl) -> None:
    gateway.faults([{"kind": "status", "status": 503}])
    assert buy(gateway, idempotency_key="a").status_code == 503

    gateway.settings(wallet_usd=0)
    assert buy(gateway, idempotency_key="a").status_code == 402

    gateway.settings(wallet_usd=1)
    assert buy(gateway, order(image_url=data_link(b"no image")), idempotency_key="a").status_code == 400

    answer = buy(gateway, idempotency_key="a")
    assert answer.status_code == 200
    assert "idempotent-replayed" not in answer.headers


def test_keys_can_be_ignored(gateway: GatewayControl) -> None:
    buy(gateway, idempotency_key="a")

    gateway.settings(honours_idempotency_keys=False)

    assert buy(gateway, idempotency_key="a").status_code == 200
    assert [charge["idempotency_key"] for charge in gateway.charges()] == ["a", "a"]


# Scripted faults


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


@pytest.mark.parametrize("change", [{"latency": 1}, {"image_format": "gif"}, {"wallet_usd": "much"}, {"answer": "xml"}])
def test_unknown_setting_is_refused(gateway: GatewayControl, change: dict[str, object]) -> None:
    with pytest.raises(httpx.HTTPStatusError):
        gateway.settings(**change)


# Links


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


# Control


def test_reset_forgets_everything(gateway: GatewayControl) -> None:
    first = gateway.settings()
    link = link_of(buy(gateway, idempotency_key="a"))
    gateway.settings(keys=["other"], wallet_usd=0, rate_limit={"requests": 0, "seconds": 1}, answer="b64_json")
    gateway.faults([{"kind": "drop", "times": 0}])

    gateway.reset()

    assert (gateway.charges(), gateway.calls(), gateway.fetches()) == ([], [], [])
    assert gateway.settings(image_pixels=SMALL_PIXELS) == {**first, "wallet_usd": 1000}
    assert get(link).status_code == 404
    assert "idempotent-replayed" not in buy(gateway, idempotency_key="a").headers


def test_call_that_runs_during_a_reset_is_not_seen_after_it(gateway: GatewayControl) -> None:
    gateway.settings(latency_seconds=0.3)

    with ThreadPoolExecutor(1) as pool:
        old = pool.submit(buy, gateway, idempotency_key="a")
        until(lambda: len(gateway.calls()) == 1)
        gateway.reset()
        assert old.result().status_code == 200

    assert (gateway.charges(), gateway.calls()) == ([], [])


def test_inline_answers_can_be_forced(gateway: GatewayControl) -> None:
    gateway.settings(answer="b64_json")
    assert list(buy(gateway).json()["data"][0]) == ["b64_json"]

    gateway.settings(answer="url")
    assert list(buy(gateway, order(response_format="b64_json")).json()["data"][0]) == ["url"]


def test_command_line_serves_with_its_own_key(unused_port: int) -> None:
    command = [sys.executable, "-m", "tools.stand_in_gateway", "--port", str(unused_port), "--key", "sk-mine"]
    with subprocess.Popen([*command, "--latency", "0.01"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert "Stand-in" in process.stdout.readline()
            gateway = GatewayControl(f"http://127.0.0.1:{unused_port}/v1", "sk-mine")
            until(lambda: _listens(unused_port))
            answer = buy(gateway)
            assert answer.status_code == 200
            assert "stand-in" in answer.headers["server"]
            assert gateway.settings()["latency_seconds"] == 0.01
        finally:
            process.terminate()


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


# Pictures


@pytest.fixture
def full_size(gateway: GatewayControl) -> GatewayControl:
    gateway.settings(image_pixels=1_000_000)
    return gateway


@pytest.mark.parametrize("background", ["white", "#f4efe6", "#2060a0"])
def test_background_is_replaced_and_the_product_stays(full_size: GatewayControl, background: str) -> None:
    image = Image.new("RGB", (900, 600), background)
    ImageDraw.Draw(image).ellipse((300, 150, 600, 450), "#c01020")
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)

    result = picture_of(buy(full_size, order(prompt="a green forest", image_url=data_link(buffer.getvalue()))))

    width, height = result.size
    assert 0.95e6 < width * height < 1.05e6
    assert width / height == pytest.approx(1.5, abs=0.01)
    assert is_about(result.getpixel((width // 2, height // 2)), (0xC0, 0x10, 0x20))
    old = image.getpixel((0, 0))
    assert isinstance(old, tuple)
    for share in ((0.02, 0.02), (0.98, 0.02), (0.02, 0.5), (0.98, 0.5), (0.1, 0.85)):
        assert not is_about(result.getpixel((int(width * share[0]), int(height * share[1]))), (old[0], old[1], old[2]))


def test_hole_in_the_product_shows_the_new_background_and_a_printed_label_stays(full_size: GatewayControl) -> None:
    image = Image.new("RGB", (800, 800), "white")
    pen = ImageDraw.Draw(image)
    pen.rectangle((200, 200, 600, 700), "#203050")
    pen.rectangle((260, 250, 540, 400), "white")
    pen.rectangle((260, 480, 540, 650), "white")
    pen.text((280, 500), "BRAND", "black", font_size=80)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")

    result = picture_of(buy(full_size, order(prompt="night in the city", image_url=data_link(buffer.getvalue()))))

    scale = result.width / 800
    assert not is_about(result.getpixel((round(400 * scale), round(320 * scale))), (255, 255, 255))
    assert is_about(result.getpixel((round(400 * scale), round(630 * scale))), (255, 255, 255))


def test_transparent_photo_is_taken_as_cut_out(full_size: GatewayControl) -> None:
    image = Image.new("RGBA", (600, 600), (0, 0, 0, 0))
    ImageDraw.Draw(image).rectangle((200, 200, 400, 400), (0, 0, 0, 255))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")

    result = picture_of(buy(full_size, order(prompt="red wall", image_url=data_link(buffer.getvalue()))))

    assert is_about(result.getpixel((result.width // 2, result.height // 2)), (0, 0, 0))
    for share in (0.04, 0.3, 0.8):
        wall = result.getpixel((result.width // 4, int(result.height * share)))
        assert isinstance(wall, tuple)
        assert wall[0] > wall[1] + 50


def test_photo_without_a_plain_background_stays_whole(full_size: GatewayControl) -> None:
    stripes = Image.new("RGB", (600, 600))
    pen = ImageDraw.Draw(stripes)
    for column in range(12):
        pen.rectangle((column * 50, 0, column * 50 + 49, 599), f"hsl({column * 30}, 90%, 50%)")
    buffer = io.BytesIO()
    stripes.save(buffer, "PNG")

    result = picture_of(buy(full_size, order(prompt="snow", image_url=data_link(buffer.getvalue()))))

    assert not is_about(result.getpixel((20, 20)), (242, 13, 13))
    row = [result.getpixel((x, result.height * 60 // 100)) for x in range(result.width)]
    for column in range(12):
        colour = stripes.getpixel((column * 50 + 25, 300))
        assert isinstance(colour, tuple)
        assert any(is_about(pixel, (colour[0], colour[1], colour[2])) for pixel in row)


def test_orientation_of_the_camera_is_honoured(full_size: GatewayControl) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6

    result = picture_of(buy(full_size, order(image_url=data_link(photo((600, 300), exif=exif)))))

    assert result.height == pytest.approx(2 * result.width, rel=0.02)


def test_size_that_was_asked_for_is_delivered(gateway: GatewayControl) -> None:
    assert picture_of(buy(gateway, order(size="640x512", image_url=data_link(photo())))).size == (640, 512)


def test_same_order_gives_the_same_picture_and_others_differ(gateway: GatewayControl) -> None:
    def pictures(prompt: str) -> list[bytes]:
        return [get(image["url"]).content for image in buy(gateway, order(prompt=prompt, n=2)).json()["data"]]

    beach = pictures("a beach")
    assert beach == pictures("a beach")
    assert len({*beach, *pictures("a forest")}) == 4


@pytest.mark.parametrize(("name", "extension"), [("png", "png"), ("jpeg", "jpg"), ("webp", "webp"), ("avif", "avif")])
def test_picture_comes_in_the_format_that_was_set(gateway: GatewayControl, name: str, extension: str) -> None:
    gateway.settings(image_format=name)

    link = link_of(buy(gateway))
    answer = get(link)

    assert link.endswith(f".{extension}")
    assert answer.headers["content-type"] == f"image/{name}"
    assert Image.open(io.BytesIO(answer.content)).format == name.upper()


def test_picture_carries_a_legible_band(full_size: GatewayControl) -> None:
    result = picture_of(buy(full_size, order(prompt="white", image_url=data_link(photo())))).convert("L")

    band = result.crop((0, round(result.height * 0.965), result.width // 2, result.height))
    histogram = band.histogram()
    assert sum(histogram[:110]) > sum(histogram) / 2
    assert sum(histogram[240:]) > sum(histogram) / 100


@pytest.mark.parametrize("prompt", ["日本の庭 🌸", "\x00\x1b\n", "x" * 20_000])
def test_any_prompt_can_be_written_and_drawn(gateway: GatewayControl, prompt: str) -> None:
    assert buy(gateway, order(prompt=prompt, image_url=data_link(photo((1, 1), "PNG")))).status_code == 200
