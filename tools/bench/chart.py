"""A bar chart as SVG, readable on light and dark pages."""

from collections.abc import Sequence
from html import escape

BAR, GAP, LEFT, WIDTH = 14, 12, 190, 760
COLOURS = ("#2f7ed8", "#d8862f", "#8a8f98", "#5aa469")


def chart(bars: Sequence[tuple[str, str, float]], unit: str) -> str:
    """One bar for each (group, name, value); bars of a name have one colour."""
    names = list(dict.fromkeys(name for _, name, _ in bars))
    most = max(value for _, _, value in bars)
    parts = []
    y, last = 40, ""
    for group, name, value in bars:
        if group != last:
            y += GAP
            parts.append(f'<text x="{LEFT - 10}" y="{y + BAR - 3}" text-anchor="end">{escape(group)}</text>')
        length = value / most * (WIDTH - LEFT - 80)
        colour = COLOURS[names.index(name) % len(COLOURS)]
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR - 2}" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + length + 6:.1f}" y="{y + BAR - 3}">{value:.0f}</text>')
        y, last = y + BAR, group
    x = LEFT
    for index, name in enumerate(names):
        parts.append(f'<rect x="{x}" y="14" width="10" height="10" fill="{COLOURS[index % len(COLOURS)]}"/>')
        parts.append(f'<text x="{x + 16}" y="23">{escape(name)}</text>')
        x += 120
    parts.append(f'<text x="{WIDTH - 10}" y="23" text-anchor="end">{escape(unit)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 16}" font-family="sans-serif" '
        f'font-size="12" fill="#808690">{"".join(parts)}</svg>\n'
    )
