"""A gateway call: what is sent, what it is for, and what it bought."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Call:
    """A gateway request that can be sent again byte for byte; kept until its answer is known."""

    idempotency_key: str
    route: str
    body: str
    image_link_dies_at: float
    """Epoch seconds; the presigned link inside `body`."""
    made_at: float
    """Epoch seconds; when it was sent for the first time, or a moment before."""
    path: str = ""
    """Below the gateway's base URL, instead of the route's own; empty for that."""
    headers: dict[str, str] = field(default_factory=dict)
    """Beside those that every call has."""


@dataclass(frozen=True)
class Order:
    """What a new call is for, as the ledger keeps it beside the call."""

    images: int
    model: str
    source_modified: float
    fingerprint: str
    again: str
    prompt_sha256: str
    prompt_length: int


@dataclass(frozen=True)
class Purchase:
    """What a gateway call bought. In a job only when the ledger could not be written."""

    idempotency_key: str
    links: tuple[str, ...]
    inline: bool
    request_id: str
    cost_usd: str
    paid_at: float
    """Epoch seconds."""
