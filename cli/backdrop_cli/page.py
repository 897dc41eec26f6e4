"""The before/after page: one HTML file that needs no network, no script and no other file."""

import base64
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from tempfile import TemporaryFile
from typing import TextIO

from backdrop_cli.thumbnails import NotShown, thumbnail

_LARGEST_SIDE, _SMALLEST_SIDE = 700, 160
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
    totals, failed = Totals(), []
    with TemporaryFile("w+", encoding="utf-8") as articles:  # what is above them on the page is known behind them
        for number, pair in enumerate(pairs, 1):
            totals.add(pair)
            if pair.has_failed:
                failed.append(f'<li><a href="#pair-{number}" dir="auto">{escape(pair.before.key)}</a></li>')
            articles.write(_article(number, pair))
        articles.seek(0)
        file.write(
            _TOP.format(
                title=escape(title),
                note=escape(note),
                facts=" · ".join(_facts(totals)),
                failed=f"<nav><b>Failed</b><ul>{''.join(failed)}</ul></nav>" if failed else "",
                style=_STYLE,
            )
        )
        shutil.copyfileobj(articles, file)
    file.write(_BOTTOM)
    return totals


def _facts(totals: Totals) -> list[str]:
    facts = [counted(totals.photos, "photo"), counted(totals.images, "new image")]
    if totals.cost_usd is not None:
        facts.append(dollars(totals.cost_usd))
    if totals.failed:
        facts.append(f"{totals.failed} failed")
    return facts


def _article(number: int, pair: Pair) -> str:
    shape = "wide" if len(pair.after) > 1 else ""
    figures = [_figure("Before", pair.before)]
    for index, image in enumerate(pair.after, 1):
        figures.append(_figure("After" if len(pair.after) == 1 else f"After {index}", image))
    if pair.has_failed:
        what = "Not complete" if pair.after else "No result"
        figures.append(f'<p class="failure"><b>{what}</b> {escape(pair.failure or "The reason is not known.")}</p>')
    facts = [
        _duration(pair.seconds) if pair.seconds is not None else "",
        dollars(pair.cost_usd) if pair.cost_usd is not None else "",
    ]
    return (
        f'<article id="pair-{number}" class="{shape}">\n'
        f"<header>{_prompt(pair.prompt)}<p>{' · '.join(filter(None, facts))}</p></header>\n"
        f'<div class="pictures">\n{chr(10).join(figures)}\n</div>\n</article>\n'
    )


def _prompt(prompt: str | None) -> str:
    if prompt is None:
        return '<h2 class="none">The prompt can\'t be told any more</h2>'
    return f'<h2 dir="auto">{escape(prompt)}</h2>' if prompt.strip() else '<h2 class="none">No prompt</h2>'


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _figure(label: str, image: Image | NoImage) -> str:
    key = escape(image.key)
    if isinstance(image, NoImage):
        picture = f'<p class="missing">{escape(image.why)}</p>'
    else:
        picture = (
            f'<img src="{escape(image.uri)}" alt="{label}: {key}" width="{image.width}" height="{image.height}"'
            ' decoding="async">'
        )
    return f'<figure>{picture}<figcaption><b>{label}</b> <span dir="auto">{key}</span></figcaption></figure>'


# The policy is a second net under the escaping: whatever gets into the page, nothing in it runs or is sent.
_TOP = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header class="top">
<h1>{title}</h1>
<p class="facts">{facts}</p>
<p class="note">{note}</p>
{failed}
</header>
<main>
"""

_BOTTOM = """</main>
</body>
</html>
"""

_STYLE = """
:root {
  --page: #f4f3f0; --card: #fff; --text: #1d1c1a; --soft: #6a6761; --line: #e2dfd9;
  --bad: #a3301f; --bad-page: #fbeeeb; --note-page: #eae7e0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #151517; --card: #1f1f22; --text: #ececea; --soft: #a3a19c; --line: #323236;
    --bad: #f2988a; --bad-page: #33211f; --note-page: #29292d;
  }
}
* { box-sizing: border-box; margin: 0; scrollbar-width: thin; }
body {
  max-width: 1240px; margin: 0 auto; padding: clamp(16px, 3vw, 40px); background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: anywhere;
}
h1 { font-size: clamp(24px, 3vw, 32px); line-height: 1.2; letter-spacing: -0.01em; }
h2 { font-size: 16px; line-height: 1.4; font-weight: 600; white-space: pre-line; }
.top { margin-bottom: clamp(16px, 2.5vw, 28px); }
.facts { margin-top: 6px; color: var(--soft); }
.note, nav { margin-top: 16px; padding: 10px 14px; border-radius: 8px; background: var(--note-page); }
nav { max-height: 220px; overflow-y: auto; background: var(--bad-page); color: var(--bad); font-size: 14px; }
nav ul { padding: 0; list-style: none; }
nav a { color: inherit; }
main {
  display: grid; gap: clamp(14px, 2vw, 24px); grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr));
}
article {
  padding: clamp(12px, 1.5vw, 18px); border: 1px solid var(--line); border-radius: 12px; background: var(--card);
  content-visibility: auto; contain-intrinsic-height: auto 440px; /* what is out of sight costs no time */
}
article:target { outline: 3px solid var(--bad); scroll-margin: 12px; }
article.wide { grid-column: 1 / -1; }
article header {
  display: flex; gap: 16px; justify-content: space-between; align-items: baseline; margin-bottom: 12px;
}
article h2 { max-height: 8.4em; overflow-y: auto; }
article header p { flex: none; color: var(--soft); font-size: 14px; font-variant-numeric: tabular-nums; }
.none { color: var(--soft); font-style: italic; font-weight: 400; }
.pictures { display: grid; gap: 12px; grid-template-columns: 1fr 1fr; align-items: start; }
.wide .pictures { grid-template-columns: repeat(auto-fit, minmax(max(140px, 22%), 1fr)); }
img { display: block; width: 100%; height: auto; border-radius: 8px; background: var(--line); }
figcaption { margin-top: 6px; color: var(--soft); font-size: 13px; line-height: 1.4; }
figcaption b { color: var(--text); font-weight: 600; }
figcaption span { display: block; max-height: 5.6em; overflow-y: auto; }
.missing {
  display: grid; place-content: center; aspect-ratio: 4 / 3; padding: 14px; border-radius: 8px;
  background: var(--note-page); color: var(--soft); font-size: 14px; text-align: center;
}
.failure {
  align-self: stretch; padding: 14px; border-radius: 8px; background: var(--bad-page); color: var(--bad);
  font-size: 14px;
}
.failure b { display: block; }
@media (max-width: 560px) {
  .wide figure:first-child:nth-last-child(odd) { grid-column: 1 / -1; }
}
@media print {
  article { break-inside: avoid; content-visibility: visible; }
  nav, article h2, figcaption span { max-height: none; }
}
"""
