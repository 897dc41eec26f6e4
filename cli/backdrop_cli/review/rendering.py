"""Pairs as HTML. Every text is taken as text, whatever is in it: the templates escape all that they are given."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from jinja2 import Environment

from backdrop_cli.deployment import Deployment
from backdrop_cli.failures import advice
from backdrop_cli.gallery import failure_of
from backdrop_cli.page import counted, dollars
from backdrop_cli.review.board import Board, News
from backdrop_cli.review.pairs import Pair, Status, totals
from backdrop_cli.templates import templates
from backdrop_cli.uploads import WAITS, Stage, waits_for

LABELS = {
    Status.UNDECIDED: "To decide",
    Status.APPROVED: "Approved",
    Status.REJECTED: "Rejected",
    Status.FAILED: "Failed",
    Status.ON_ITS_WAY: "On its way",
}


@cache
def _templates() -> Environment:
    environment = templates()
    environment.filters |= {"dollars": dollars, "counted": counted, "when": _when}
    environment.globals |= {"labels": LABELS}
    return environment


def _when(iso: str) -> str:
    """A time in this machine's time zone, as short as it can be told."""
    try:
        at = datetime.fromisoformat(iso).astimezone()
    except ValueError:
        return ""
    is_today = at.date() == datetime.now().astimezone().date()
    return f"{at:%H:%M}" if is_today else f"{at:%Y-%m-%d %H:%M}"


class Rendering:
    """The page's parts, of what is on the board."""

    def __init__(self, deployment: Deployment, board: Board, place: str) -> None:
        self._deployment = deployment
        self._board = board
        self._place = place

    def page(self) -> str:
        """All of it."""
        number, pairs = self._board.number, self._board.pairs()
        cards = [self.card(pair) for pair in pairs]
        return self._render("review.html", number=number, cards=cards, place=self._place, **self._top_values(pairs))

    def card(self, pair: Pair) -> str:
        """A pair in the grid."""
        return self._render("card.html", pair=pair, why=self._why(pair))

    def large(self, pair: Pair) -> str:
        """A pair to be looked at closely."""
        what_to_do = advice(str((pair.record.reason or {}).get("code"))) if pair.record else ""
        return self._render("large.html", pair=pair, why=self._why(pair), advice=what_to_do)

    def news(self, news: News) -> dict[str, Any]:
        """What changed, for the page's script: cards with the id of the one that each stands before."""
        pairs = self._board.pairs()
        next_ids = dict(zip((pair.id for pair in pairs), [*(pair.id for pair in pairs[1:]), None], strict=False))
        return {
            "cards": [
                {"id": pair.id, "html": self.card(pair), "next": next_ids.get(pair.id)}
                for pair in reversed(news.changed)
            ],
            "gone": list(news.gone),
            "top": self._render("top.html", **self._top_values(pairs)),
        }

    def _top_values(self, pairs: Sequence[Pair]) -> dict[str, Any]:
        settings, pace, now = self._deployment.settings, self._board.pace, self._deployment.clock.now()
        return {
            "totals": totals(pairs),
            "trouble": self._board.trouble,
            "is_complete": self._board.is_complete,
            "bought_today": pace.bought_today if pace else 0,
            "spent_today": float(settings.price_per_image_usd) * pace.bought_today if pace else 0.0,
            "limit": settings.daily_image_limit,
            "blocked": pace.block_in_words(now) if pace and pace.is_blocked else "",
        }

    def _why(self, pair: Pair) -> str:
        """Why a pair has no result, or not yet."""
        if pair.stage is Stage.FAILED and pair.record:
            return failure_of(pair.record)
        if pair.stage is Stage.WAITING and pair.record and self._board.pace:
            limit, now = self._deployment.settings.daily_image_limit, self._deployment.clock.now()
            return f"Waits {WAITS[waits_for(pair.record, self._board.pace, limit, now)]}."
        return {
            Stage.NEW: "Just uploaded.",
            Stage.WAITING: "Waits.",
            Stage.RUNNING: "Being made.",
            Stage.STUCK: "Nobody has looked at it for long; it is sent again by itself.",
        }.get(pair.stage, "")

    @staticmethod
    def _render(name: str, **values: Any) -> str:
        return _templates().get_template(name).render(**values)
