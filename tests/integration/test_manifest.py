"""Tables of photos: `submit --manifest`, `receipt --manifest`, `manifest init`."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backdrop.job import Job
from backdrop_cli import preparing
from backdrop_cli.deployment import Deployment
from tests.integration.command_line import command, deployed
from tests.integration.conftest import Run, picture
from tests.integration.harness import Harness
from tests.integration.stack import INPUT
from tests.pictures import heic, turned


@pytest.fixture
def shop(tmp_path: Path) -> Callable[..., None]:
    """Writes a table, beside shoes/red.jpg and a phone's photo."""
    (tmp_path / "shoes").mkdir()
    (tmp_path / "shoes" / "red.jpg").write_bytes(picture("JPEG"))
    (tmp_path / "shoes" / "phone.heic").write_bytes(heic())

    def write(*lines: str) -> None:
        (tmp_path / "shop.csv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8-sig")

    return write


def metadata(harness: Harness) -> dict[str, dict[str, str]]:
    listed = harness.s3.list_objects_v2(Bucket=INPUT).get("Contents", [])
    return {each["Key"]: harness.s3.head_object(Bucket=INPUT, Key=each["Key"])["Metadata"] for each in listed}


def submitted(run: Run, *more: object, code: int = 0) -> Any:
    return run("submit", "--manifest", "shop.csv", *more, code=code)


def test_each_row_is_an_upload_with_its_own_prompt_and_options(
    run: Run, harness: Harness, shop: Callable[..., None]
) -> None:
    shop(
        "file;prompt;variant;n;size;colour",
        "shoes/red.jpg;a beach at {colour};beach;2;512x512;noon",
        "shoes/red.jpg;;;;;blue",
        "shoes/phone.heic;;moss;;;green",
    )
    done = submitted(run, "--prompt", "{stem} on {colour}, {folder}", "--to", "spring/")

    found = metadata(harness)
    assert found["spring/shoes/red.beach.jpg"] == {"prompt": "a beach at noon", "n": "2", "size": "512x512"}
    assert found["spring/shoes/red.jpg"] == {"prompt": "red on blue, shoes"}
    assert found["spring/shoes/phone.moss.jpg"]["prompt"] == "phone on green, shoes"
    assert [each["line"] for each in done["photos"]] == [2, 3, 4]
    assert done["submitted"] == 3


def test_a_row_that_did_not_change_is_not_bought_again_and_a_changed_prompt_is(
    run: Run, harness: Harness, shop: Callable[..., None]
) -> None:
    shop("file,prompt,variant", "shoes/red.jpg,snow,a", "shoes/red.jpg,moss,b")
    assert submitted(run)["submitted"] == 2
    assert submitted(run)["submitted"] == 0
    shop("file,prompt,variant", "shoes/red.jpg,snow,a", "shoes/red.jpg,sand,b")
    changed = submitted(run)
    assert [each["key"] for each in changed["photos"] if each["submitted"]] == ["shoes/red.b.jpg"]


def test_a_changed_prompt_is_told_before_it_is_bought(
    run: Run, harness: Harness, shop: Callable[..., None], deployment: Deployment
) -> None:
    shop("file,prompt", "shoes/red.jpg,snow")
    submitted(run)
    shop("file,prompt", "shoes/red.jpg,moss")
    said = command(deployment, "submit", "--manifest", "shop.csv", "--yes").stderr
    assert "to be replaced: shoes/red.jpg" in said
    assert said.index("to be replaced") < said.index("To buy: 1 image, $0.03")


