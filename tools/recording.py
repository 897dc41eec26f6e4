"""`make picture`: the command line as it looks, into docs/terminal.svg, from a real run against a local stack."""

import fcntl
import itertools
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

import pyte

from tools.files import ROOT, SAMPLES
from tools.local_stack import LocalStack, environment

PICTURE = ROOT / "docs" / "terminal.svg"
PHOTOS = 50
COLUMNS, ROWS = 88, 21
COMMANDS = (
    'backdrop submit photos --prompt "a marble counter in morning light" --wait',
    "backdrop status",
    "backdrop gallery",
)
STILL_SECONDS = 6.0  # the last frame
_FRAME_SECONDS = 0.7
_SHOWN_SECONDS = 0.4  # of a frame at most: faster than it was
_WIDTH, _HEIGHT, _MARGIN = 8.4, 19, 16  # pixels; of a character, of a line, around them
_COLORS = {
    "default": "#d8d6d0",
    "black": "#555555",
    "red": "#ff7b72",
    "green": "#7ec699",
    "brown": "#e0c06c",
    "blue": "#79a8ff",
    "magenta": "#d58bdc",
    "cyan": "#6cc5c5",
    "white": "#ffffff",
}

Frame = tuple[float, tuple[str, ...]]
"""Seconds since the beginning, and the lines as SVG."""


def recorded(folder: Path, variables: Mapping[str, str]) -> list[Frame]:
    """Run the commands one after the other in a terminal; what it showed, whenever that was something new."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    started = time.monotonic()
    frames: list[Frame] = []

    def keep() -> None:
        lines = tuple(_lines(screen))
        if not frames or lines != frames[-1][1]:
            frames.append((time.monotonic() - started, lines))

    for command in COMMANDS:
        stream.feed(f"\x1b[32m$\x1b[0m {command}\r\n".encode())
        keep()
        kept_at = time.monotonic()
        for piece in _output(command, folder, variables):
            stream.feed(piece)
            if time.monotonic() - kept_at > _FRAME_SECONDS:
                keep()
                kept_at = time.monotonic()
        keep()
    return frames


def _output(command: str, folder: Path, variables: Mapping[str, str]) -> Iterator[bytes]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        ["/bin/sh", "-c", command], cwd=folder, env=variables, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    while True:
        if not select.select([ours], [], [], 0.05)[0]:
            continue
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux's way to say that the other side is closed
            piece = b""
        if not piece:
            break
        yield piece
    os.close(ours)
    if process.wait():
        raise RuntimeError(f"{command!r} ended with {process.returncode}")


def _lines(screen: pyte.Screen) -> Iterator[str]:
    for row in range(ROWS):
        spans = []
        cells = [screen.buffer[row][column] for column in range(COLUMNS)]
        start = 0
        for column in range(1, COLUMNS + 1):
            if column < COLUMNS and _style(cells[column]) == _style(cells[start]):
                continue
            text = "".join(cell.data for cell in cells[start:column])
            if text.strip():
                spans.append(f'<tspan x="{_MARGIN + start * _WIDTH:.1f}" {_style(cells[start])}>{escape(text)}</tspan>')
            start = column
        yield "".join(spans)


def _style(cell: pyte.screens.Char) -> str:
    color = _COLORS.get(cell.fg) or f"#{cell.fg}"
    return f'fill="{color}"' + (' font-weight="bold"' if cell.bold else "")


def animated(frames: list[Frame]) -> str:
    """An SVG that shows one frame after the other, over and over; without animation, the last."""
    shown = [min(_SHOWN_SECONDS, after[0] - before[0]) for before, after in itertools.pairwise(frames)]
    ends = list(itertools.accumulate([*shown, STILL_SECONDS]))
    whole = ends[-1]
    width, height = 2 * _MARGIN + COLUMNS * _WIDTH, 2 * _MARGIN + ROWS * _HEIGHT
    styles, groups = [], []
    for number, ((_, lines), begin, end) in enumerate(zip(frames, [0.0, *ends], ends, strict=False)):
        first, last = 100 * begin / whole, 100 * end / whole
        styles.append(
            f"@keyframes f{number}{{0%{{opacity:0}}{first:.3f}%{{opacity:1}}{last:.3f}%{{opacity:0}}100%{{opacity:0}}}}"
            f"#f{number}{{animation:f{number} {whole:.2f}s step-end infinite}}"
        )
        texts = [
            f'<text y="{_MARGIN + (row + 0.75) * _HEIGHT:.1f}">{line}</text>' for row, line in enumerate(lines) if line
        ]
        still = 1 if number == len(frames) - 1 else 0
        groups.append(f'<g id="f{number}" opacity="{still}">{"".join(texts)}</g>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img" '
        f'aria-label="{escape(" ; ".join(COMMANDS))}">'
        "<style>text{font:14px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre}"
        f'{"".join(styles)}</style><rect width="100%" height="100%" rx="10" fill="#1d1c1f"/>{"".join(groups)}</svg>\n'
    )


def main() -> int:
    """The command."""
    folder = Path(tempfile.mkdtemp(prefix="backdrop-recording-"))
    (folder / "photos").mkdir()
    for number in range(PHOTOS):
        sample = SAMPLES[number % len(SAMPLES)]
        shutil.copy(sample, folder / "photos" / f"{sample.stem}-{number:02}{sample.suffix}")
    stack = LocalStack(folder / "stack")
    stack.start()
    try:
        stack.deploy(RequestsPerMinute=600)
        with_the_command = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        variables = environment(AWS_ENDPOINT_URL=stack.endpoint_url, TERM="xterm-256color", PATH=with_the_command)
        PICTURE.write_text(animated(recorded(folder, variables)))
    finally:
        stack.stop()
        shutil.rmtree(folder)
    print(f"Written: {PICTURE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
