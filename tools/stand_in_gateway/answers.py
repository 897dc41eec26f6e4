"""The body of a 200."""

import base64
import json
from dataclasses import dataclass

from .faults import Fault


@dataclass(frozen=True)
class Answer:
    """Kept byte for byte, so that a replay is the same answer."""

    body: bytes
    media_type: str = "application/json"
    status: int = 200


def answer_with(
    images: list[dict[str, str | None]], created: int, fault: Fault | None, cost_usd: float | None = None
) -> Answer:
    """The documented answer, with the price if there is one, or what a fault makes of it.

    `created` is in Unix seconds.
    """
    match fault:
        case Fault(kind="html"):
            return Answer(b"<!doctype html><title>stand-in</title><h1>A page, not an answer</h1>", "text/html")
        case Fault(kind="empty"):
            images = []
        case Fault(kind="fewer"):
            images = images[:-1]
        case Fault(kind="null_url"):
            images = [{"url": None} for _ in images]
        case Fault(kind="link", url=url):
            images = [{"url": url} for _ in images]
        case Fault(kind="answer", text=text, status=status):
            body = text.replace("{link}", images[0].get("url") or "").encode("latin-1")
            return Answer(body, status=status if 200 <= status < 300 else 200)
        case Fault(kind="inline", text=text, megabytes=megabytes):
            data = text.encode("latin-1") + bytes(megabytes * 1_000_000)
            images = [{"b64_json": base64.b64encode(data).decode()} for _ in images]
    usage = {} if cost_usd is None else {"usage": {"cost": cost_usd}}
    return Answer(json.dumps({"created": created, "data": images, **usage}).encode())
