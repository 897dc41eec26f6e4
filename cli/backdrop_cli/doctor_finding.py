"""What `backdrop doctor` says of one thing that it looked at."""

from dataclasses import dataclass
from typing import Literal

from rich.text import Text

from backdrop_cli.printable import printable


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, how it is, and what to do about it."""

    what: str
    state: Literal["ok", "doubt", "fault"]
    says: str
    do: str = ""

    def line(self, width: int) -> Text:
        """For people."""
        mark, style = {"ok": ("✓", "green"), "doubt": ("?", "yellow"), "fault": ("✗", "bold red")}[self.state]
        text = Text.assemble((mark, style), f" {self.what:<{width}}  {printable(self.says)}")
        return text.append(f" → {self.do}") if self.do else text
