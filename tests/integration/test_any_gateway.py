"""Gateways that want other paths, fields and headers than the documented one: the settings for them at work."""

import json

import pytest

from backdrop.errors import NotConfigured
from backdrop.states import State
from tests.integration.harness import Harness

pytestmark = pytest.mark.usefixtures("one_day")

EXAMPLE = '{"image_url": null, "images": [{"image_url": "{image}"}], "seed": 7}'


@pytest.mark.parametrize(
    ("name", "value"),
    [("GATEWAY_EXTRA_FIELDS", "[7]"), ("GATEWAY_EXTRA_HEADERS", '{"Host": "x"}'), ("GATEWAY_PATH", "images")],
)
def test_row_90_a_setting_that_cannot_be_used_makes_no_call_and_uploads_wait(
    harness: Harness, environment: pytest.MonkeyPatch, photo: bytes, name: str, value: str
) -> None:
    environment.setenv(name, value)
    job = harness.put("red.jpg", photo, prompt="wood")
    with pytest.raises(NotConfigured, match=name):
        harness.invoke(harness.trigger_function, harness.functions.event(job))
    harness.notify(job)
    assert len(harness.waiting()) == 1
    assert harness.gateway.calls() == []

    environment.setenv(name, "" if name == "GATEWAY_PATH" else "{}")
    harness.restart()
    harness.drain()
    assert "red.jpg.png" in harness.outputs()
    assert harness.charged() == 1


def test_row_91_a_call_of_unknown_outcome_is_repeated_with_what_it_had(
    harness: Harness, environment: pytest.MonkeyPatch, photo: bytes
) -> None:
    environment.setenv("GATEWAY_EXTRA_FIELDS", '{"response_format": "b64_json"}')
    environment.setenv("GATEWAY_EXTRA_HEADERS", '{"x-one": "1", "x-two": "2"}')
    environment.setenv("GATEWAY_PATH", "/images/generations")
    harness.gateway.faults([{"kind": "drop_after_charge"}])
    harness.upload("red.jpg", photo, prompt="wood")
    environment.setenv("GATEWAY_EXTRA_FIELDS", '{"response_format": null, "size": "512x512"}')
    environment.setenv("GATEWAY_EXTRA_HEADERS", "{}")
    environment.setenv("GATEWAY_PATH", "/elsewhere")
    harness.restart()
    harness.drain()
    first, second = harness.gateway.calls()
    for part in ("path", "headers", "body_sha256"):
        assert first[part] == second[part]
    assert first["headers"]["x-two"] == "2"
    assert harness.charged() == 1
    assert "red.jpg.png" in harness.outputs()


def test_other_extra_fields_buy_again_and_the_same_in_another_order_do_not(
    harness: Harness, environment: pytest.MonkeyPatch, photo: bytes
) -> None:
    """Row 76."""
    states = []
    for fields in (
        "{}",
        '{"size": "512x512", "response_format": "url"}',
        '{"response_format": "url", "size": "512x512"}',
        '{"response_format": "url"}',
    ):
        environment.setenv("GATEWAY_EXTRA_FIELDS", fields)
        harness.restart()
        record = harness.record(harness.upload("red.jpg", photo, prompt="wood"))
        assert record
        states.append(record.state)
    assert states == [State.DONE, State.DONE, State.UNCHANGED, State.DONE]


def test_an_n_of_the_extra_fields_is_counted_and_stored(
    harness: Harness, environment: pytest.MonkeyPatch, photo: bytes
) -> None:
    environment.setenv("GATEWAY_EXTRA_FIELDS", '{"n": 2}')
    environment.setenv("DAILY_IMAGE_LIMIT", "3")
    jobs = [harness.upload(key, photo, prompt="wood") for key in ("red.jpg", "blue.jpg")]
    assert sorted(harness.outputs()) == ["red.jpg.1.png", "red.jpg.2.png"]
    assert harness.charged() == 2
    records = [harness.record(job) for job in jobs]
    assert [record.images for record in records if record] == [2, 0]


def test_where_n_is_left_out_an_upload_of_several_images_is_refused_unpaid(
    harness: Harness, environment: pytest.MonkeyPatch, photo: bytes
) -> None:
    environment.setenv("GATEWAY_EXTRA_FIELDS", '{"n": null}')
    harness.upload("red.jpg", photo, prompt="wood", n="2")
    harness.upload("blue.jpg", photo, prompt="wood")
    assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == ["invalid_option"]
    [call] = harness.gateway.calls()
    assert "n" not in call["fields"]
    assert list(harness.outputs()) == ["blue.jpg.png"]


def test_a_gateway_that_refuses_an_extra_field_rejects_the_upload_and_names_it(
    harness: Harness, environment: pytest.MonkeyPatch, photo: bytes
) -> None:
    environment.setenv("GATEWAY_EXTRA_FIELDS", EXAMPLE)
    harness.upload("red.jpg", photo, prompt="wood")
    [dead_letter] = harness.dead_letters()
    assert dead_letter["reason"]["code"] == "rejected_by_gateway"
    assert "images" in dead_letter["reason"]["message"]
    assert json.dumps(dead_letter).count("X-Amz-Signature") == 0
