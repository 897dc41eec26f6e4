"""The commands, together."""

import click

from tools.cli.backfill import backfill, quote
from tools.cli.doctor import doctor
from tools.cli.failures import failures, resume
from tools.cli.gallery import gallery
from tools.cli.options import common
from tools.cli.receipt import receipt
from tools.cli.status import status
from tools.cli.submit import submit


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@common
def cli() -> None:
    """Give product photos new backgrounds, with the stack that is deployed.

    Exit codes: 0 done, 1 something failed (it says what), 2 not understood or not agreed to, 3 AWS or the stack can't
    be reached, 130 interrupted.
    """


for command in (doctor, submit, status, quote, backfill, failures, resume, receipt, gallery):
    cli.add_command(command)
