"""What one deployed stack consists of, the settings that its functions get, and the workers that run them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from backdrop.services import Services
from tools.simulation.plan import Conditions
from tools.simulation.simulated_queue import Queue
from tools.simulation.simulated_s3 import Bucket
from tools.simulation.simulated_table import SimulatedTable

PRICE = 0.03


@dataclass(eq=False)
class Stack:
    """Its resources, and what can be counted of it."""

    number: int
    queue: Queue
    table: SimulatedTable = field(default_factory=SimulatedTable)
    results: Bucket = field(default_factory=Bucket)
    dead_letters: list[dict[str, Any]] = field(default_factory=list)
    published: list[dict[str, Any]] = field(default_factory=list)
    metrics: Counter[str] = field(default_factory=Counter)
    invocations: Counter[str] = field(default_factory=Counter)
    """By the key that they are about."""
    rates: set[int] = field(default_factory=set)
    """Calls a minute: of all settings that it has had, as are the next two."""
    limits: set[int] = field(default_factory=set)
    policies: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """What it is deployed as."""
        return f"stack{self.number}"

    @property
    def output_bucket(self) -> str:
        """The name of the bucket of its results."""
        return f"out-{self.number}"

    @property
    def retry_url(self) -> str:
        """Of RetryQueue."""
        return f"https://sqs/{self.name}-retry"


class Killed(BaseException):
    """The worker's process ends here and now: no handler runs, as with SIGKILL."""


@dataclass(eq=False)
class Worker:
    """One execution environment of Lambda, and what it works on."""

    name: str
    stack: Stack
    skew: float
    services: Services | None = None
    subject: str = ""
    """The key that its invocation is about."""
    ends_at: float = 0.0
    is_dead: bool = False
    delayed: float = 0.0
    """Seconds that AWS took longer than usual since it asked for its last slot."""
    delayed_before_request: float = 0.0
    """The same until its present request to AWS began."""
    observe: Callable[[str], None] = field(default=lambda _: None)


def environment_of(stack: Stack, conditions: Conditions) -> dict[str, str]:
    """The functions' environment as it is deployed at first."""
    return {
        "STACK_NAME": stack.name,
        "INPUT_BUCKET": "in",
        "OUTPUT_BUCKET": stack.output_bucket,
        "RETRY_QUEUE_URL": stack.retry_url,
        "DEAD_LETTER_QUEUE_URL": f"https://sqs/{stack.name}-dead-letters",
        "LEDGER_TABLE": "ledger",
        "GATEWAY_BASE_URL": "https://gateway.test/v1",
        "GATEWAY_API_KEY_PARAMETER": "/key",
        "GATEWAY_MODEL": "ideogram/ideogram-v3-replace-background",
        "GATEWAY_ROUTE": conditions.route,
        "GATEWAY_TIMEOUT_SECONDS": str(conditions.timeout_seconds),
        "REQUESTS_PER_MINUTE": str(conditions.requests_per_minute),
        "DAILY_IMAGE_LIMIT": str(conditions.daily_image_limit),
        "PRICE_PER_IMAGE_USD": str(PRICE),
        "DEFAULT_PROMPT": "",
        "MAX_ATTEMPTS": str(conditions.max_attempts),
        "ON_UNKNOWN_OUTCOME": conditions.on_unknown,
    }
