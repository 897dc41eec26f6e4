"""Row 76: a photo that is written again just as it was is not bought again, as long as its result is there.

Cases: sync after touch. Second opinion: rclone, `aws s3 sync` and mounted buckets bought touched files again.
"""

from pathlib import Path
from typing import Any

import pytest

from backdrop.job import Job
from tests.integration.aws_faults import client_of
from tests.integration.conftest import Run
from tests.integration.harness import Harness
from tests.integration.stack import INPUT, OUTPUT

RED = "photos/red.jpg"


def again(harness: Harness, photo: bytes, **metadata: str) -> Job:
    harness.advance(10)
    job = harness.upload("a.jpg", photo, **metadata)
    harness.drain(seconds=600)
    return job


@pytest.mark.parametrize("n", ["1", "3"])
def test_a_touched_file_is_not_bought_again(harness: Harness, photo: bytes, n: str) -> None:
    harness.upload("a.jpg", photo, prompt="wood", n=n)
    results = harness.outputs()

    job = again(harness, photo, prompt="wood", n=n)

    assert harness.state(job) == "UNCHANGED"
    record = harness.record(job)
    assert record is not None
    assert [output["key"] for output in record.stored] == list(results)
    assert {key: each["Metadata"] for key, each in harness.outputs().items()} == {
        key: each["Metadata"] for key, each in results.items()
    }
    assert harness.charged() == int(n)
    assert (harness.waiting(), harness.dead_letters()) == ([], [])
    again(harness, photo, prompt="wood", n=n)
    harness.notify(job)
    assert harness.charged() == int(n)


def test_the_reconciler_leaves_an_unchanged_upload_alone(harness: Harness, photo: bytes) -> None:
    harness.upload("a.jpg", photo, prompt="wood")
    again(harness, photo, prompt="wood")
    harness.advance(900)

    assert harness.reconcile()["enqueued"] == 0


@pytest.mark.parametrize(
    "change",
    [{"prompt": "snow"}, {"n": "2"}, {"size": "512x512"}, {"again": "1"}],
    ids=lambda change: next(iter(change)),
)
def test_another_request_is_bought(harness: Harness, photo: bytes, change: dict[str, str]) -> None:
    harness.upload("a.jpg", photo, prompt="wood")

    job = again(harness, photo, **{"prompt": "wood", **change})

    assert harness.state(job) == "DONE"


@pytest.mark.parametrize(
    ("name", "value"), [("GATEWAY_MODEL", "ideogram/ideogram-v3-edit"), ("GATEWAY_ROUTE", "edits")]
)
def test_another_model_or_route_is_bought(
    environment: pytest.MonkeyPatch, harness: Harness, photo: bytes, name: str, value: str
) -> None:
    harness.upload("a.jpg", photo, prompt="wood")
    environment.setenv(name, value)
    harness.restart()

    job = again(harness, photo, prompt="wood")

    assert harness.state(job) != "UNCHANGED"
    assert len(harness.gateway.calls()) > 1


def test_other_bytes_are_bought(harness: Harness, photo: bytes, picture_of: Any) -> None:
    harness.upload("a.jpg", photo, prompt="wood")
    again(harness, picture_of("PNG"), prompt="wood")

    assert harness.charged() == 2


def test_the_same_again_twice_is_bought_once_more(harness: Harness, photo: bytes) -> None:
    harness.upload("a.jpg", photo, prompt="wood")
    again(harness, photo, prompt="wood", again="tuesday")
    again(harness, photo, prompt="wood", again="tuesday")

    assert harness.charged() == 2


@pytest.mark.parametrize("value", ["x" * 65, "a\tb"])
def test_an_again_that_is_no_short_text_is_refused(harness: Harness, photo: bytes, value: str) -> None:
    harness.upload("a.jpg", photo, prompt="wood", again=value)

    assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == ["invalid_option"]


def test_a_changed_prompt_file_is_bought(harness: Harness, photo: bytes) -> None:
    harness.put("prompt.txt", b"wood")
    harness.upload("a.jpg", photo)
    harness.put("prompt.txt", b"snow")
    harness.advance(61)
    again(harness, photo)

    assert [charge["prompt"] for charge in harness.gateway.charges()] == ["wood", "snow"]


@pytest.mark.parametrize("deleted", ["a.jpg.1.png", "a.jpg.2.png"])
def test_a_result_that_is_gone_is_bought_again(harness: Harness, photo: bytes, deleted: str) -> None:
    harness.upload("a.jpg", photo, prompt="wood", n="2")
    harness.s3.delete_object(Bucket=OUTPUT, Key=deleted)
    again(harness, photo, prompt="wood", n="2")

    assert harness.charged() == 4


