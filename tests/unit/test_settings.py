"""The environment → settings."""

from decimal import Decimal

import pytest
from cfnlint.decode.cfn_yaml import load as load_yaml

from backdrop.errors import NotConfigured
from backdrop.routes import ROUTES
from backdrop.settings import Settings
from tools.translated import TEMPLATE

ENVIRONMENT = {
    "STACK_NAME": "backdrop",
    "INPUT_BUCKET": "photos-in",
    "OUTPUT_BUCKET": "photos-out",
    "RETRY_QUEUE_URL": "https://sqs.test/retry",
    "DEAD_LETTER_QUEUE_URL": "https://sqs.test/dead-letters",
    "LEDGER_TABLE": "ledger",
    "GATEWAY_BASE_URL": "https://gateway.test/v1",
    "GATEWAY_API_KEY_PARAMETER": "/backdrop/gateway-api-key",
    "GATEWAY_MODEL": "ideogram/ideogram-v3-replace-background",
    "GATEWAY_ROUTE": "generations",
    "GATEWAY_TIMEOUT_SECONDS": "100",
    "REQUESTS_PER_MINUTE": "60",
    "DAILY_IMAGE_LIMIT": "1000",
    "PRICE_PER_IMAGE_USD": "0.03",
    "MAX_ATTEMPTS": "6",
    "ON_UNKNOWN_OUTCOME": "retry",
}


def test_the_environment_becomes_settings(settings: Settings) -> None:
    assert Settings.from_environment(ENVIRONMENT) == settings


def test_optional_variables_are_read() -> None:
    more = {"DEFAULT_PROMPT": " a white studio ", "AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}
    settings = Settings.from_environment(ENVIRONMENT | more)
    assert settings.default_prompt == "a white studio"
    assert settings.local_endpoint


def test_a_default_prompt_that_shows_nothing_is_none() -> None:
    """cases: invisible prompt."""
    assert Settings.from_environment(ENVIRONMENT | {"DEFAULT_PROMPT": "\u200b\ufeff "}).default_prompt == ""


@pytest.mark.parametrize("value", [None, "", "  "])
@pytest.mark.parametrize("name", ENVIRONMENT)
def test_a_missing_variable_is_named(name: str, value: str | None) -> None:
    environment = {other: text for other, text in ENVIRONMENT.items() if other != name}
    if value is not None:
        environment[name] = value
    with pytest.raises(NotConfigured, match=name):
        Settings.from_environment(environment)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_ROUTE", "variations"),
        ("ON_UNKNOWN_OUTCOME", "ignore"),
        ("GATEWAY_TIMEOUT_SECONDS", "soon"),
        ("GATEWAY_TIMEOUT_SECONDS", "0"),
        ("GATEWAY_TIMEOUT_SECONDS", "1.5"),
        ("REQUESTS_PER_MINUTE", "many"),
        ("REQUESTS_PER_MINUTE", "0"),
        ("REQUESTS_PER_MINUTE", "-60"),
        ("DAILY_IMAGE_LIMIT", "-1"),
        ("DAILY_IMAGE_LIMIT", "none"),
        ("MAX_ATTEMPTS", "0"),
        ("MAX_ATTEMPTS", "six"),
        ("PRICE_PER_IMAGE_USD", "3 cents"),
        ("PRICE_PER_IMAGE_USD", "NaN"),
        ("PRICE_PER_IMAGE_USD", "Infinity"),
        ("PRICE_PER_IMAGE_USD", "-0.03"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    """Row 16."""
    with pytest.raises(NotConfigured, match=name):
        Settings.from_environment(ENVIRONMENT | {name: value})


@pytest.mark.parametrize(
    ("name", "attribute", "value"),
    [
        ("DAILY_IMAGE_LIMIT", "daily_image_limit", 0),
        ("MAX_ATTEMPTS", "max_attempts", 1),
        ("GATEWAY_TIMEOUT_SECONDS", "gateway_timeout_seconds", 1),
        ("REQUESTS_PER_MINUTE", "requests_per_minute", 1),
        ("PRICE_PER_IMAGE_USD", "price_per_image_usd", Decimal(0)),
        ("GATEWAY_ROUTE", "gateway_route", "edits"),
        ("GATEWAY_ROUTE", "gateway_route", "edits-multipart"),
        ("ON_UNKNOWN_OUTCOME", "on_unknown_outcome", "park"),
    ],
)
def test_the_least_numbers_and_every_choice_are_accepted(name: str, attribute: str, value: object) -> None:
    assert getattr(Settings.from_environment(ENVIRONMENT | {name: str(value)}), attribute) == value


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://gateway.test/v1", "https://gateway.test/v1"),
        ("https://gateway.test:8443/v1/", "https://gateway.test:8443/v1"),
        ("http://127.0.0.1:9000/v1", "http://127.0.0.1:9000/v1"),
        ("http://localhost:9000", "http://localhost:9000"),
        ("http://[::1]:9000/v1", "http://[::1]:9000/v1"),
        ("http://host.docker.internal:9000/v1", "http://host.docker.internal:9000/v1"),
    ],
)
def test_the_gateway_is_https_or_on_this_machine(url: str, kept: str) -> None:
    assert Settings.from_environment(ENVIRONMENT | {"GATEWAY_BASE_URL": url}).gateway_base_url == kept


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://gateway.test/v1", id="http elsewhere"),
        pytest.param("http://10.0.0.1/v1", id="http on a private address"),
        pytest.param("http://127.0.0.1.gateway.test/v1", id="a name that starts like loopback"),
        pytest.param("http://localhost@gateway.test/v1", id="a user named localhost"),
        pytest.param("ftp://gateway.test/v1", id="another scheme"),
        pytest.param("gateway.test/v1", id="no scheme"),
        pytest.param("https:///v1", id="no host"),
        pytest.param("https://user:word@gateway.test/v1", id="user information"),
        pytest.param("https://gateway.test/v1?key=1", id="query"),
        pytest.param("https://gateway.test/v1#top", id="fragment"),
        pytest.param("https://gateway.test:port/v1", id="a port that is no number"),
        pytest.param("https://gateway.test:99999/v1", id="a port that is too high"),
        pytest.param("https://[::1/v1", id="half an address"),
    ],
)
def test_any_other_gateway_url_is_refused_by_name(url: str) -> None:
    """Row 42."""
    with pytest.raises(NotConfigured, match="GATEWAY_BASE_URL"):
        Settings.from_environment(ENVIRONMENT | {"GATEWAY_BASE_URL": url})


def test_results_can_not_go_where_uploads_come_from() -> None:
    """Row 48."""
    with pytest.raises(NotConfigured, match="OUTPUT_BUCKET"):
        Settings.from_environment(ENVIRONMENT | {"OUTPUT_BUCKET": ENVIRONMENT["INPUT_BUCKET"]})


def test_routes_are_those_that_the_template_allows() -> None:
    assert list(ROUTES) == load_yaml(str(TEMPLATE))["Parameters"]["GatewayRoute"]["AllowedValues"]
