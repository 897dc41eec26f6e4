"""Status promises nothing that it doesn't know, and only an upload's own result is fetched."""

import os
from pathlib import Path

from backdrop_cli.deployment import Deployment
from backdrop_cli.follow import fetch
from backdrop_cli.submission import Submitted, with_records
from tests.integration.conftest import Run
from tests.integration.harness import Harness
from tests.integration.stack import INPUT, OUTPUT
from tests.integration.uploads import submitted_and_done


def test_photos_of_long_ago_are_not_promised_by_status(run: Run, harness: Harness, photo: bytes) -> None:
    harness.put("old.jpg", photo, prompt="snow")
    harness.advance(2 * 86400)
    harness.put("young.jpg", photo, prompt="snow")

    found = run("status")
    assert (found["new"], found["untouched"], found["images_left"]) == (2, 1, 1)


def test_status_of_a_folder_knows_of_the_line_before_it(run: Run, harness: Harness, photo: bytes) -> None:
    harness.services.rate_limiter.acquire(0, 0.0)  # an hour of others:
    harness.dynamodb.update_item(
        TableName="backdrop-ledger",
        Key={"id": {"S": "pace"}},
        UpdateExpression="SET queue_tail = :end",
        ExpressionAttributeValues={":end": {"N": str(int((harness.now() + 3600) * 1_000_000))}},
    )
    harness.put("shoes/red.jpg", photo, prompt="snow")

    assert 3500 < run("status", "shoes/")["seconds_left"] < 3700
    assert run("status", f"s3://{INPUT}/shoes/")["new"] == 1
    assert "is not this stack's input bucket" in run("status", "s3://another/shoes/", code=2)


def test_a_result_that_was_worked_on_stays_and_an_older_one_is_replaced(run: Run, harness: Harness, red: Path) -> None:
    [fetched] = submitted_and_done(run, harness)["photos"][0]["results"]
    result = Path(fetched)
    original = result.read_bytes()

    result.write_bytes(b"retouched")
    os.utime(result, (harness.now() + 60,) * 2)
    run("submit", "photos", "--prompt", "snow", "--wait")
    assert result.read_bytes() == b"retouched"

    os.utime(result, (harness.now() - 3600,) * 2)
    run("submit", "photos", "--prompt", "snow", "--wait")
    assert result.read_bytes() == original


def test_a_result_of_another_upload_is_not_fetched(
    run: Run, harness: Harness, red: Path, deployment: Deployment, tmp_path: Path
) -> None:
    submitted_and_done(run, harness)
    record = harness.record(harness.current("photos/red.jpg"))
    assert record is not None
    harness.s3.put_object(Bucket=OUTPUT, Key="photos/red.jpg.png", Body=b"another's", Metadata={"job-id": "another"})

    assert fetch(deployment, record, tmp_path / "elsewhere" / "red.jpg") == []


def test_one_result_that_can_not_be_written_does_not_cost_the_others(
    run: Run, harness: Harness, red: Path, photo: bytes
) -> None:
    (red.parent / "blue.jpg").write_bytes(photo)
    run("submit", "photos", "--prompt", "snow")
    for key in ("photos/red.jpg", "photos/blue.jpg"):
        harness.notify(harness.current(key))
    (red.parent / "blue.jpg.png").mkdir()
    os.utime(red.parent / "blue.jpg.png", (0, 0))

    blue, found = run("submit", "photos", "--prompt", "snow", "--wait", code=1)["photos"]

    assert blue["trouble"]
    assert found["results"] == ["photos/red.jpg.png"]


def test_an_upload_that_somebody_replaced_is_said_to_be(
    run: Run, harness: Harness, red: Path, deployment: Deployment, photo: bytes
) -> None:
    run("submit", "photos", "--prompt", "snow")
    job = harness.current("photos/red.jpg")
    harness.put("photos/red.jpg", photo, prompt="another's")
    harness.notify(job)
    [mine] = with_records(deployment, [Submitted(photo=None, job=job)])  # type: ignore[arg-type]

    assert mine.status == "replaced"
