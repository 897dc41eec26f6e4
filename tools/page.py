"""The before/after page: one HTML file that needs no network, no script and no other file."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import PIL.Image
from PIL import ImageOps

_THUMBNAIL_SIDE = 700  # pixels; about 50 KB as JPEG, so a page of twenty stays near a megabyte


@dataclass(frozen=True)
class Image:
    """A picture of the page: where a browser finds it, and the key that it is shown for.

    `width` and `height` are in pixels and only keep its place until it is loaded.
    """

    uri: str
    key: str
    width: int = _THUMBNAIL_SIDE
    height: int = _THUMBNAIL_SIDE


@dataclass(frozen=True)
class Pair:
    """An upload and what became of it. `failure` says why `after` is empty or not complete."""

    before: Image
    after: tuple[Image, ...]
    prompt: str
    seconds: float | None = None
    cost_usd: float | None = None
    failure: str = ""

    @property
    def has_failed(self) -> bool:
        """Whether something is missing."""
        return bool(self.failure) or not self.after


def embedded(photo: bytes, key: str) -> Image:
    """A photo as a small JPEG inside the page. Raises OSError when Pillow can't read it."""
    with PIL.Image.open(io.BytesIO(photo)) as original:
        picture = ImageOps.exif_transpose(original).convert("RGBA")
    picture.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    flat = PIL.Image.new("RGB", picture.size, "white")  # what is transparent would become black
    flat.paste(picture, mask=picture)
    file = io.BytesIO()
    flat.save(file, "JPEG", quality=82, optimize=True, progressive=True)
    return Image("data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode(), key, *flat.size)


def dollars(usd: float) -> str:
    """In cents, or in tenths of a cent where that says more."""
    return "$" + f"{usd:.3f}".removesuffix("0")


def counted(number: int, what: str) -> str:
    """As in "1 image" and "2 images"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def before_after(title: str, note: str, pairs: Sequence[Pair]) -> str:
    """The page. Every text is taken as text, whatever is in it; only the URIs decide whether a network is needed."""
    failed = sum(pair.has_failed for pair in pairs)
    costs = [pair.cost_usd for pair in pairs if pair.cost_usd is not None]
    facts = [
        counted(len(pairs), "photo"),
        counted(sum(len(pair.after) for pair in pairs), "new image"),
        dollars(sum(costs)) if costs else "",
        f"{failed} failed" if failed else "",
    ]
    return _PAGE.format(
        title=escape(title),
        note=escape(note),
        facts=" · ".join(filter(None, facts)),
        style=_STYLE,
        pairs="\n".join(map(_article, pairs)),
    )


def _article(pair: Pair) -> str:
    shape = "wide" if len(pair.after) > 1 else ""
    figures = [_figure("Before", pair.before)]
    for number, image in enumerate(pair.after, 1):
        figures.append(_figure("After" if len(pair.after) == 1 else f"After {number}", image))
    if pair.has_failed:
        figures.append(f'<p class="failure"><b>No result</b> {escape(pair.failure or "The reason is not known.")}</p>')
    facts = [
        f"{pair.seconds:.1f} s" if pair.seconds is not None else "",
        dollars(pair.cost_usd) if pair.cost_usd is not None else "",
    ]
    prompt = f'<h2 dir="auto">{escape(pair.prompt)}</h2>' if pair.prompt.strip() else '<h2 class="none">No prompt</h2>'
    return (
        f'<article class="{shape}">\n<header>{prompt}<p>{" · ".join(filter(None, facts))}</p></header>\n'
        f'<div class="pictures">\n{chr(10).join(figures)}\n</div>\n</article>'
    )


def _figure(label: str, image: Image) -> str:
    key = escape(image.key)
    lazy = "" if image.uri.startswith("data:") else ' loading="lazy"'  # what is in the page needs no loading
    return (
        f'<figure><img src="{escape(image.uri)}" alt="{label}: {key}" width="{image.width}" height="{image.height}"'
        f"{lazy}>"
        f'<figcaption><b>{label}</b> <span dir="auto">{key}</span></figcaption></figure>'
    )


# The policy is a second net under the escaping: whatever gets into the page, nothing in it runs or is sent.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src * data:; style-src 'unsafe-inline'">
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
</header>
<main>
{pairs}
</main>
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
* { box-sizing: border-box; margin: 0; }
body {
  max-width: 1240px; margin: 0 auto; padding: clamp(16px, 3vw, 40px); background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: anywhere;
}
h1 { font-size: clamp(24px, 3vw, 32px); line-height: 1.2; letter-spacing: -0.01em; }
h2 { font-size: 16px; line-height: 1.4; font-weight: 600; white-space: pre-line; }
.top { margin-bottom: clamp(16px, 2.5vw, 28px); }
.facts { margin-top: 6px; color: var(--soft); }
.note { margin-top: 16px; padding: 10px 14px; border-radius: 8px; background: var(--note-page); }
main {
  display: grid; gap: clamp(14px, 2vw, 24px); grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr));
}
article {
  padding: clamp(12px, 1.5vw, 18px); border: 1px solid var(--line); border-radius: 12px; background: var(--card);
}
article.wide { grid-column: 1 / -1; }
article header {
  display: flex; gap: 16px; justify-content: space-between; align-items: baseline; margin-bottom: 12px;
}
article header p { flex: none; color: var(--soft); font-size: 14px; font-variant-numeric: tabular-nums; }
.none { color: var(--soft); font-style: italic; font-weight: 400; }
.pictures { display: grid; gap: 12px; grid-template-columns: 1fr 1fr; align-items: start; }
.wide .pictures { grid-template-columns: repeat(auto-fit, minmax(max(140px, 22%), 1fr)); }
img { display: block; width: 100%; height: auto; border-radius: 8px; background: var(--line); }
figcaption { margin-top: 6px; color: var(--soft); font-size: 13px; line-height: 1.4; }
figcaption b { color: var(--text); font-weight: 600; }
figcaption span { display: block; }
.failure {
  align-self: stretch; padding: 14px; border-radius: 8px; background: var(--bad-page); color: var(--bad);
  font-size: 14px;
}
.failure b { display: block; }
@media (max-width: 560px) {
  .wide figure:first-child:nth-last-child(odd) { grid-column: 1 / -1; }
}
@media print { article { break-inside: avoid; } }
"""
