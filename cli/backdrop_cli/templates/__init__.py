"""The HTML of the gallery and of the review page. What a template is given is text, and is escaped."""

from typing import TYPE_CHECKING

from backdrop_cli.printable import printable

if TYPE_CHECKING:
    from jinja2 import Environment


def templates() -> "Environment":
    """Of this folder, and what a browser gets as it is."""
    # Here, because most commands show no page, and this takes as long to import as all of their own modules.
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader("backdrop_cli", folder) for folder in ("templates", "static")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = printable
    return environment
