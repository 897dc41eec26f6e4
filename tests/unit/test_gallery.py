"""What the gallery says about an upload, from its record and from what is left in the buckets."""

import base64
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import PIL.Image
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from click.testing import CliRunner
from moto import mock_aws

from backdrop.job import Job
from backdrop.settings import Settings
from backdrop.states import State
from backdrop.storage import Listed
from backdrop.upload import Record
from backdrop_cli import gallery
from backdrop_cli.deployment import Deployment
from backdrop_cli.gallery import GalleryBuilder, failure_of, prompt_of
from backdrop_cli.options import CliContext
from backdrop_cli.page import Image, NoImage, Pair
from backdrop_cli.uploads import Stage, UploadView

KEY = "shoes/red.jpg"


def record(**changes: Any) -> Record:
    values: dict[str, Any] = {
        "id": "4711",
        "bucket": "photos-in",
        "key": KEY,
        "version_id": None,
        "etag": None,
        "state": State.DONE,
        "owner": "",
        "lease_until": 0.0,
        "created_at": 1000.0,
        "updated_at": 1004.2,
        "expires_at": 0,
        "cost_usd": "0.03",
        "outputs": ({"bucket": "photos-out", "key": f"{KEY}.png", "content_type": "image/png", "bytes": 1},),
    }
    return Record(**(values | changes))


def failed(code: str, billed: str = "no") -> dict[str, Any]:
    reason = {"code": code, "message": "the sky fell", "billed": billed}
    return {"state": State.REJECTED, "reason": reason, "cost_usd": None, "outputs": ()}


def digest(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()


def photo(colour: str = "red") -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (40, 30), colour).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("metadata", "folder", "default", "prompt"),
    [
        ({"prompt": "a beach"}, "snow", "wood", "a beach"),
        ({"prompt-b64": base64.b64encode("à midi".encode()).decode()}, "", "", "à midi"),
        ({}, "snow", "wood", "snow"),
        ({}, "", "wood", "wood"),
        ({"prompt": "a beach", "n": "99", "size": "huge"}, "", "", "a beach"),
    ],
)
def test_prompt_is_found_where_the_functions_found_it(
    metadata: dict[str, str], folder: str, default: str, prompt: str
) -> None:
    assert prompt_of(record(prompt_sha256=digest(prompt)), metadata, lambda: folder, default) == prompt
    assert prompt_of(record(**failed("invalid_option")), metadata, lambda: folder, default) == prompt


def test_prompt_that_is_another_one_now_is_not_told() -> None:
    was_snow = record(prompt_sha256=digest("snow"))
    assert prompt_of(was_snow, {}, lambda: "sand", "") is None
    assert prompt_of(was_snow, {}, lambda: "", "") is None


@pytest.mark.parametrize(("metadata", "missing"), [({"prompt-b64": "%"}, 0), ({}, 1)])
def test_prompt_that_nobody_can_read_is_not_told(metadata: dict[str, str], missing: int) -> None:
    assert prompt_of(record(**failed("invalid_option")), metadata, lambda: "", "", missing) is None


def test_upload_that_failed_without_a_prompt_has_none_although_there_is_a_prompt_txt_now() -> None:
    assert prompt_of(record(**failed("missing_prompt")), {}, lambda: "too late", "") == ""


@pytest.mark.parametrize(
    ("billed", "text"), [("no", "not billed"), ("yes", "billed"), ("unknown", "perhaps billed"), ("", "perhaps billed")]
)
def test_failure_says_why_and_whether_it_was_billed(billed: str, text: str) -> None:
    assert failure_of(record(**failed("attempts_exhausted", billed))) == f"attempts_exhausted: the sky fell ({text})"
    assert failure_of(record()) == ""


