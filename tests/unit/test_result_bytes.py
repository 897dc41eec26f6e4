"""Only a whole image is a result, and only up to the cap."""

import gzip
from collections.abc import Iterator

import httpx
import pytest

from backdrop.errors import ResultUnreachable, ResultUnusable
from backdrop.images import PNG
from backdrop.results import checked
from tests.unit.result_host import IMAGE, fetched, response


def test_the_bytes_of_a_result_are_fetched_as_they_are_whatever_their_label() -> None:
    assert fetched(response(IMAGE, content_type="text/html")) == IMAGE
    assert checked(IMAGE) == PNG


def test_an_image_without_its_end_may_be_whole_later() -> None:
    """Row 43. Cases: half a picture."""
    for cut in (IMAGE[:8], IMAGE[: len(IMAGE) // 2], IMAGE[:-1]):
        with pytest.raises(ResultUnreachable):
            checked(cut)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<!doctype html><title>1.png</title>", id="HTML"),
        pytest.param(b'<svg xmlns="http://www.w3.org/2000/svg"/>', id="SVG"),
        pytest.param(b'{"error": "expired"}', id="JSON"),
        pytest.param(b"expired", id="text"),
        pytest.param(b"GIF89a", id="GIF"),
        pytest.param(b"", id="0 bytes"),
        pytest.param(gzip.compress(IMAGE), id="gzip"),
    ],
)
def test_what_is_no_image_is_no_result_whatever_its_label(body: bytes) -> None:
    """Rows 43 and 44."""
    with pytest.raises(ResultUnusable):
        checked(fetched(response(body, content_type="image/png")))


def test_compressed_answers_are_not_unpacked() -> None:
    """Row 43."""
    with pytest.raises(ResultUnusable):
        checked(fetched(response(gzip.compress(IMAGE), content_type="image/png", content_encoding="gzip")))


def test_a_result_can_be_as_large_as_the_cap_and_no_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 43."""
    monkeypatch.setattr("backdrop.results.MAX_RESULT_BYTES", len(IMAGE))
    assert fetched(response(IMAGE)) == IMAGE
    assert checked(IMAGE) == PNG
    with pytest.raises(ResultUnusable):
        fetched(response(IMAGE + b"."))
    with pytest.raises(ResultUnusable):
        checked(IMAGE + b".")


def test_a_result_without_end_is_not_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 43."""
    monkeypatch.setattr("backdrop.results.MAX_RESULT_BYTES", 5 * len(IMAGE))
    read = []

    def body() -> Iterator[bytes]:
        for _ in range(1000):
            read.append(len(IMAGE))
            yield IMAGE

    with pytest.raises(ResultUnusable):
        fetched(httpx.Response(200, content=body()))
    assert sum(read) == 6 * len(IMAGE)
