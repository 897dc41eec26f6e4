"""What was submitted is not uploaded again, whatever happened in between."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from moto.backends import get_backend

from backdrop.states import State
from backdrop_cli import sending, submission
from backdrop_cli.deployment import Deployment
from backdrop_cli.forecast import offer
from backdrop_cli.submission import Submitted, free_keys
from tests.integration.aws_faults import client_of
from tests.integration.command_line import command
from tests.integration.conftest import Run
from tests.integration.harness import Harness
from tests.integration.stack import INPUT
from tests.integration.uploads import versions


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

    assert harness.current("photos/red.jpg").etag == "0" * 32
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
    assert run("submit", "photos", "--prompt", "snow")["photos"][0]["job_id"] == harness.current("photos/red.jpg").id
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
    assert found["photos"][0]["job_id"] == harness.current("photos/red.jpg").id


def test_a_photo_that_was_deleted_since_it_was_looked_at_is_uploaded(
    run: Run, harness: Harness, red: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("submit", "photos", "--prompt", "snow")

    def deleting(*arguments: Any) -> Any:
        harness.s3.delete_object(Bucket=INPUT, Key="photos/red.jpg")
        return offer(*arguments)

    monkeypatch.setattr("backdrop_cli.submit.offer", deleting)
    assert run("submit", "photos", "--prompt", "moss")["submitted"] == 1
    assert harness.current("photos/red.jpg").key == "photos/red.jpg"


def test_a_photo_that_is_current_again_is_taken_up_and_waited_for(
    run: Run, harness: Harness, red: Path, photo: bytes
) -> None:
    run("submit", "photos", "--prompt", "snow")
    mine = harness.current("photos/red.jpg")
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
    done = command(deployment, "submit", "photos", "--prompt", "snow", "--again")

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
    client_of(harness, "dynamodb").update_item(  # as it was before the dead letter
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
