"""What every command takes: which stack, reached how, and how to answer."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from rich.console import Console, RenderableType

from backdrop_cli.deployment import Deployment
from backdrop_cli.forecast import Quote, in_words
from backdrop_cli.printable import printable

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass
class CliContext:
    """The options that commands share; the common ones can stand before or behind a command's name."""

    stack: str = "backdrop"
    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None
    json: bool = False
    yes: bool = False
    ask_above_images: int = 100
    ask_above_usd: float = 5.0

    @cached_property
    def deployment(self) -> Deployment:
        """The stack that is meant."""
        return Deployment(self.stack, self.profile, self.region, self.endpoint_url)

    @cached_property
    def out(self) -> Console:
        """For answers: standard output."""
        return Console(highlight=False, markup=False, emoji=False)

    @cached_property
    def stderr(self) -> Console:
        """For progress and remarks: standard error."""
        return Console(stderr=True, highlight=False, markup=False, emoji=False)

    def answer(self, data: Any, *shown: RenderableType) -> None:
        """Print `data` as JSON with --json, otherwise what is for people."""
        if self.json:
            click.echo(json.dumps(data, ensure_ascii=False, indent=2))
        else:
            for each in shown:
                if isinstance(each, str):
                    self.out.print(printable(each), soft_wrap=True)
                else:
                    self.out.print(each)

    def agreed(self, quote: Quote) -> bool:
        """Whether to buy. Raises UsageError when there is nobody to ask."""
        if self.yes or (quote.images <= self.ask_above_images and float(quote.usd) <= self.ask_above_usd):
            return True
        if not (sys.stdin and sys.stdin.isatty()):
            raise click.UsageError(f"{in_words(quote)}: more than is bought without asking. Say --yes.")
        return click.confirm("Go on?", err=True)

    def remark(self, text: str) -> None:
        """Something on the side, which no script waits for."""
        self.stderr.print(printable(text), soft_wrap=True)


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    name = parameter.name or ""
    cli_context = context.ensure_object(CliContext)
    source = context.get_parameter_source(name)
    if source is ParameterSource.COMMANDLINE or (
        value and getattr(cli_context, name) is None
    ):  # the latter: environment
        setattr(cli_context, name, value)


def _shared(name: str, *more: str, **attributes: Any) -> Callable[[Command], Command]:
    return click.option(name, *more, expose_value=False, callback=_keep, **attributes)


def common(command: Command) -> Command:
    """Add the options that every command takes."""
    command = _shared("--json", is_flag=True, help="Answer with JSON on standard output.")(command)
    command = _shared(
        "--endpoint-url", metavar="URL", help="Instead of AWS; the local stack's is http://127.0.0.1:4566."
    )(command)
    command = _shared("--region", envvar="AWS_REGION", metavar="NAME", help="AWS region, as for the AWS CLI.")(command)
    command = _shared("--profile", metavar="NAME", help="AWS profile, as for the AWS CLI.")(command)
    return _shared("--stack", metavar="NAME", help="The deployed stack.  [default: backdrop]")(command)


def examples(*lines: str) -> Callable[[click.Command], click.Command]:
    """End a command's help with these lines."""

    def add(command: click.Command) -> click.Command:
        command.epilog = "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
        return command

    return add


def spending(command: Command) -> Command:
    """Add the options of commands that lead to purchases: when to ask first."""
    command = _shared("--yes", "-y", is_flag=True, help="Don't ask.")(command)
    command = _shared(
        "--ask-above-usd",
        type=click.FloatRange(0),
        metavar="USD",
        help=f"Ask before buying for more than this.  [default: {CliContext.ask_above_usd:g}]",
    )(command)
    return _shared(
        "--ask-above-images",
        type=click.IntRange(0),
        metavar="N",
        help=f"Ask before buying more than this.  [default: {CliContext.ask_above_images}]",
    )(command)
