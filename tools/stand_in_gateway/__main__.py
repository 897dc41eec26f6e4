"""`python -m tools.stand_in_gateway`: the stand-in in the foreground, until it is interrupted."""

import argparse
import socket
from contextlib import suppress

from .account import Settings
from .server import KEY, Server


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.stand_in_gateway", description="A stand-in for the AI gateway."
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=8787, help="0 for any that is free")
    parser.add_argument("--fd", type=int, metavar="NUMBER", help="an inherited socket that listens, instead of both")
    parser.add_argument("--key", default=KEY, help="the API key that it accepts")
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS", help="what each call takes at least")
    arguments = parser.parse_args()
    settings = Settings(keys=(arguments.key,), latency_seconds=arguments.latency)
    if arguments.fd is None:
        listener = socket.create_server((arguments.host, arguments.port))
    else:
        listener = socket.socket(fileno=arguments.fd)
    with listener, suppress(KeyboardInterrupt):
        host, port = listener.getsockname()[:2]
        print(f"Stand-in gateway, no AI, nothing is bought: http://{host}:{port}/v1", flush=True)
        Server(settings).run([listener])


if __name__ == "__main__":
    main()
