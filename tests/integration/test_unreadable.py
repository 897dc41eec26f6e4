"""What S3 will never give to the functions ends within five minutes; what it only refuses for now waits, with a reason.

Documented answers that moto doesn't give are put on the wire instead of its own.
"""

import re
from typing import Any

import pytest

from backdrop.job import Job
from tests.integration.aws_faults import about, refusing
from tests.integration.harness import Harness
from tests.integration.stack import INPUT

FIVE_MINUTES = 300.0


def put(harness: Harness, key: str, data: bytes, **more: Any) -> Job:
    answer = harness.s3.put_object(Bucket=INPUT, Key=key, Body=data, Metadata={"prompt": "wood"}, **more)
    harness.set_modified(key, harness.now())
    return Job(INPUT, key, answer.get("VersionId"), answer["ETag"].strip('"'), len(data))


def without_versions(harness: Harness) -> None:
    harness.s3.delete_bucket(Bucket=INPUT)
    harness.s3.create_bucket(Bucket=INPUT)


def the_unreadable(harness: Harness) -> str:
    """The message of the one dead_letter."""
    [dead_letter] = harness.dead_letters()
    assert dead_letter["reason"]["code"] == "unreadable"
    assert (dead_letter["reason"]["billed"], dead_letter["reason"]["attempts"]) == ("no", 0)
    assert (harness.waiting(), harness.gateway.calls()) == ([], [])
    message = dead_letter["reason"]["message"]
    assert isinstance(message, str)
    return message


@pytest.mark.parametrize("versions", [True, False])
@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_row_80_an_archived_photo_is_unreadable_at_once_and_bought_when_it_is_restored(
    harness: Harness, photo: bytes, storage_class: str, versions: bool
) -> None:
    """cases: archived object"""
    if not versions:
        without_versions(harness)
    job = put(harness, "a.jpg", photo, StorageClass=storage_class)
    harness.notify(job)
    harness.notify(job)

    message = the_unreadable(harness)
    assert storage_class in message
    assert "restore" in message

    harness.s3.restore_object(Bucket=INPUT, Key="a.jpg", RestoreRequest={"Days": 1})
    harness.redrive()
    harness.drain()
    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.charged() == 1


def test_row_80_an_archive_tier_of_intelligent_tiering_is_an_archive(harness: Harness, photo: bytes) -> None:
    more = "<StorageClass>INTELLIGENT_TIERING</StorageClass><AccessTier>DEEP_ARCHIVE_ACCESS</AccessTier>"
    with refusing(harness, "s3.GetObject", "InvalidObjectState", 403, more=more):
        harness.upload("a.jpg", photo, prompt="wood")

    assert "DEEP_ARCHIVE_ACCESS" in the_unreadable(harness)


@pytest.mark.parametrize("versions", [True, False])
def test_row_80_a_photo_under_its_uploaders_own_key_is_unreadable(
    harness: Harness, photo: bytes, versions: bool
) -> None:
    """Neither GET nor HEAD is answered without that key: a listing says which upload it is."""
    if not versions:
        without_versions(harness)
    with refusing(harness, "s3.GetObject", "InvalidRequest", 400), refusing(harness, "s3.HeadObject", "400", 400):
        job = harness.upload("a.jpg", photo, prompt="wood")
        harness.drain(seconds=FIVE_MINUTES)
        harness.notify(job)
        harness.drain(seconds=FIVE_MINUTES)

    assert "SSE-C" in the_unreadable(harness)


@pytest.mark.parametrize("code", ["KMS.DisabledException", "KMS.NotFoundException", "KMS.KMSInvalidStateException"])
def test_row_81_a_photo_whose_kms_key_is_of_no_use_is_unreadable_within_five_minutes(
    harness: Harness, photo: bytes, code: str
) -> None:
    with refusing(harness, "s3.GetObject", code, 400):
        harness.upload("a.jpg", photo, prompt="wood")
        harness.drain(seconds=FIVE_MINUTES)
        message = the_unreadable(harness)
    assert code in message
    assert "KMS key" in message

    harness.redrive()
    harness.drain()
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_row_81_a_kms_key_that_works_after_a_minute_costs_no_dead_letter(harness: Harness, photo: bytes) -> None:
    """A grant and the state of a key take a while to be known everywhere."""
    with refusing(harness, "s3.GetObject", "KMS.DisabledException", 400, times=2):
        harness.upload("a.jpg", photo, prompt="wood")
        harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.dead_letters() == []