def test_a_result_of_an_earlier_version_of_backdrop_is_bought_again(harness: Harness, photo: bytes) -> None:
    """It doesn't say what it was made from."""
    harness.upload("a.jpg", photo, prompt="wood")
    result = harness.outputs()["a.jpg.png"]
    metadata = {name: text for name, text in result["Metadata"].items() if name != "source-fingerprint"}
    harness.s3.put_object(Bucket=OUTPUT, Key="a.jpg.png", Body=result["Body"], Metadata=metadata)
    again(harness, photo, prompt="wood")

    assert harness.charged() == 2


def test_from_a_to_b_and_back_ends_with_the_picture_of_a(harness: Harness, photo: bytes) -> None:
    harness.upload("a.jpg", photo, prompt="wood")
    again(harness, photo, prompt="snow")
    last = again(harness, photo, prompt="wood")

    assert harness.outputs()["a.jpg.png"]["Metadata"]["job-id"] == last.id
    assert harness.charged() == 3


def test_so_it_does_when_the_results_have_other_names(harness: Harness, photo: bytes) -> None:
    harness.upload("a.jpg", photo, prompt="wood")
    harness.advance(10)
    harness.gateway.settings(image_format="webp")
    again(harness, photo, prompt="snow")
    harness.gateway.settings(image_format="png")
    last = again(harness, photo, prompt="wood")

    assert harness.state(last) == "DONE"
    assert harness.charged() == 3


