"""`python -m tools.command_line_page`: put the command line's own help into docs/command-line.md."""

import re
from pathlib import Path

import click

from backdrop_cli.commands import cli

PAGE = Path(__file__).parent.parent / "docs" / "command-line.md"
COLUMNS = 78  # as in a terminal of 80
_BLOCK = re.compile(r"^<!-- help: (backdrop(?: [\w-]+){0,2}) -->\n```text\n.*?^```$", re.MULTILINE | re.DOTALL)


def commands() -> dict[str, click.Command]:
    """All commands by their words behind `backdrop`, as in "submit" and "manifest init"."""
    found: dict[str, click.Command] = {}
    for name, command in cli.commands.items():
        inner = command.commands if isinstance(command, click.Group) else {}
        found |= {f"{name} {each}": inner[each] for each in inner} or {name: command}
    return found


def help_of(words: str) -> str:
    """What `<words> --help` says, for a command without the options that all commands share."""
    name = words.partition(" ")[2]
    command = commands()[name] if name else cli
    with click.Context(command, info_name=words, terminal_width=COLUMNS, **cli.context_settings) as context:
        shown = command.get_help(context)
    if not name:
        return f"{shown.rstrip()}\n"
    own = shown.partition("\n  --stack ")[0].removesuffix("\n\nOptions:")
    return f"{own.rstrip()}\n\n  Examples:{shown.partition('Examples:')[2].rstrip()}\n"


def with_help(page: str) -> str:
    """The page with each block of help as the command line says it today."""
    return _BLOCK.sub(lambda found: f"<!-- help: {found[1]} -->\n```text\n{help_of(found[1])}```", page)


def explained(page: str) -> set[str]:
    """The commands that the page has a block of help for; `backdrop` is all of them together."""
    return {found[1] for found in _BLOCK.finditer(page)}


if __name__ == "__main__":
    PAGE.write_text(with_help(PAGE.read_text()))
