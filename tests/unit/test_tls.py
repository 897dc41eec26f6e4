"""The worker's TLS: certificates are loaded once for all connections, and each client refuses a wrong one."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import boto3
import botocore.httpsession
import certifi
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import SSLError

from backdrop import tls
from backdrop.bootstrap import get_services
from backdrop.http_client import new_client
from tests.unit.test_settings import ENVIRONMENT
from tools.certificates import Authority

ASKED: dict[str, Callable[[Any], object]] = {
    "dynamodb": lambda client: client.list_tables(),
    "events": lambda client: client.describe_event_bus(),
    "s3": lambda client: client.get_object(Bucket="photos", Key="shoes.jpg"),
    "sqs": lambda client: client.send_message(QueueUrl="https://sqs.test/retry", MessageBody="{}"),
    "ssm": lambda client: client.get_parameter(Name="key"),
}


class Answering(BaseHTTPRequestHandler):
    """Says {} to everything, and closes the connection."""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST = answer

    def log_message(self, *_: object) -> None:
        pass


class Server(HTTPServer):
    """Shows `certificate` to whoever connects."""

    def __init__(self, authority: Authority) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.authority = authority
        self.url = f"https://localhost:{self.server_port}"
        self.show(authority.certificate("localhost"))

    def show(self, certificate: Path) -> None:
        """From now on."""
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificate)

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection; OSError where the other side doesn't want it, which ends that connection alone."""
        plain, address = self.socket.accept()
        plain.settimeout(5)
        try:
            return self.tls.wrap_socket(plain, server_side=True), address
        except OSError:
            plain.close()
            raise


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The files of certificates that contexts have loaded."""
    loaded: list[Any] = []
    load = ssl.SSLContext.load_verify_locations

    def counted(context: ssl.SSLContext, cafile: Any = None, capath: Any = None, cadata: Any = None) -> None:
        loaded.append(cafile)
        load(context, cafile, capath, cadata)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted)
    return loaded


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: list[Any]) -> Iterator[Authority]:
    """Who signs for the worker, in place of the public authorities."""
    authority = Authority(tmp_path)
    for name in (*tls.OWN_CERTIFICATES_OF_AWS, "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(certifi, "where", lambda: str(authority.file))
    monkeypatch.setattr(botocore.httpsession, "where", lambda: str(authority.file))
    # What the worker replaces is put back after the test.
    monkeypatch.setattr(botocore.httpsession, "create_urllib3_context", botocore.httpsession.create_urllib3_context)
    tls.verified.cache_clear()
    loaded.clear()
    yield authority
    tls.verified.cache_clear()


@pytest.fixture
def server(trusted: Authority) -> Iterator[Server]:
    with Server(trusted) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@cache
def session() -> boto3.Session:
    return boto3.Session("key", "secret", region_name="us-east-1")


def client(name: str, url: str) -> Any:
    addressing: Any = {"addressing_style": "path"}
    config = Config(retries={"total_max_attempts": 1}, s3=addressing, connect_timeout=5, read_timeout=5)
    made: Any = session()
    return made.client(name, endpoint_url=url, config=config)


def test_all_connections_of_a_worker_load_their_certificates_once(server: Server, loaded: list[Any]) -> None:
    """Fails when botocore or urllib3 stops using the shared context, and connections cost 23 ms of CPU each again."""
    tls.share_with_botocore()
    with new_client() as web:
        for name, ask in ASKED.items():
            aws = client(name, server.url)
            ask(aws)
            ask(aws)  # the server has closed the connection
        for _ in range(2):
            assert web.get(server.url).status_code == 200
    assert loaded == [certifi.where()]


def test_a_worker_loads_its_certificates_once(
    server: Server, loaded: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in (ENVIRONMENT | keys | {"AWS_ENDPOINT_URL": server.url}).items():
        monkeypatch.setenv(name, value)
    services = get_services.__wrapped__()
    for _ in range(2):  # the server has closed the connection
        services.rate_limiter.look()
        services.gateway.have_key()
    assert loaded == [certifi.where()]


@pytest.mark.parametrize("wrong", ["unknown authority", "another host", "expired"])
def test_each_client_refuses_a_wrong_certificate(server: Server, wrong: str, tmp_path: Path) -> None:
    shown = {
        "unknown authority": lambda: Authority(tmp_path, "unknown").certificate("localhost"),
        "another host": lambda: server.authority.certificate("elsewhere.test"),
        "expired": lambda: server.authority.certificate("localhost", days=-1),
    }
    tls.share_with_botocore()
    ASKED["s3"](client("s3", server.url))  # the context has been in use
    server.show(shown[wrong]())
    for name, ask in ASKED.items():
        with pytest.raises(SSLError):
            ask(client(name, server.url))
    with new_client() as web, pytest.raises(httpx.ConnectError):
        web.get(server.url)


def test_nothing_that_a_library_sets_weakens_the_shared_context(trusted: Authority) -> None:
    shared = tls.context()
    shared.check_hostname = False
    shared.verify_mode = ssl.CERT_NONE
    assert shared.check_hostname
    assert shared.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize("variable", tls.OWN_CERTIFICATES_OF_AWS)
def test_certificates_of_ones_own_for_aws_are_for_aws_alone(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    own = Authority(tmp_path, "own")
    monkeypatch.setenv(variable, str(own.file))
    tls.share_with_botocore()
    server.show(own.certificate("localhost"))
    for name, ask in ASKED.items():
        ask(client(name, server.url))
    with new_client() as web, pytest.raises(httpx.ConnectError):
        web.get(server.url)


def test_certificates_of_ones_own_for_the_gateway_are_not_for_aws(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = Authority(tmp_path, "own")
    monkeypatch.setenv("SSL_CERT_FILE", str(own.file))
    tls.share_with_botocore()
    server.show(own.certificate("localhost"))
    with new_client() as web:
        assert web.get(server.url).status_code == 200
    with pytest.raises(SSLError):
        ASKED["ssm"](client("ssm", server.url))
