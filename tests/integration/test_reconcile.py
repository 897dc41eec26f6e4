"""Uploads whose notification or message was lost are found and bought once."""

import math
from typing import Any

import pytest

from backdrop.reconcile import pages_of_a_run
from backdrop.reconcile_progress import Listing
from backdrop.upload import STUCK_SECONDS
from tests.integration.aws_faults import client_of
from tests.integration.harness import Harness
from tests.integration.stack import INPUT


def test_row_62_an_upload_without_a_notification_is_found_and_a_second_run_buys_nothing(
    harness: Harness, photo: bytes
) -> None:
    harness.put("lost.jpg", photo, prompt="wood")
    harness.put("folder/", b"")
    harness.advance(130)

    assert harness.reconcile()["enqueued"] == 1
    harness.drain()
    assert list(harness.outputs()) == ["lost.jpg.png"]

    harness.advance(3600)
    assert harness.reconcile()["enqueued"] == 0
    assert harness.charged() == 1


def test_uploads_younger_than_two_minutes_or_older_than_a_day_are_left_alone(harness: Harness, photo: bytes) -> None:
    harness.put("young.jpg", photo, prompt="wood")
    harness.advance(60)
    assert harness.reconcile()["enqueued"] == 0

    harness.advance(25 * 3600)
    assert harness.reconcile()["enqueued"] == 0
    assert harness.waiting() == []


def test_a_second_run_does_not_enqueue_again_what_still_waits(harness: Harness, photo: bytes) -> None:
    harness.put("lost.jpg", photo, prompt="wood")
    harness.advance(130)

    harness.reconcile()
    harness.reconcile()

    assert len(harness.waiting()) == 1


def test_what_was_enqueued_is_left_alone_for_an_hour_then_for_two(harness: Harness, photo: bytes) -> None:
    """A queue that is slow to hand out gets no second message for each upload at every run."""
    harness.put("red.jpg", photo, prompt="snow")
    harness.advance(150)
    enqueued_after = []
    for quarter in range(20):
        if harness.invoke(harness.reconcile_function, {})["enqueued"]:
            enqueued_after.append(quarter)
        harness.advance(900)

    first, second, third = enqueued_after[:3]
    assert first == 0
    assert 4 <= second <= 6
    assert 8 <= third - second <= 10


@pytest.mark.parametrize("fault", [{"kind": "status", "status": 503}, {"where": "media", "kind": "status"}])
def test_an_upload_whose_message_was_lost_goes_on_from_its_state(
    harness: Harness, photo: bytes, fault: dict[str, Any]
) -> None:
    harness.gateway.faults([fault])
    harness.upload("a.jpg", photo, prompt="wood")
    harness.sqs.purge_queue(QueueUrl=harness.retry_url)

    harness.advance(STUCK_SECONDS + 60)
    assert harness.reconcile()["enqueued"] == 1
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.charged() == 1


def test_finished_and_rejected_uploads_are_left_alone(harness: Harness, photo: bytes) -> None:
    harness.upload("done.jpg", photo, prompt="wood")
    harness.upload("rejected.jpg", photo)
    harness.advance(3600)

    assert harness.reconcile()["enqueued"] == 0


def test_a_run_that_has_no_time_left_goes_on_where_it_stopped(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        harness.put(f"{number}.jpg", photo, prompt="wood")
    harness.advance(130)
    client = client_of(harness, "s3")
    real = client.list_object_versions

    def two_at_a_time(**arguments: Any) -> Any:
        harness.advance(80)  # a slow bucket: one page a run, as long as a run may take
        return real(**arguments, MaxKeys=2)

    monkeypatch.setattr(client, "list_object_versions", two_at_a_time)
    found = [harness.reconcile() for _ in range(3)]

    assert sum(each["enqueued"] for each in found) == 5
    assert not found[0]["complete"]


def test_a_long_list_is_gone_through_once_in_four_hours_and_each_upload_is_seen(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page costs a request: a million versions listed every quarter of an hour are $14 a month."""
    monkeypatch.setattr("backdrop.reconcile.LEAST_PAGES", 1)
    client = client_of(harness, "s3")
    real, pages = client.list_object_versions, list[int]()

    def one_at_a_time(**arguments: Any) -> Any:
        pages[-1] += 1
        return real(**arguments, MaxKeys=1)

    monkeypatch.setattr(client, "list_object_versions", one_at_a_time)
    for number in range(16):
        harness.put(f"{number:02}.jpg", photo)  # without a prompt: never bought
    found = []
    for _ in range(18):
        harness.advance(900)
        pages.append(0)
        found.append(harness.reconcile())

    assert pages[0] == 16, "how long the list is has to be found out once"
    assert max(pages[1:]) <= 2, "a sixteenth of it each"
    assert [each["complete"] for each in found[1:17]].count(True) >= 1
    assert sum(each["enqueued"] for each in found[1:17]) >= 16, "nobody worked on them, so each is sent again"
    assert harness.invoke(harness.reconcile_function, {})["complete"], "by hand, it goes on to the end"


@pytest.mark.parametrize(
    ("listing", "seconds", "pages"),
    [
        (Listing(0, 0, 0), 900, math.inf),
        (Listing(0, 3, 1), 900, 50),
        (Listing(0, 1_000, 1), 900, 63),
        (Listing(500, 1_000, 1), 86_400, 6_000),
        (Listing(10_000, 50, 1), 900, 625),
    ],
)
def test_a_run_looks_through_what_four_hours_allow(listing: Listing, seconds: float, pages: float) -> None:
    """Also when it runs once a day, and when the list has grown."""
    assert pages_of_a_run(listing, listing.at + seconds) == pages


def test_old_versions_and_deleted_objects_are_not_enqueued(harness: Harness, photo: bytes) -> None:
    harness.put("replaced.jpg", photo, prompt="wood")
    harness.put("replaced.jpg", photo, prompt="snow")
    harness.put("deleted.jpg", photo, prompt="wood")
    harness.s3.delete_object(Bucket=INPUT, Key="deleted.jpg")
    harness.advance(130)

    assert harness.reconcile()["enqueued"] == 1
    harness.drain()
    assert [charge["prompt"] for charge in harness.gateway.charges()] == ["snow"]
