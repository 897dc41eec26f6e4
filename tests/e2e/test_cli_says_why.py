"""`doctor` and `status` against the deployed local stack: what is wrong, and why nothing moves."""

import json
import re
import socket

from tests.e2e.command_line import Cli, cli
from tools.files import SAMPLE_PHOTO
from tools.polling import until

__all__ = ["cli"]


def test_doctor_finds_nothing_wrong_and_buys_one_image(cli: Cli) -> None:
    found = cli.json("doctor")

    assert {each["state"] for each in found} == {"ok"}
    assert {"stack", "input bucket", "output bucket", "ledger", "wallet", "model", "route"} <= {
        each["what"] for each in found
    }
    assert cli.deployed.charged() == 0

    assert "one image" in cli.run("doctor", "--buy-one")
    assert cli.deployed.charged() == 1
    assert (cli.folder / "backdrop-doctor.jpg.png").read_bytes().startswith(b"\x89PNG")


def test_doctor_tells_a_wrong_key_from_an_empty_wallet(cli: Cli) -> None:
    cli.deployed.gateway.settings(wallet_usd=0)
    empty = cli.run("doctor", "--buy-one", code=1)
    cli.deployed.gateway.settings(wallet_usd=1000, keys=["sk-aig-another"])
    wrong = cli.run("doctor", code=1)

    assert re.search(r"✗ wallet .*Fill it", empty)
    assert re.search(r"✗ one image .*not bought", empty)
    assert re.search(r"✗ key .*refuses it \(401\).*/backdrop/gateway-api-key", wrong)
    assert "sk-aig" not in empty + wrong


def test_a_missing_stack_and_a_missing_aws_are_told_apart(cli: Cli) -> None:
    assert "There is no stack 'nosuch'" in cli.run("status", "--stack", "nosuch", code=3)
    assert "There is no stack 'nosuch'" in cli.run("--stack", "nosuch", "doctor", code=3)
    cli.photos(1)
    assert "There is no stack 'nosuch'" in cli.run("submit", "photos", "--stack", "nosuch", code=3)

    assert "not AWS" in cli.run("status", "--endpoint-url", cli.deployed.gateway.base_url, code=3)
    assert "Port out of range" in cli.run("status", "--endpoint-url", "http://127.0.0.1:99999", code=3)
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        cli.endpoint_url = f"http://127.0.0.1:{nobody_listens.getsockname()[1]}"
        assert "make up" in cli.run("status", code=3)


def test_status_counts_and_says_why_nothing_moves(cli: Cli) -> None:
    deployed = cli.deployed
    deployed.put("done.jpg", SAMPLE_PHOTO.read_bytes(), prompt="moss")
    deployed.put("failed.jpg", b"no photo", prompt="moss")
    deployed.until_finished(2, 60)
    deployed.gateway.settings(wallet_usd=0)
    deployed.put("waiting.jpg", SAMPLE_PHOTO.read_bytes(), prompt="moss")

    until("a pause", lambda: cli.json("status", deployed.folder)["paused"])

    status = cli.json("status", deployed.folder)
    assert (status["done"], status["failed"]) == (1, 1)
    assert status["new"] + status["waiting"] + status["running"] == 1
    assert status["failed_by_reason"] == {"unsupported_media_type": 1}
    assert (status["images_today"], status["spent_today_usd"], status["cost_left_usd"]) == (1, 0.03, 0.03)
    assert "the account has no money left" in " ".join(cli.run("status", deployed.folder).split())

    deployed.gateway.settings(wallet_usd=1000)
    deployed.forget_the_pace()
    waiting = {"bucket": deployed.input_bucket, "key": deployed.folder + "waiting.jpg"}
    waiting["version_id"] = deployed.versions[waiting["key"]]  # looked at now, not in half a minute
    deployed.sqs.send_message(
        QueueUrl=deployed.stack.outputs["RetryQueueUrl"], MessageBody=json.dumps({"job": waiting})
    )
    assert re.search(r"done\s+2", cli.run("status", deployed.folder, "--watch"))
