"""What is between a client and AWS: it takes time, costs money, and can fail."""

from collections.abc import Callable
from typing import Protocol, TypeVar

Result = TypeVar("Result")


class Connection(Protocol):
    """Each simulated client makes all of its calls through one."""

    def now(self) -> float:
        """AWS's time, in epoch seconds."""

    def call(
        self, service: str, operation: str, apply: Callable[[], Result], about: str = "", units: int = 0
    ) -> Result:
        """Let AWS do `apply`, about an object or item, for so many write units; what it answers."""
