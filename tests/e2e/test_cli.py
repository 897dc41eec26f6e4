"""The command `backdrop` as people run it, against the deployed local stack."""

import csv
import fcntl
import io
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.deployed import Deployed, listening
from tools.files import SAMPLE_PHOTO, SAMPLES
from tools.local_stack import CREDENTIALS
from tools.polling import until

COLUMNS = 100


def _interruptible() -> None:
    """Whoever runs the tests in the background may have switched Ctrl-C off."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Cli:
    """Runs the installed console script in a folder of its own."""

    def __init__(self, deployed: Deployed, folder: Path) -> None:
        self.deployed = deployed
        self.folder = folder
        self.endpoint_url = deployed.stack.endpoint_url

    def start(self, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("backdrop")), *map(str, arguments)],
            cwd=self.folder,
            env=os.environ | CREDENTIALS | {"AWS_ENDPOINT_URL": self.endpoint_url},
            text=True,
            preexec_fn=_interruptible,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
        )

    def run(self, *arguments: object, code: int = 0) -> str:
        """Standard output, and standard error behind it, of a run that ends with `code`."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=90)
        assert process.returncode == code, out + err
        assert "\x1b" not in out + err, "colours are for terminals"
        return out + err

    def json(self, *arguments: object, code: int = 0) -> Any:
        process = self.start(*arguments, "--json")
        out, err = process.communicate(timeout=90)
        assert process.returncode == code, out + err
        return json.loads(out)

    def in_terminal(self, *arguments: object) -> tuple[int, str]:
        """Exit code and everything that a terminal was sent."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
        process = self.start(*arguments, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # Linux's way to say that the other side is closed
            while piece := os.read(ours, 65536):
                shown += piece
        os.close(ours)
        return process.wait(10), shown.decode()

    def interrupted(self, *arguments: object, after: str, when: Callable[[], object]) -> int:
        """Exit code after Ctrl-C, as soon as the command says that it is doing `after` and `when` is true."""
        process = self.start(*arguments)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(after):
                break
        until("the moment for Ctrl-C", when, every=0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert "Traceback" not in err
        return process.returncode

    def photos(self, number: int, folder: str = "photos") -> Path:
        """A folder with a tree of photos, and things that are none."""
        top = self.folder / folder
        for index in range(number):
            sample = SAMPLES[index % len(SAMPLES)]
            path = top / ("new arrivals" if index % 3 else "été") / f"{sample.stem}-{index}{sample.suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(sample.read_bytes())
        (top / "notes.md").write_text("no photo")
        return top


@pytest.fixture
def cli(deployed: Deployed, tmp_path: Path) -> Cli:
    return Cli(deployed, tmp_path)


def unnoticed(deployed: Deployed, number: int) -> None:
    """Photos that were in the bucket before Backdrop was."""
    for index in range(number):
        deployed.stack.put_unnoticed(f"{deployed.folder}{index}.jpg", SAMPLE_PHOTO.read_bytes(), "a wooden table")


def test_a_folder_of_fifty_photos_is_submitted_with_a_bar_and_never_bought_twice(cli: Cli) -> None:
    photos = cli.photos(50)
    submit = ("submit", "photos", "--to", cli.deployed.folder, "--prompt", "une terrasse, à midi", "--wait")

    code, shown = cli.in_terminal(*submit)

    assert code == 0, shown
    assert "50 images, $1.50" in shown
    assert re.search(r"Waiting .*━.* \d+/50", shown)
    assert re.search(r"50/50", shown)
    assert len(list(photos.rglob("*.png"))) >= 50
    for photo in photos.rglob("*"):
        if re.fullmatch(r".*-\d+\.(jpg|png|webp)", photo.name):
            assert photo.with_name(photo.name + ".png").read_bytes().startswith(b"\x89PNG"), photo
    assert set(cli.deployed.results()) == {
        f"photos/{path.relative_to(photos).as_posix()}" for path in photos.rglob("*.*.png")
    }
    assert {charge["prompt"] for charge in cli.deployed.gateway.charges()} == {"une terrasse, à midi"}

    assert "Done before: 50 photos" in cli.run(*submit)
    assert cli.deployed.charged() == 50


def test_the_end_of_a_batch_is_published_with_the_receipts_sums(cli: Cli) -> None:
    cli.photos(4)
    pattern = {"source": ["backdrop"], "detail-type": ["Background Batch Finished"]}
    with listening(cli.deployed.stack, pattern) as mailbox:
        submitted = cli.json("submit", "photos", "--to", cli.deployed.folder, "--prompt", "a beach", "--notify")
        [event] = until("the batch's end", mailbox.take)

    detail = event["detail"]
    assert (detail["batch_id"], detail["uploads"]) == (submitted["batch_id"], submitted["submitted"])
    assert detail["states"] == {"DONE": 4, "REJECTED": 0, "SUPERSEDED": 0, "UNCHANGED": 0}
    assert detail["prefix"].startswith(cli.deployed.folder)
    [row] = [row for row in cli.json("receipt", "--by", "batch") if row["batch"] == submitted["batch_id"]]
    assert row == {"batch": submitted["batch_id"], "uploads": 4} | {
        name: detail[name] for name in ("images", "cost_usd", "unsettled_images")
    }


def test_after_ctrl_c_the_same_command_goes_on_and_buys_nothing_twice(cli: Cli) -> None:
    cli.photos(24)
    submit = ("submit", "photos", "--to", cli.deployed.folder, "--prompt", "a wooden table", "--wait")
    versions = cli.deployed.s3.get_paginator("list_object_versions")

    def uploaded() -> int:
        pages = versions.paginate(Bucket=cli.deployed.input_bucket, Prefix=cli.deployed.folder)
        return sum(len(page.get("Versions", [])) for page in pages)

    while_uploading = cli.interrupted(*submit, after="Uploading", when=uploaded)
    while_waiting = cli.interrupted(*submit, after="Waiting", when=cli.deployed.charged)
    answer = cli.json(*submit)

    assert (while_uploading, while_waiting) == (130, 130)
    assert [photo["status"] for photo in answer["photos"]] == ["done"] * 24
    assert all(photo["results"] for photo in answer["photos"])
    assert (uploaded(), cli.deployed.charged()) == (24, 24)


def test_many_are_not_bought_without_being_asked_for(cli: Cli) -> None:
    cli.photos(3)
    submit = ("submit", "photos", "--to", cli.deployed.folder, "--prompt", "snow")

    assert "Say --yes" in cli.run(*submit, "--ask-above-images", 2, code=2)
    assert "Say --yes" in cli.run(*submit, "--n", 2, "--ask-above-usd", 0.17, code=2)
    assert "no prompt" in cli.run("submit", "photos", "--to", cli.deployed.folder, code=2)
    assert "neither JPEG, PNG nor WebP" in cli.run("submit", "photos/notes.md", "--prompt", "snow", code=2)
    assert cli.deployed.gateway.calls() == []

    (cli.folder / "photos" / "prompt.txt").write_text("fresh snow\n")
    cli.run("submit", "photos", "--to", cli.deployed.folder, "--ask-above-images", 2, "--yes", "--wait")
    assert {charge["prompt"] for charge in cli.deployed.gateway.charges()} == {"fresh snow"}


def test_results_come_into_another_folder_and_failures_with_what_to_do(cli: Cli) -> None:
    cli.photos(2)
    cli.deployed.gateway.faults([{"kind": "status", "status": 422, "match": "nothing decent"}])

    text = cli.run(
        *("submit", "photos", "--to", cli.deployed.folder, "--prompt", "nothing decent"),
        *("--wait", "--out", "results", "--n", 2),
        code=1,
    )

    assert "rejected_by_gateway" in text
    assert "Upload another photo" in text
    results = sorted(path.name for path in (cli.folder / "results").rglob("*.png"))
    assert len(results) == 2
    assert all(re.fullmatch(r".+\.\w+\.[12]\.png", name) for name in results)
    assert sorted((cli.folder / "photos").rglob("*.[12].png")) == []


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


def test_backfill_takes_what_is_new_once_and_goes_on_after_ctrl_c(cli: Cli) -> None:
    deployed = cli.deployed
    deployed.put("done.jpg", SAMPLE_PHOTO.read_bytes(), prompt="moss")
    deployed.put("broken.jpg", b"no photo", prompt="moss")
    deployed.until_finished(2, 60)
    unnoticed(deployed, 20)
    deployed.stack.put_unnoticed(f"{deployed.folder}document.pdf", b"%PDF-1.7", "moss")
    place = f"s3://{deployed.input_bucket}/{deployed.folder}"

    quote = cli.json("quote", place)
    assert {name: quote[name] for name in ("new", "done", "failed", "invalid")} == {
        "new": 20,
        "done": 1,
        "failed": 1,
        "invalid": 1,
    }
    assert (quote["images"], quote["cost_usd"], quote["invalid_by_reason"]) == (20, 0.6, {"unsupported_media_type": 1})
    assert "is not this stack's input bucket" in cli.run("quote", "s3://elsewhere/", code=2)
    assert "Say --yes" in cli.run("backfill", place, "--ask-above-images", 5, code=2)

    code = cli.interrupted("backfill", place, after="Enqueuing", when=lambda: len(deployed.records()) > 2)
    again = cli.json("backfill", place)

    assert code in (0, 130, -signal.SIGINT)  # twenty may be through before the signal is
    assert again["enqueued"] <= 19
    deployed.until_finished(22, 90)
    assert cli.json("backfill", place)["enqueued"] == 0
    assert deployed.charged() == 21
    sources = deployed.s3.list_object_versions(Bucket=deployed.input_bucket, Prefix=deployed.folder)["Versions"]
    assert len(sources) == 23, "nothing was copied onto itself"


def test_failures_say_what_to_do_and_resume_pays_only_what_was_not_paid(cli: Cli) -> None:
    deployed = cli.deployed
    deployed.gateway.faults([{"kind": "empty", "match": "a lost picture"}])
    deployed.put("unpaid.jpg", SAMPLE_PHOTO.read_bytes())
    deployed.put("paid.jpg", SAMPLE_PHOTO.read_bytes(), prompt="a lost picture")
    deployed.put("hopeless.jpg", b"no photo", prompt="moss")
    deployed.until_finished(3, 60)
    until("three dead_letters", lambda: len(cli.json("failures", deployed.folder)) == 3)

    found = {each["key"].removeprefix(deployed.folder): each for each in cli.json("failures", deployed.folder)}
    assert {name: (each["reason"]["code"], each["reason"]["billed"]) for name, each in found.items()} == {
        "unpaid.jpg": ("missing_prompt", "no"),
        "paid.jpg": ("no_image_returned", "yes"),
        "hopeless.jpg": ("unsupported_media_type", "no"),
    }
    assert all(each["what_to_do"] for each in found.values())
    before = deployed.charged()

    deployed.put("prompt.txt", b"a mossy stone")
    # Whichever function looked for a prompt.txt a moment ago remembers for a minute that there was none.
    until(
        "the unpaid one's result",
        lambda: (
            cli.run("resume", "--reason", "missing_prompt", deployed.folder) and "unpaid.jpg.png" in deployed.results()
        ),
        90,
        every=2,
    )
    assert deployed.charged() == before + 1
    assert "1 without buying" in cli.run("resume", deployed.folder + "paid.jpg")
    until("its second failure", lambda: len(cli.json("failures", deployed.folder)) == 2)
    assert deployed.charged() == before + 1
    assert "There is no dead letter" in cli.run("resume", deployed.folder + "nosuch.jpg", code=1)


def test_receipt_lists_what_the_gateway_charged(cli: Cli) -> None:
    deployed = cli.deployed
    deployed.put("one.jpg", SAMPLE_PHOTO.read_bytes(), prompt="moss")
    deployed.put("three, cheap.jpg", SAMPLE_PHOTO.read_bytes(), prompt="moss", n="3")
    deployed.put("failed.jpg", b"no photo", prompt="moss")
    deployed.until_finished(3, 60)

    rows = [row for row in csv.DictReader(io.StringIO(cli.run("receipt"))) if row["key"].startswith(deployed.folder)]
    [three] = cli.json("receipt", deployed.folder + "three, cheap.jpg")

    assert {row["key"].removeprefix(deployed.folder): row["cost_usd"] for row in rows} == {
        "one.jpg": "0.03",
        "three, cheap.jpg": "0.09",
    }
    assert (three["images"], len(three["outputs"])) == (3, 3)
    assert {row["request_id"] for row in rows} <= {call["request_id"] for call in deployed.gateway.calls()}
    assert cli.json("receipt", "--since", "2999-01-01") == []

    shown = cli.json("show", deployed.folder + "one.jpg")
    assert (shown["state"], shown["attempts"]) == ("DONE", 1)
    assert {line["function"] for line in cli.json("logs", shown["id"])} == {"replace-background"}
    assert cli.json("reconcile")["complete"]
