"""The server of `backdrop review`: who gets in, what it shows, and what it says when AWS goes away."""

import io
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import PIL.Image
import pytest
from botocore.exceptions import EndpointConnectionError

from backdrop_cli.deployment import Deployment
from tests.integration.harness import Harness
from tests.integration.reviewed import HOSTILE, KEY, RESULT, Opener, page, photo, tags
from tests.integration.stack import INPUT, OUTPUT
from tests.pictures import encoded, mug

__all__ = ["page", "photo"]


def test_only_who_has_the_secret_gets_in(page: Opener, photo: bytes) -> None:
    opened = page()
    parts = urlsplit(opened.address)
    secret = parse_qs(parts.query)["secret"][0]
    with httpx.Client() as stranger:
        for path in (
            "/",
            parts.path,
            f"{parts.path}?secret=wrong",
            f"{parts.path}events",
            f"{parts.path}static/look.css",
        ):
            assert stranger.get(opened.origin + path).status_code == 403
        assert stranger.get(f"{opened.origin}/?secret={secret}").status_code == 403, "the path is a part of the secret"
        assert stranger.post(f"{opened.origin}{parts.path}undo", json={}).status_code == 403
        first = stranger.get(opened.address)
    cookie = first.headers["set-cookie"]
    assert f"Path={parts.path};" in cookie, "another port's server is not sent it"
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert opened.client.get("").status_code == 200


@pytest.mark.parametrize("host", ["localhost", "evil.example", "127.0.0.1"])
def test_another_name_for_this_machine_gets_nothing(page: Opener, photo: bytes, host: str) -> None:
    """As after DNS rebinding."""
    assert page().client.get("", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null"])
def test_another_page_can_neither_ask_nor_decide(page: Opener, photo: bytes, harness: Harness, origin: str) -> None:
    opened = page()
    card = opened.cards()[KEY]
    body = {"verdict": "approved", "choice": 0, "seen": card["seen"]}
    assert opened.post(f"pair/{card['id']}/decision", body, Origin=origin).status_code == 403
    assert opened.client.get("", headers={"Origin": origin}).status_code == 403
    assert opened.client.get("events", headers={"Sec-Fetch-Site": "same-site"}).status_code == 403
    unsaid = opened.client.post(f"pair/{card['id']}/decision", json=body)
    assert unsaid.status_code == 403, "a browser always says the origin of a POST"
    form = opened.client.post(f"pair/{card['id']}/decision", data=body, headers={"Origin": opened.origin})
    assert form.status_code == 415
    assert tags(harness, RESULT) == {}


def test_nothing_of_the_page_runs_or_comes_from_elsewhere(page: Opener, photo: bytes) -> None:
    opened = page()
    answer = opened.client.get("")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script(?! type=\"module\" src=\"static/)|\son\w+=|javascript:|https?://", answer.text)


def test_keys_and_prompts_stay_text(page: Opener, harness: Harness) -> None:
    key = f"x/{HOSTILE}.jpg"
    harness.upload(key, encoded(mug(), "JPEG"), prompt=HOSTILE.replace("\u202e", ""))
    opened = page()
    html = opened.client.get("").text + opened.large(key)
    assert "<img src=x" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    assert list(opened.cards()) == [key]
    assert opened.decide(key, "approved").status_code == 200


def test_pictures_are_small_kept_on_disk_and_whole_on_demand(
    page: Opener, harness: Harness, photo: bytes, tmp_path: Path
) -> None:
    opened = page()
    large = opened.large(KEY)
    small = re.findall(r"picture/(\w+)/large", large)
    answer = opened.client.get(f"picture/{small[0]}/small")
    assert answer.headers["content-type"] == "image/webp"
    assert "immutable" in answer.headers["cache-control"]
    assert max(PIL.Image.open(io.BytesIO(answer.content)).size) <= 400
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f"{small[0]}-small.webp"]
    harness.s3.delete_object(Bucket=INPUT, Key=KEY)
    assert opened.client.get(f"picture/{small[0]}/small").content == answer.content
    whole = opened.client.get(f"whole/{small[1]}")
    assert whole.headers["content-type"] == "image/png"
    assert whole.content == harness.s3.get_object(Bucket=OUTPUT, Key=RESULT)["Body"].read()
    assert opened.client.get(f"picture/{'0' * 32}/small").status_code == 404


def test_an_object_that_is_no_picture_is_a_sentence(page: Opener, harness: Harness) -> None:
    harness.upload("page.jpg", b"<html><script>alert(1)</script>", prompt="snow")
    opened = page()
    token = re.findall(r"picture/(\w+)/large", opened.large("page.jpg"))[0]
    for path in (f"picture/{token}/large", f"whole/{token}"):
        answer = opened.client.get(path)
        assert (answer.status_code, answer.text) == (404, "It is no picture that can be shown here.")
        assert answer.headers["content-type"].startswith("text/plain")


def test_when_aws_goes_away_the_page_says_so_and_what_was_not_done(
    page: Opener, deployment: Deployment, photo: bytes, harness: Harness
) -> None:
    """Row 96."""
    opened = page()
    card = opened.cards()[KEY]

    def gone(**_: object) -> None:
        raise EndpointConnectionError(endpoint_url="https://s3.test")

    for client in (deployment.s3, deployment.dynamodb):
        client.meta.events.register("before-call", gone)
    refused = opened.decide(KEY, "approved")
    with opened.client.stream("GET", "events?since=0") as stream:
        said = next(line for line in stream.iter_lines() if "asked at present" in line)
    for client in (deployment.s3, deployment.dynamodb):
        client.meta.events.unregister("before-call", gone)

    assert refused.status_code == 503
    assert "https://s3.test" in refused.text
    assert "https://s3.test" in said
    assert opened.cards()[KEY] == card
    assert opened.decide(KEY, "approved").status_code == 200
