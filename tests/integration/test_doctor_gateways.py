"""What `doctor` says of gateways that can tell less than the documented one, and of what a purchase shows."""

from collections.abc import Callable

import pytest

from backdrop_cli.deployment import Deployment
from backdrop_cli.doctor_finding import Finding
from backdrop_cli.doctor_gateway import gateway_findings
from backdrop_cli.doctor_keys import keys
from tests.integration.harness import Harness
from tools.stand_in_gateway.dialects import DIALECTS

Found = Callable[..., dict[str, Finding]]


@pytest.fixture
def found(deployment: Deployment, harness: Harness) -> Found:
    """The gateway's findings by name, with changed settings."""

    def found(dialect: str, **changes: object) -> dict[str, Finding]:
        harness.gateway.settings(dialect=dialect)
        settings = {"gateway_model": DIALECTS[dialect].model} | changes
        vars(deployment)["settings"] = type(deployment.settings)(**{**vars(deployment.settings), **settings})
        return {each.what: each for each in gateway_findings(deployment)}

    return found


def test_a_gateway_with_schemas_settles_model_and_route(found: Found) -> None:
    states = {name: each.state for name, each in found("aigateway").items()}
    assert states == {"wallet": "ok", "model": "ok", "route": "ok", "keys": "ok"}
    assert found("aigateway", gateway_model="no/model")["model"].state == "fault"


def test_a_model_that_is_listed_is_known_and_nothing_more_is_claimed(found: Found) -> None:
    answers = found("openrouter")
    assert answers["model"].state == "ok"
    assert "one of the 1" in answers["model"].says
    assert (answers["route"].state, answers["keys"].state) == ("doubt", "doubt")
    assert "--buy-one" in answers["route"].do
    assert "OnUnknownOutcome=park" in answers["keys"].do


def test_a_model_that_is_not_listed_is_no_fault_where_lists_may_be_short(found: Found) -> None:
    assert found("portkey", gateway_model="another")["model"].state == "doubt"


def test_a_wrong_key_is_told_where_there_is_no_balance(found: Found, harness: Harness) -> None:
    harness.gateway.settings(keys=["sk-another"])
    answers = found("openai")
    assert answers["key"].state == "fault"
    assert "401" in answers["key"].says


def test_under_park_keys_are_no_doubt(found: Found) -> None:
    assert found("openai", on_unknown_outcome="park")["keys"].state == "ok"


def test_extra_fields_and_path_are_compared_with_the_schema(found: Found) -> None:
    moved = found("aigateway", gateway_extra_fields={"image_url": None, "images": ["{image}"]})
    assert moved["route"].state == "doubt"
    assert "images" in moved["route"].says
    assert found("aigateway", gateway_path="/images")["route"].state == "fault"


@pytest.mark.parametrize(("honours", "state", "says"), [(True, "ok", "first answer"), (False, "doubt", "paid twice")])
def test_what_repeated_calls_showed_goes_before_what_is_documented(
    harness: Harness, deployment: Deployment, photo: bytes, honours: bool, state: str, says: str
) -> None:
    harness.gateway.settings(honours_idempotency_keys=honours)
    harness.gateway.faults([{"kind": "drop_after_charge"}])
    harness.upload("red.jpg", photo, prompt="wood")
    harness.drain()
    assert harness.charged() == 2 - honours
    finding = keys(deployment, is_documented=True)
    assert finding.state == state
    assert says in finding.says
