"""Row 76: a photo that is written again just as it was is not bought again, as long as its result is there.

Cases: sync after touch. Second opinion: rclone, `aws s3 sync` and mounted buckets bought touched files again.
"""

from pathlib import Path
from typing import Any

import pytest

from backdrop.job import Job
from tests.integration.conftest import Run
from tests.integration.harness import INPUT, OUTPUT, Harness
from tests.integration.test_reconcile import run as reconcile

RED = "photos/red.jpg"


def current(world: Harness) -> Job:
    found = world.s3.head_object(Bucket=INPUT, Key=RED)
    return Job(INPUT, RED, found["VersionId"], found["ETag"].strip('"'), found["ContentLength"])


def state(world: Harness, job: Job) -> str:
    record = world.record(job)
    assert record is not None
    return str(record.state)


def again(world: Harness, photo: bytes, **metadata: str) -> Job:
    world.advance(10)
    job = world.upload("a.jpg", photo, **metadata)
    world.drain(seconds=600)
    return job


@pytest.mark.parametrize("n", ["1", "3"])
def test_a_touched_file_is_not_bought_again(world: Harness, photo: bytes, n: str) -> None:
    world.upload("a.jpg", photo, prompt="wood", n=n)
    results = world.outputs()

    job = again(world, photo, prompt="wood", n=n)

    assert state(world, job) == "UNCHANGED"
    record = world.record(job)
    assert record is not None
    assert [output["key"] for output in record.stored] == list(results)
    assert {key: each["Metadata"] for key, each in world.outputs().items()} == {
        key: each["Metadata"] for key, each in results.items()
    }
    assert world.charged() == int(n)
    assert (world.waiting(), world.dead_letters()) == ([], [])
    again(world, photo, prompt="wood", n=n)
    world.notify(job)
    assert world.charged() == int(n)


def test_the_reconciler_leaves_an_unchanged_upload_alone(world: Harness, photo: bytes) -> None:
    world.upload("a.jpg", photo, prompt="wood")
    again(world, photo, prompt="wood")
    world.advance(900)

    assert reconcile(world)["enqueued"] == 0


@pytest.mark.parametrize(
    "change",
    [{"prompt": "snow"}, {"n": "2"}, {"size": "512x512"}, {"again": "1"}],
    ids=lambda change: next(iter(change)),
)
def test_another_request_is_bought(world: Harness, photo: bytes, change: dict[str, str]) -> None:
    world.upload("a.jpg", photo, prompt="wood")

    job = again(world, photo, **{"prompt": "wood", **change})

    assert state(world, job) == "DONE"


@pytest.mark.parametrize(
    ("name", "value"), [("GATEWAY_MODEL", "ideogram/ideogram-v3-edit"), ("GATEWAY_ROUTE", "edits")]
)
def test_another_model_or_route_is_bought(
    environment: pytest.MonkeyPatch, world: Harness, photo: bytes, name: str, value: str
) -> None:
    world.upload("a.jpg", photo, prompt="wood")
    environment.setenv(name, value)
    world.restart()

    job = again(world, photo, prompt="wood")

    assert state(world, job) != "UNCHANGED"
    assert len(world.gateway.calls()) > 1


def test_other_bytes_are_bought(world: Harness, photo: bytes, picture_of: Any) -> None:
    world.upload("a.jpg", photo, prompt="wood")
    again(world, picture_of("PNG"), prompt="wood")

    assert world.charged() == 2


def test_the_same_again_twice_is_bought_once_more(world: Harness, photo: bytes) -> None:
    world.upload("a.jpg", photo, prompt="wood")
    again(world, photo, prompt="wood", again="tuesday")
    again(world, photo, prompt="wood", again="tuesday")

    assert world.charged() == 2


@pytest.mark.parametrize("value", ["x" * 65, "a\tb"])
def test_an_again_that_is_no_short_text_is_refused(world: Harness, photo: bytes, value: str) -> None:
    world.upload("a.jpg", photo, prompt="wood", again=value)

    assert [letter["reason"]["code"] for letter in world.dead_letters()] == ["invalid_option"]


def test_a_changed_prompt_file_is_bought(world: Harness, photo: bytes) -> None:
    world.put("prompt.txt", b"wood")
    world.upload("a.jpg", photo)
    world.put("prompt.txt", b"snow")
    world.advance(61)
    again(world, photo)

    assert [charge["prompt"] for charge in world.gateway.charges()] == ["wood", "snow"]


