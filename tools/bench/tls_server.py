"""`python -m tools.bench.tls_server CERTIFICATE SERVICE...`: AWS and the gateway over TLS on loopback; prints the port.

Connections are kept, but for those to the services that are named: each answer closes them, as an idle time would.
"""

import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tools.bench.stubbed_services import StubbedServices

KEPT, S3_AND_EVENTS, ALL = (), ("s3", "events"), ("s3", "events", "dynamodb", "ssm")
_SERVICES = {"DynamoDB": "dynamodb", "AmazonSSM": "ssm", "AWSEvents": "events"}


class Server(ThreadingHTTPServer):
    """`closing` are the services whose connections are not kept."""

    daemon_threads = True

    def __init__(self, certificate: str, closing: tuple[str, ...]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.closing = closing
        self.services = StubbedServices(f"https://localhost:{self.server_port}")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        # The handshake is the handler's first read, in its own thread.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def _answer(self) -> None:
        body = self._body()
        if self.path.startswith(("/v1/", "/media/")):
            status, headers, data = self.server.services.gateway(self.command)
            service = "gateway"
        else:
            status, headers, data = self.server.services.aws(self.command, self.path, dict(self.headers), body)
            service = _SERVICES.get(self.headers.get("X-Amz-Target", "").partition(".")[0].partition("_")[0], "s3")
        self.send_response_only(status)
        for name, value in ({"Content-Length": str(len(data))} | headers).items():
            self.send_header(name, value)
        if service in self.server.closing:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _body(self) -> bytes:
        """All of it, so that nobody is answered while still sending: botocore sends a photo in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    do_GET = do_HEAD = do_POST = do_PUT = _answer

    def log_message(self, *_: object) -> None:
        """Nothing."""


def main() -> None:
    """Serve until the process is ended."""
    certificate, *closing = sys.argv[1:]
    server = Server(certificate, tuple(closing))
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
