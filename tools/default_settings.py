"""What the functions of a stack are set to that was deployed with the template's defaults."""

from decimal import Decimal

from backdrop.settings import Settings

DEFAULT_SETTINGS = Settings(
    stack="backdrop",
    input_bucket="in",
    output_bucket="out",
    retry_queue_url="https://sqs.test/retry",
    dead_letter_queue_url="https://sqs.test/dead-letters",
    ledger_table="ledger",
    gateway_base_url="https://gateway.test/v1",
    gateway_api_key_parameter="/backdrop/gateway-api-key",
    gateway_model="ideogram/ideogram-v3-replace-background",
    gateway_route="generations",
    gateway_timeout_seconds=100,
    requests_per_minute=60,
    daily_image_limit=1000,
    price_per_image_usd=Decimal("0.03"),
    default_prompt="",
    max_attempts=6,
    on_unknown_outcome="retry",
    local_endpoint=False,
)
