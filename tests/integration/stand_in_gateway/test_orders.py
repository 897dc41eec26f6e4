"""What the gateway's documentation promises: which orders it sells, which it refuses, and what it tells."""

import base64
import hashlib
import io
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
from PIL import Image

from tests.integration.stand_in_gateway.client import (
    LOOPBACK,
    MODEL,
    PhotoServer,
    buy,
    data_link,
    get,
    order,
    photo,
    until,
)
from tools.stand_in_gateway.errors import GatewayError
from tools.stand_in_gateway.server import GatewayControl
from tools.stand_in_gateway.source import loopback_address


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
