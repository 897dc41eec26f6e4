"""What is between a client and AWS: it takes time, costs money, and can fail."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")


class Connection(Protocol):
    """Each simulated client makes all of its calls through one."""

    def now(self) -> float:
        """AWS's time, in epoch seconds."""

    def call(
        self,
        service: str,
        operation: str,
        apply: Callable[[], Result],
        about: str = "",
        written: Mapping[str, Any] | None = None,
    ) -> Result:
        """Let AWS do `apply`, about an object or item; what it answers. `written` is the item that is paid for."""
