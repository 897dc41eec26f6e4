"""What a seed stands for: the conditions, and all that users, operators, AWS and the gateway will do in it.

Everything is a fact of the plan and in no need of chance while it is played, so that a plan with some of its events
left out is played like the whole one up to the first that is missing.
"""

from dataclasses import dataclass, field, fields
from typing import Literal

Route = Literal["generations", "edits", "edits-multipart"]
AwsKind = Literal["throttled", "refused", "failed", "lost", "late", "slow"]
Keys = Literal["honoured", "ignored", "failures kept"]


@dataclass(frozen=True)
class Conditions:
    """What holds all along. `start` is in seconds after midnight."""

    seed: int
    start: float = 8 * 3600.0
    is_versioned: bool = True
    stacks: int = 1
    route: Route = "generations"
    keys: Keys = "honoured"
    """What the gateway does with idempotency keys; the last also answers a failure again to its key."""
    on_unknown: Literal["retry", "park"] = "retry"
    requests_per_minute: int = 60
    daily_image_limit: int = 0
    max_attempts: int = 6
    timeout_seconds: int = 100
    retry_concurrency: int = 20
    skew_seconds: float = 0.0
    """How far the workers' clocks are off, either way."""
    reconcile_seconds: float = 900.0
    answers: Literal["links", "inline", "mixed"] = "links"
    tells_cost: bool = False
    """Whether the gateway's price is in its answers; it differs from PricePerImageUsd then."""
    has_eventbridge: bool = False
    """Events come from EventBridge, as for an existing bucket."""
    batch: tuple[str, ...] = ()
    """Keys whose first uploads are a batch, two of them in a shard."""


@dataclass(frozen=True)
class At:
    """Something that happens at a time, in seconds since the start."""

    at: float


@dataclass(frozen=True)
class Upload(At):
    """Somebody writes a photo; `photo` says which bytes."""

    number: int
    key: str
    photo: int
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class PromptFile(At):
    """Somebody writes a prompt.txt."""

    key: str
    text: str


@dataclass(frozen=True)
class Delete(At):
    """Somebody deletes a photo."""

    key: str


@dataclass(frozen=True)
class Restore(At):
    """Somebody removes the newest version or marker of a photo for good."""

    key: str


@dataclass(frozen=True)
class RemoveResult(At):
    """Somebody deletes a photo's results."""

    key: str


@dataclass(frozen=True)
class Notice:
    """What becomes of the event of an upload: it comes after each of these seconds; never, if there are none."""

    number: int
    after: tuple[float, ...]


@dataclass(frozen=True)
class AwsTrouble:
    """The `nth` call of an operation for a photo goes wrong, and boto3's next `times` - 1 tries, too.

    `throttled`, `refused` and `failed` come before anything is done, `lost` after it; `late` takes `seconds` before
    it, `slow` after it.
    """

    key: str
    operation: str
    nth: int
    kind: AwsKind
    times: int = 1
    seconds: float = 0.0


@dataclass(frozen=True)
class Kill:
    """The worker ends at its `nth` call of anything for a photo, before or after it took place."""

    key: str
    nth: int
    moment: Literal["before", "after"]


@dataclass(frozen=True)
class GatewayTrouble:
    """What comes of the `nth` call of the gateway for a photo."""

    key: str
    nth: int
    kind: str
    seconds: float = 0.0


@dataclass(frozen=True)
class ResultTrouble:
    """What comes of the `nth` request for a result of a photo."""

    key: str
    nth: int
    kind: str


@dataclass(frozen=True)
class Redelivery:
    """The `nth` message about a photo that is received comes again after some seconds, whatever becomes of it."""

    key: str
    nth: int
    seconds: float


@dataclass(frozen=True)
class Outage(At):
    """For some seconds, something is not there for anybody."""

    seconds: float
    what: str


@dataclass(frozen=True)
class KeyChange(At):
    """The gateway takes another key from now on; SSM has it `seconds` later."""

    seconds: float


@dataclass(frozen=True)
class Redrive(At):
    """Somebody moves all dead letters back."""


@dataclass(frozen=True)
class RetryNow(At):
    """Somebody asks for one more look at a photo."""

    key: str


@dataclass(frozen=True)
class Deploy(At):
    """Somebody deploys other settings, by the names of the functions' environment."""

    changes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Reconcile(At):
    """Somebody runs the reconciler by hand."""


Trouble = AwsTrouble | Kill | GatewayTrouble | ResultTrouble | Redelivery
Event = (
    Upload
    | PromptFile
    | Delete
    | Restore
    | RemoveResult
    | Notice
    | Trouble
    | Outage
    | KeyChange
    | Redrive
    | RetryNow
    | Deploy
    | Reconcile
)


@dataclass(frozen=True)
class Plan:
    """Conditions and events; `kept` are the places of those that are played, None for all."""

    conditions: Conditions
    events: tuple[Event, ...] = ()
    kept: tuple[int, ...] | None = field(default=None)

    @property
    def played(self) -> tuple[Event, ...]:
        """The events that are not left out."""
        return self.events if self.kept is None else tuple(self.events[place] for place in self.kept)


def event_text(event: Event) -> str:
    """An event of a plan in one line."""
    values = {field.name: getattr(event, field.name) for field in fields(event)}
    shown = " ".join(f"{name}={value}" for name, value in values.items() if name != "at" and value not in ((), None))
    return f"{type(event).__name__} {shown}".strip()
