"""`backdrop review`: look at results, approve, reject, and ask again, on a page on this machine."""

import click

from backdrop_cli.options import CliContext, common, examples
from backdrop_cli.uploads import prefix_of


@examples(
    "backdrop review spring/",
    "backdrop review --no-browser",
)
@click.command()
@click.argument("prefix", default="")
@click.option("--browser/--no-browser", "opens", default=True, help="Whether to open the page.  [default: browser]")
@common
@click.pass_obj
def review(context: CliContext, prefix: str, opens: bool) -> None:
    """Look at the results of the uploads under PREFIX on a page: approve, reject, ask again with another prompt.

    The page is on this machine, 127.0.0.1, and works with your AWS credentials until Ctrl-C.
    """
    prefix = prefix_of(context.deployment, prefix)
    from backdrop_cli.review.serving import serve  # here, because the other commands don't wait for a web server

    serve(context, prefix, opens)
