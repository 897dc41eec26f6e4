"""What a plan makes workers meet: what goes wrong with their next call, and what is not there for anybody."""

from collections import Counter
from typing import TypeVar

from tools.simulation.plan import AwsTrouble, GatewayTrouble, Kill, Redelivery, ResultTrouble, Trouble

_AWS_OUTAGES = {"dynamodb throttled", "s3 failed", "ssm throttled", "sqs failed"}
_Kind = TypeVar("_Kind", AwsTrouble, GatewayTrouble, Kill, Redelivery, ResultTrouble)


class Troubles:
    """Of one play. Whoever asks for the next one of a subject, the key of a photo, meets it."""

    def __init__(self) -> None:
        self.outages: set[str] = set()
        """What is not there at the moment."""
        self._planned: dict[tuple[type[Trouble], str, str, int], Trouble] = {}
        self._count: Counter[tuple[type[Trouble], str, str]] = Counter()

    def plan(self, trouble: Trouble) -> None:
        """Let somebody meet it."""
        operation = trouble.operation if isinstance(trouble, AwsTrouble) else ""
        self._planned[type(trouble), trouble.key, operation, trouble.nth] = trouble

    def _next(self, kind: type[_Kind], subject: str, operation: str = "") -> _Kind | None:
        self._count[kind, subject, operation] += 1
        found = self._planned.get((kind, subject, operation, self._count[kind, subject, operation]))
        return found if isinstance(found, kind) else None

    def of_aws(self, subject: str, operation: str) -> AwsTrouble | None:
        """What goes wrong with a worker's next call of an AWS operation."""
        return self._next(AwsTrouble, subject, operation)

    def kill_of(self, subject: str) -> str:
        """`before` or `after`, if a worker ends at its next call of anything."""
        found = self._next(Kill, subject)
        return found.moment if found else ""

    def of_gateway(self, subject: str) -> GatewayTrouble | None:
        """What comes of the next gateway call for a photo."""
        return self._next(GatewayTrouble, subject)

    def of_result(self, subject: str) -> str:
        """What comes of the next request for a result of a photo."""
        found = self._next(ResultTrouble, subject)
        return found.kind if found else ""

    def redelivery_of(self, subject: str) -> float | None:
        """In how many seconds the message that is received comes a second time."""
        found = self._next(Redelivery, subject)
        return found.seconds if found else None

    def aws_outage(self, service: str) -> AwsTrouble | None:
        """What all calls of an AWS service meet."""
        for what in _AWS_OUTAGES & self.outages:
            name, _, kind = what.partition(" ")
            if name == service:
                return AwsTrouble("", "", 0, kind)  # type: ignore[arg-type]
        return None

    @property
    def gateway_outage(self) -> str:
        """What all gateway calls meet."""
        return min(self.outages - _AWS_OUTAGES, default="")