def test_row_81_a_photo_under_a_kms_key_of_others_is_unreadable(harness: Harness, photo: bytes) -> None:
    """S3 answers 403 as for a missing permission, but to HEAD, which takes the same permission and no key, 200."""
    with refusing(harness, "s3.GetObject", "AccessDenied", 403, asked=about("theirs.jpg")):
        harness.notify(put(harness, "theirs.jpg", photo, ServerSideEncryption="aws:kms", SSEKMSKeyId="theirs"))
        harness.drain(seconds=FIVE_MINUTES)
        assert "KMS key" in the_unreadable(harness)


def test_row_10_a_forbidden_upload_says_in_its_history_why_it_waits_and_since_when(
    harness: Harness, photo: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with refusing(harness, "s3.GetObject", "AccessDenied", 403):
        job = harness.upload("a.jpg", photo, prompt="wood")
        first = harness.record(job)
        harness.drain(seconds=7 * 3600)
        last = harness.record(job)
        assert harness.dead_letters() == []

    assert first is not None
    assert last is not None
    assert [re.sub(r"^\S+ ", "", line) for line in last.history] == ["interrupted: GetObject AccessDenied 403"]
    assert last.history == first.history
    waits = [float(seconds) for seconds in re.findall(r'"WaitingSeconds":\[?([\d.]+)', capsys.readouterr().out)]
    assert max(waits) > 6 * 3600, "what the alarm oldest-waiting looks at"


def test_row_11_a_photo_that_an_unreadable_one_has_replaced_is_superseded(harness: Harness, photo: bytes) -> None:
    first = harness.put("a.jpg", photo, prompt="wood")
    second = put(harness, "a.jpg", photo, StorageClass="GLACIER")
    harness.notify(first)
    harness.notify(second)

    the_unreadable(harness)
    assert [dead_letter["job"]["version_id"] for dead_letter in harness.dead_letters()] == [second.version_id]
    record = harness.record(first)
    assert record is not None
    assert record.state == "SUPERSEDED"


def test_row_82_an_archived_prompt_txt_is_unreadable_and_nothing_else_stands_in_for_it(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    environment.setenv("DEFAULT_PROMPT", "plain white")
    harness.put("prompt.txt", b"a forest")
    harness.s3.put_object(Bucket=INPUT, Key="shoes/prompt.txt", Body=b"a beach", StorageClass="GLACIER")
    harness.upload("shoes/a.jpg", photo)

    message = the_unreadable(harness)
    assert message.startswith("shoes/prompt.txt is archived")

    harness.s3.restore_object(Bucket=INPUT, Key="shoes/prompt.txt", RestoreRequest={"Days": 1})
    harness.redrive()
    harness.drain()
    assert [charge["prompt"] for charge in harness.gateway.charges()] == ["a beach"]


@pytest.mark.parametrize("code", ["InvalidObjectState", "InvalidRequest"])
def test_row_80_a_photo_that_is_archived_between_the_look_and_its_file_upload_is_unreadable(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, code: str
) -> None:
    environment.setenv("GATEWAY_ROUTE", "edits-multipart")
    with refusing(harness, "s3.GetObject", code, 403, asked=lambda request: "Range" not in request.headers):
        harness.upload("a.jpg", photo, prompt="wood")

    the_unreadable(harness)


def test_row_80_a_call_that_can_not_be_repeated_without_its_photo_is_an_unknown_outcome(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes
) -> None:
    environment.setenv("GATEWAY_ROUTE", "edits-multipart")
    harness.gateway.faults([{"kind": "drop_after_charge"}])
    harness.upload("a.jpg", photo, prompt="wood")
    with refusing(harness, "s3.GetObject", "InvalidObjectState", 403):
        harness.drain()

    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["billed"]) == ("outcome_unknown", "unknown")
    assert "can't be read" in dead_letter["reason"]["message"]
    assert harness.charged() == 1
