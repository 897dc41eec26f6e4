"""Which events mean the same upload, and which objects are none."""

from dataclasses import replace

import pytest

from backdrop.events_in import from_event
from backdrop.job import Job, has_dot_segment
from tests.unit.messages import BUCKET, JOB, UNVERSIONED, decoded, eventbridge_event, s3_event, s3_record


def test_duplicate_events_of_an_upload_are_one_job() -> None:
    """Rows 1 and 3."""
    put, eventbridge, multipart, message = (
        from_event(s3_event(s3_record()), BUCKET).jobs[0],
        from_event(eventbridge_event(), BUCKET).jobs[0],
        from_event(s3_event(s3_record(name="ObjectCreated:CompleteMultipartUpload", sequencer="1")), BUCKET).jobs[0],
        decoded({"job": {"bucket": BUCKET, "key": "shoes/red.jpg", "version_id": "v1"}}).jobs[0],
    )
    assert put.id == eventbridge.id == multipart.id == message.id


def test_without_versions_an_upload_is_told_by_its_bytes_and_its_time() -> None:
    assert replace(UNVERSIONED, size=None).id == UNVERSIONED.id
    assert replace(UNVERSIONED, modified=1_790_000_001).id != UNVERSIONED.id
    assert replace(UNVERSIONED, etag="e2").id != UNVERSIONED.id


def test_a_version_alone_tells_an_upload() -> None:
    """What the reconciler finds in a listing and what an event says are the same job."""
    assert replace(JOB, etag=None, modified=1_790_000_000).id == JOB.id


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(JOB, Job(BUCKET, "shoes/red.jpg", "v2", "e1"), id="another version"),
        pytest.param(JOB, Job(BUCKET, "shoes/red.png", "v1", "e1"), id="another key"),
        pytest.param(JOB, Job("others", "shoes/red.jpg", "v1", "e1"), id="another bucket"),
        pytest.param(Job(BUCKET, "a", None, "e1"), Job(BUCKET, "a", None, "e2"), id="another etag without versions"),
        pytest.param(Job("a", "b/c"), Job("a/b", "c"), id="a border that moves"),
    ],
)
def test_another_upload_is_another_job(one: Job, other: Job) -> None:
    """Row 11."""
    assert one.id != other.id


@pytest.mark.parametrize(
    ("key", "size", "is_skipped"),
    [
        ("shoes/", 0, True),
        ("shoes/", 10, True),
        ("shoes/", None, True),
        ("red.jpg", 0, True),
        ("red.jpg", 1, False),
        ("red.jpg", None, False),
        ("prompt.txt", 10, True),
        ("shoes/red/prompt.txt", None, True),
        ("prompt.txt.jpg", 10, False),
        ("prompt.txt/red.jpg", 10, False),
        ("my prompt.txt", 10, False),
        ("Prompt.txt", 10, False),
        (".DS_Store", 10, True),
        ("shoes/.DS_Store", None, True),
        ("shoes/._red.jpg", 10, True),
        ("shoes/._two\nlines.jpg", 10, True),
        ("shoes/Thumbs.db", 10, True),
        ("shoes/thumbs.db", 10, True),
        ("THUMBS.DB", 10, True),
        ("shoes/desktop.ini", 10, True),
        ("Desktop.ini", 10, True),
        ("shoes/~$list.jpg", 10, True),
        ("._shoes/red.jpg", 10, False),
        (".DS_Store/red.jpg", 10, False),
        ("my.DS_Store", 10, False),
        (".DS_Store.jpg", 10, False),
        ("a._red.jpg", 10, False),
        (".red.jpg", 10, False),
        ("_red.jpg", 10, False),
        ("Thumbs.db.jpg", 10, False),
        ("my desktop.ini", 10, False),
        ("thumbs_db", 10, False),
        ("~red.jpg", 10, False),
        ("red~$.jpg", 10, False),
    ],
)
def test_folder_markers_empty_objects_prompt_files_and_what_systems_leave_behind_are_skipped(
    key: str, size: int | None, is_skipped: bool
) -> None:
    """Row 5. cases: what systems leave behind."""
    assert Job(BUCKET, key, "v1", "e1", size).is_skipped == is_skipped


@pytest.mark.parametrize(
    ("key", "has_one"),
    [
        ("a/../b.jpg", True),
        ("a/./b.jpg", True),
        ("../b.jpg", True),
        ("./b.jpg", True),
        ("a/..", True),
        ("a//.", True),
        (".", True),
        ("/../b.jpg", True),
        ("a..b/c.jpg", False),
        ("a/...", False),
        ("a/.../b.jpg", False),
        ("a/..b.jpg", False),
        ("a/b..", False),
        ("a/.b/c.jpg", False),
        ("a./b.jpg", False),
        ("a/%2e%2e/b.jpg", False),
        ("a\\..\\b.jpg", False),
        ("/a//b.jpg", False),
    ],
)
def test_a_dot_segment_is_one_or_two_dots_between_slashes(key: str, has_one: bool) -> None:
    """cases: dot segments."""
    assert has_dot_segment(key) == has_one


def test_an_upload_with_a_dot_segment_is_the_same_job_however_it_was_noticed() -> None:
    """An event tells no time of its write, and nobody can ask for it; a listing tells it."""
    by_event = Job(BUCKET, "a/../b.jpg", None, "e1", 10)
    by_listing = Job(BUCKET, "a/../b.jpg", None, "e1", 10, 1_790_000_000)
    assert by_event.is_identified
    assert by_event.id == by_listing.id
