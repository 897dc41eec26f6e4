"""What is simulated of many uploads at once."""

from dataclasses import dataclass

from tools.bench.simulated_gateway import Trouble
from tools.simulation.simulated_aws import CONCURRENT_EXECUTIONS, GROWN_TABLE, TableLimits

CALL_SECONDS = (4.0, 12.0, 60.0)  # at least, on average, at most
VISIBILITY_SECONDS = 180.0
"""The template's: how long RetryQueue hides a message that Lambda has no room for."""
NO_TROUBLE = Trouble()


@dataclass(frozen=True)
class Scenario:
    """What is simulated; `extra_seconds` is what no design could have used."""

    name: str
    uploads: int
    rpm: int
    trouble: Trouble = NO_TROUBLE
    extra_seconds: float = 0.0
    call_seconds: tuple[float, float, float] = CALL_SECONDS
    """At least, on average, at most."""
    executions: int = CONCURRENT_EXECUTIONS
    """How many Lambda runs at a time."""
    notifies_queue: bool = False
    """S3 tells RetryQueue of uploads, and not the function."""
    is_provisioned: bool = False
    """The queue's pollers are there from the start."""
    twice_every: int = 0
    """Each so manyth event comes twice at once; 0 for none."""
    daily_limit: int = 0
    """DailyImageLimit, 0 for none."""
    visibility: float = VISIBILITY_SECONDS
    retry_concurrency: int = 0
    """RetryConcurrency; 0 for what the pace asks for."""
    table: TableLimits = GROWN_TABLE
    """What the ledger's table takes."""
    starved: tuple[float, float] | tuple[()] = ()
    """From when to when other functions take all executions of the account, in seconds since the start."""
    may_feed_itself: bool = True
    """RetryFunction has `RecursiveLoop: Allow`."""

    @property
    def seeds(self) -> range:
        """One run for each; those with many uploads differ little, and take long."""
        return range(1, 6) if self.uploads <= 1_000 else range(1, 2)
