"""The environment as one checked object; no other module reads it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from ipaddress import ip_address
from typing import Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from backdrop import gateway_extras
from backdrop.errors import NotConfigured
from backdrop.request import clean_prompt
from backdrop.routes import ROUTES

OnUnknownOutcome = Literal["retry", "park"]
Choice = TypeVar("Choice", bound=str)

_LOCAL_HOSTS = {"localhost", "host.docker.internal"}


@dataclass(frozen=True)
class Settings:
    """What the template's parameters and resources say; docs/deploy.md lists the parameters."""

    stack: str
    input_bucket: str
    output_bucket: str
    retry_queue_url: str
    dead_letter_queue_url: str
    ledger_table: str
    gateway_base_url: str
    gateway_api_key_parameter: str
    gateway_model: str
    gateway_route: str
    """A name of `ROUTES`."""
    gateway_timeout_seconds: int
    requests_per_minute: int
    daily_image_limit: int
    price_per_image_usd: Decimal
    default_prompt: str
    max_attempts: int
    on_unknown_outcome: OnUnknownOutcome
    local_endpoint: bool
    gateway_path: str = ""
    """Below the base URL, instead of the route's own; empty for that."""
    gateway_extra_fields: Mapping[str, Any] = field(default_factory=dict)
    gateway_extra_headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def replays_allowed(self) -> int:
        """How often a call of unknown outcome is sent again by itself."""
        return 1 if self.on_unknown_outcome == "retry" else 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read and check everything. Raises NotConfigured naming the variable that is missing or wrong."""

        def text(name: str) -> str:
            value = environment.get(name, "").strip()
            if not value:
                raise NotConfigured(f"the environment variable {name} is not set")
            return value

        def whole(name: str, least: int) -> int:
            try:
                value = int(text(name))
            except ValueError:
                raise NotConfigured(f"{name} is {text(name)!r}, not a whole number") from None
            if value < least:
                raise NotConfigured(f"{name} is {value}; the least is {least}")
            return value

        def one_of(name: str, choices: tuple[Choice, ...]) -> Choice:
            for choice in choices:
                if choice == text(name):
                    return choice
            raise NotConfigured(f"{name} is {text(name)!r}; it can be {', '.join(choices)}")

        try:
            price = Decimal(text("PRICE_PER_IMAGE_USD"))
        except InvalidOperation:
            price = Decimal("NaN")
        if not price.is_finite() or price < 0:
            raise NotConfigured(f"PRICE_PER_IMAGE_USD is {text('PRICE_PER_IMAGE_USD')!r}, no price in dollars")

        route = one_of("GATEWAY_ROUTE", tuple(ROUTES))
        settings = cls(
            stack=text("STACK_NAME"),
            input_bucket=text("INPUT_BUCKET"),
            output_bucket=text("OUTPUT_BUCKET"),
            retry_queue_url=text("RETRY_QUEUE_URL"),
            dead_letter_queue_url=text("DEAD_LETTER_QUEUE_URL"),
            ledger_table=text("LEDGER_TABLE"),
            gateway_base_url=_checked_base_url(text("GATEWAY_BASE_URL")),
            gateway_api_key_parameter=text("GATEWAY_API_KEY_PARAMETER"),
            gateway_model=text("GATEWAY_MODEL"),
            gateway_route=route,
            gateway_timeout_seconds=whole("GATEWAY_TIMEOUT_SECONDS", 1),
            requests_per_minute=whole("REQUESTS_PER_MINUTE", 1),
            daily_image_limit=whole("DAILY_IMAGE_LIMIT", 0),
            price_per_image_usd=price,
            default_prompt=clean_prompt(environment.get("DEFAULT_PROMPT", "")),
            max_attempts=whole("MAX_ATTEMPTS", 1),
            on_unknown_outcome=one_of("ON_UNKNOWN_OUTCOME", get_args(OnUnknownOutcome)),
            local_endpoint=bool(environment.get("AWS_ENDPOINT_URL", "").strip()),
            gateway_path=gateway_extras.checked_path(environment.get("GATEWAY_PATH", "").strip()),
            gateway_extra_fields=gateway_extras.checked_fields(
                environment.get("GATEWAY_EXTRA_FIELDS", "").strip() or "{}", ROUTES[route]
            ),
            gateway_extra_headers=gateway_extras.checked_headers(
                environment.get("GATEWAY_EXTRA_HEADERS", "").strip() or "{}"
            ),
        )
        if settings.input_bucket == settings.output_bucket:
            raise NotConfigured("INPUT_BUCKET and OUTPUT_BUCKET are the same: every result would be a new upload")
        return settings


def _checked_base_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is none
    except ValueError:
        raise NotConfigured("GATEWAY_BASE_URL is no URL") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_local(parts.hostname or "")):
        raise NotConfigured("GATEWAY_BASE_URL must be https; plain http is for a gateway on this machine only")
    if not parts.hostname or parts.username or parts.password or parts.query or parts.fragment:
        raise NotConfigured("GATEWAY_BASE_URL must be a plain URL: scheme, host, optional port, path")
    return url.rstrip("/")


def _is_local(host: str) -> bool:
    try:
        return host in _LOCAL_HOSTS or ip_address(host).is_loopback
    except ValueError:
        return False
