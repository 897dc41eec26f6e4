"""The command `backdrop` against the stack in moto, which has no CloudFormation that would make it."""

import os

from click.testing import CliRunner, Result

from backdrop.settings import Settings
from backdrop_cli.commands import cli
from backdrop_cli.deployment import Deployment
from backdrop_cli.options import CliContext
from tests.integration.moved_clock import MovedClock


def deployed() -> Deployment:
    """As if the stack were deployed with the environment as it is now."""
    deployment = Deployment("backdrop")
    deployment.__dict__.update(settings=Settings.from_environment(os.environ), clock=MovedClock())
    return deployment


def command(deployment: Deployment, *arguments: object, standalone_mode: bool = True) -> Result:
    """What a command says and how it ends."""
    context = CliContext()
    context.__dict__["deployment"] = deployment
    return CliRunner().invoke(cli, [*map(str, arguments)], obj=context, standalone_mode=standalone_mode)
