"""From a plan that breaks a promise to a short one that still breaks it."""

import re
from dataclasses import replace

from tools.simulation.plan import Plan
from tools.simulation.play import Play

MOST_PLAYS = 400


def kind(violation: str) -> str:
    """What a violation is about, without keys and numbers."""
    return re.sub(r"\d+|^\S+: ", "", violation)


def shrunk(plan: Plan, violation: str) -> Plan:
    """With as few events as still lead to a violation of the same kind."""
    wanted = kind(violation)
    kept = tuple(range(len(plan.events)))
    plays = 0

    def still_fails(places: tuple[int, ...]) -> bool:
        nonlocal plays
        plays += 1
        return any(kind(each) == wanted for each in Play(replace(plan, kept=places)).run().violations)

    size = max(1, len(kept) // 2)
    while plays < MOST_PLAYS:
        for start in range(0, len(kept), size):
            fewer = kept[:start] + kept[start + size :]
            if fewer and still_fails(fewer):
                kept = fewer
                break
        else:
            if size == 1:
                break
            size //= 2
    return replace(plan, kept=kept)
