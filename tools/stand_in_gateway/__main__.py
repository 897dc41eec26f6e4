"""`python -m tools.stand_in_gateway`: the stand-in in the foreground, until it is interrupted."""

import argparse
from contextlib import suppress

from .account import Settings
from .server import KEY, Server


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.stand_in_gateway", description="A stand-in for the AI gateway."
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=8787)
    parser.add_argument("--key", default=KEY, help="the API key that it accepts")
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS", help="what each call takes at least")
    arguments = parser.parse_args()
    print(f"Stand-in gateway, no AI, nothing is bought: http://{arguments.host}:{arguments.port}/v1", flush=True)
    settings = Settings(keys=(arguments.key,), latency_seconds=arguments.latency)
    with suppress(KeyboardInterrupt):
        Server(settings, arguments.host, arguments.port).run()


if __name__ == "__main__":
    main()