class Shop:
    """Both buckets, and a way to look at the upload KEY."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.s3: Any = deployment.s3
        self._looker = GalleryBuilder(deployment, 32)
        for bucket in ("photos-in", "photos-out"):
            self.s3.create_bucket(Bucket=bucket)

    def upload(self, data: bytes, **metadata: str) -> Job:
        answer = self.s3.put_object(Bucket="photos-in", Key=KEY, Body=data, Metadata=metadata)
        return Job("photos-in", KEY, answer.get("VersionId"), answer["ETag"].strip('"'))

    def result(self, job_id: str = "4711", **options: Any) -> None:
        self.s3.put_object(
            Bucket="photos-out", Key=f"{KEY}.png", Body=photo("blue"), Metadata={"job-id": job_id}, **options
        )

    def look(self, job: Job, **changes: Any) -> Pair:
        return self._looker.pair(job, record(**changes))


@pytest.fixture
def shop(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        deployment = Deployment("backdrop", region="us-east-1")
        vars(deployment)["settings"] = settings
        yield Shop(deployment)


def why(image: Image | NoImage) -> str:
    assert isinstance(image, NoImage)
    return image.why


def colour(image: Image | NoImage) -> str:
    assert isinstance(image, Image)
    picture = PIL.Image.open(io.BytesIO(base64.b64decode(image.uri.partition(",")[2]))).convert("RGB")
    assert max(picture.size) == 32
    bands = picture.resize((1, 1)).tobytes()
    return ("red", "green", "blue")[bands.index(max(bands))]


def test_pair_is_made_of_small_copies_prompt_cost_and_seconds(shop: Shop) -> None:
    job = shop.upload(photo(), prompt="a beach")
    shop.result()

    pair = shop.look(job)

    assert (colour(pair.before), colour(pair.after[0])) == ("red", "blue")
    assert (pair.before.key, pair.after[0].key) == (KEY, f"{KEY}.png")
    assert (pair.prompt, pair.cost_usd, pair.failure) == ("a beach", 0.03, "")
    assert pair.seconds == pytest.approx(4.2)


def test_before_is_the_version_that_was_bought_for(shop: Shop) -> None:
    shop.s3.put_bucket_versioning(Bucket="photos-in", VersioningConfiguration={"Status": "Enabled"})
    job = shop.upload(photo("green"), prompt="a beach")
    shop.upload(photo("red"), prompt="snow")

    pair = shop.look(job)

    assert (colour(pair.before), pair.prompt) == ("green", "a beach")


def test_photo_that_was_replaced_where_there_are_no_versions_is_not_taken_for_it(shop: Shop) -> None:
    job = shop.upload(photo("green"), prompt="a beach")
    shop.upload(photo("red"), prompt="snow")

    pair = shop.look(job)

    assert why(pair.before) == "It is not there any more."
    assert pair.prompt is None


def test_deleted_photos_and_results_leave_a_sentence(shop: Shop) -> None:
    job = shop.upload(photo(), prompt="a beach")
    shop.s3.delete_object(Bucket="photos-in", Key=KEY)

    pair = shop.look(job)

    assert why(pair.before) == why(pair.after[0]) == "It is not there any more."
    assert not pair.has_failed


def test_result_of_another_upload_is_not_shown(shop: Shop) -> None:
    job = shop.upload(photo(), prompt="a beach")
    shop.result(job_id="0815")
    assert why(shop.look(job).after[0]) == "Another upload's result is there now."


def test_result_in_an_archive_is_not_waited_for(shop: Shop) -> None:
    job = shop.upload(photo(), prompt="a beach")
    shop.result(StorageClass="GLACIER")
    assert why(shop.look(job).after[0]) == "It is in an archive."


def test_object_that_is_no_picture_or_too_large_leaves_a_sentence(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = shop.upload(b"no picture", prompt="a beach")
    assert (
        why(shop.look(broken, **failed("unsupported_media_type")).before) == "It is no picture that can be shown here."
    )
    monkeypatch.setattr(gallery, "MOST_BYTES", 10)
    large = shop.upload(photo(), prompt="a beach")
    pair = shop.look(large, **failed("too_large"))
    assert "too large" in why(pair.before)
    assert (pair.prompt, pair.seconds, pair.cost_usd, pair.after) == ("a beach", None, None, ())


def test_what_s3_refuses_altogether_is_no_matter_of_one_picture(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**_: object) -> Any:
        raise ClientError(
            {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}},  # type: ignore[typeddict-item]
            "GetObject",
        )

    job = shop.upload(photo(), prompt="a beach")
    monkeypatch.setattr(shop.s3, "get_object", refused)
    with pytest.raises(ClientError, match="AccessDenied"):
        shop.look(job)


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command in a folder of its own: exit code and output for uploads of these stages and records."""
    monkeypatch.chdir(tmp_path)
    job = shop.upload(photo(), prompt="a beach")
    shop.result()

    def run(*uploads: tuple[Stage, dict[str, Any]], arguments: tuple[str, ...] = ()) -> tuple[int, str]:
        found = [
            UploadView(Listed(job, 0.0), record(**changes) if changes else None, stage) for stage, changes in uploads
        ]
        monkeypatch.setattr(gallery, "seen", lambda deployment, prefix: iter(found))
        context = CliContext()
        vars(context)["deployment"] = shop.deployment
        result = CliRunner().invoke(gallery.gallery, ["shoes/", *arguments], obj=context, standalone_mode=False)
        if isinstance(result.exception, click.ClickException):
            return result.exception.exit_code, result.exception.format_message()
        if result.exception:
            raise result.exception
        return result.return_value, result.output

    return run


