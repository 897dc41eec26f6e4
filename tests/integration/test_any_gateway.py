"""Gateways that want other paths, fields and headers than the documented one: the settings for them at work."""

import json

import pytest

from backdrop.errors import NotConfigured
from backdrop.states import State
from tests.integration.harness import Harness

EXAMPLE = '{"image_url": null, "images": [{"image_url": "{image}"}], "seed": 7}'


@pytest.mark.parametrize(
    ("name", "value"),
    [("GATEWAY_EXTRA_FIELDS", "[7]"), ("GATEWAY_EXTRA_HEADERS", '{"Host": "x"}'), ("GATEWAY_PATH", "images")],
)
def test_row_90_a_setting_that_cannot_be_used_makes_no_call_and_uploads_wait(
    world: Harness, environment: pytest.MonkeyPatch, photo: bytes, name: str, value: str
) -> None:
    environment.setenv(name, value)
    job = world.put("red.jpg", photo, prompt="wood")
    with pytest.raises(NotConfigured, match=name):
        world.invoke(world.trigger_function, world.event(job))
    world.notify(job)
    assert len(world.waiting()) == 1
    assert world.gateway.calls() == []

    environment.setenv(name, "" if name == "GATEWAY_PATH" else "{}")
    world.restart()
    world.drain()
    assert "red.jpg.png" in world.outputs()
    assert world.charged() == 1


def test_row_91_a_call_of_unknown_outcome_is_repeated_with_what_it_had(
    world: Harness, environment: pytest.MonkeyPatch, photo: bytes
) -> None:
    environment.setenv("GATEWAY_EXTRA_FIELDS", '{"response_format": "b64_json"}')
    environment.setenv("GATEWAY_EXTRA_HEADERS", '{"x-one": "1", "x-two": "2"}')
    environment.setenv("GATEWAY_PATH", "/images/generations")
    world.gateway.faults([{"kind": "drop_after_charge"}])
    world.upload("red.jpg", photo, prompt="wood")
    environment.setenv("GATEWAY_EXTRA_FIELDS", '{"response_format": null, "size": "512x512"}')
    environment.setenv("GATEWAY_EXTRA_HEADERS", "{}")
    environment.setenv("GATEWAY_PATH", "/elsewhere")
    world.restart()
    world.drain()
    first, second = world.gateway.calls()
    for part in ("path", "headers", "body_sha256"):
        assert first[part] == second[part]
    assert first["headers"]["x-two"] == "2"
    assert world.charged() == 1
    assert "red.jpg.png" in world.outputs()


def test_other_extra_fields_buy_again_and_the_same_in_another_order_do_not(
    world: Harness, environment: pytest.MonkeyPatch, photo: bytes
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
        world.restart()
        record = world.record(world.upload("red.jpg", photo, prompt="wood"))
        assert record
        states.append(record.state)
    assert states == [State.DONE, State.DONE, State.UNCHANGED, State.DONE]


def test_an_n_of_the_extra_fields_is_counted_and_stored(
    world: Harness, environment: pytest.MonkeyPatch, photo: bytes
) -> None:
    environment.setenv("GATEWAY_EXTRA_FIELDS", '{"n": 2}')
    environment.setenv("DAILY_IMAGE_LIMIT", "3")
    jobs = [world.upload(key, photo, prompt="wood") for key in ("red.jpg", "blue.jpg")]
    assert sorted(world.outputs()) == ["red.jpg.1.png", "red.jpg.2.png"]
    assert world.charged() == 2
    records = [world.record(job) for job in jobs]
    assert [record.images for record in records if record] == [2, 0]


def test_where_n_is_left_out_an_upload_of_several_images_is_refused_unpaid(
    world: Harness, environment: pytest.MonkeyPatch, photo: bytes
) -> None:
    environment.setenv("GATEWAY_EXTRA_FIELDS", '{"n": null}')
    world.upload("red.jpg", photo, prompt="wood", n="2")
    world.upload("blue.jpg", photo, prompt="wood")
    assert [letter["reason"]["code"] for letter in world.dead_letters()] == ["invalid_option"]
    [call] = world.gateway.calls()
    assert "n" not in call["fields"]
    assert list(world.outputs()) == ["blue.jpg.png"]


def test_a_gateway_that_refuses_an_extra_field_rejects_the_upload_and_names_it(
    world: Harness, environment: pytest.MonkeyPatch, photo: bytes
) -> None:
    environment.setenv("GATEWAY_EXTRA_FIELDS", EXAMPLE)
    world.upload("red.jpg", photo, prompt="wood")
    [letter] = world.dead_letters()
    assert letter["reason"]["code"] == "rejected_by_gateway"
    assert "images" in letter["reason"]["message"]
    assert json.dumps(letter).count("X-Amz-Signature") == 0
