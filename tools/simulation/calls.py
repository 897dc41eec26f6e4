"""The gateway's calls as they arrive, and what it takes for them."""

from dataclasses import dataclass
from typing import Literal

from tools.simulation.stack import Stack, Worker

PRICE_WITHOUT_WORD, PRICE_TOLD = 3, 4
"""Cents for an image: PricePerImageUsd's, and another one that is told in the answer."""
Outcome = Literal["not charged", "lost", "answered", "own failure", "failure"]
"""What Backdrop can know of a call by its answer."""


@dataclass(frozen=True)
class Call:
    """One call as it arrived. `key` is its idempotency key."""

    at: float
    stack: Stack
    upload: str
    key: str
    digest: str
    images: int
    worker: Worker
    is_repeated_at_once: bool
    """In place of one that was answered 401 a moment ago."""


@dataclass(frozen=True)
class Charge:
    """Money; `cents` is for all images."""

    at: float
    stack: Stack
    upload: str
    key: str
    images: int
    cents: int
    worker: Worker
