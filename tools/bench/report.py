"""What the measuring modules share: ports, and tables in Markdown."""

import socket
from collections.abc import Sequence
from typing import Any


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a Markdown table; the first one's keys are the head."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([str(row.get(name, "")) for name in head] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
