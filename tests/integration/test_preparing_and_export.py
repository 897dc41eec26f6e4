"""Photos as cameras, phones and designers hand them over, through `submit`; results as shops take them, by `export`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from backdrop_cli import preparing
from tests.integration.command_line import command, deployed
from tests.integration.harness import Harness
from tests.integration.stack import INPUT, OUTPUT
from tests.pictures import bomb, encoded, grey16, heic, mug, opened, turned

Run = Callable[..., tuple[Any, str]]


@pytest.fixture
def run(harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty folder; its JSON and its remarks, after a check of the exit code."""
    monkeypatch.chdir(tmp_path)
    deployment = deployed()

    def run(*arguments: object, code: int = 0) -> tuple[Any, str]:
        done = command(deployment, *arguments, "--json", standalone_mode=False)
        if isinstance(done.exception, click.ClickException):
            assert done.exception.exit_code == code
            return None, done.exception.message
        if done.exception:
            raise done.exception
        assert (done.return_value or 0) == code, done.output
        return json.loads(done.stdout), done.stderr

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a folder holds after a day with a camera, a phone and a designer."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, data in {
        "plain.jpg": encoded(mug(), "JPEG"),
        "turned.jpg": turned(6),
        "phone.heic": heic(),
        "called wrongly.jpg": heic(),
        "scan.tif": encoded(mug(), "TIFF"),
        "deep.png": grey16(),
        "inks.jpg": encoded(mug().convert("CMYK"), "JPEG"),
        "old.gif": encoded(mug(), "GIF"),
        "bomb.png": bomb(),
        "text.jpg": b"this is no picture",
        "broken.jpg": encoded(mug(), "JPEG")[:-900],
        "broken and turned.jpg": turned(8)[:-900],
        "notes.txt": b"this is no picture, and is called so",
    }.items():
        (folder / name).write_bytes(data)
    return folder


def stored(harness: Harness, key: str) -> bytes:
    return bytes(harness.s3.get_object(Bucket=INPUT, Key=key)["Body"].read())


def versions(harness: Harness) -> int:
    return len(harness.s3.list_object_versions(Bucket=INPUT).get("Versions", []))


def test_a_mixed_folder_is_prepared_what_is_broken_is_named_and_a_second_time_nothing_is_uploaded(
    run: Run, harness: Harness, folder: Path
) -> None:
    """cases: turned photo; inks, phones; 16-bit grey."""
    same = ("submit", "photos", "--prompt", "snow")
    done, remarks = run(*same, code=1)

    prepared = ["called wrongly.jpg", "deep.jpg", "inks.jpg", "old.jpg", "phone.jpg", "scan.jpg", "turned.jpg"]
    assert sorted(each["key"] for each in done["photos"] if each["submitted"]) == [
        f"photos/{name}" for name in sorted([*prepared, "plain.jpg"])
    ]
    for name in prepared:
        image = opened(stored(harness, f"photos/{name}"))
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert name == "deep.jpg" or image.size == (320, 200)
    assert stored(harness, "photos/plain.jpg") == (folder / "plain.jpg").read_bytes()
    assert (done["submitted"], done["prepared"]) == (8, 7)
    assert {Path(path).name for path in done["left_out"]} == {
        "bomb.png",
        "text.jpg",
        "broken.jpg",
        "broken and turned.jpg",
    }
    assert "200 million pixels" in done["left_out"]["photos/bomb.png"]
    assert "notes.txt" in remarks

    again, _ = run(*same, code=1)
    assert (again["submitted"], versions(harness)) == (0, 8)
    assert run(*same, "--max-side", 100, code=1)[0]["submitted"] == 8, "that is another photo"


def test_what_was_done_is_said(run: Run, harness: Harness, folder: Path) -> None:
    done = command(deployed(), "submit", "photos", "--prompt", "snow", standalone_mode=False)
    assert "7 of 8 prepared: 2 HEIC, " in done.stdout
    assert "1 turned upright" in done.stdout
    assert "Left out: photos/broken.jpg: it is cut off or broken" in done.stdout
    assert "8 photos submitted, 0 were there." in done.stdout


