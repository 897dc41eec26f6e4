"""How soon a perfect scheduler would have been done with the very calls of a simulated run."""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class SentCall:
    """A call that the gateway admitted, and for how many seconds it took."""

    upload: str
    seconds: float


def perfect_end(
    arrived: Mapping[str, float],
    calls: Iterable[SentCall],
    rpm: int,
    executions: int,
    closed: tuple[float, float] = (0.0, 0.0),
) -> float:
    """When the last of `calls` ends, if each leaves at the first moment at which it may.

    In the order given, one every 60/`rpm` seconds; none before its upload has `arrived` and the upload's call before
    it has ended, none while the gateway is `closed`, and not more than `executions` at a time. All in seconds.
    """
    free_again = [0.0] * executions
    ended: dict[str, float] = {}
    slot = 0.0
    for call in calls:
        slot = max(slot, heapq.heappop(free_again))
        if call.upload not in ended:
            slot = max(slot, arrived[call.upload])
        if closed[0] <= slot < closed[1]:
            slot = closed[1]
        # A repeated call takes its turn when the one before has ended; nobody else waits for that.
        leaves = max(slot, ended.get(call.upload, 0.0))
        ended[call.upload] = leaves + call.seconds
        heapq.heappush(free_again, ended[call.upload])
        slot += 60 / rpm
    return max(ended.values())
