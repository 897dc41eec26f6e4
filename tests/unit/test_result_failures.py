"""Which fetches are worth another try; errors repeat no link."""

import traceback

import httpx
import pytest

from backdrop.errors import ResultError, ResultUnreachable, ResultUnusable
from tests.unit.result_host import IMAGE, SIGNATURE, SIGNED, Far, fetched, response


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_dead_link_is_unusable(status: int) -> None:
    """Row 45."""
    with pytest.raises(ResultUnusable, match=str(status)):
        fetched(response(IMAGE, status))


@pytest.mark.parametrize("status", [204, 401, 408, 425, 429, 500, 502, 503, 504])
def test_any_other_status_may_change(status: int) -> None:
    """Row 45."""
    with pytest.raises(ResultUnreachable, match=str(status)):
        fetched(response(IMAGE, status))


@pytest.mark.parametrize(
    "error",
    [httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError],
)
def test_a_host_that_does_not_answer_may_do_so_later(error: type[httpx.TransportError]) -> None:
    """Row 45."""
    with pytest.raises(ResultUnreachable):
        fetched(error(f"https://{SIGNED}"))


@pytest.mark.parametrize(
    "answer",
    [
        response(SIGNED.encode(), 403),
        response(SIGNED.encode(), 500),
        response(b"", 302, location=f"https://{SIGNED}"),
        httpx.ConnectError(f"https://{SIGNED}"),
    ],
    ids=["dead", "broken", "redirect", "no connection"],
)
def test_errors_do_not_repeat_a_link(answer: httpx.Response | Exception) -> None:
    """Row 63."""
    with pytest.raises(ResultError) as failed:
        fetched(answer)
    text = "".join(traceback.format_exception(failed.value))
    assert SIGNATURE not in text
    assert "cdn.test" not in str(failed.value)


@pytest.mark.parametrize(
    "link",
    [
        f"http://{SIGNED}",
        f"https://user@{SIGNED}",
        f"https://cdn.test:port/1.png?signature={SIGNATURE}",
        f"https://\x00{SIGNED}",
        f"https://{SIGNED}",
    ],
    ids=["http", "user", "port", "control character", "address"],
)
def test_refusals_do_not_repeat_a_link(link: str) -> None:
    """Row 63."""
    with pytest.raises(ResultUnusable) as refused:
        Far("10.0.0.1").fetch(link)
    text = "".join(traceback.format_exception(refused.value))
    assert SIGNATURE not in text
    assert "cdn.test" not in str(refused.value)