def test_a_photo_is_decoded_once_and_not_at_all_when_it_is_there(
    run: Run, harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "red.jpg").write_bytes(turned(3))
    (tmp_path / "plain.jpg").write_bytes(encoded(mug(), "JPEG"))
    prepare, prepares = preparing.prepared, []

    def once(*arguments: Any) -> bytes:
        prepares.append(arguments)
        return prepare(*arguments)

    monkeypatch.setattr("backdrop_cli.sending.prepared", once)
    assert run("submit", "red.jpg", "plain.jpg", "--prompt", "snow")[0]["submitted"] == 2
    assert run("submit", "red.jpg", "plain.jpg", "--prompt", "snow")[0]["submitted"] == 0
    assert len(prepares) == 1


def test_without_preparing_everything_goes_as_it_is(run: Run, harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "red.jpg").write_bytes(turned(6))
    (tmp_path / "phone.heic").write_bytes(heic())
    run("submit", "red.jpg", "--prompt", "snow", "--no-prepare")
    assert stored(harness, "red.jpg") == turned(6)
    assert "neither JPEG" in run("submit", "phone.heic", "--prompt", "snow", "--no-prepare", code=2)[1]


def test_two_files_for_one_key_are_an_error_before_anything_is_uploaded(
    run: Run, harness: Harness, tmp_path: Path
) -> None:
    (tmp_path / "phone.heic").write_bytes(heic())
    (tmp_path / "phone.jpg").write_bytes(encoded(mug(), "JPEG"))
    _, message = run("submit", "phone.heic", "phone.jpg", "--prompt", "snow", code=2)
    assert "phone.heic, phone.jpg" in message
    assert versions(harness) == 0


def test_it_says_so_before_it_replaces_another_object(run: Run, harness: Harness, tmp_path: Path) -> None:
    """cases: same file, other etag."""
    (tmp_path / "red.jpg").write_bytes(turned(6))
    harness.put("red.jpg", encoded(mug(), "JPEG"), prompt="snow")
    assert "to be replaced: red.jpg" in run("submit", "red.jpg", "--prompt", "snow")[1]
    assert "to be replaced" not in run("submit", "red.jpg", "--prompt", "snow")[1]
    assert "to be replaced" not in run("submit", "red.jpg", "--prompt", "snow", "--again")[1]


def test_a_quote_counts_the_photos_in_the_bucket_that_would_profit_from_preparing(
    run: Run, harness: Harness, folder: Path
) -> None:
    for path in folder.iterdir():
        harness.put(f"photos/{path.name}", path.read_bytes(), prompt="snow")
    harness.put("photos/large.jpg", encoded(mug((5000, 40)), "JPEG") + bytes(100_000), prompt="snow")
    harness.put("photos/turned without a prompt.jpg", turned(3))

    found, _ = run("quote")
    assert found["to_prepare"] == 9
    assert found["to_prepare_by_reason"] == {
        "turned upright": 2,
        "HEIC": 2,
        "TIFF": 1,
        "16 bit": 1,
        "CMYK": 1,
        "GIF": 1,
        "made smaller": 1,
    }
    assert found["invalid_by_reason"]["unsupported_media_type"] == 6


def upload(harness: Harness, key: str, **options: str) -> None:
    harness.upload(key, encoded(mug(), "JPEG"), prompt="snow", **options)


