"""The console script `backdrop`, and what its exit codes mean."""

import io
import sys

import click

FAILED, UNREACHABLE, INTERRUPTED = 1, 3, 130


def main() -> None:
    """Run a command; whatever goes wrong is said in a sentence."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that can't show a key still gets the rest
    try:
        # Imported here, so that Ctrl-C is understood while that goes on, too.
        from backdrop_cli.commands import cli
        from backdrop_cli.deployment import Unreachable, explained

        try:
            with explained():
                sys.exit(cli.main(prog_name="backdrop", standalone_mode=False))
        except Unreachable as error:
            click.echo(str(error), err=True)
            sys.exit(UNREACHABLE)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo(
            "Interrupted. What was begun goes on in AWS; the same command, without --again, takes up from there.",
            err=True,
        )
        sys.exit(INTERRUPTED)
    except OSError as error:
        click.echo(str(error), err=True)
        sys.exit(FAILED)
