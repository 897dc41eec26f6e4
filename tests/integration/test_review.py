"""What is decided on the page of `backdrop review`, and what is bought again, against real objects."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

from backdrop.job import Job
from tests.integration.conftest import Run
from tests.integration.harness import Harness
from tests.integration.reviewed import KEY, RESULT, Opener, page, photo, tag, tags
from tests.integration.stack import INPUT, OUTPUT
from tests.pictures import encoded, mug

__all__ = ["page", "photo"]


def test_a_decision_is_a_tag_of_the_result_with_who_and_when(page: Opener, photo: bytes, harness: Harness) -> None:
    tag(harness, RESULT, campaign="spring")
    opened = page()
    assert opened.cards()[KEY]["status"] == "undecided"

    assert opened.decide(KEY, "approved").json()["status"] == "approved"

    found = tags(harness, RESULT)
    assert (found["backdrop-review"], found["campaign"]) == ("approved", "spring")
    assert found["backdrop-review-by"].startswith("arn:aws:")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["backdrop-review-at"])
    assert opened.cards()[KEY]["status"] == "approved"

    opened.decide(KEY, "rejected")
    assert tags(harness, RESULT)["backdrop-review"] == "rejected"


def test_undo_brings_back_what_was_there_before(page: Opener, photo: bytes, harness: Harness) -> None:
    tag(harness, RESULT, campaign="spring")
    opened = page()
    opened.decide(KEY, "approved")
    before = tags(harness, RESULT)
    opened.decide(KEY, "rejected")

    assert opened.undo().status_code == 200
    assert tags(harness, RESULT) == before
    assert opened.undo().status_code == 200
    assert tags(harness, RESULT) == {"campaign": "spring"}
    assert opened.cards()[KEY]["status"] == "undecided"
    assert opened.undo().status_code == 422


def test_choosing_one_of_three_approves_it_and_rejects_the_others(page: Opener, harness: Harness, run: Run) -> None:
    harness.upload(KEY, encoded(mug(), "JPEG"), prompt="snow", n="3")
    opened = page()

    assert opened.decide(KEY, "approved", choice=1).status_code == 200

    verdicts = [tags(harness, f"{KEY}.{i}.png")["backdrop-review"] for i in (1, 2, 3)]
    assert verdicts == ["rejected", "approved", "rejected"]
    assert opened.cards()[KEY]["choice"] == "1"
    assert [each["key"] for each in run("export", "--approved", "--out", "shop")["files"]] == [f"{KEY}.2.png"]
    assert opened.decide(KEY, "approved", choice=3).status_code == 422


def test_the_later_of_two_people_sees_what_the_earlier_decided_before_anything_is_overwritten(
    page: Opener, photo: bytes, harness: Harness
) -> None:
    """Row 95."""
    opened = page()
    before = opened.cards()[KEY]["seen"]
    tag(harness, RESULT, backdrop_review="rejected", backdrop_review_by="arn:aws:sts::1:assumed-role/team/ana")

    refused = opened.decide(KEY, "approved", seen=before)

    assert (refused.status_code, refused.text) == (409, "ana has rejected it meanwhile.")
    assert tags(harness, RESULT)["backdrop-review"] == "rejected"
    assert opened.cards()[KEY]["status"] == "rejected", "the page shows it now"
    assert opened.decide(KEY, "approved").status_code == 200
    assert tags(harness, RESULT)["backdrop-review"] == "approved"


def test_undo_leaves_what_somebody_decided_since(page: Opener, photo: bytes, harness: Harness) -> None:
    opened = page()
    opened.decide(KEY, "approved")
    tag(harness, RESULT, backdrop_review="rejected", backdrop_review_by="arn:aws:iam::1:user/ana")
    assert opened.undo().status_code == 409
    assert tags(harness, RESULT)["backdrop-review"] == "rejected"


def test_a_result_that_was_replaced_meanwhile_is_not_approved_unseen(
    page: Opener, harness: Harness, photo: bytes
) -> None:
    harness.s3.put_bucket_versioning(Bucket=OUTPUT, VersioningConfiguration={"Status": "Enabled"})
    harness.upload(KEY, photo, prompt="sand")
    opened = page()
    seen = opened.cards()[KEY]["seen"]
    head = harness.s3.head_object(Bucket=OUTPUT, Key=RESULT)
    harness.s3.put_object(Bucket=OUTPUT, Key=RESULT, Body=photo, Metadata=head["Metadata"])

    assert opened.decide(KEY, "approved", seen=seen).status_code == 409
    assert tags(harness, RESULT) == {}


def test_failed_uploads_and_those_on_their_way_have_nothing_to_decide(page: Opener, harness: Harness) -> None:
    harness.upload("failed.jpg", encoded(mug(), "JPEG"))
    harness.put("new.jpg", encoded(mug(), "JPEG"), prompt="snow")
    opened = page()
    assert {key: card["status"] for key, card in opened.cards().items()} == {
        "failed.jpg": "failed",
        "new.jpg": "waiting",
    }
    assert "missing_prompt" in opened.large("failed.jpg")
    for key in opened.cards():
        assert opened.decide(key, "approved").status_code == 422


def test_again_says_the_price_and_buys_only_for_that_price(page: Opener, photo: bytes, harness: Harness) -> None:
    opened = page()
    path = f"pair/{opened.cards()[KEY]['id']}/again"
    told = opened.client.get(path).json()
    assert (told["images"], told["usd"], told["prompt"]) == (1, "0.03", "snow")
    assert "$0.03" in told["words"]
    assert told["today"] == "1 of today's 1000 images are bought."
    body = {name: told[name] for name in ("images", "usd", "job")}

    assert opened.post(path, body | {"prompt": "sand", "usd": "0.02"}).status_code == 409
    assert opened.post(path, body | {"prompt": "\u200b "}).status_code == 422
    assert opened.post(path, body | {"prompt": "x" * 2500}).status_code == 422
    assert opened.post(path, body | {"prompt": "sand", "job": "0815"}).status_code == 409
    assert len(harness.s3.list_object_versions(Bucket=INPUT)["Versions"]) == 1, "nothing was bought"


def test_again_makes_a_new_version_with_another_prompt_and_nothing_else_changed(
    page: Opener, harness: Harness, photo: bytes
) -> None:
    put = harness.s3.put_object(
        Bucket=INPUT, Key=KEY, Body=photo, ContentType="image/jpeg", CacheControl="no-cache", Tagging="a=b",
        Metadata={"prompt": "snow", "n": "2", "tag": "ana", "size": "512x512", "mine": "too"},
    )  # fmt: skip
    harness.notify(Job(INPUT, KEY, put["VersionId"], put["ETag"].strip('"'), len(photo)))
    opened = page()
    card = opened.cards()[KEY]
    told = opened.client.get(f"pair/{card['id']}/again").json()
    assert told["images"] == 2
    body = {name: told[name] for name in ("images", "usd", "job")} | {"prompt": "à midi"}

    assert opened.post(f"pair/{card['id']}/again", body).status_code == 200

    now = harness.s3.get_object(Bucket=INPUT, Key=KEY)
    metadata = now["Metadata"]
    assert now["Body"].read() == photo
    assert (now["ContentType"], now["CacheControl"], now["TagCount"]) == ("image/jpeg", "no-cache", 1)
    assert metadata.pop("again")
    assert metadata == {"prompt-b64": "w6AgbWlkaQ==", "n": "2", "tag": "ana", "size": "512x512", "mine": "too"}
    assert opened.post(f"pair/{card['id']}/again", body).status_code in (409, 422), "a second click buys nothing"


def test_what_changes_is_told_as_it_happens(page: Opener, harness: Harness, photo: bytes) -> None:
    opened = page()
    with opened.client.stream("GET", "events?since=0") as stream:
        lines = stream.iter_lines()

        def next_news() -> Any:
            return json.loads(next(line for line in lines if line.startswith("data: ")).removeprefix("data: "))

        first = next_news()
        assert KEY in first["cards"][0]["html"]
        opened.decide(KEY, "approved")
        while not (news := next_news())["cards"]:
            pass
        assert 'data-status="approved"' in news["cards"][0]["html"]
        assert "Approved <span>1</span>" in re.sub(r"\s+", " ", news["top"])


def test_the_rejected_ones_are_a_manifest(page: Opener, harness: Harness, photo: bytes) -> None:
    harness.upload("b.jpg", photo, prompt="wood, {oak}", tag="ana", size="512x512")
    harness.upload("=1.jpg", photo, prompt="@snow", tag="-x")
    opened = page()
    opened.decide("b.jpg", "rejected")
    opened.decide("=1.jpg", "rejected")
    opened.decide(KEY, "approved")
    table = list(csv.DictReader(io.StringIO(opened.client.get("rejected.csv").text)))
    assert sorted(table, key=lambda row: row["file"]) == [
        {"file": "'=1.jpg", "prompt": "'@snow", "n": "", "size": "", "tag": "'-x"},
        {"file": "b.jpg", "prompt": "wood, {{oak}}", "n": "", "size": "512x512", "tag": "ana"},
    ], "no cell is a formula"


def test_gallery_and_status_say_what_was_decided(page: Opener, harness: Harness, photo: bytes, run: Run) -> None:
    for name in ("b.jpg", "c.jpg"):
        harness.upload(name, photo, prompt="snow")
    opened = page()
    opened.decide(KEY, "approved")
    opened.decide("b.jpg", "rejected")

    assert run("status")["reviewed"] == {"approved": 1, "rejected": 1, "undecided": 1}
    run("gallery", "--out", "page.html")
    html = Path("page.html").read_text(encoding="utf-8")
    assert html.count('<span class="verdict approved">Approved</span>') == 1
    assert html.count('<span class="verdict rejected">Rejected</span>') == 1


def test_while_calls_are_paused_the_page_says_why(page: Opener, harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"kind": "status", "status": 402}])
    harness.upload("b.jpg", photo, prompt="snow")
    opened = page()
    html = opened.client.get("").text
    assert "Nothing new is made at present." in html
    assert "the account has no money left" in html
    assert opened.cards()["b.jpg"]["status"] == "waiting"
    assert "Waits for calls to get through" in html


def test_a_photo_that_is_on_its_way_is_not_asked_for_again(page: Opener, harness: Harness) -> None:
    harness.put(KEY, encoded(mug(), "JPEG"), prompt="snow")
    opened = page()
    answer = opened.client.get(f"pair/{opened.cards()[KEY]['id']}/again")
    assert (answer.status_code, answer.text) == (422, "It is on its way. Look at what comes of that first.")
