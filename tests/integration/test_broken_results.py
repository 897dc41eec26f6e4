"""A result that breaks or drips is given up in time, and fetched later."""

import time

import pytest

from tests.integration.harness import Harness
from tests.integration.result_faults import PNG, Fault, answer, assert_fetched_at_last, raw, script

HURRY_SECONDS = 0.3


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(raw("SSH-2.0-OpenSSH_9.9\r\n"), id="no HTTP"),
        pytest.param(answer(PNG, length=len(PNG) + 1), id="Content-Length that promises more"),
        pytest.param(answer(PNG, "Content-Length: 7"), id="two lengths"),
        pytest.param(answer(PNG, "Transfer-Encoding: gzip"), id="unknown transfer encoding"),
        pytest.param(
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n\x89PNG\r\n\x1a\n\r\n"), id="no last chunk"
        ),
        pytest.param(
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X-More: 1\r\n" * 1000, 1000),
            id="endless trailers",
        ),
        pytest.param(raw("HTTP/1.1 200 OK\r\n", "X-More: 1\r\n" * 1000, 1000), id="endless headers"),
        pytest.param(answer(PNG, status="206 Partial Content"), id="part"),
        pytest.param(answer(PNG[:-1]), id="a byte short"),
        pytest.param(answer(PNG[:8]), id="signature only"),
        pytest.param(answer(PNG, length=len(PNG) // 2), id="Content-Length of a half"),
    ],
)
def test_rows_43_45_a_result_that_breaks_is_fetched_later(harness: Harness, photo: bytes, fault: Fault) -> None:
    script(harness, fault, times=2)

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert_fetched_at_last(harness)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(raw("HTTP/1.1 200 OK\r\n", "X-Slow: 1\r\n", 100, 0.05), id="headers"),
        pytest.param(
            raw(f"HTTP/1.1 200 OK\r\nContent-Length: {len(PNG) + 100}\r\n\r\n{PNG.decode('latin-1')}", "x", 100, 0.05),
            id="body",
        ),
        pytest.param(raw("", "HTTP/1.1 103 Early Hints\r\n\r\n" * 1000, 1000), id="endless preludes"),
    ],
)
def test_rows_31_43_a_result_that_drips_is_given_up_at_the_deadline_and_fetched_later(
    harness: Harness, photo: bytes, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(harness, fault, times=2)
    fetch = harness.services.results.fetch
    took: list[float] = []

    def hurried(link: str, seconds: float) -> bytes:
        if len(took) == 2:
            return fetch(link, seconds)
        started = time.monotonic()
        try:
            return fetch(link, HURRY_SECONDS)
        finally:
            took.append(time.monotonic() - started)

    monkeypatch.setattr(harness.services.results, "fetch", hurried)

    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert_fetched_at_last(harness)
    assert max(took) < 3.0, "left alone it takes 5"
