import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.integration.stand_in_gateway.client import SMALL_PIXELS, PhotoServer
from tools.stand_in_gateway.server import GatewayControl


@pytest.fixture
def gateway(gateway: GatewayControl) -> GatewayControl:
    """As it is after its start, but with small pictures."""
    gateway.reset()
    gateway.settings(image_pixels=SMALL_PIXELS)
    return gateway


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