@pytest.mark.parametrize("deleted", ["a.jpg.1.png", "a.jpg.2.png"])
def test_a_result_that_is_gone_is_bought_again(world: Harness, photo: bytes, deleted: str) -> None:
    world.upload("a.jpg", photo, prompt="wood", n="2")
    world.s3.delete_object(Bucket=OUTPUT, Key=deleted)
    again(world, photo, prompt="wood", n="2")

    assert world.charged() == 4


def test_a_result_of_an_earlier_version_of_backdrop_is_bought_again(world: Harness, photo: bytes) -> None:
    """It doesn't say what it was made from."""
    world.upload("a.jpg", photo, prompt="wood")
    result = world.outputs()["a.jpg.png"]
    metadata = {name: text for name, text in result["Metadata"].items() if name != "source-fingerprint"}
    world.s3.put_object(Bucket=OUTPUT, Key="a.jpg.png", Body=result["Body"], Metadata=metadata)
    again(world, photo, prompt="wood")

    assert world.charged() == 2


def test_from_a_to_b_and_back_ends_with_the_picture_of_a(world: Harness, photo: bytes) -> None:
    world.upload("a.jpg", photo, prompt="wood")
    again(world, photo, prompt="snow")
    last = again(world, photo, prompt="wood")

    assert world.outputs()["a.jpg.png"]["Metadata"]["job-id"] == last.id
    assert world.charged() == 3


def test_so_it_does_when_the_results_have_other_names(world: Harness, photo: bytes) -> None:
    world.upload("a.jpg", photo, prompt="wood")
    world.advance(10)
    world.gateway.settings(image_format="webp")
    again(world, photo, prompt="snow")
    world.gateway.settings(image_format="png")
    last = again(world, photo, prompt="wood")

    assert state(world, last) == "DONE"
    assert world.charged() == 3