def test_everything_wrong_is_listed_with_its_line_before_anything_is_uploaded(
    run: Run, harness: Harness, shop: Callable[..., None], tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shoes" / "phone.jpg").write_bytes(turned(3))
    shop(
        "file,prompt,variant,n,size",
        "shoes/red.jpg,snow,,,",
        "shoes/green.jpg,snow,,,",
        "shoes/phone.heic,,,,",
        "shoes/phone.jpg,snow,,,",
        "shoes/red.jpg,moss,,,",
        "shoes/red.jpg,on {colour},c,,",
        "shoes/red.jpg,snow,d,9,",
        "shoes/red.jpg,snow,e,,big",
        f"shoes/red.jpg,snow,{'f' * 1010},,",
        "shoes/red.jpg,snow,g,8,",
    )
    environment.setenv("DAILY_IMAGE_LIMIT", "5")
    done = command(deployed(), "submit", "--manifest", "shop.csv", "--yes")

    lines = [line.strip() for line in done.stderr.splitlines() if line.startswith("  line ")]
    said = {int(line.split()[1].rstrip(":")): line for line in lines}
    assert done.exit_code == 2
    assert "shop.csv has 9 mistakes; nothing was uploaded:" in done.stderr
    assert [int(line.split()[1].rstrip(":")) for line in lines] == sorted(said)
    for line, says in {
        3: "there is no file shoes/green.jpg",
        4: "has no prompt. Fill in its cell, say --prompt",
        5: "'shoes/phone.jpg', as line 4 does; give one a variant",
        6: "'shoes/red.jpg', as line 2 does; give one a variant",
        7: "the prompt has {colour}",
        8: "n is '9'",
        9: "size is 'big'",
        10: "longer than 1024 bytes",
        11: "n is 8; DailyImageLimit allows 5",
    }.items():
        assert says in said[line]
    assert metadata(harness) == {}


def test_results_of_variants_get_names_of_their_own_and_a_broken_photo_stops_no_others(
    run: Run, harness: Harness, shop: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "shoes" / "broken.jpg").write_bytes(turned(6)[:-900])
    shop(
        "file,prompt,variant",
        "shoes/red.jpg,snow,a",
        "shoes/red.jpg,moss,b",
        "shoes/phone.heic,snow,a",
        "shoes/phone.heic,moss,b",
        "shoes/broken.jpg,snow,a",
        "shoes/broken.jpg,snow,b",
    )
    assert submitted(run, code=1)["submitted"] == 4
    for each in harness.s3.list_object_versions(Bucket=INPUT)["Versions"]:
        harness.notify(Job(INPUT, each["Key"], each["VersionId"], each["ETag"].strip('"'), each["Size"]))
    done = submitted(run, "--wait", code=1)

    assert list(done["left_out"]) == ["shoes/broken.jpg"]
    assert sorted(path for each in done["photos"] for path in each["results"]) == [
        "shoes/phone.a.heic.png",
        "shoes/phone.b.heic.png",
        "shoes/red.a.jpg.png",
        "shoes/red.b.jpg.png",
    ]


def test_a_file_is_decoded_once_for_all_its_variants(
    run: Run, harness: Harness, shop: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, prepares = preparing.prepared, []

    def counted(*arguments: Any) -> bytes:
        prepares.append(arguments)
        return prepare(*arguments)

    monkeypatch.setattr("backdrop_cli.sending.prepared", counted)
    shop("file,prompt,variant", *(f"shoes/phone.heic,snow,{number}" for number in range(5)))
    assert submitted(run)["submitted"] == 5
    assert len(prepares) == 1


def test_again_interrupted_names_the_lines_that_are_left(
    deployment: Deployment, run: Run, shop: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    shop("file,prompt,variant", "shoes/red.jpg,snow,a", "shoes/red.jpg,snow,b")
    monkeypatch.setattr("backdrop_cli.sending.begin", interrupted)
    done = command(deployment, "submit", "--manifest", "shop.csv", "--again")
    assert "the lines 2, 3 of shop.csv" in done.output


def test_photos_or_a_table_are_named_and_never_both(run: Run, harness: Harness, shop: Callable[..., None]) -> None:
    shop("file,prompt", "shoes/red.jpg,snow")
    assert "one of the two" in submitted(run, "shoes", code=2)
    assert "one of the two" in run("submit", code=2)
    assert json.dumps(metadata(harness)) == "{}"


def test_a_receipt_has_the_tables_columns_and_what_became_of_each_row(
    run: Run, harness: Harness, shop: Callable[..., None], deployment: Deployment, tmp_path: Path
) -> None:
    shop(
        "file;Colour;variant;prompt",
        "shoes/red.jpg;=1+1;beach;snow",
        "shoes/phone.heic;green;;snow",
        "shoes/phone.heic;green;late;snow",
        "shoes/blue.jpg;blue;;snow",
    )
    (tmp_path / "shoes" / "blue.jpg").write_bytes(picture("JPEG"))
    submitted(run, "--to", "spring/")
    harness.gateway.faults([{"kind": "status", "status": 400, "match": "phone"}])
    by_key = {each["Key"]: each for each in harness.s3.list_object_versions(Bucket=INPUT)["Versions"]}
    for key in ("spring/shoes/red.beach.jpg", "spring/shoes/phone.jpg"):
        harness.notify(Job(INPUT, key, by_key[key]["VersionId"], by_key[key]["ETag"].strip('"'), by_key[key]["Size"]))
    harness.s3.delete_object(Bucket=INPUT, Key="spring/shoes/blue.jpg")
    for path in (tmp_path / "shoes").iterdir():
        path.unlink()

    red, phone, late, blue = run("receipt", "--manifest", "shop.csv", "--to", "spring/")
    assert red["row"] == {"file": "shoes/red.jpg", "colour": "=1+1", "variant": "beach", "prompt": "snow"}
    assert red["line"] == 2
    assert (red["key"], red["state"], red["images"], red["cost_usd"]) == ("spring/shoes/red.beach.jpg", "DONE", 1, 0.03)
    assert red["results"] == ["spring/shoes/red.beach.jpg.png"]
    assert (phone["key"], phone["state"]) == ("spring/shoes/phone.jpg", "DONE")
    assert (late["key"], late["state"]) == ("spring/shoes/phone.late.jpg", "not in the ledger yet")
    assert (blue["key"], blue["state"], blue["cost_usd"]) == ("spring/shoes/blue.jpg", "not uploaded", 0.0)

    done = command(deployment, "receipt", "--manifest", "shop.csv", "--to", "spring/")
    first = next(csv.DictReader(done.stdout.splitlines()))
    assert list(first) == [
        *("file", "colour", "variant", "prompt"),
        *("key", "state", "images", "cost_usd", "results", "reason"),
    ]
    assert (first["results"], first["colour"]) == ("spring/shoes/red.beach.jpg.png", "'=1+1")
    assert "4 rows: 2 DONE, 1 not in the ledger yet, 1 not uploaded; $0.06." in done.stderr
    assert "goes with --to alone" in run("receipt", "--manifest", "shop.csv", "--by", "tag", code=2)


def test_a_folders_photos_become_a_table_that_can_be_submitted(
    run: Run, harness: Harness, shop: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "shoes" / "=1+1.jpg").write_bytes(turned(3))
    (tmp_path / "shoes" / "._red.jpg").write_bytes(turned(3))
    (tmp_path / "shoes" / "red.jpg.png").write_bytes(picture("PNG"))
    (tmp_path / "shoes" / "caf\u00e9").mkdir()
    (tmp_path / "shoes" / "caf\u00e9" / "a, b.jpg").write_bytes(picture("JPEG"))
    assert run("manifest", "init", "shoes") == {"table": "shoes/manifest.csv", "photos": 4}
    assert (tmp_path / "shoes" / "manifest.csv").read_bytes().decode() == (
        "\ufefffile,prompt,variant,n,size,tag\r\n"
        "'=1+1.jpg,,,,,\r\n"
        '"caf\u00e9/a, b.jpg",,,,,\r\nphone.heic,,,,,\r\nred.jpg,,,,,\r\n'
    )
    assert "is there already" in run("manifest", "init", "shoes", code=2)
    assert run("manifest", "init", "shoes", "shop.csv")["photos"] == 4
    assert submitted(run, "--prompt", "snow")["submitted"] == 4
    (tmp_path / "elsewhere").mkdir()
    assert "in a folder above it" in run("manifest", "init", "shoes", "elsewhere/shop.csv", code=2)
    assert "There is no photo" in run("manifest", "init", "elsewhere", code=2)
