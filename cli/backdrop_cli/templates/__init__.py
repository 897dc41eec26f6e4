"""The HTML of the gallery and of the review page. What a template is given is text, and is escaped."""

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from backdrop_cli.printable import printable


def templates() -> Environment:
    """Of this folder, and what a browser gets as it is."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("backdrop_cli", folder) for folder in ("templates", "static")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = printable
    return environment
