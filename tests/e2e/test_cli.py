"""Photos bought with the command `backdrop`, against the deployed local stack."""

import csv
import io
import re
import signal

from tests.e2e.command_line import Cli, cli
from tests.e2e.deployed import Deployed, listening
from tools.files import SAMPLE_PHOTO
from tools.polling import until

__all__ = ["cli"]


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
