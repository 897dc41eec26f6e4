"""Where decisions are made, and taken back: nobody overwrites what they have not seen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Lock

from backdrop_cli import decisions
from backdrop_cli.decisions import APPROVED, REJECTED, Decision, Tagged
from backdrop_cli.deployment import Deployment
from backdrop_cli.review.board import Board
from backdrop_cli.review.pairs import Pair, Result, Status, fingerprint, with_decisions

MOST_UNDONE = 1000


class Conflict(Exception):
    """What is there is not what was seen; the message says what is there. The board has it by now."""


class NotDecided(Exception):
    """There is nothing to decide on; the message says why."""


@dataclass(frozen=True)
class _Step:
    """A decision that can be taken back: what was there before, and what has to be there still."""

    pair_id: str
    before: tuple[Decision | None, ...]
    seen: str


class Desk:
    """Writes decisions, as `Deployment.caller`."""

    def __init__(self, deployment: Deployment, board: Board) -> None:
        self._deployment = deployment
        self._board = board
        self._steps: list[_Step] = []
        self._one_at_a_time = Lock()

    def decide(self, pair_id: str, verdict: str, choice: int, seen: str) -> Pair:
        """Approve the result number `choice` (from 0) and reject the others, or reject them all.

        `seen` is the pair's when it was looked at. Raises Conflict, NotDecided.
        """
        pair = self._board.get(pair_id)
        if pair is None or not pair.results or pair.status is Status.FAILED:
            raise NotDecided("There is no complete result to decide on.")
        if verdict not in (APPROVED, REJECTED) or choice not in range(len(pair.results)):
            raise NotDecided("That is no decision.")
        at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        by = decisions.taggable(self._deployment.caller)
        made = [Decision(verdict if index == choice else REJECTED, by, at) for index, _ in enumerate(pair.results)]
        with self._one_at_a_time:
            before = tuple(result.decision for result in pair.results)
            pair = self._write(pair, made, seen)
            self._steps = [*self._steps[-MOST_UNDONE:], _Step(pair_id, before, pair.seen)]
        return pair

    def undo(self) -> Pair:
        """Take the last decision back. Raises Conflict when somebody has decided since, NotDecided for none."""
        with self._one_at_a_time:
            if not self._steps:
                raise NotDecided("There is nothing to undo.")
            step = self._steps.pop()
            pair = self._board.get(step.pair_id)
            if pair is None or len(pair.results) != len(step.before):
                raise NotDecided("The photo was replaced or deleted since; there is nothing to undo.")
            return self._write(pair, step.before, step.seen)

    def _write(self, pair: Pair, made: Sequence[Decision | None], seen: str) -> Pair:
        tagged = [decisions.read(self._deployment, result.picture.key) for result in pair.results]
        there = [each for each in tagged if each]
        if len(there) < len(tagged):
            raise NotDecided("A result was deleted meanwhile. Look again in a moment.")
        now = replace(pair, results=tuple(map(_as_it_is, pair.results, there)))
        if fingerprint(now.results) != seen:
            self._board.put(now)
            raise Conflict(_what_is_there(pair, now))
        for each, decision in zip(there, made, strict=True):
            decisions.write(self._deployment, each, decision)
        now = with_decisions(now, made)
        self._board.put(now)
        return now


def _as_it_is(result: Result, tagged: Tagged) -> Result:
    return Result(replace(result.picture, version_id=tagged.version_id), tagged.decision)


def _what_is_there(before: Pair, now: Pair) -> str:
    if [each.picture.version_id for each in before.results] != [each.picture.version_id for each in now.results]:
        return "The result was replaced meanwhile: it is another picture."
    if now.decision is None:
        return "The decision was taken back meanwhile."
    return f"{now.decision.name} has {now.decision.verdict} it meanwhile."
