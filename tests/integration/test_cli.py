"""The command `backdrop` where timing, odd states and interruptions matter; tests/e2e/test_cli.py has the ordinary."""

import csv
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from botocore.exceptions import ReadTimeoutError
from click.testing import CliRunner
from moto.backends import get_backend

from backdrop.job import Job
from backdrop.settings import Settings
from backdrop.states import State
from backdrop_cli import sending, submission
from backdrop_cli.commands import cli
from backdrop_cli.deployment import Deployment
from backdrop_cli.follow import fetch
from backdrop_cli.forecast import offer
from backdrop_cli.options import CliContext
from backdrop_cli.submission import Submitted, free_keys, with_records
from tests.aws_events import s3_event
from tests.integration.conftest import Run
from tests.integration.harness import Harness
from tests.integration.moved_clock import MovedClock
from tests.integration.stack import INPUT, OUTPUT


def versions(harness: Harness) -> list[str]:
    return [entry["VersionId"] for entry in harness.s3.list_object_versions(Bucket=INPUT).get("Versions", [])]


def current(harness: Harness, key: str = "photos/red.jpg") -> Job:
    found = harness.s3.head_object(Bucket=INPUT, Key=key)
    return Job(INPUT, key, found["VersionId"], found["ETag"].strip('"'), found["ContentLength"])


def submitted_and_done(run: Run, harness: Harness, *more: object) -> Any:
    run("submit", "photos", "--prompt", "snow", *more)
    harness.notify(current(harness))
    return run("submit", "photos", "--prompt", "snow", "--wait")


def test_what_was_submitted_just_like_this_is_not_uploaded_again_and_anything_else_is(
    run: Run, harness: Harness, red: Path, picture_of: Callable[[str], bytes]
) -> None:
    same = ("submit", "photos", "--prompt", "snow")
    assert run(*same)["submitted"] == 1
    assert run(*same)["submitted"] == 0
    assert run("submit", "photos", "--prompt", "moss")["submitted"] == 1
    assert run("submit", "photos", "--prompt", "moss", "--n", 2)["submitted"] == 1
    red.write_bytes(picture_of("WEBP"))
    assert run("submit", "photos", "--prompt", "moss", "--n", 2)["submitted"] == 1
    red.write_bytes(picture_of("JPEG"))
    assert run("submit", "photos", "--prompt", "moss", "--n", 2)["submitted"] == 1
    other = red.read_bytes().replace(b"JFIF\0\1\1", b"JFIF\0\1\2")  # as long as before
    assert other != red.read_bytes()
    red.write_bytes(other)
    assert run("submit", "photos", "--prompt", "moss", "--n", 2)["submitted"] == 1
    assert run("submit", "photos", "--prompt", "moss", "--n", 2)["submitted"] == 0
    assert run("submit", "photos", "--prompt", "moss", "--n", 2, "--again")["submitted"] == 1
    assert len(versions(harness)) == 7


