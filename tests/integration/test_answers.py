"""What the gateway was paid for is stored, however it wraps it; what it says instead is kept for people."""

import base64
import gzip
import json
from typing import Any

import pytest

from tests.integration.conftest import picture
from tests.integration.harness import Harness
from tests.integration.simulated_lambda import Killed
from tests.integration.stack import TABLE
from tests.integration.test_results import fail_put

PNG = picture("PNG")
TEXT = base64.b64encode(PNG).decode()
ENTRY = f'{{"b64_json": "{TEXT}"}}'
LINKED = '{"url": "{link}"}'
WORDS = "The photo shows a logo that can't be kept."
DAY = 86400


def answer(body: bytes | str, status: int = 200) -> dict[str, Any]:
    """The fault that answers with these very bytes; `{link}` in them becomes the link to the picture."""
    return {"kind": "answer", "text": body if isinstance(body, str) else body.decode("latin-1"), "status": status}


def assert_stored_once(harness: Harness, *keys: str) -> None:
    """Stored under these keys, paid by one call, and nothing else of it anywhere."""
    assert list(harness.outputs()) == list(keys)
    assert harness.dead_letters() == harness.waiting() == []
    assert len(harness.gateway.calls()) == 1


def kept_answer(harness: Harness) -> dict[str, Any] | None:
    """The ledger's item with an answer that held no image."""
    items = harness.dynamodb.scan(TableName=TABLE)["Items"]
    kept: list[dict[str, Any]] = [item for item in items if "answer" in item]
    assert len(kept) <= 1
    return kept[0] if kept else None


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(json.dumps({"data": [{"b64_json": TEXT + "\n"}]}), id="a final line break"),
        pytest.param(json.dumps({"data": [{"b64_json": base64.encodebytes(PNG).decode()}]}), id="lines"),
        pytest.param(f'{{"data": [{{"b64_json": "{TEXT.rstrip("=")}"}}]}}', id="without padding"),
        pytest.param(f'{{"data": [{{"b64_json": "{base64.urlsafe_b64encode(PNG).decode()}"}}]}}', id="for URLs"),
        pytest.param(f'{{"data": [{{"b64_json": "data:image/png;base64,{TEXT}"}}]}}', id="data head"),
        pytest.param(f'{{"data": [{{"url": "data:image/png;base64,{TEXT}"}}]}}', id="picture inside url"),
        pytest.param(f'{{"data": [{{"url": "{TEXT}"}}]}}', id="base64 in url"),
        pytest.param(f'{{"data": {ENTRY}}}', id="data that is an object"),
        pytest.param(f"[{ENTRY}]", id="a bare list"),
        pytest.param(f'{{"images": ["{TEXT}"]}}', id="images"),
        pytest.param(gzip.compress(f'{{"data": [{ENTRY}]}}'.encode()), id="gzip"),
        pytest.param(b"\xef\xbb\xbf" + f'{{"data": [{ENTRY}]}}'.encode(), id="byte order mark"),
        pytest.param(PNG, id="the picture itself"),
    ],
)
def test_row_65_an_inline_image_is_stored_however_it_is_wrapped(
    harness: Harness, photo: bytes, body: bytes | str
) -> None:
    """Cases: base64 that decoders refuse; picture inside `url`."""
    harness.gateway.faults([answer(body)])

    harness.upload("a.jpg", photo, prompt="wood")

    assert_stored_once(harness, "a.jpg.png")
    assert harness.outputs()["a.jpg.png"]["Body"] == PNG


@pytest.mark.parametrize(
    "body",
    [
        pytest.param('{"data": [{"url": " {link}\\n"}]}', id="blanks around"),
        pytest.param('{"data": {"url": "{link}"}}', id="data that is an object"),
        pytest.param('["{link}"]', id="a bare list"),
        pytest.param('{"images": [{"url": "{link}"}]}', id="images"),
        pytest.param('{"data": [{"image_url": {"url": "{link}"}}]}', id="image_url"),
    ],
)
def test_row_65_a_link_is_followed_however_it_is_wrapped(harness: Harness, photo: bytes, body: str) -> None:
    harness.gateway.faults([answer(body)])

    harness.upload("a.jpg", photo, prompt="wood")

    assert_stored_once(harness, "a.jpg.png")


