"""A paid result is fetched with care, stored once, and never bought again."""

from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from backdrop import results
from backdrop.errors import ResultUnreachable
from backdrop.services import Services
from tests.integration.harness import INPUT, OUTPUT, Harness, Killed, MovedClock


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
    world: Harness, photo: bytes, fault: dict[str, Any]
) -> None:
    world.gateway.faults([{"where": "media", "times": 0, **fault}])
    job = world.upload("a.jpg", photo, prompt="wood")
    started = world.now()
    record = world.record(job)
    assert record is not None
    assert record.state == "PAID"

    world.drain()

    [letter] = world.dead_letters()
    assert (letter["reason"]["code"], letter["reason"]["billed"]) == ("result_unavailable", "yes")
    assert 60 <= world.now() - started <= 150
    assert world.outputs() == {}
    assert len(world.gateway.calls()) == 1

    world.gateway.faults([])
    world.redrive()
    world.drain()
    assert list(world.outputs()) == ["a.jpg.png"]
    assert world.charged() == 1


@pytest.mark.parametrize(
    "fault", [{"kind": "status", "status": 500}, {"kind": "short"}], ids=lambda fault: fault["kind"]
)
def test_rows_43_45_a_link_that_may_work_later_is_tried_for_its_24_hours(
    world: Harness, photo: bytes, fault: dict[str, Any]
) -> None:
    world.gateway.faults([{"where": "media", "times": 0, **fault}])
    world.upload("a.jpg", photo, prompt="wood")

    world.drain(seconds=23 * 3600)
    assert world.dead_letters() == []
    world.drain(seconds=2 * 3600)

    [letter] = world.dead_letters()
    assert (letter["reason"]["code"], letter["reason"]["billed"]) == ("result_unavailable", "yes")
    assert len(world.gateway.calls()) == 1


def test_rows_43_45_a_link_that_works_again_is_stored(world: Harness, photo: bytes) -> None:
    world.gateway.faults([{"where": "media", "kind": "status", "status": 503, "times": 3}])

    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    assert list(world.outputs()) == ["a.jpg.png"]
    assert len(world.gateway.calls()) == 1


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
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch, link: str, address: str
) -> None:
    asked: list[httpx.Request] = []

    def nobody(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, content=photo)

    app: Services = world.app
    guarded = results.Results(world.gateway.base_url, lambda *_: [address], httpx.MockTransport(nobody))
    monkeypatch.setattr(app.results, "_resolve", guarded._resolve)
    monkeypatch.setattr(app.results, "_client", guarded._client)
    world.gateway.faults([{"kind": "link", "url": link}])

    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    assert asked == []
    assert [letter["reason"]["code"] for letter in world.dead_letters()] == ["result_unavailable"]
    assert world.charged() == 1


def fail_put(world: Harness, monkeypatch: pytest.MonkeyPatch, code: str, status: int, times: int) -> None:
    """Let storing results fail."""
    client = world.app.storage._client
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
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch, code: str, status: int
) -> None:
    fail_put(world, monkeypatch, code, status, times=7)

    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    assert list(world.outputs()) == ["a.jpg.png"]
    assert len(world.gateway.calls()) == 1
    assert world.dead_letters() == []


def test_row_47_an_object_that_is_no_result_of_this_key_is_not_overwritten(world: Harness, photo: bytes) -> None:
    world.s3.put_object(Bucket=OUTPUT, Key="a.jpg.png", Body=b"somebody's own")

    world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    assert world.outputs()["a.jpg.png"]["Body"] == b"somebody's own"
    [letter] = world.dead_letters()
    assert (letter["reason"]["code"], letter["reason"]["billed"]) == ("result_unavailable", "yes")
    world.s3.delete_object(Bucket=OUTPUT, Key="a.jpg.png")
    world.redrive()
    world.drain()
    assert world.outputs()["a.jpg.png"]["Body"].startswith(b"\x89PNG")
    assert world.charged() == 1


def test_row_36_a_result_that_is_stored_already_is_verified_and_done(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = world.app.ledger
    real = ledger.release

    def fails(before: Any, after: Any, due_at: float) -> Any:
        if after.state == "DONE":
            monkeypatch.setattr(ledger, "release", real)
            raise Killed
        return real(before, after, due_at)

    monkeypatch.setattr(ledger, "release", fails)
    world.s3.put_bucket_versioning(Bucket=OUTPUT, VersioningConfiguration={"Status": "Enabled"})
    job = world.upload("a.jpg", photo, prompt="wood")
    world.drain()

    record = world.record(job)
    assert record is not None
    assert record.state == "DONE"
    assert len(world.s3.list_object_versions(Bucket=OUTPUT)["Versions"]) == 1, "stored once"
    assert world.charged() == 1


def test_row_12_an_older_job_that_finishes_late_never_replaces_a_newer_result(world: Harness, photo: bytes) -> None:
    world.gateway.faults([{"where": "media", "kind": "status", "status": 503}])
    world.upload("a.jpg", photo, prompt="wood")
    newer = world.upload("a.jpg", photo, prompt="snow")
    assert world.outputs()["a.jpg.png"]["Metadata"]["source-version"] == newer.version_id

    world.drain()

    assert world.outputs()["a.jpg.png"]["Metadata"]["source-version"] == newer.version_id
    assert world.charged() == 2
    assert world.waiting() == []
    assert world.dead_letters() == []


def test_row_12_a_result_of_a_later_second_wins_even_when_the_source_is_gone(world: Harness, photo: bytes) -> None:
    first = world.put("a.jpg", photo, prompt="wood")
    world.gateway.faults([{"where": "media", "kind": "status", "status": 503}])
    world.notify(first)
    world.advance(1)
    second = world.upload("a.jpg", photo, prompt="snow")
    world.s3.delete_object(Bucket=INPUT, Key="a.jpg")

    world.drain()

    assert world.outputs()["a.jpg.png"]["Metadata"]["source-version"] == second.version_id


def test_slow_links_do_not_starve_the_other_images_and_end_after_a_day(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: set[str] = set()

    def fetch(link: str, seconds: float) -> bytes:
        tried.add(link)
        MovedClock.moved += seconds
        raise ResultUnreachable("it drips")

    monkeypatch.setattr(world.app.results, "fetch", fetch)
    world.upload("a.jpg", photo, prompt="wood", n="8")
    invocations = world.drain(seconds=30 * 3600)

    assert len(tried) == 8
    assert invocations < 150
    assert [letter["reason"]["code"] for letter in world.dead_letters()] == ["result_unavailable"]
    assert world.charged() == 8
