"""Real software between the functions and the stand-in: the LLMOps gateway and nginx. One charge an upload, whatever.

`make real-gateways` installs the first; nginx comes from the system. A test whose software is missing is skipped.
"""

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.harness import Harness
from tools.polling import until
from tools.stand_in_gateway.server import GatewayControl

GATEWAYS = Path(__file__).parents[1] / "real_gateways"
NGINX_READ_SECONDS = 1
NGINX_CONF = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 30m;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass {upstream};
      proxy_set_header Host $http_host;
      proxy_read_timeout {seconds}s;
      proxy_next_upstream off;
    }}
  }}
}}
"""


@pytest.fixture(scope="module")
def llmops() -> Iterator[str]:
    """The LLMOps gateway's base URL."""
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    if not (GATEWAYS / "node_modules" / "@llmops" / "gateway").is_dir():
        pytest.skip("the LLMOps gateway is not installed: `make real-gateways`, which needs npm and its registry")
    with subprocess.Popen(["node", "llmops.mjs"], cwd=GATEWAYS, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            started = re.search(r"listening on (\d+)", server.stdout.readline())
            assert started, "the LLMOps gateway did not start"
            yield f"http://127.0.0.1:{started[1]}/v1"
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def nginx(gateway: GatewayControl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The stand-in's base URL behind an nginx that waits for an answer for a second."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    if not program:
        pytest.skip("nginx is not installed")
    folder = tmp_path_factory.mktemp("nginx")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    upstream = gateway.base_url.removesuffix("/v1")
    conf = folder / "nginx.conf"
    conf.write_text(
        NGINX_CONF.format(
            folder=folder,
            port=port,
            upstream=upstream,
            seconds=NGINX_READ_SECONDS,
        )
    )
    with subprocess.Popen([program, "-p", str(folder), "-c", str(conf), "-e", str(folder / "error.log")]) as server:
        try:
            until("nginx", lambda: _answers(port), seconds=10)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def buy(harness: Harness, photo: bytes, trouble: list[dict[str, object]]) -> None:
    """An upload whose calls meet this trouble, until it is at rest."""
    harness.gateway.faults(trouble)
    harness.upload("red.jpg", photo, prompt="wood")
    harness.drain()


NOT_CHARGED = [
    pytest.param([], id="none"),
    pytest.param([{"kind": "status", "status": 500}], id="500"),
    pytest.param([{"kind": "status", "status": 502, "body": "<html>"}], id="502 of a proxy"),
    pytest.param([{"kind": "status", "status": 429, "retry_after": "2"}], id="429"),
    pytest.param([{"kind": "drop"}], id="no answer, not charged"),
]
CHARGED = [
    pytest.param([{"kind": "drop_after_charge"}], id="no answer, charged"),
    pytest.param([{"kind": "truncate"}], id="cut off, charged"),
]


@pytest.mark.parametrize(
    "trouble",
    [*NOT_CHARGED, *CHARGED, pytest.param([{"kind": "hang_after_charge", "seconds": 1.5}], id="slow, charged")],
)
def test_row_69_behind_nginx_an_upload_is_charged_once(
    harness: Harness,
    environment: pytest.MonkeyPatch,
    photo: bytes,
    nginx: str,
    trouble: list[dict[str, object]],
) -> None:
    environment.setenv("GATEWAY_BASE_URL", nginx)
    buy(harness, photo, trouble)
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["red.jpg.png"]


@pytest.fixture
def through_llmops(harness: Harness, environment: pytest.MonkeyPatch, llmops: str) -> Callable[[str], None]:
    """Sets the functions up for the LLMOps gateway, which passes headers of these names on."""

    def set_up(forwarded: str) -> None:
        harness.gateway.settings(dialect="openai")
        environment.setenv("GATEWAY_BASE_URL", llmops)
        environment.setenv("GATEWAY_MODEL", "gpt-image-1")
        environment.setenv("GATEWAY_ROUTE", "edits-multipart")
        headers = {"x-llmops-provider": "openai", "x-llmops-custom-host": harness.gateway.base_url}
        if forwarded:
            headers["x-llmops-forward-headers"] = forwarded
        environment.setenv("GATEWAY_EXTRA_HEADERS", json.dumps(headers))

    return set_up


@pytest.mark.parametrize("trouble", NOT_CHARGED)
def test_row_69_behind_the_llmops_gateway_an_upload_is_charged_once(
    harness: Harness, photo: bytes, through_llmops: Callable[[str], None], trouble: list[dict[str, object]]
) -> None:
    through_llmops("idempotency-key")
    buy(harness, photo, trouble)
    assert harness.charged() == 1
    assert list(harness.outputs()) == ["red.jpg.png"]


@pytest.mark.parametrize("trouble", CHARGED)
def test_behind_the_llmops_gateway_a_lost_answer_is_charged_once_and_told(
    harness: Harness, photo: bytes, through_llmops: Callable[[str], None], trouble: list[dict[str, object]]
) -> None:
    """It sends each form with another boundary, so the gateway behind it sees the key with another body: 409."""
    through_llmops("idempotency-key")
    buy(harness, photo, trouble)
    assert harness.charged() == 1
    assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == ["outcome_unknown"]


def test_the_llmops_gateway_keeps_the_idempotency_key_unless_it_is_told_to_pass_it_on(
    harness: Harness, photo: bytes, through_llmops: Callable[[str], None]
) -> None:
    through_llmops("")
    buy(harness, photo, [{"kind": "drop_after_charge"}])
    assert harness.charged() == 2