def test_results_are_exported_in_the_form_that_was_asked_for(run: Run, harness: Harness, tmp_path: Path) -> None:
    upload(harness, "shoes/red.jpg")
    upload(harness, "shoes/two.png", n="2")
    upload(harness, "hats/blue.jpg")
    done, _ = run("export", "shoes/", "--out", "shop", "--size", "300x300", "--format", "webp")
    assert [each["path"] for each in done["files"]] == [
        "shop/shoes/red.webp",
        "shop/shoes/two.1.webp",
        "shop/shoes/two.2.webp",
    ]
    for each in done["files"]:
        image = opened((tmp_path / each["path"]).read_bytes())
        assert (image.format, image.size) == ("WEBP", (300, 300))
    assert not (tmp_path / "shop" / "hats").exists()

    done, _ = run("export", "hats/", "--out", "shop", "--for", "shopify")
    assert opened((tmp_path / "shop/hats/blue.jpg").read_bytes()).size == (2048, 2048)
    run("export", "hats/", "--out", "shop", "--for", "shopify", "--size", "80x60", "--fit", "crop")
    assert opened((tmp_path / "shop/hats/blue.jpg").read_bytes()).size == (80, 60)
    assert "--size" in run("export", "hats/", "--out", "shop", "--for", "amazon")[1]
    run("export", "hats/", "--out", "shop", "--size", "huge", code=2)
    run("export", "hats/", "--out", "shop", "--background", "no colour", code=2)
    run("export", "nothing/", "--out", "shop", code=1)


def test_only_what_was_approved_is_exported_when_that_is_asked_for(run: Run, harness: Harness) -> None:
    for name, decision in (("red", "approved"), ("blue", "rejected"), ("green", None)):
        upload(harness, f"{name}.jpg")
        if decision:
            [key] = [key for key in harness.outputs() if key.startswith(name)]
            tags = {"TagSet": [{"Key": "backdrop-review", "Value": decision}]}
            harness.s3.put_object_tagging(Bucket=OUTPUT, Key=key, Tagging=tags)
    done, _ = run("export", "--out", "shop", "--approved")
    assert [each["photo"] for each in done["files"]] == ["red.jpg"]


def test_a_result_that_can_not_be_had_is_named_and_the_others_are_exported(run: Run, harness: Harness) -> None:
    for name in ("red", "blue", "green"):
        upload(harness, f"{name}.jpg")
    harness.s3.put_object(Bucket=OUTPUT, Key="blue.jpg.png", Body=b"no picture", Metadata={"job-id": "x"})
    keys = list(harness.outputs())
    [blue, green] = [next(key for key in keys if key.startswith(name)) for name in ("blue", "green")]
    harness.s3.put_object(Bucket=OUTPUT, Key=blue, Body=b"no picture")
    harness.s3.delete_object(Bucket=OUTPUT, Key=green)
    done, _ = run("export", "--out", "shop", code=1)
    assert [each["photo"] for each in done["files"]] == ["red.jpg"]
    assert done["failed"] == {blue: "it is no picture that can be read", green: "it is not there any more"}


def test_nothing_is_written_beside_the_folder(run: Run, harness: Harness, tmp_path: Path) -> None:
    upload(harness, "red.jpg")
    for key in ("../outside.jpg", "a/../../outside.jpg", "/outside.jpg", "a//b.jpg"):
        job = harness.put(key, encoded(mug(), "JPEG"), prompt="snow")
        held = harness.services.ledger.claim(job, "a worker", 0.0)
        stored = [{"bucket": OUTPUT, "key": f"{key}.png", "content_type": "image/png", "bytes": 1}]
        harness.dynamodb.update_item(
            TableName="backdrop-ledger",
            Key={"id": {"S": held.id}},
            UpdateExpression="SET outputs = :outputs",
            ExpressionAttributeValues={":outputs": {"L": [{"M": {
                name: {"N" if isinstance(value, int) else "S": str(value)} for name, value in stored[0].items()
            }}]}},
        )  # fmt: skip
        harness.s3.put_object(Bucket=OUTPUT, Key=f"{key}.png", Body=encoded(mug(), "PNG"), Metadata={"job-id": held.id})
    done, _ = run("export", "--out", "deep/shop", code=1)
    assert [each["path"] for each in done["files"]] == ["deep/shop/red.jpg"]
    assert len(done["failed"]) == 4
    assert sorted(path.name for path in tmp_path.rglob("*.jpg")) == ["red.jpg"]
