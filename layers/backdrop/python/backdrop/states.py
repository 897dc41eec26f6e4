"""The states of an upload, and which may follow which.

    CLAIMED ──► CALLING ──► PAID ──► DONE
       ▲         │   ▲        │
       │         ▼   │        │ inline images that a crash swallowed
       └──────  UNKNOWN ◄─────┘          aside: REJECTED   SUPERSEDED   UNCHANGED

CALLING is written before a call is sent and PAID before anything else happens to its answer, so a crash at any point
leaves enough to go on without paying again. UNKNOWN may have been charged: only the same call, with its idempotency key
and body, goes on from there. A new key follows only from CLAIMED.
"""

from enum import StrEnum


class State(StrEnum):
    """How far an upload is."""

    CLAIMED = "CLAIMED"
    CALLING = "CALLING"
    PAID = "PAID"
    DONE = "DONE"
    UNKNOWN = "UNKNOWN"
    REJECTED = "REJECTED"
    SUPERSEDED = "SUPERSEDED"
    UNCHANGED = "UNCHANGED"
    """The key's current result was made from the same photo for the same request."""


class ImpossibleMove(RuntimeError):
    """A state that can't follow: a fault of this program."""


NEXT: dict[State, set[State]] = {
    State.CLAIMED: {State.CLAIMED, State.CALLING, State.REJECTED, State.SUPERSEDED, State.UNCHANGED},
    State.CALLING: {State.CLAIMED, State.UNKNOWN, State.PAID, State.REJECTED},
    State.UNKNOWN: {
        *(State.CLAIMED, State.CALLING, State.UNKNOWN, State.PAID, State.REJECTED),
        State.SUPERSEDED,  # before its call is repeated
    },
    State.PAID: {State.PAID, State.UNKNOWN, State.DONE, State.REJECTED},
    State.DONE: set(),
    State.REJECTED: {State.CLAIMED, State.UNKNOWN, State.PAID},
    State.SUPERSEDED: {
        *(State.CLAIMED, State.CALLING, State.SUPERSEDED, State.UNCHANGED, State.REJECTED),
        State.UNKNOWN,
    },
    State.UNCHANGED: {State.CLAIMED},
}
"""Which states may follow; a state that follows itself is written with other facts."""
