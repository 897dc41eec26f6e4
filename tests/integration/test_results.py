"""A paid result is fetched with care, stored once, and never bought again."""

from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from backdrop import bootstrap, results
from backdrop.errors import ResultUnreachable
from tests.integration.aws_faults import client_of
from tests.integration.harness import Harness
from tests.integration.moved_clock import MovedClock
from tests.integration.simulated_lambda import Killed
from tests.integration.stack import INPUT, OUTPUT


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 403},
        {"kind": "status", "status": 404},
        {"kind": "status", "status": 410},
        {"kind": "redirect", "location": "http://127.0.0.1:9/elsewhere.png"},
        {"kind": "html"},
        {"kind": "zero"},
    ],
    ids=lambda fault: f"{fault['kind']}-{fault.get('status', '')}",
)
def test_rows_42_to_45_a_dead_or_hostile_link_ends_as_result_unavailable_within_minutes(
    harness: Harness, photo: bytes, fault: dict[str, Any]
) -> None:
    harness.gateway.faults([{"where": "media", "times": 0, **fault}])
    job = harness.upload("a.jpg", photo, prompt="wood")
    started = harness.now()
    record = harness.record(job)
    assert record is not None
    assert record.state == "PAID"

    harness.drain()

    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["billed"]) == ("result_unavailable", "yes")
    assert 60 <= harness.now() - started <= 150
    assert harness.outputs() == {}
    assert len(harness.gateway.calls()) == 1

    harness.gateway.faults([])
    harness.redrive()
    harness.drain()
    assert list(harness.outputs()) == ["a.jpg.png"]
    assert harness.charged() == 1


@pytest.mark.parametrize(
    "fault", [{"kind": "status", "status": 500}, {"kind": "short"}], ids=lambda fault: fault["kind"]
)
def test_rows_43_45_a_link_that_may_work_later_is_tried_for_its_24_hours(
    harness: Harness, photo: bytes, fault: dict[str, Any]
) -> None:
    harness.gateway.faults([{"where": "media", "times": 0, **fault}])
    harness.upload("a.jpg", photo, prompt="wood")

    harness.drain(seconds=23 * 3600)
    assert harness.dead_letters() == []
    harness.drain(seconds=2 * 3600)

    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["billed"]) == ("result_unavailable", "yes")
    assert len(harness.gateway.calls()) == 1


def test_rows_43_45_a_link_that_works_again_is_stored(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"where": "media", "kind": "status", "status": 503, "times": 3}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]
    assert len(harness.gateway.calls()) == 1


@pytest.mark.parametrize(
    ("link", "address"),
    [
        ("http://media.test/x.png", "93.184.216.34"),
        ("https://media.test/x.png", "169.254.169.254"),
        ("https://media.test/x.png", "10.0.0.1"),
        ("https://media.test/x.png", "127.0.0.1"),
        ("https://user:word@media.test/x.png", "93.184.216.34"),
    ],
)
def test_row_42_a_link_to_where_results_must_not_come_from_is_never_followed(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch, link: str, address: str
) -> None:
    asked: list[httpx.Request] = []

    def nobody(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, content=photo)

    guarded = results.Results(harness.gateway.base_url, lambda *_: [address], httpx.MockTransport(nobody))
    monkeypatch.setattr(bootstrap, "Results", lambda _: guarded)
    harness.restart()
    harness.gateway.faults([{"kind": "link", "url": link}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert asked == []
    assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == ["result_unavailable"]
    assert harness.charged() == 1


def fail_put(harness: Harness, monkeypatch: pytest.MonkeyPatch, code: str, status: int, times: int) -> None:
    """Let storing results fail."""
    client = client_of(harness, "s3")
    real, left = client.put_object, [times]

    def put_object(**arguments: Any) -> Any:
        if arguments["Bucket"] == OUTPUT and left[0]:
            left[0] -= 1
            response: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
            raise ClientError(response, "PutObject")
        return real(**arguments)

    monkeypatch.setattr(client, "put_object", put_object)


@pytest.mark.parametrize(
    ("code", "status"),
    [("AccessDenied", 403), ("SlowDown", 503), ("ConditionalRequestConflict", 409), ("KMS.DisabledException", 400)],
)
def test_row_46_only_storing_is_tried_again(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch, code: str, status: int
) -> None:
    fail_put(harness, monkeypatch, code, status, times=7)

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.png"]
    assert len(harness.gateway.calls()) == 1
    assert harness.dead_letters() == []


def test_row_47_an_object_that_is_no_result_of_this_key_is_not_overwritten(harness: Harness, photo: bytes) -> None:
    harness.s3.put_object(Bucket=OUTPUT, Key="a.jpg.png", Body=b"somebody's own")

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert harness.outputs()["a.jpg.png"]["Body"] == b"somebody's own"
    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["billed"]) == ("result_unavailable", "yes")
    harness.s3.delete_object(Bucket=OUTPUT, Key="a.jpg.png")
    harness.redrive()
    harness.drain()
    assert harness.outputs()["a.jpg.png"]["Body"].startswith(b"\x89PNG")
    assert harness.charged() == 1


def test_row_36_a_result_that_is_stored_already_is_verified_and_done(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = harness.services.ledger
    real = ledger.release

    def fails(before: Any, after: Any, due_at: float) -> Any:
        if after.state == "DONE":
            monkeypatch.setattr(ledger, "release", real)
            raise Killed
        return real(before, after, due_at)

    monkeypatch.setattr(ledger, "release", fails)
    harness.s3.put_bucket_versioning(Bucket=OUTPUT, VersioningConfiguration={"Status": "Enabled"})
    job = harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    record = harness.record(job)
    assert record is not None
    assert record.state == "DONE"
    assert len(harness.s3.list_object_versions(Bucket=OUTPUT)["Versions"]) == 1, "stored once"
    assert harness.charged() == 1


def test_row_12_an_older_job_that_finishes_late_never_replaces_a_newer_result(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"where": "media", "kind": "status", "status": 503}])
    harness.upload("a.jpg", photo, prompt="wood")
    newer = harness.upload("a.jpg", photo, prompt="snow")
    assert harness.outputs()["a.jpg.png"]["Metadata"]["source-version"] == newer.version_id

    harness.drain()

    assert harness.outputs()["a.jpg.png"]["Metadata"]["source-version"] == newer.version_id
    assert harness.charged() == 2
    assert harness.waiting() == []
    assert harness.dead_letters() == []


def test_row_12_a_result_of_a_later_second_wins_even_when_the_source_is_gone(harness: Harness, photo: bytes) -> None:
    first = harness.put("a.jpg", photo, prompt="wood")
    harness.gateway.faults([{"where": "media", "kind": "status", "status": 503}])
    harness.notify(first)
    harness.advance(1)
    second = harness.upload("a.jpg", photo, prompt="snow")
    harness.s3.delete_object(Bucket=INPUT, Key="a.jpg")

    harness.drain()

    assert harness.outputs()["a.jpg.png"]["Metadata"]["source-version"] == second.version_id


def test_slow_links_do_not_starve_the_other_images_and_end_after_a_day(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: set[str] = set()

    def fetch(link: str, seconds: float) -> bytes:
        tried.add(link)
        MovedClock.moved += seconds
        raise ResultUnreachable("it drips")

    monkeypatch.setattr(harness.services.results, "fetch", fetch)
    harness.upload("a.jpg", photo, prompt="wood", n="8")
    invocations = harness.drain(seconds=30 * 3600)

    assert len(tried) == 8
    assert invocations < 150
    assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == ["result_unavailable"]
    assert harness.charged() == 8
