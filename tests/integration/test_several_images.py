"""Of several images that were paid, none is lost or counted twice for another's sake."""

from itertools import cycle
from types import SimpleNamespace
from typing import Any

import pytest

from backdrop.errors import ResultUnreachable, ResultUnusable
from tests.integration.harness import Harness


@pytest.mark.parametrize("status", [404, 503])
def test_one_dead_link_does_not_lose_the_other_images_that_were_paid(
    harness: Harness, photo: bytes, status: int
) -> None:
    services = harness.services
    real = services.results.fetch
    first: list[str] = []

    def fetch(link: str, seconds: float) -> bytes:
        first.append(link)
        if link == first[0]:
            if status == 404:
                raise ResultUnusable("404")
            raise ResultUnreachable("503")
        return real(link, seconds)

    services.results.fetch = fetch  # type: ignore[method-assign]
    harness.upload("a.jpg", photo, prompt="wood", n="3")
    harness.drain(seconds=3600)

    assert {"a.jpg.2.png", "a.jpg.3.png"} <= set(harness.outputs())


@pytest.mark.parametrize("errors", [(ResultUnusable, ResultUnreachable), (ResultUnreachable, ResultUnusable)])
def test_a_dead_link_is_told_within_minutes_though_another_may_work_later(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch, errors: tuple[type[Exception], ...]
) -> None:
    dead = cycle(errors)

    def fetch(link: str, seconds: float) -> bytes:
        raise next(dead)("no")

    monkeypatch.setattr(harness.services.results, "fetch", fetch)
    harness.upload("a.jpg", photo, prompt="wood", n="2")
    harness.drain(seconds=180)

    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["billed"]) == ("result_unavailable", "yes")


def test_more_images_than_asked_for_are_not_reported_under_one_key(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = harness.services.gateway
    real = gateway.send

    def more(*arguments: Any) -> Any:
        answer = real(*arguments)
        return SimpleNamespace(
            links=answer.links * 3, inline=(), request_id=answer.request_id, cost_usd=answer.cost_usd
        )

    monkeypatch.setattr(gateway, "send", more)
    job = harness.upload("a.jpg", photo, prompt="wood")
    record = harness.record(job)
    assert record is not None
    assert len(record.outputs) == 1
