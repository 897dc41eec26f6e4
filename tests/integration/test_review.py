"""The server of `backdrop review`: who gets in, what is decided, and what is bought again, against real objects."""

import csv
import io
import json
import re
import socket
import threading
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import PIL.Image
import pytest
from botocore.exceptions import EndpointConnectionError

from backdrop.job import Job
from backdrop_cli.deployment import Deployment
from backdrop_cli.review.serving import server
from tests.integration.conftest import Run
from tests.integration.harness import Harness
from tests.integration.stack import INPUT, OUTPUT
from tests.pictures import encoded, mug
from tools.polling import until

KEY = "shoes/red.jpg"
RESULT = f"{KEY}.png"
HOSTILE = "<img src=x onerror=alert(1)>\"'&amp;\u202egpj"


class Page:
    """The page as a browser has it: a client with the cookie, and what is on the page."""

    def __init__(self, address: str) -> None:
        self.address = address
        parts = urlsplit(address)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.client = httpx.Client(base_url=f"{self.origin}{parts.path}", timeout=20)
        answer = self.client.get(address)
        assert answer.status_code == 200, answer.text
        until("the page is complete", lambda: "Looking" not in self.client.get("").text, 20)

    def cards(self) -> dict[str, dict[str, str]]:
        """The attributes of the cards by key."""
        html = self.client.get("").text
        found = {}
        for start, rest in re.findall(r'<li class="pair"(.*?)>\n<a(.*?)</li>', html, re.DOTALL):
            key = re.search(r'<p class="key"><bdi>(.*?)</bdi>', rest, re.DOTALL)
            assert key
            found[unescape(key[1])] = {k: unescape(v) for k, v in re.findall(r'data-([a-z]+)="(.*?)"', start)}
        return found

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return self.client.post(path, json=body, headers={"Origin": self.origin} | headers)

    def decide(self, key: str, verdict: str, choice: int = 0, **changes: Any) -> httpx.Response:
        card = self.cards()[key]
        body = {"verdict": verdict, "choice": choice, "seen": card["seen"]} | changes
        return self.post(f"pair/{card['id']}/decision", body)

    def undo(self) -> httpx.Response:
        return self.post("undo", {})

    def large(self, key: str) -> str:
        return self.client.get(f"pair/{self.cards()[key]['id']}").text


@pytest.fixture
def page(deployment: Deployment, tmp_path: Path) -> Iterator["Opener"]:
    opener = Opener(deployment, tmp_path / "cache")
    yield opener
    opener.close()


