"""A reverse proxy before the stand-in gateway that loses answers: what was charged is reported as failed."""

import http.client
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

STATUSES = (502, 504, 500, 408)
LOST_PER_KEY = 3  # at most, so that no call ever uses up MaxAttempts by bad luck
_SECONDS = 30.0
_MAX_BODY_BYTES = 2**26
_OF_ONE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class LossyProxy(ThreadingHTTPServer):
    """Forwards everything to `upstream` ("host:port"); of the calls' answers with 200 every third one is lost."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.base_url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.lost: Counter[str] = Counter()
        """Lost answers by idempotency key."""
        self._lock = threading.Lock()
        self._kept = 0

    def loses(self, key: str) -> int | None:
        """The status in place of this answer, None when it gets through."""
        with self._lock:
            if self._kept < 2 or self.lost[key] == LOST_PER_KEY:
                self._kept += 1
                return None
            self._kept = 0
            self.lost[key] += 1
            return STATUSES[self.lost.total() % len(STATUSES)]


class _Handler(BaseHTTPRequestHandler):
    server: LossyProxy
    timeout = _SECONDS

    def do_GET(self) -> None:
        self._forward()

    def do_POST(self) -> None:
        self._forward()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: links have signatures in them."""

    def _forward(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        if size > _MAX_BODY_BYTES:
            self.send_error(413)
            return
        body = self.rfile.read(size)
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=_SECONDS)
        try:
            # With the caller's Host, as most proxies are set up: the gateway's links then lead through the proxy, too.
            upstream.request(self.command, self.path, body, dict(self.headers))
            answer = upstream.getresponse()
            status, headers, data = answer.status, answer.getheaders(), answer.read(_MAX_BODY_BYTES)
        except (OSError, http.client.HTTPException):
            self.send_error(502)
            return
        finally:
            upstream.close()
        if self.command == "POST" and status == 200:
            lost_as = self.server.loses(self.headers.get("Idempotency-Key", ""))
            if lost_as is not None:
                status, headers = lost_as, [("Content-Type", "text/html")]
                data = f"<html><head><title>{lost_as}</title></head></html>".encode()
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _OF_ONE_CONNECTION:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def lossy_proxy(gateway_base_url: str) -> Iterator[LossyProxy]:
    """A proxy on a free loopback port, in threads of this process, until the block ends."""
    with LossyProxy(urlsplit(gateway_base_url).netloc) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, name="lossy-proxy", daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join(_SECONDS)
