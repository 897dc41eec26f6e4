"""A play for people: the conditions, and what happened, with the time, who and what."""

from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime

from tools.simulation.plan import At, Conditions, event_text
from tools.simulation.play import Play


def told(play: Play) -> Iterator[str]:
    """Line by line; times are of the simulated day."""
    yield f"The conditions: {_differences(play.plan.conditions)}."
    for event in play.plan.played:
        if not isinstance(event, At):
            yield f"To come: {event_text(event)}"
    for at, who, what in play.history:
        moment = datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="milliseconds")[11:23]
        day = int((at - play.shared.begin + play.plan.conditions.start) // 86_400)
        yield f"{f'day {day + 1} ' if day else ''}{moment}  {who}: {what}"


def command(play: Play) -> str:
    """What plays it again."""
    kept = play.plan.kept
    only = f" --only {','.join(map(str, kept))}" if kept is not None else ""
    return f".venv/bin/python -m tools.simulation --seed {play.plan.conditions.seed}{only} --story"


def _differences(conditions: Conditions) -> str:
    """What is not as usual."""
    usual = Conditions(conditions.seed)
    changed = {field.name: getattr(conditions, field.name) for field in fields(conditions)}
    shown = [f"{name}={value}" for name, value in changed.items() if value != getattr(usual, name) and name != "start"]
    return ", ".join(shown) or "as usual"
