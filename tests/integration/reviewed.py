"""The page of `backdrop review`, as a browser has it, before a server of its own."""

import re
import socket
import threading
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from backdrop_cli.deployment import Deployment
from backdrop_cli.review.serving import server
from tests.integration.harness import Harness
from tests.integration.stack import OUTPUT
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