class Opener:
    """Opens the page as often as it is called; each time another server, as another person's."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        self._deployment = deployment
        self._folder = folder
        self._running: list[tuple[Any, threading.Thread, socket.socket, Page]] = []

    def __call__(self, prefix: str = "") -> Page:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        addresses: list[str] = []
        started = threading.Event()

        def tell(address: str) -> None:
            addresses.append(address)
            started.set()

        running = server(self._deployment, prefix, self._folder, listener, tell)
        thread = threading.Thread(target=running.run, args=([listener],))
        thread.start()
        assert started.wait(20)
        page = Page(addresses[0])
        self._running.append((running, thread, listener, page))
        return page

    def close(self) -> None:
        for running, thread, listener, page in self._running:
            page.client.close()
            running.should_exit = True
            thread.join(20)
            listener.close()


def tags(harness: Harness, key: str) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in harness.s3.get_object_tagging(Bucket=OUTPUT, Key=key)["TagSet"]}


def tag(harness: Harness, key: str, **values: str) -> None:
    found = [{"Key": name.replace("_", "-"), "Value": value} for name, value in values.items()]
    harness.s3.put_object_tagging(Bucket=OUTPUT, Key=key, Tagging={"TagSet": found})


@pytest.fixture
def photo(harness: Harness) -> bytes:
    data = encoded(mug(), "JPEG")
    harness.upload(KEY, data, prompt="snow")
    return data


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


def test_a_decision_is_a_tag_of_the_result_with_who_and_when(page: Opener, photo: bytes, harness: Harness) -> None:
    tag(harness, RESULT, campaign="spring")
    opened = page()
    assert opened.cards()[KEY]["status"] == "undecided"

    assert opened.decide(KEY, "approved").json()["status"] == "approved"

    found = tags(harness, RESULT)
    assert (found["backdrop-review"], found["campaign"]) == ("approved", "spring")
    assert found["backdrop-review-by"].startswith("arn:aws:")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["backdrop-review-at"])
    assert opened.cards()[KEY]["status"] == "approved"

    opened.decide(KEY, "rejected")
    assert tags(harness, RESULT)["backdrop-review"] == "rejected"


def test_undo_brings_back_what_was_there_before(page: Opener, photo: bytes, harness: Harness) -> None:
    tag(harness, RESULT, campaign="spring")
    opened = page()
    opened.decide(KEY, "approved")
    before = tags(harness, RESULT)
    opened.decide(KEY, "rejected")

    assert opened.undo().status_code == 200
    assert tags(harness, RESULT) == before
    assert opened.undo().status_code == 200
    assert tags(harness, RESULT) == {"campaign": "spring"}
    assert opened.cards()[KEY]["status"] == "undecided"
    assert opened.undo().status_code == 422


def test_choosing_one_of_three_approves_it_and_rejects_the_others(page: Opener, harness: Harness, run: Run) -> None:
    harness.upload(KEY, encoded(mug(), "JPEG"), prompt="snow", n="3")
    opened = page()

    assert opened.decide(KEY, "approved", choice=1).status_code == 200

    verdicts = [tags(harness, f"{KEY}.{i}.png")["backdrop-review"] for i in (1, 2, 3)]
    assert verdicts == ["rejected", "approved", "rejected"]
    assert opened.cards()[KEY]["choice"] == "1"
    assert [each["key"] for each in run("export", "--approved", "--out", "shop")["files"]] == [f"{KEY}.2.png"]
    assert opened.decide(KEY, "approved", choice=3).status_code == 422


def test_the_later_of_two_people_sees_what_the_earlier_decided_before_anything_is_overwritten(
    page: Opener, photo: bytes, harness: Harness
) -> None:
    """Row 95."""
    opened = page()
    before = opened.cards()[KEY]["seen"]
    tag(harness, RESULT, backdrop_review="rejected", backdrop_review_by="arn:aws:sts::1:assumed-role/team/ana")

    refused = opened.decide(KEY, "approved", seen=before)

    assert (refused.status_code, refused.text) == (409, "ana has rejected it meanwhile.")
    assert tags(harness, RESULT)["backdrop-review"] == "rejected"
    assert opened.cards()[KEY]["status"] == "rejected", "the page shows it now"
    assert opened.decide(KEY, "approved").status_code == 200
    assert tags(harness, RESULT)["backdrop-review"] == "approved"


def test_undo_leaves_what_somebody_decided_since(page: Opener, photo: bytes, harness: Harness) -> None:
    opened = page()
    opened.decide(KEY, "approved")
    tag(harness, RESULT, backdrop_review="rejected", backdrop_review_by="arn:aws:iam::1:user/ana")
    assert opened.undo().status_code == 409
    assert tags(harness, RESULT)["backdrop-review"] == "rejected"


def test_a_result_that_was_replaced_meanwhile_is_not_approved_unseen(
    page: Opener, harness: Harness, photo: bytes
) -> None:
    harness.s3.put_bucket_versioning(Bucket=OUTPUT, VersioningConfiguration={"Status": "Enabled"})
    harness.upload(KEY, photo, prompt="sand")
    opened = page()
    seen = opened.cards()[KEY]["seen"]
    head = harness.s3.head_object(Bucket=OUTPUT, Key=RESULT)
    harness.s3.put_object(Bucket=OUTPUT, Key=RESULT, Body=photo, Metadata=head["Metadata"])

    assert opened.decide(KEY, "approved", seen=seen).status_code == 409
    assert tags(harness, RESULT) == {}


def test_failed_uploads_and_those_on_their_way_have_nothing_to_decide(page: Opener, harness: Harness) -> None:
    harness.upload("failed.jpg", encoded(mug(), "JPEG"))
    harness.put("new.jpg", encoded(mug(), "JPEG"), prompt="snow")
    opened = page()
    assert {key: card["status"] for key, card in opened.cards().items()} == {
        "failed.jpg": "failed",
        "new.jpg": "waiting",
    }
    assert "missing_prompt" in opened.large("failed.jpg")
    for key in opened.cards():
        assert opened.decide(key, "approved").status_code == 422


def test_again_says_the_price_and_buys_only_for_that_price(page: Opener, photo: bytes, harness: Harness) -> None:
    opened = page()
    path = f"pair/{opened.cards()[KEY]['id']}/again"
    told = opened.client.get(path).json()
    assert (told["images"], told["usd"], told["prompt"]) == (1, "0.03", "snow")
    assert "$0.03" in told["words"]
    assert told["today"] == "1 of today's 1000 images are bought."
    body = {name: told[name] for name in ("images", "usd", "job")}

    assert opened.post(path, body | {"prompt": "sand", "usd": "0.02"}).status_code == 409
    assert opened.post(path, body | {"prompt": "\u200b "}).status_code == 422
    assert opened.post(path, body | {"prompt": "x" * 2500}).status_code == 422
    assert opened.post(path, body | {"prompt": "sand", "job": "0815"}).status_code == 409
    assert len(harness.s3.list_object_versions(Bucket=INPUT)["Versions"]) == 1, "nothing was bought"


def test_again_makes_a_new_version_with_another_prompt_and_nothing_else_changed(
    page: Opener, harness: Harness, photo: bytes
) -> None:
    put = harness.s3.put_object(
        Bucket=INPUT, Key=KEY, Body=photo, ContentType="image/jpeg", CacheControl="no-cache", Tagging="a=b",
        Metadata={"prompt": "snow", "n": "2", "tag": "ana", "size": "512x512", "mine": "too"},
    )  # fmt: skip
    harness.notify(Job(INPUT, KEY, put["VersionId"], put["ETag"].strip('"'), len(photo)))
    opened = page()
    card = opened.cards()[KEY]
    told = opened.client.get(f"pair/{card['id']}/again").json()
    assert told["images"] == 2
    body = {name: told[name] for name in ("images", "usd", "job")} | {"prompt": "à midi"}

    assert opened.post(f"pair/{card['id']}/again", body).status_code == 200

    now = harness.s3.get_object(Bucket=INPUT, Key=KEY)
    metadata = now["Metadata"]
    assert now["Body"].read() == photo
    assert (now["ContentType"], now["CacheControl"], now["TagCount"]) == ("image/jpeg", "no-cache", 1)
    assert metadata.pop("again")
    assert metadata == {"prompt-b64": "w6AgbWlkaQ==", "n": "2", "tag": "ana", "size": "512x512", "mine": "too"}
    assert opened.post(f"pair/{card['id']}/again", body).status_code in (409, 422), "a second click buys nothing"


def test_what_changes_is_told_as_it_happens(page: Opener, harness: Harness, photo: bytes) -> None:
    opened = page()
    with opened.client.stream("GET", "events?since=0") as stream:
        lines = stream.iter_lines()

        def next_news() -> Any:
            return json.loads(next(line for line in lines if line.startswith("data: ")).removeprefix("data: "))

        first = next_news()
        assert KEY in first["cards"][0]["html"]
        opened.decide(KEY, "approved")
        while not (news := next_news())["cards"]:
            pass
        assert 'data-status="approved"' in news["cards"][0]["html"]
        assert "Approved <span>1</span>" in re.sub(r"\s+", " ", news["top"])


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


def test_the_rejected_ones_are_a_manifest(page: Opener, harness: Harness, photo: bytes) -> None:
    harness.upload("b.jpg", photo, prompt="wood, {oak}", tag="ana", size="512x512")
    harness.upload("=1.jpg", photo, prompt="@snow", tag="-x")
    opened = page()
    opened.decide("b.jpg", "rejected")
    opened.decide("=1.jpg", "rejected")
    opened.decide(KEY, "approved")
    table = list(csv.DictReader(io.StringIO(opened.client.get("rejected.csv").text)))
    assert sorted(table, key=lambda row: row["file"]) == [
        {"file": "'=1.jpg", "prompt": "'@snow", "n": "", "size": "", "tag": "'-x"},
        {"file": "b.jpg", "prompt": "wood, {{oak}}", "n": "", "size": "512x512", "tag": "ana"},
    ], "no cell is a formula"


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


def test_gallery_and_status_say_what_was_decided(page: Opener, harness: Harness, photo: bytes, run: Run) -> None:
    for name in ("b.jpg", "c.jpg"):
        harness.upload(name, photo, prompt="snow")
    opened = page()
    opened.decide(KEY, "approved")
    opened.decide("b.jpg", "rejected")

    assert run("status")["reviewed"] == {"approved": 1, "rejected": 1, "undecided": 1}
    run("gallery", "--out", "page.html")
    html = Path("page.html").read_text(encoding="utf-8")
    assert html.count('<span class="verdict approved">Approved</span>') == 1
    assert html.count('<span class="verdict rejected">Rejected</span>') == 1


def test_while_calls_are_paused_the_page_says_why(page: Opener, harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "status", "status": 402}])
    harness.upload("b.jpg", photo, prompt="snow")
    opened = page()
    html = opened.client.get("").text
    assert "Nothing new is made at present." in html
    assert "the account has no money left" in html
    assert opened.cards()["b.jpg"]["status"] == "waiting"
    assert "Waits for calls to get through" in html


def test_a_photo_that_is_on_its_way_is_not_asked_for_again(page: Opener, harness: Harness) -> None:
    harness.put(KEY, encoded(mug(), "JPEG"), prompt="snow")
    opened = page()
    answer = opened.client.get(f"pair/{opened.cards()[KEY]['id']}/again")
    assert (answer.status_code, answer.text) == (422, "It is on its way. Look at what comes of that first.")