def test_a_late_result_of_what_was_between_does_not_replace_what_is_unchanged(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A is done, B is being called, A is uploaded again, and then B's answer comes."""
    first = harness.upload("a.jpg", photo, prompt="wood")
    harness.advance(10)
    between = harness.put("a.jpg", photo, prompt="snow")
    gateway = harness.services.gateway
    real = gateway.send

    def send(*arguments: Any) -> Any:
        monkeypatch.setattr(gateway, "send", real)
        answer = real(*arguments)
        assert harness.state(again(harness, photo, prompt="wood")) == "UNCHANGED"
        return answer

    monkeypatch.setattr(gateway, "send", send)
    harness.notify(between)
    harness.drain(seconds=600)

    assert harness.outputs()["a.jpg.png"]["Metadata"]["job-id"] == first.id


def test_results_of_other_keys_that_begin_alike_do_not_count(harness: Harness, photo: bytes) -> None:
    harness.upload("a.jpg", photo, prompt="wood")
    harness.upload("a.jpg.1", photo, prompt="snow")
    harness.upload("a", photo, prompt="sand")
    job = again(harness, photo, prompt="wood")

    assert harness.state(job) == "UNCHANGED"


def test_in_a_bucket_without_versions_too(harness: Harness, photo: bytes) -> None:
    harness.s3.delete_bucket(Bucket=INPUT)
    harness.s3.create_bucket(Bucket=INPUT)
    harness.upload("a.jpg", photo, prompt="wood")
    again(harness, photo, prompt="wood")

    assert harness.charged() == 1


def test_submit_again_buys_what_is_there(run: Run, red: Path, harness: Harness) -> None:
    run("submit", "photos", "--prompt", "wood", "--yes")
    for number in range(2):
        harness.advance(10)
        said = run("submit", "photos", "--prompt", "wood", "--again", "--yes")
        assert said["submitted"] == 1
        current = harness.s3.head_object(Bucket=INPUT, Key="photos/red.jpg")
        harness.notify(Job(INPUT, "photos/red.jpg", current["VersionId"], current["ETag"].strip('"'), 10))
        harness.drain(seconds=600)
        assert harness.charged() == number + 1

    assert run("submit", "photos", "--prompt", "wood", "--yes")["submitted"] == 0


def test_the_command_line_counts_what_is_unchanged_as_done(run: Run, harness: Harness, photo: bytes) -> None:
    harness.upload("a.jpg", photo, prompt="wood")
    again(harness, photo, prompt="wood")

    assert run("status")["done"] == 1


def test_a_touch_without_again_after_one_with_it_is_unchanged(harness: Harness, photo: bytes) -> None:
    harness.upload("a.jpg", photo, prompt="wood", again="tuesday")

    assert harness.state(again(harness, photo, prompt="wood")) == "UNCHANGED"


def touched(run: Run, harness: Harness) -> Job:
    """The photo of `red` is submitted, done, and written again as it was."""
    run("submit", "photos", "--prompt", "wood", "--yes")
    harness.notify(harness.current(RED))
    harness.advance(10)
    metadata = harness.s3.head_object(Bucket=INPUT, Key=RED)["Metadata"]
    source = f"{INPUT}/{RED}"
    harness.s3.copy_object(Bucket=INPUT, Key=RED, CopySource=source, Metadata=metadata, MetadataDirective="REPLACE")
    return harness.current(RED)


def test_submit_fetches_the_result_of_an_unchanged_upload(run: Run, red: Path, harness: Harness) -> None:
    harness.notify(touched(run, harness))

    [told] = run("submit", "photos", "--prompt", "wood", "--wait", "--yes")["photos"]

    assert [Path(path).read_bytes() for path in told["results"]] == [harness.outputs()[f"{RED}.png"]["Body"]]


def test_the_gallery_shows_the_result_of_an_unchanged_upload(run: Run, red: Path, harness: Harness) -> None:
    harness.notify(touched(run, harness))

    run("gallery")

    assert "Another upload" not in Path("backdrop-gallery.html").read_text()


def test_a_quote_knows_that_an_unchanged_upload_buys_nothing(run: Run, red: Path, harness: Harness) -> None:
    touched(run, harness)

    assert run("quote")["images"] == 0


def test_a_late_result_does_not_replace_what_an_upload_is_about_to_find_unchanged(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A is done, B is being called, A is uploaded again; B's result comes before anybody has looked at that."""
    first = harness.upload("a.jpg", photo, prompt="wood")
    harness.advance(10)
    between = harness.put("a.jpg", photo + b"\0", prompt="snow")
    gateway = harness.services.gateway
    real = gateway.send

    def send(*arguments: Any) -> Any:
        monkeypatch.setattr(gateway, "send", real)
        answer = real(*arguments)
        harness.advance(10)
        harness.put("a.jpg", photo, prompt="wood")
        return answer

    monkeypatch.setattr(gateway, "send", send)
    harness.notify(between)

    assert harness.outputs()["a.jpg.png"]["Metadata"]["job-id"] == first.id


def test_a_prompt_file_that_was_changed_a_moment_ago_is_bought(harness: Harness, photo: bytes) -> None:
    """Workers remember for a minute what it said."""
    harness.put("prompt.txt", b"wood")
    harness.upload("a.jpg", photo)
    harness.put("prompt.txt", b"snow")
    again(harness, photo)

    assert [charge["prompt"] for charge in harness.gateway.charges()] == ["wood", "snow"]


def rests_with_the_picture_of(harness: Harness, job: Job) -> bool:
    harness.drain(seconds=600)
    harness.advance(1200)
    harness.reconcile()
    harness.drain(seconds=600)
    [result] = harness.outputs().values()
    return bool(result["Metadata"]["job-id"] == job.id)


def test_a_result_is_put_between_a_look_at_an_upload_and_its_state_unchanged(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A is done, B looks at A's second upload, which gets its state, and then B's result is put."""
    harness.upload("a.jpg", photo, prompt="wood")
    harness.advance(10)
    between = harness.put("a.jpg", photo, prompt="snow")
    lasts = list[Job]()
    client = client_of(harness, "s3")
    real = client.head_object

    def look(**arguments: Any) -> Any:
        seen = real(**arguments)
        if lasts or arguments["Bucket"] != INPUT:
            return seen
        harness.advance(10)
        lasts.append(harness.put("a.jpg", photo, prompt="wood"))
        harness.notify(lasts[0])
        assert harness.state(lasts[0]) == "UNCHANGED"
        return seen

    monkeypatch.setattr(client, "head_object", look)
    harness.notify(between)

    assert rests_with_the_picture_of(harness, lasts[0])
    assert harness.charged() == 3


def test_a_result_is_put_between_a_look_at_the_result_and_the_state_unchanged(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A is done, its second upload looks at its result, then B's would be put, and then the upload gets its state."""
    first = harness.upload("a.jpg", photo, prompt="wood")
    harness.advance(10)
    harness.gateway.faults([{"kind": "status", "where": "media", "status": 503}])
    harness.upload("a.jpg", photo, prompt="snow")  # paid, and not stored yet
    harness.advance(10)
    last = harness.put("a.jpg", photo, prompt="wood")
    real = harness.services.result_storage.current_results

    def results(*arguments: Any) -> Any:
        monkeypatch.setattr(harness.services.result_storage, "current_results", real)
        seen = real(*arguments)
        harness.retry_once()
        return seen

    monkeypatch.setattr(harness.services.result_storage, "current_results", results)
    harness.notify(last)

    assert rests_with_the_picture_of(harness, first)
    assert harness.charged() == 2