def test_row_65_a_path_leads_to_the_gateways_own_origin(harness: Harness, photo: bytes) -> None:
    harness.upload("first.jpg", photo, prompt="wood")
    [fetch] = harness.gateway.fetches()
    harness.gateway.faults([{"kind": "link", "url": f"/media/{fetch['name']}"}])

    harness.upload("a.jpg", photo, prompt="wood")

    outputs = harness.outputs()
    assert list(outputs) == ["a.jpg.png", "first.jpg.png"]
    assert outputs["a.jpg.png"]["Body"] == outputs["first.jpg.png"]["Body"]


def test_a_201_with_an_image_is_an_answer(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([answer(f'{{"data": [{LINKED}]}}', 201)])

    harness.upload("a.jpg", photo, prompt="wood")

    assert_stored_once(harness, "a.jpg.png")


@pytest.mark.parametrize("body", [f"[{ENTRY}, {LINKED}]", f"[{LINKED}, {ENTRY}]"], ids=["inline first", "link first"])
def test_row_65_links_and_inline_images_of_one_answer_are_stored_in_their_order(
    harness: Harness, photo: bytes, body: str
) -> None:
    harness.gateway.faults([answer(body)])

    job = harness.upload("a.jpg", photo, prompt="wood", n="2")

    assert_stored_once(harness, "a.jpg.1.png", "a.jpg.2.png")
    inline = "a.jpg.1.png" if body.startswith(f"[{ENTRY}") else "a.jpg.2.png"
    assert [key for key, output in harness.outputs().items() if output["Body"] == PNG] == [inline]
    record = harness.record(job)
    assert record is not None
    assert record.state == "DONE"


@pytest.mark.parametrize("body", [f"[{ENTRY}, {LINKED}]", f"[{LINKED}, {ENTRY}]"], ids=["inline first", "link first"])
def test_a_link_beside_a_stored_inline_image_is_fetched_later_without_another_call(
    harness: Harness, photo: bytes, body: str
) -> None:
    harness.gateway.faults([answer(body), {"where": "media", "kind": "status", "status": 503, "times": 2}])

    harness.upload("a.jpg", photo, prompt="wood", n="2")
    assert len(harness.outputs()) == 1
    harness.drain()

    assert_stored_once(harness, "a.jpg.1.png", "a.jpg.2.png")


def test_a_mixed_answer_that_a_crash_swallowed_is_asked_for_again(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.gateway.faults([answer(f"[{LINKED}, {ENTRY}]")])
    real = harness.services.result_storage.store

    def killed(*_: Any) -> Any:
        monkeypatch.setattr(harness.services.result_storage, "store", real)
        raise Killed

    monkeypatch.setattr(harness.services.result_storage, "store", killed)
    harness.upload("a.jpg", photo, prompt="wood", n="2")
    harness.drain()

    assert list(harness.outputs()) == ["a.jpg.1.png", "a.jpg.2.png"]
    assert harness.dead_letters() == []
    assert len(harness.gateway.calls()) == 2, "the same call again"
    assert harness.charged() == 2, "for two images"


def test_a_link_of_a_mixed_answer_that_can_not_be_stored_is_stored_later_without_another_call(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.gateway.faults([answer(f"[{LINKED}, {ENTRY}]")])
    real = harness.services.results.fetch

    def fetch(link: str, seconds: float) -> bytes:
        monkeypatch.setattr(harness.services.results, "fetch", real)
        fail_put(harness, monkeypatch, "AccessDenied", 403, times=1)
        return real(link, seconds)

    monkeypatch.setattr(harness.services.results, "fetch", fetch)
    harness.upload("a.jpg", photo, prompt="wood", n="2")
    harness.drain()

    assert_stored_once(harness, "a.jpg.1.png", "a.jpg.2.png")


# Half a picture


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_row_43_half_a_picture_is_fetched_again(harness: Harness, photo: bytes, kind: str) -> None:
    """Cases: half a picture. Its answer has no Content-Length, and simply ends."""
    harness.gateway.settings(image_format=kind)
    harness.gateway.faults([{"where": "media", "kind": "half", "times": 2}])

    job = harness.upload("a.jpg", photo, prompt="wood")
    record = harness.record(job)
    assert record is not None
    assert record.state == "PAID"
    assert harness.outputs() == {}
    harness.drain()

    assert_stored_once(harness, f"a.jpg.{'jpg' if kind == 'jpeg' else kind}")
    assert len(harness.gateway.fetches()) == 3


def test_row_43_a_connection_that_closes_in_the_middle_of_a_picture_without_a_length(
    harness: Harness, photo: bytes
) -> None:
    """Cases: half a picture, as HTTP/1.0 sends it."""
    half = PNG[: len(PNG) // 2].decode("latin-1")
    harness.gateway.faults([{"where": "media", "kind": "raw", "text": f"HTTP/1.0 200 OK\r\n\r\n{half}"}])

    harness.upload("a.jpg", photo, prompt="wood")
    assert harness.outputs() == {}
    harness.drain()

    assert_stored_once(harness, "a.jpg.png")


def test_row_43_a_picture_that_stays_cut_is_given_up_after_its_24_hours(harness: Harness, photo: bytes) -> None:
    harness.gateway.faults([{"where": "media", "kind": "half", "times": 0}])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain(seconds=23 * 3600)
    assert harness.dead_letters() == []
    harness.drain(seconds=2 * 3600)

    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["billed"]) == ("result_unavailable", "yes")
    assert harness.charged() == 1


def test_half_an_inline_picture_is_not_stored_and_not_paid_again(harness: Harness, photo: bytes) -> None:
    """The gateway would answer a replay with the same bytes, or charge it anew: people decide."""
    harness.gateway.faults([answer(json.dumps({"data": [{"b64_json": base64.b64encode(PNG[:-20]).decode()}]}))])

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["billed"]) == ("result_unavailable", "yes")
    assert "cut off" in dead_letter["reason"]["message"]
    assert harness.outputs() == {}
    assert len(harness.gateway.calls()) == 1


# An error in a 200


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"error": {"message": WORDS, "type": "invalid_request_error"}}, id="the documented form"),
        pytest.param({"error": {"message": WORDS}, "data": []}, id="beside an empty list"),
        pytest.param({"error": WORDS}, id="a text"),
        pytest.param({"message": WORDS, "data": None}, id="a message"),
        pytest.param({"detail": WORDS}, id="a detail"),
    ],
)
@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_row_28_an_error_in_a_200_is_in_the_letter_and_in_the_log_and_kept_as_it_came(
    harness: Harness, photo: bytes, body: dict[str, Any], compress: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Cases: error in a 200."""
    text = json.dumps(body | {"echo": "a secret garden"}).encode()
    harness.gateway.faults([answer(compress(text))])

    job = harness.upload("a.jpg", photo, prompt="a secret garden")
    harness.drain()

    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["billed"]) == ("no_image_returned", "yes")
    assert WORDS in dead_letter["reason"]["message"]
    log = json.dumps([vars(record) for record in caplog.records], default=str)
    assert WORDS in log
    assert "garden" not in log + json.dumps(dead_letter)
    kept = kept_answer(harness)
    assert kept is not None
    assert (kept["id"]["S"], kept["answer"]["B"]) == (f"answer-{job.id}", text)
    assert 6.9 * DAY < int(kept["expires_at"]["N"]) - harness.now() <= 7 * DAY
    assert [record.id for record in harness.services.records.all()] == [job.id], "receipts don't see it"


def test_row_28_of_a_large_answer_without_an_image_the_start_is_kept(harness: Harness, photo: bytes) -> None:
    page = "<!doctype html>" + "x" * 500_000
    harness.gateway.faults([answer(page)])

    harness.upload("a.jpg", photo, prompt="wood")

    kept = kept_answer(harness)
    assert kept is not None
    assert kept["answer"]["B"] == page.encode()[: 64 * 1024]


def test_row_63_words_in_a_200_repeat_no_key_no_link_and_no_prompt(harness: Harness, photo: bytes) -> None:
    said = f"Key {harness.gateway.key} may not fetch https://photos.test/a.jpg?sig=5f1e for a secret garden at dawn"
    harness.gateway.faults([answer(json.dumps({"error": {"message": said, "code": harness.gateway.key}}))])

    harness.upload("a.jpg", photo, prompt="a secret garden at dawn")

    [dead_letter] = harness.dead_letters()
    assert dead_letter["reason"]["code"] == "no_image_returned"
    for secret in (harness.gateway.key, "5f1e", "garden"):
        assert secret not in json.dumps(dead_letter)


def test_an_answer_that_can_not_be_kept_changes_nothing(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise harness.dynamodb.exceptions.ProvisionedThroughputExceededException({"Error": {}}, "PutItem")

    monkeypatch.setattr(harness.services.ledger, "keep_answer", refused)
    harness.gateway.faults([{"kind": "empty"}])

    harness.upload("a.jpg", photo, prompt="wood")

    assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == ["no_image_returned"]


def test_an_upload_that_is_answered_with_an_image_has_no_answer_kept(harness: Harness, photo: bytes) -> None:
    harness.upload("a.jpg", photo, prompt="wood")

    assert kept_answer(harness) is None
