"""Images that came inside an answer are stored, or asked for again while that costs nothing."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.harness import Harness
from tests.integration.result_faults import upload_killed_while_storing


@pytest.mark.parametrize(("policy", "times"), [("park", 1), ("retry", 2)])
def test_row_46_with_inline_answers_a_result_that_could_not_be_stored_is_stored_later(
    environment: pytest.MonkeyPatch,
    harness: Harness,
    photo: bytes,
    monkeypatch: pytest.MonkeyPatch,
    policy: str,
    times: int,
) -> None:
    environment.setenv("ON_UNKNOWN_OUTCOME", policy)
    harness.gateway.settings(answer="b64_json")
    storage = harness.services.result_storage
    real, left = storage.store, [times]

    def store(*arguments: Any) -> Any:
        if left[0]:
            left[0] -= 1
            response: Any = {"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503}}
            raise ClientError(response, "PutObject")
        return real(*arguments)

    monkeypatch.setattr(storage, "store", store)
    harness.upload("a.jpg", photo, prompt="wood")
    harness.drain()

    assert harness.dead_letters() == []
    assert list(harness.outputs()) == ["a.jpg.png"]


def test_inline_images_that_a_crash_swallowed_are_not_asked_for_again_after_a_day(
    harness: Harness, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway may have forgotten the key by then, and would sell them again."""
    harness.gateway.settings(answer="b64_json")
    upload_killed_while_storing(harness, photo, monkeypatch)
    harness.advance(25 * 3600)
    harness.drain()

    assert len(harness.gateway.calls()) == 1
    [dead_letter] = harness.dead_letters()
    assert (dead_letter["reason"]["code"], dead_letter["reason"]["billed"]) == ("outcome_unknown", "yes")
