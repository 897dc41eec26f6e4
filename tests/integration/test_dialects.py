"""docs/gateways.md, row by row: its settings buy and store against a stand-in that has the gateway's ways."""

import hashlib
import io
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.integration.harness import Harness
from tools.stand_in_gateway.dialects import DIALECTS

PAGE = (Path(__file__).parents[2] / "docs" / "gateways.md").read_text()
VARIABLES = {
    "GatewayModel": "GATEWAY_MODEL",
    "GatewayRoute": "GATEWAY_ROUTE",
    "GatewayPath": "GATEWAY_PATH",
    "GatewayExtraFields": "GATEWAY_EXTRA_FIELDS",
    "GatewayExtraHeaders": "GATEWAY_EXTRA_HEADERS",
}
DIALECT_OF = {
    "AI Gateway": ["aigateway"],
    "Together": ["together", "together, other models"],
    "OpenAI": ["openai", "openai"],
    "LiteLLM proxy": ["litellm"],
    "OpenRouter": ["openrouter"],
    "Seedream": ["seedream"],
    "AIMLAPI": ["aimlapi"],
    "xAI": ["xai"],
    "Portkey": ["portkey"],
}


def documented() -> list[Any]:
    """Dialect and settings of every block of settings on the page."""
    found = []
    for section in PAGE.partition("\n## One by one\n")[2].split("\n### ")[1:]:
        title, _, text = section.partition("\n")
        blocks = re.findall(r"```yaml\n(.*?)```", text, re.S)
        for dialect, block in zip(DIALECT_OF[title], blocks, strict=True):
            settings = dict(re.findall(r"^(\w+): '?(.*?)'?$", block, re.M))
            found.append(pytest.param(dialect, settings, id=f"{dialect}, {settings['GatewayRoute']}"))
    return found


def set_up(harness: Harness, environment: pytest.MonkeyPatch, dialect: str, settings: dict[str, str]) -> None:
    harness.gateway.settings(dialect=dialect)
    environment.setenv("GATEWAY_MODEL", DIALECTS[dialect].model)
    for name, variable in VARIABLES.items():
        if name in settings:
            environment.setenv(variable, settings[name])


def test_every_dialect_has_its_settings_on_the_page() -> None:
    assert {param.values[0] for param in documented()} == set(DIALECTS)


@pytest.mark.parametrize(("dialect", "settings"), documented())
def test_the_documented_settings_buy_with_the_photo_and_a_replay_is_the_same(
    harness: Harness, environment: pytest.MonkeyPatch, photo: bytes, dialect: str, settings: dict[str, str]
) -> None:
    set_up(harness, environment, dialect, settings)
    harness.gateway.faults([{"kind": "drop_after_charge"}])

    job = harness.upload("red.jpg", photo, prompt="wood")
    harness.drain()

    first, replay = harness.gateway.calls()
    for part in ("path", "headers", "body_sha256"):
        assert first[part] == replay[part]
    [charge] = harness.gateway.charges()
    assert charge["image_sha256"] == hashlib.sha256(photo).hexdigest()
    assert Image.open(io.BytesIO(harness.outputs()["red.jpg.png"]["Body"])).format == "PNG"
    record = harness.record(job)
    assert record
    assert record.cost_usd == ("0.03" if dialect in ("litellm", "openrouter") else "0.05")


@pytest.fixture(autouse=True)
def _another_price_than_the_gateways(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PRICE_PER_IMAGE_USD", "0.05")


@pytest.mark.parametrize(
    ("dialect", "outcome"),
    [
        ("openai", "rejected_by_gateway"),
        ("openrouter", "rejected_by_gateway"),
        ("xai", "rejected_by_gateway"),
        ("aimlapi", "rejected_by_gateway"),
        ("portkey", "rejected_by_gateway"),
        ("litellm", "rejected_by_gateway"),
        ("seedream", "an unrelated picture"),
        ("together, other models", "an unrelated picture"),
    ],
)
def test_without_them_it_is_refused_or_sells_a_picture_of_nothing(
    harness: Harness, environment: pytest.MonkeyPatch, photo: bytes, dialect: str, outcome: str
) -> None:
    path = {"openrouter": "/images", "xai": "/images/edits", "litellm": "/images/edits", "portkey": "/images/edits"}
    set_up(harness, environment, dialect, {"GatewayPath": path.get(dialect, "")})
    harness.upload("red.jpg", photo, prompt="wood")
    if outcome == "an unrelated picture":
        [charge] = harness.gateway.charges()
        assert charge["image_sha256"] is None
    else:
        assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == [outcome]
        assert harness.charged() == 0


@pytest.mark.parametrize("dialect", ["together", "xai", "openai"])
def test_a_size_that_a_gateway_does_not_know_is_left_out_or_refused(
    harness: Harness, environment: pytest.MonkeyPatch, photo: bytes, dialect: str
) -> None:
    settings = next(param.values[1] for param in documented() if param.values[0] == dialect)
    assert isinstance(settings, dict)
    set_up(harness, environment, dialect, settings)
    harness.upload("red.jpg", photo, prompt="wood", size="640x480")
    assert harness.charged() == (0 if dialect == "openai" else 1)
    assert [dead_letter["reason"]["code"] for dead_letter in harness.dead_letters()] == ["rejected_by_gateway"][
        : dialect == "openai"
    ]
