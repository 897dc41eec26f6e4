"""What a gateway or an uploader writes rules neither a terminal nor a spreadsheet."""

import csv
import json

from click.testing import CliRunner

from backdrop_cli.commands import cli
from backdrop_cli.deployment import Deployment
from backdrop_cli.options import CliContext
from tests.integration.conftest import Run
from tests.integration.harness import Harness
from tests.integration.stack import INPUT


def test_a_terminal_obeys_nothing_of_what_a_gateway_or_an_uploader_writes(
    harness: Harness, deployment: Deployment
) -> None:
    dead_letter = {
        "job": {"bucket": INPUT, "key": "\x1b[31mred.jpg"},
        "reason": {"code": "x", "message": "no\x9b2J\x07"},
    }
    harness.sqs.send_message(QueueUrl=harness.dead_letter_url, MessageBody=json.dumps(dead_letter))
    context = CliContext()
    context.__dict__["deployment"] = deployment

    shown = CliRunner().invoke(cli, ["failures"], obj=context).stdout
    assert "[31mred.jpg" in shown
    assert not set("\x1b\x9b\x07") & set(shown)


def test_a_receipt_has_no_formulas_in_it(run: Run, harness: Harness, photo: bytes, deployment: Deployment) -> None:
    """Spreadsheets would run them, and the key of an upload can be anything."""
    harness.upload("=1+2.jpg", photo, prompt="snow")
    context = CliContext()
    context.__dict__["deployment"] = deployment

    [row] = csv.DictReader(CliRunner().invoke(cli, ["receipt"], obj=context).stdout.splitlines())
    assert (row["key"], row["outputs"]) == ("'=1+2.jpg", "'=1+2.jpg.png")
    [row] = run("receipt")
    assert (row["key"], row["outputs"]) == ("=1+2.jpg", ["=1+2.jpg.png"])