def test_a_late_result_of_what_was_between_does_not_replace_what_is_unchanged(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A is done, B is being called, A is uploaded again, and then B's answer comes."""
    first = world.upload("a.jpg", photo, prompt="wood")
    world.advance(10)
    between = world.put("a.jpg", photo, prompt="snow")
    gateway = world.app.gateway
    real = gateway.send

    def send(*arguments: Any) -> Any:
        monkeypatch.setattr(gateway, "send", real)
        answer = real(*arguments)
        assert state(world, again(world, photo, prompt="wood")) == "UNCHANGED"
        return answer

    monkeypatch.setattr(gateway, "send", send)
    world.notify(between)
    world.drain(seconds=600)

    assert world.outputs()["a.jpg.png"]["Metadata"]["job-id"] == first.id


def test_results_of_other_keys_that_begin_alike_do_not_count(world: Harness, photo: bytes) -> None:
    world.upload("a.jpg", photo, prompt="wood")
    world.upload("a.jpg.1", photo, prompt="snow")
    world.upload("a", photo, prompt="sand")
    job = again(world, photo, prompt="wood")

    assert state(world, job) == "UNCHANGED"


def test_in_a_bucket_without_versions_too(world: Harness, photo: bytes) -> None:
    world.s3.delete_bucket(Bucket=INPUT)
    world.s3.create_bucket(Bucket=INPUT)
    world.upload("a.jpg", photo, prompt="wood")
    again(world, photo, prompt="wood")

    assert world.charged() == 1


def test_submit_again_buys_what_is_there(run: Run, red: Path, world: Harness) -> None:
    run("submit", "photos", "--prompt", "wood", "--yes")
    for number in range(2):
        world.advance(10)
        said = run("submit", "photos", "--prompt", "wood", "--again", "--yes")
        assert said["submitted"] == 1
        current = world.s3.head_object(Bucket=INPUT, Key="photos/red.jpg")
        world.notify(Job(INPUT, "photos/red.jpg", current["VersionId"], current["ETag"].strip('"'), 10))
        world.drain(seconds=600)
        assert world.charged() == number + 1

    assert run("submit", "photos", "--prompt", "wood", "--yes")["submitted"] == 0


def test_the_command_line_counts_what_is_unchanged_as_done(run: Run, world: Harness, photo: bytes) -> None:
    world.upload("a.jpg", photo, prompt="wood")
    again(world, photo, prompt="wood")

    assert run("status")["done"] == 1


def test_a_touch_without_again_after_one_with_it_is_unchanged(world: Harness, photo: bytes) -> None:
    world.upload("a.jpg", photo, prompt="wood", again="tuesday")

    assert state(world, again(world, photo, prompt="wood")) == "UNCHANGED"


def touched(run: Run, world: Harness) -> Job:
    """The photo of `red` is submitted, done, and written again as it was."""
    run("submit", "photos", "--prompt", "wood", "--yes")
    world.notify(current(world))
    world.advance(10)
    metadata = world.s3.head_object(Bucket=INPUT, Key=RED)["Metadata"]
    source = f"{INPUT}/{RED}"
    world.s3.copy_object(Bucket=INPUT, Key=RED, CopySource=source, Metadata=metadata, MetadataDirective="REPLACE")
    return current(world)


def test_submit_fetches_the_result_of_an_unchanged_upload(run: Run, red: Path, world: Harness) -> None:
    world.notify(touched(run, world))

    [told] = run("submit", "photos", "--prompt", "wood", "--wait", "--yes")["photos"]

    assert [Path(path).read_bytes() for path in told["results"]] == [world.outputs()[f"{RED}.png"]["Body"]]


def test_the_gallery_shows_the_result_of_an_unchanged_upload(run: Run, red: Path, world: Harness) -> None:
    world.notify(touched(run, world))

    run("gallery")

    assert "Another upload" not in Path("backdrop-gallery.html").read_text()


def test_a_quote_knows_that_an_unchanged_upload_buys_nothing(run: Run, red: Path, world: Harness) -> None:
    touched(run, world)

    assert run("quote")["images"] == 0


def test_a_late_result_does_not_replace_what_an_upload_is_about_to_find_unchanged(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A is done, B is being called, A is uploaded again; B's result comes before anybody has looked at that."""
    first = world.upload("a.jpg", photo, prompt="wood")
    world.advance(10)
    between = world.put("a.jpg", photo + b"\0", prompt="snow")
    gateway = world.app.gateway
    real = gateway.send

    def send(*arguments: Any) -> Any:
        monkeypatch.setattr(gateway, "send", real)
        answer = real(*arguments)
        world.advance(10)
        world.put("a.jpg", photo, prompt="wood")
        return answer

    monkeypatch.setattr(gateway, "send", send)
    world.notify(between)

    assert world.outputs()["a.jpg.png"]["Metadata"]["job-id"] == first.id


def test_a_prompt_file_that_was_changed_a_moment_ago_is_bought(world: Harness, photo: bytes) -> None:
    """Workers remember for a minute what it said."""
    world.put("prompt.txt", b"wood")
    world.upload("a.jpg", photo)
    world.put("prompt.txt", b"snow")
    again(world, photo)

    assert [charge["prompt"] for charge in world.gateway.charges()] == ["wood", "snow"]


def rests_with_the_picture_of(world: Harness, job: Job) -> bool:
    world.drain(seconds=600)
    world.advance(1200)
    reconcile(world)
    world.drain(seconds=600)
    [result] = world.outputs().values()
    return bool(result["Metadata"]["job-id"] == job.id)


def test_a_result_is_put_between_a_look_at_an_upload_and_its_state_unchanged(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A is done, B looks at A's second upload, which gets its state, and then B's result is put."""
    world.upload("a.jpg", photo, prompt="wood")
    world.advance(10)
    between = world.put("a.jpg", photo, prompt="snow")
    lasts = list[Job]()
    real = world.app.result_storage._is_newer

    def look(*arguments: Any) -> Any:
        monkeypatch.setattr(world.app.result_storage, "_is_newer", real)
        seen = real(*arguments)
        world.advance(10)
        lasts.append(world.put("a.jpg", photo, prompt="wood"))
        world.notify(lasts[0])
        assert state(world, lasts[0]) == "UNCHANGED"
        return seen

    monkeypatch.setattr(world.app.result_storage, "_is_newer", look)
    world.notify(between)

    assert rests_with_the_picture_of(world, lasts[0])
    assert world.charged() == 3


def test_a_result_is_put_between_a_look_at_the_result_and_the_state_unchanged(
    world: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A is done, its second upload looks at its result, then B's would be put, and then the upload gets its state."""
    first = world.upload("a.jpg", photo, prompt="wood")
    world.advance(10)
    world.gateway.faults([{"kind": "status", "where": "media", "status": 503}])
    world.upload("a.jpg", photo, prompt="snow")  # paid, and not stored yet
    world.advance(10)
    last = world.put("a.jpg", photo, prompt="wood")
    real = world.app.result_storage.current_results

    def results(*arguments: Any) -> Any:
        monkeypatch.setattr(world.app.result_storage, "current_results", real)
        seen = real(*arguments)
        world.retry_once()
        return seen

    monkeypatch.setattr(world.app.result_storage, "current_results", results)
    world.notify(last)

    assert rests_with_the_picture_of(world, first)
    assert world.charged() == 2
