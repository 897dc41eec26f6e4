"""The commands, together."""

import click

from backdrop_cli.backfill import backfill, quote
from backdrop_cli.doctor import doctor
from backdrop_cli.export import export
from backdrop_cli.failures import failures, resume
from backdrop_cli.gallery import gallery
from backdrop_cli.logs import logs
from backdrop_cli.manifest_init import manifest
from backdrop_cli.options import common
from backdrop_cli.pace import pace
from backdrop_cli.receipt import receipt
from backdrop_cli.reconcile import reconcile
from backdrop_cli.retry import retry
from backdrop_cli.review.command import review
from backdrop_cli.show import show
from backdrop_cli.status import status
from backdrop_cli.submit import submit


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@common
def cli() -> None:
    """Give product photos new backgrounds, with the stack that is deployed.

    Exit codes: 0 done, 1 something failed (it says what), 2 not understood or not agreed to, 3 AWS or the stack can't
    be reached, 130 interrupted.
    """


for command in (
    *(doctor, submit, status, quote, backfill, failures, resume, receipt, gallery, review, export),
    *(show, retry, pace, logs, reconcile, manifest),
):
    cli.add_command(command)
