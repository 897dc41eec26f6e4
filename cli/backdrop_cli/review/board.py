"""All pairs of the page, in memory, and who wants to hear of changes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from backdrop_cli.forecast import PaceNow
from backdrop_cli.review.pairs import Pair, Picture


@dataclass(frozen=True)
class News:
    """What changed up to change number `number`: `changed` pairs, ids of those that are `gone`."""

    number: int
    changed: tuple[Pair, ...]
    gone: tuple[str, ...]


class Board:
    """Pairs by id, each with the number of its last change. Used by several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pairs: dict[str, Pair] = {}
        self._pictures: dict[str, Picture] = {}
        self._changes: dict[str, int] = {}
        self._number = 0
        self._listeners: set[Callable[[], None]] = set()
        self.pace: PaceNow | None = None
        self.trouble = ""
        """Why AWS can't be asked at present, in words; empty when it can."""
        self.is_complete = False
        """Whether everything was looked at once."""

    def pairs(self) -> list[Pair]:
        """All, by key."""
        with self._lock:
            return sorted(self._pairs.values(), key=lambda pair: pair.job.key)

    def get(self, pair_id: str) -> Pair | None:
        """The pair as it is now."""
        return self._pairs.get(pair_id)

    def picture(self, token: str) -> Picture | None:
        """An object that the page was told of."""
        return self._pictures.get(token)

    def put(self, *pairs: Pair) -> None:
        """Add or replace pairs."""
        with self._lock:
            for pair in pairs:
                self._put(pair)
        self._tell()

    def replace(self, before: Pair, after: Pair) -> Pair:
        """Put `after` in place of `before`, unless somebody has put another one there; the pair that is there then."""
        with self._lock:
            if self._pairs.get(before.id) == before:
                self._put(after)
            there = self._pairs.get(before.id, after)
        self._tell()
        return there

    def _put(self, pair: Pair) -> None:
        if self._pairs.get(pair.id) == pair:
            return
        self._number += 1
        self._changes[pair.id] = self._number
        self._pairs[pair.id] = pair
        for picture in (pair.photo, *(result.picture for result in (*pair.results, *pair.earlier))):
            self._pictures[picture.token] = picture

    def keep_only(self, ids: set[str]) -> None:
        """Forget the pairs whose photos are not there any more."""
        with self._lock:
            for pair_id in self._pairs.keys() - ids:
                self._number += 1
                self._changes[pair_id] = self._number
                del self._pairs[pair_id]
        self._tell()

    def say(self, pace: PaceNow | None, trouble: str) -> None:
        """How AWS and the gateway are."""
        if (pace, trouble) != (self.pace, self.trouble):
            self.pace, self.trouble = pace, trouble
            with self._lock:
                self._number += 1
            self._tell()

    def complete(self) -> None:
        """Everything was looked at once."""
        if not self.is_complete:
            self.is_complete = True
            with self._lock:
                self._number += 1
            self._tell()

    @property
    def number(self) -> int:
        """Of the last change."""
        return self._number

    def since(self, number: int) -> News:
        """What changed after change `number`."""
        with self._lock:
            ids = [pair_id for pair_id, changed in self._changes.items() if changed > number]
            changed = sorted((self._pairs[each] for each in ids if each in self._pairs), key=lambda pair: pair.job.key)
            return News(self._number, tuple(changed), tuple(each for each in ids if each not in self._pairs))

    @property
    def has_listeners(self) -> bool:
        """Whether a page is open."""
        return bool(self._listeners)

    @contextmanager
    def listening(self, tell: Callable[[], None]) -> Iterator[None]:
        """Call `tell`, from any thread, at every change."""
        with self._lock:
            self._listeners.add(tell)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.discard(tell)

    def _tell(self) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for tell in listeners:
            tell()
