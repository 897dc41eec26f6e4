"""The before/after page: one HTML file that needs no network, no script and no other file."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import TextIO

from backdrop_cli.templates import templates
from backdrop_cli.thumbnails import NotShown, thumbnail

_LARGEST_SIDE, _SMALLEST_SIDE = 700, 160
_PIECE_CHARACTERS = 2**20
_PIXELS_A_PAGE = 250e6  # about 20 MB of ordinary photos: what a browser opens in a second or two


@dataclass(frozen=True)
class Image:
    """A picture of the page as a `data:` URI, and the key that it is shown for.

    `width` and `height` are in pixels and keep its place until it is decoded.
    """

    uri: str
    key: str
    width: int = _LARGEST_SIDE
    height: int = _LARGEST_SIDE


@dataclass(frozen=True)
class NoImage:
    """Stands where a picture would be, with a sentence that says why there is none."""

    key: str
    why: str


@dataclass(frozen=True)
class Pair:
    """An upload and what became of it. `failure` says why `after` is empty or not complete.

    A `prompt` of None is one that can't be told any more.
    """

    before: Image | NoImage
    after: tuple[Image | NoImage, ...]
    prompt: str | None
    seconds: float | None = None
    cost_usd: float | None = None
    failure: str = ""
    verdict: str = ""
    """What a reviewer decided; see `decisions`."""

    @property
    def has_failed(self) -> bool:
        """Whether something is missing."""
        return bool(self.failure) or not self.after


@dataclass
class Totals:
    """What a page shows. `cost_usd` is None when no pair's is known."""

    photos: int = 0
    images: int = 0
    failed: int = 0
    cost_usd: float | None = None

    def add(self, pair: Pair) -> None:
        """Count one more."""
        self.photos += 1
        self.images += len(pair.after)
        self.failed += pair.has_failed
        if pair.cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + pair.cost_usd


def side_for(pictures: int) -> int:
    """The longest side of each of so many pictures, in pixels: the more there are, the smaller."""
    return int(min(max((_PIXELS_A_PAGE / max(pictures, 1)) ** 0.5, _SMALLEST_SIDE), _LARGEST_SIDE))


def embedded(photo: bytes, key: str, side: int = _LARGEST_SIDE) -> Image | NoImage:
    """A photo as a small WebP inside the page. The bytes can be anything."""
    try:
        small = thumbnail(photo, side)
    except NotShown as why:
        return NoImage(key, str(why))
    return Image("data:image/webp;base64," + base64.b64encode(small.data).decode(), key, small.width, small.height)


def dollars(usd: float) -> str:
    """In cents, or in tenths of a cent where that says more."""
    return "$" + f"{usd:.3f}".removesuffix("0")


def counted(number: int, what: str) -> str:
    """As in "1 image" and "2 images"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def before_after(file: TextIO, title: str, note: str, pairs: Iterable[Pair]) -> Totals:
    """Write the page, with no more than one pair in memory. Every text is taken as text, whatever is in it."""
    environment = templates()
    article = environment.get_template("gallery_pair.html")
    totals, failed = Totals(), []
    with TemporaryFile("w+", encoding="utf-8") as articles:  # what is above them on the page is known behind them
        for number, pair in enumerate(pairs, 1):
            totals.add(pair)
            if pair.has_failed:
                failed.append((number, pair.before.key))
            articles.write(article.render(number=number, pair=pair, facts=_facts_of(pair)))
        articles.seek(0)
        pieces = iter(lambda: articles.read(_PIECE_CHARACTERS), "")
        page = environment.get_template("gallery.html")
        facts = _facts(totals)
        file.writelines(page.generate(title=title, note=note, facts=facts, failed=failed, articles=pieces))
    return totals


def _facts(totals: Totals) -> list[str]:
    facts = [counted(totals.photos, "photo"), counted(totals.images, "new image")]
    if totals.cost_usd is not None:
        facts.append(dollars(totals.cost_usd))
    if totals.failed:
        facts.append(f"{totals.failed} failed")
    return facts


def _facts_of(pair: Pair) -> list[str]:
    facts = [] if pair.seconds is None else [_duration(pair.seconds)]
    return facts if pair.cost_usd is None else [*facts, dollars(pair.cost_usd)]


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
