"""What a gateway or an uploader writes rules neither a terminal nor a spreadsheet."""

import csv
import json

from backdrop_cli.deployment import Deployment
from tests.integration.command_line import command
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

    shown = command(deployment, "failures").stdout
    assert "[31mred.jpg" in shown
    assert not set("\x1b\x9b\x07") & set(shown)


def test_a_receipt_has_no_formulas_in_it(run: Run, harness: Harness, photo: bytes, deployment: Deployment) -> None:
    """Spreadsheets would run them, and the key of an upload can be anything."""
    harness.upload("=1+2.jpg", photo, prompt="snow")

    [row] = csv.DictReader(command(deployment, "receipt").stdout.splitlines())
    assert (row["key"], row["outputs"]) == ("'=1+2.jpg", "'=1+2.jpg.png")
    [row] = run("receipt")
    assert (row["key"], row["outputs"]) == ("=1+2.jpg", ["=1+2.jpg.png"])
