import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import boto3
import click
import httpx
import pytest
from botocore.config import Config
from moto.dynamodb.models import DynamoDBBackend
from moto.server import ThreadedMotoServer
from PIL import Image, ImageDraw

from backdrop import bootstrap
from backdrop_cli.deployment import Deployment
from tests.integration import in_process
from tests.integration.command_line import command, deployed
from tests.integration.day_and_pace import stay_within_a_day
from tests.integration.harness import Harness
from tests.integration.moved_clock import MovedClock
from tests.integration.stack import INPUT, KEY_PARAMETER, OUTPUT, TABLE
from tests.integration.stand_in_gateway.client import LOOPBACK
from tools.stand_in_gateway.server import GatewayControl, running_gateway

Run = Callable[..., Any]
"""Runs a command of `backdrop`; see `run`."""


@pytest.fixture(scope="session")
def gateway() -> Iterator[GatewayControl]:
    with running_gateway() as control:
        yield control


def _one_at_a_time(write: Callable[..., Any], lock: threading.Lock) -> Callable[..., Any]:
    @wraps(write)
    def locked(*arguments: Any, **named: Any) -> Any:
        with lock:
            return write(*arguments, **named)

    return locked


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    lock = threading.Lock()
    for name in ("put_item", "update_item"):  # which DynamoDB does at once; moto looks, and writes a moment later
        setattr(DynamoDBBackend, name, _one_at_a_time(getattr(DynamoDBBackend, name), lock))
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint_url = f"http://{host}:{port}"
    # Clients hand their requests to moto in place; the port is for links, which the gateway follows.
    in_process.serve(endpoint_url, server._server.app)  # type: ignore[union-attr]
    yield endpoint_url
    server.stop()


_SESSION = boto3.Session()


class SharedSession:
    """Makes each client once: building them takes longer than most tests."""

    _clients: ClassVar[dict[str, Any]] = {}

    def client(self, service: str, config: Config) -> Any:
        if service not in self._clients:
            self._clients[service] = in_process.connected(_SESSION.client(service, config=config))  # type: ignore[call-overload]
        return self._clients[service]


@pytest.fixture
def environment(aws: str, gateway: GatewayControl, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """What the template puts into the functions' environment; tests may change it before the first event."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": aws,
        "STACK_NAME": "backdrop",
        "INPUT_BUCKET": INPUT,
        "OUTPUT_BUCKET": OUTPUT,
        "LEDGER_TABLE": TABLE,
        "RETRY_QUEUE_URL": f"{aws}/123456789012/backdrop-retry",
        "DEAD_LETTER_QUEUE_URL": f"{aws}/123456789012/backdrop-dead-letters",
        "GATEWAY_BASE_URL": gateway.base_url,
        "GATEWAY_API_KEY_PARAMETER": KEY_PARAMETER,
        "GATEWAY_MODEL": "ideogram/ideogram-v3-replace-background",
        "GATEWAY_ROUTE": "generations",
        "GATEWAY_TIMEOUT_SECONDS": "100",
        "REQUESTS_PER_MINUTE": "6000",
        "DAILY_IMAGE_LIMIT": "1000",
        "PRICE_PER_IMAGE_USD": "0.03",
        "DEFAULT_PROMPT": "",
        "MAX_ATTEMPTS": "6",
        "ON_UNKNOWN_OUTCOME": "retry",
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def harness(aws: str, gateway: GatewayControl, environment: pytest.MonkeyPatch) -> Iterator[Harness]:
    httpx.post(f"{aws}/moto-api/reset", **LOOPBACK).raise_for_status()
    gateway.reset()
    gateway.settings(image_pixels=20_000)
    environment.setattr(bootstrap, "Clock", MovedClock)
    environment.setattr(bootstrap, "boto3", SimpleNamespace(Session=SharedSession))
    bootstrap.get_services.cache_clear()
    yield Harness(aws, gateway)
    bootstrap.get_services.cache_clear()


@pytest.fixture
def one_day(harness: Harness) -> None:
    """Whenever the test runs, no UTC midnight comes in its first hour."""
    stay_within_a_day(harness)


@pytest.fixture
def deployment(harness: Harness) -> Deployment:
    """See `deployed`."""
    return deployed()


@pytest.fixture
def run(deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in a folder with photos/red.jpg; its JSON, after a check of the exit code."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, code: int = 0) -> Any:
        done = command(deployment, *arguments, "--json", standalone_mode=False)
        if isinstance(done.exception, click.ClickException):
            assert done.exception.exit_code == code
            return done.exception.message
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert (done.return_value or 0) == code, done.output
        return json.loads(done.stdout) if done.stdout else done.stderr

    return run


@pytest.fixture
def red(tmp_path: Path, photo: bytes) -> Path:
    path = tmp_path / "photos" / "red.jpg"
    path.parent.mkdir()
    path.write_bytes(photo)
    return path


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A product photo: something red on light grey."""
    return picture("JPEG")


@pytest.fixture(scope="session")
def picture_of() -> Callable[[str], bytes]:
    return picture


def picture(kind: str) -> bytes:
    image = Image.new("RGB", (320, 240), "#f3f3f1")
    ImageDraw.Draw(image).ellipse((90, 50, 230, 200), fill="#b03020")
    data = io.BytesIO()
    image.save(data, kind)
    return data.getvalue()