def test_free_keys_are_told_by_a_listing_which_ends_where_it_saves_nothing(
    harness: Harness, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ["a/\u00e9.jpg", "a/0.jpg", "a/5.jpg", "a/z.jpg"]
    assert free_keys(deployment, keys) == set(keys)
    for key in ("a/0.jpg", "a/0.jpg.x", "a/4.jpg", "a/6.jpg", "a/8.jpg", "other.jpg"):
        harness.put(key, b"x")
    assert free_keys(deployment, keys) == {"a/\u00e9.jpg", "a/5.jpg", "a/z.jpg"}
    paginate = deployment.s3.get_paginator("list_objects_v2").paginate
    monkeypatch.setattr(
        deployment.s3,
        "get_paginator",
        lambda name: SimpleNamespace(paginate=lambda **more: paginate(**more, PaginationConfig={"PageSize": 2})),
    )
    assert free_keys(deployment, keys) == {"a/5.jpg"}, "two pages are as many as are worth it"


def test_bytes_are_known_again_where_the_etag_is_no_md5(run: Run, harness: Harness, red: Path) -> None:
    """As where a KMS key encrypts the bucket."""
    run("submit", "photos", "--prompt", "snow")
    get_backend("s3")["123456789012"]["aws"].buckets[INPUT].keys["photos/red.jpg"]._etag = "0" * 32

    assert current(harness).etag == "0" * 32
    assert run("submit", "photos", "--prompt", "snow")["submitted"] == 0


def test_a_put_whose_answer_got_lost_makes_no_second_version(
    run: Run, harness: Harness, red: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a second `submit` at the same time: what was looked up a moment ago is no longer true."""
    run("submit", "photos", "--prompt", "snow")
    looked, looks = submission.looked, []

    def late(deployment: Deployment, photo: Any) -> Submitted:
        looks.append(photo)
        return Submitted(photo) if len(looks) == 1 else looked(deployment, photo)

    monkeypatch.setattr(sending, "looked", late)
    assert run("submit", "photos", "--prompt", "snow")["photos"][0]["job_id"] == current(harness).id
    assert len(versions(harness)) == 1


@pytest.mark.parametrize("more", [("--prompt", "moss"), ("--prompt", "snow", "--again")])
def test_a_put_in_place_of_another_whose_answer_got_lost_makes_one_version(
    run: Run,
    harness: Harness,
    red: Path,
    deployment: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, ...],
) -> None:
    """The etag is the same before and after: S3's condition alone would let the second put pass."""
    run("submit", "photos", "--prompt", "snow")
    put, puts = deployment.s3_once.put_object, []

    def lost(**arguments: Any) -> Any:
        puts.append(put(**arguments))
        raise ReadTimeoutError(endpoint_url="http://s3")

    monkeypatch.setattr(deployment.s3_once, "put_object", lost)
    found = run("submit", "photos", *more)

    assert (len(puts), len(versions(harness))) == (1, 2)
    assert found["photos"][0]["job_id"] == current(harness).id


def test_a_photo_that_was_deleted_since_it_was_looked_at_is_uploaded(
    run: Run, harness: Harness, red: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("submit", "photos", "--prompt", "snow")

    def deleting(*arguments: Any) -> Any:
        harness.s3.delete_object(Bucket=INPUT, Key="photos/red.jpg")
        return offer(*arguments)

    monkeypatch.setattr("backdrop_cli.submit.offer", deleting)
    assert run("submit", "photos", "--prompt", "moss")["submitted"] == 1
    assert current(harness).key == "photos/red.jpg"


def test_a_photo_that_is_current_again_is_taken_up_and_waited_for(
    run: Run, harness: Harness, red: Path, photo: bytes
) -> None:
    run("submit", "photos", "--prompt", "snow")
    mine = current(harness)
    theirs = harness.put("photos/red.jpg", photo, prompt="another's")
    harness.notify(mine)
    harness.s3.delete_object(Bucket=INPUT, Key="photos/red.jpg", VersionId=theirs.version_id)
    assert run("status")["new"] == 1

    [taken_up] = run("submit", "photos", "--prompt", "snow")["photos"]
    assert taken_up["status"] == "uploaded"
    record = harness.record(mine)
    assert record is not None
    assert record.state is State.CLAIMED, "--wait would take it for over otherwise"
    harness.drain()
    assert run("submit", "photos", "--prompt", "snow", "--wait")["photos"][0]["status"] == "done"


def test_again_interrupted_says_what_it_is_still_for(
    deployment: Deployment, run: Run, red: Path, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (red.parent / "blue.jpg").write_bytes(photo)
    run("submit", "photos", "--prompt", "snow")
    begun = sending.begin

    def only_red(deployment: Deployment, submitted: Submitted, *more: Any) -> Submitted:
        if submitted.photo.path.name == "blue.jpg":
            raise KeyboardInterrupt
        return begun(deployment, submitted, *more)

    monkeypatch.setattr(sending, "begin", only_red)
    context = CliContext()
    context.__dict__["deployment"] = deployment
    done = CliRunner().invoke(cli, ["submit", "photos", "--prompt", "snow", "--again"], obj=context)

    assert re.search(
        r"[01] of 2 were submitted again\.(?s:.*): backdrop submit --again --to photos/ -- .*photos/blue\.jpg",
        done.output,
    )


@pytest.mark.parametrize(("command", "count"), [(["submit", "photos"], "submitted"), (["backfill"], "enqueued")])
def test_a_failure_whose_letter_was_never_written_is_taken_up(
    run: Run, harness: Harness, red: Path, photo: bytes, command: list[str], count: str
) -> None:
    """Its worker died between the two, more than a day ago."""
    job = harness.upload("photos/red.jpg", photo)
    harness.services.ledger._client.update_item(  # as it was before the dead letter
        TableName="backdrop-ledger",
        Key={"id": {"S": job.id}},
        UpdateExpression="SET dead_lettered = :no",
        ExpressionAttributeValues={":no": {"BOOL": False}},
    )
    harness.advance(2 * 86400)
    harness.put("photos/prompt.txt", b"snow")

    assert run("status")["stuck"] == 1
    found = run("quote")
    assert (found["stuck"], found["images"]) == (1, 0)
    assert run(*command)[count] == 1
    harness.drain()
    assert len(harness.dead_letters()) == 2
    assert run("status")["failed"] == 1


def test_a_photo_that_is_there_unnoticed_is_enqueued_and_not_uploaded(run: Run, harness: Harness, red: Path) -> None:
    """Its notification was lost, or it was there before Backdrop was."""
    harness.put("photos/red.jpg", red.read_bytes(), prompt="snow")
    assert run("submit", "photos", "--prompt", "snow")["submitted"] == 0, "it is on its way"
    harness.advance(3600)

    assert run("submit", "photos", "--prompt", "snow")["submitted"] == 1
    harness.drain()
    assert run("submit", "photos", "--prompt", "snow", "--wait")["photos"][0]["status"] == "done"
    assert (len(versions(harness)), harness.charged()) == (1, 1)


def test_backfill_takes_up_an_upload_whose_message_is_lost(run: Run, harness: Harness, photo: bytes) -> None:
    job = harness.put("red.jpg", photo, prompt="snow")
    held = harness.services.ledger.claim(job, "a worker", 0.0)
    harness.services.ledger.release(held, held, harness.now())
    assert run("quote")["waiting"] == 1
    harness.advance(2 * 86400)

    assert run("quote")["stuck"] == 1
    assert run("status")["stuck"] == 1
    assert run("backfill")["enqueued"] == 1
    assert run("backfill")["enqueued"] == 0
    harness.drain()
    record = harness.record(job)
    assert record is not None
    assert record.state is State.DONE


def test_backfill_after_an_interruption_finds_only_the_rest_new(
    run: Run, harness: Harness, photo: bytes, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        harness.put(f"{number:02}.jpg", photo, prompt="snow")
    send, sent = deployment.queues.retry, []

    def interrupted(job: Job, seconds: float) -> None:
        send(job, seconds)
        sent.append(job)
        if len(sent) == 10:
            raise KeyboardInterrupt

    monkeypatch.setattr(deployment.queues, "retry", interrupted)
    with pytest.raises((KeyboardInterrupt, click.Abort)):
        run("backfill")
    monkeypatch.setattr(deployment.queues, "retry", send)

    assert run("quote")["new"] <= 31, "what was enqueued is marked"
    run("backfill")
    harness.drain()
    assert (len(harness.outputs()), harness.charged()) == (40, 40)


def test_what_can_not_be_read_or_can_not_succeed_is_invalid_and_the_rest_is_quoted(
    run: Run, harness: Harness, photo: bytes, environment: pytest.MonkeyPatch
) -> None:
    harness.put("red.jpg", photo, prompt="snow", n="3")
    harness.put("too many.jpg", photo, prompt="snow", n="8")
    harness.s3.put_object(Bucket=INPUT, Key="old.jpg", Body=photo, Metadata={"prompt": "x"}, StorageClass="GLACIER")
    harness.put("no prompt.jpg", photo)
    environment.setenv("DAILY_IMAGE_LIMIT", "5")
    deployment = Deployment("backdrop")
    deployment.__dict__.update(settings=Settings.from_environment(os.environ), clock=MovedClock())
    context = CliContext()
    context.__dict__["deployment"] = deployment

    found = json.loads(CliRunner().invoke(cli, ["quote", "--json"], obj=context).stdout)

    assert (found["new"], found["images"], found["cost_usd"]) == (1, 3, 0.09)
    assert found["invalid_by_reason"] == {"invalid_option": 1, "unreadable": 1, "missing_prompt": 1}


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
    record = harness.record(current(harness))
    assert record is not None
    harness.s3.put_object(Bucket=OUTPUT, Key="photos/red.jpg.png", Body=b"another's", Metadata={"job-id": "another"})

    assert fetch(deployment, record, tmp_path / "elsewhere" / "red.jpg") == []


def test_one_result_that_can_not_be_written_does_not_cost_the_others(
    run: Run, harness: Harness, red: Path, photo: bytes
) -> None:
    (red.parent / "blue.jpg").write_bytes(photo)
    run("submit", "photos", "--prompt", "snow")
    for key in ("photos/red.jpg", "photos/blue.jpg"):
        harness.notify(current(harness, key))
    (red.parent / "blue.jpg.png").mkdir()
    os.utime(red.parent / "blue.jpg.png", (0, 0))

    blue, found = run("submit", "photos", "--prompt", "snow", "--wait", code=1)["photos"]

    assert blue["trouble"]
    assert found["results"] == ["photos/red.jpg.png"]


def test_an_upload_that_somebody_replaced_is_said_to_be(
    run: Run, harness: Harness, red: Path, deployment: Deployment, photo: bytes
) -> None:
    run("submit", "photos", "--prompt", "snow")
    job = current(harness)
    harness.put("photos/red.jpg", photo, prompt="another's")
    harness.notify(job)
    [mine] = with_records(deployment, [Submitted(photo=None, job=job)])  # type: ignore[arg-type]

    assert mine.status == "replaced"


def test_two_dead_letters_of_one_upload_and_odd_ones_are_shown_and_resumed(
    run: Run, harness: Harness, photo: bytes
) -> None:
    job = harness.upload("red.jpg", photo)
    [dead_letter] = harness.dead_letters()
    odd = [
        "no JSON",
        '{"job": "x"}',
        '{"job": {"key": "", "id": "x"}}',
        '{"job": {"key": "a"}}',
        '{"reason": "x"}',
        '{"reason": {"code": ["x"]}}',
        "[]",
    ]
    for body in (json.dumps(dead_letter), json.dumps({"job": dead_letter["job"]}), *odd):
        harness.sqs.send_message(QueueUrl=harness.dead_letter_url, MessageBody=body)

    shown = run("failures")
    codes = [each["reason"]["code"] for each in shown]
    assert sorted(codes) == ["malformed_message"] * 7 + ["missing_prompt"] * 2 + ["unexpected"]
    assert {each["body"] for each in shown if each["reason"]["code"] == "malformed_message"} == set(odd)

    harness.put("prompt.txt", b"snow")
    harness.advance(61)
    assert run("resume", "red.jpg")["resumed"] == ["red.jpg"] * 3
    harness.drain()
    record = harness.record(job)
    assert record is not None
    assert record.state is State.DONE
    assert harness.charged() == 1
    assert run("resume")["resumed"] == [None] * 7, "they come back, one by one"


def test_a_notification_that_sqs_moved_away_is_resumed_as_its_upload(run: Run, harness: Harness, photo: bytes) -> None:
    """RetryFunction could never read it to an end, so it is what S3 sent and no dead_letter."""
    job = harness.put("red.jpg", photo, prompt="snow")
    harness.sqs.send_message(QueueUrl=harness.dead_letter_url, MessageBody=json.dumps(s3_event(job)))

    [shown] = run("failures")
    assert (shown["key"], shown["reason"]["code"]) == ("red.jpg", "unexpected")
    assert "1 image" in run("resume", "--ask-above-images", 0, code=2)
    assert run("resume", "red.jpg")["resumed"] == ["red.jpg"]
    harness.drain()
    assert (harness.charged(), harness.dead_letters()) == (1, [])


def test_resume_asks_for_what_a_notification_of_a_bucket_without_versions_will_buy(
    run: Run, harness: Harness, photo: bytes
) -> None:
    harness.s3.delete_bucket(Bucket=INPUT)
    harness.s3.create_bucket(Bucket=INPUT)
    job = harness.put("red.jpg", photo, prompt="snow", n="8")
    harness.sqs.send_message(QueueUrl=harness.dead_letter_url, MessageBody=json.dumps(s3_event(job)))

    assert "8 images" in run("resume", "--ask-above-images", 7, code=2)


def test_resume_interrupted_between_its_two_steps_loses_nothing_and_buys_once(
    run: Run, harness: Harness, photo: bytes, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.upload("red.jpg", photo)
    harness.put("prompt.txt", b"snow")
    harness.advance(61)

    def ended(**_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(deployment.sqs, "delete_message", ended)
        with pytest.raises((KeyboardInterrupt, click.Abort)):
            run("resume")
    assert (len(harness.waiting()), len(harness.dead_letters())) == (1, 1)

    harness.drain()
    for message in get_backend("sqs")["123456789012"]["us-east-1"].queues["backdrop-dead-letters"]._messages:
        message.visible_at = 0  # two minutes later
    run("resume")
    harness.drain()
    assert (harness.charged(), harness.dead_letters()) == (1, [])


def test_resume_asks_for_all_images_that_it_can_buy(run: Run, harness: Harness, photo: bytes) -> None:
    harness.upload("red.jpg", photo, n="8")
    harness.upload("blue.jpg", photo, prompt="snow", n="9")  # will fail again
    harness.put("prompt.txt", b"snow")

    assert "8 images" in run("resume", "--ask-above-images", 7, code=2)
    assert harness.waiting() == []
    assert len(run("failures")) == 2, "they were put back"


def test_dead_letters_that_somebody_else_looks_at_are_not_taken_for_none(
    run: Run, harness: Harness, photo: bytes, deployment: Deployment
) -> None:
    harness.upload("red.jpg", photo)
    harness.sqs.receive_message(QueueUrl=harness.dead_letter_url, VisibilityTimeout=60)
    context = CliContext()
    context.__dict__["deployment"] = deployment

    done = CliRunner().invoke(cli, ["failures"], obj=context)
    assert "1 dead letter more is being looked at" in done.output
    assert "Nothing has failed" not in done.output
    assert run("failures", code=1) == []
    assert run("failures", "other.jpg", code=1) == []


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
