"""Prompts with names in braces: `{colour}` becomes what is known of a photo by that name."""

import os
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from backdrop_cli.tables import column_name

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


class BadTemplate(Exception):
    """A name in braces that stands for nothing; the message says which."""


def names_of(path: Path) -> dict[str, str]:
    """What is known of every file: its name without the extension, and the name of the folder that it is in."""
    whole = Path(os.path.abspath(path))
    return {
        "stem": unicodedata.normalize("NFC", whole.stem),
        "folder": unicodedata.normalize("NFC", whole.parent.name),
    }


def filled(template: str, values: Mapping[str, str]) -> str:
    """The template with each `{name}` replaced by its value; `{{` and `}}` stand for braces. Raises BadTemplate."""

    def value(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0][0]
        name = column_name(found[1])
        if name not in values:
            known = ", ".join(f"{{{each}}}" for each in values)
            raise BadTemplate(f"the prompt has {found[0]}; known are {known}. Braces themselves are written twice")
        if not values[name]:
            raise BadTemplate(f"the prompt has {found[0]}, which is empty here")
        return values[name]

    return _PART.sub(value, template)