DONE = (Stage.DONE, {"cost_usd": "0.03"})
FAILED = (Stage.FAILED, failed("missing_prompt"))
NEW = (Stage.NEW, dict[str, Any]())


def test_page_has_what_is_over_and_counts_the_others(run: Run, tmp_path: Path) -> None:
    code, said = run(DONE, NEW, FAILED, (Stage.WAITING, {"state": State.CLAIMED}), NEW)

    html = (tmp_path / "backdrop-gallery.html").read_text(encoding="utf-8")
    assert code == 0
    assert "backdrop-gallery.html: 2 photos, 1 failed, $0.03." in said
    assert "2 photos · 1 new image · $0.03 · 1 failed" in html
    assert "s3://photos-in/shoes/ on 2" in html
    assert "3 uploads are not shown: 2 new, 1 waiting." in html
    assert [path.name for path in tmp_path.iterdir()] == ["backdrop-gallery.html"]


def test_script_gets_the_numbers(run: Run, tmp_path: Path) -> None:
    code, said = run(DONE, FAILED, arguments=("--json", "--out", "a/b.html"))

    assert code == 0
    assert json.loads(said[said.index("{") :]) == {"page": "a/b.html", "pairs": 2, "failed": 1, "cost_usd": 0.03}
    assert (tmp_path / "a" / "b.html").is_file()


@pytest.mark.parametrize(
    ("uploads", "text"),
    [
        ((), "Nothing is under s3://photos-in/shoes/."),
        ((NEW, NEW), "Nothing under s3://photos-in/shoes/ is done or failed yet: 2 new."),
    ],
)
def test_nothing_to_show_is_said_and_no_page_written(
    run: Run, tmp_path: Path, uploads: tuple[Any, ...], text: str
) -> None:
    code, said = run(*uploads)
    assert code == 1
    assert text in said
    assert run(*uploads, arguments=("--json",))[0] == 1
    assert list(tmp_path.iterdir()) == []


def test_page_of_before_stays_when_a_new_one_fails(
    run: Run, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "backdrop-gallery.html"
    page.write_text("the page of before")

    def broken(**_: object) -> Any:
        raise EndpointConnectionError(endpoint_url="https://s3.test")

    monkeypatch.setattr(shop.s3, "get_object", broken)
    with pytest.raises(EndpointConnectionError):
        run(DONE)

    assert page.read_text() == "the page of before"
    assert list(tmp_path.iterdir()) == [page]


def test_place_where_nothing_can_be_written_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, said = run(DONE, arguments=("--out", "file/page.html"))
    assert code == 1
    assert "file/page.html" in said


def test_more_pairs_make_smaller_pictures(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "side_for", lambda pictures: 2 * pictures)
    run(DONE, DONE, FAILED)
    assert 'width="10"' in (tmp_path / "backdrop-gallery.html").read_text()
