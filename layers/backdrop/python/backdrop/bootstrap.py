"""The composition root: clients and settings, built once a worker, and never by the import of a module of the layer."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import boto3
from aws_lambda_powertools.utilities.parameters import SSMProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from backdrop import tls
from backdrop.aws_errors import is_throttled
from backdrop.batches import Batches
from backdrop.clock import Clock
from backdrop.errors import KeyThrottled, NeverSent, NotConfigured
from backdrop.events import EventPublisher
from backdrop.gateway import Gateway
from backdrop.ledger import Ledger
from backdrop.metrics import Metrics
from backdrop.prompts import FolderPrompts
from backdrop.queues import Queues
from backdrop.rate_limiter import RateLimiter
from backdrop.reconcile_progress import ReconcileProgress
from backdrop.records import Records
from backdrop.result_storage import ResultStorage
from backdrop.results import Results
from backdrop.services import Services
from backdrop.settings import Settings
from backdrop.storage import Storage

KEY_CACHE_SECONDS = 300
CONNECT_SECONDS = 1.0  # of a worker's start


@cache
def get_services() -> Services:
    """Everything, from the environment. Raises NotConfigured when a setting is missing or makes no sense."""
    settings = Settings.from_environment(os.environ)
    clock = Clock()
    config = Config(
        signature_version="v4",
        connect_timeout=3,
        read_timeout=10,
        retries={"mode": "standard", "total_max_attempts": 4},
        parameter_validation=False,  # what is sent is made here, and type-checked; saves a quarter of an upload's CPU
        user_agent="backdrop",
    )
    s3_config = config.merge(
        Config(
            # boto3 would presign for the global host in some regions; an emulator knows path style only.
            signature_version="s3v4",
            s3={
                "addressing_style": "path" if settings.local_endpoint else "virtual",
                "us_east_1_regional_endpoint": "regional",
            },
        )
    )
    tls.share_with_botocore()
    session = boto3.Session()
    dynamodb = session.client("dynamodb", config=config)
    dynamodb.meta.events.register("after-call.dynamodb", _observe(clock))
    s3 = session.client("s3", config=s3_config)
    storage = Storage(s3)
    return Services(
        settings=settings,
        clock=clock,
        storage=storage,
        result_storage=ResultStorage(s3, settings.output_bucket),
        prompts=FolderPrompts(storage, clock),
        ledger=Ledger(dynamodb, settings.ledger_table, clock),
        records=Records(dynamodb, settings.ledger_table, clock),
        progress=ReconcileProgress(dynamodb, settings.ledger_table),
        batches=Batches(dynamodb, settings.ledger_table, clock),
        rate_limiter=RateLimiter(
            dynamodb, settings.ledger_table, clock, settings.requests_per_minute, settings.daily_image_limit
        ),
        gateway=Gateway(settings, _api_key(SSMProvider(boto3_client=session.client("ssm", config=config)), settings)),
        results=Results(settings.gateway_base_url),
        queues=Queues(session.client("sqs", config=config), settings.retry_queue_url, settings.dead_letter_queue_url),
        events=EventPublisher(session.client("events", config=config)),
        metrics=Metrics(settings.stack),
    )


def prepare(*, calls_gateway: bool = True) -> None:
    """Build everything while Lambda starts the worker, with more CPU than it gives to an event.

    The rate limiter's item is read as well and, with `calls_gateway`, the key, which opens both connections; for
    CONNECT_SECONDS at most. What is not configured, can't be read or takes longer is told or done by the first event.
    """
    with suppress(NotConfigured):
        services = get_services()
        reads: list[Callable[[], object]] = [services.rate_limiter.look]
        if calls_gateway:
            reads.append(services.gateway.have_key)
        # Daemons: a worker that Lambda ends doesn't wait for them.
        threads = [threading.Thread(target=_quietly, args=(read,), daemon=True) for read in reads]
        for thread in threads:
            thread.start()
        until = time.monotonic() + CONNECT_SECONDS
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))


def _quietly(read: Callable[[], object]) -> None:
    with suppress(BotoCoreError, ClientError, KeyThrottled):
        read()


def _observe(clock: Clock) -> Callable[..., None]:
    def observe(http_response: Any, **_: Any) -> None:
        clock.observe(http_response.headers.get("date"))

    return observe


def _api_key(provider: SSMProvider, settings: Settings) -> Callable[[bool], str]:
    def api_key(fresh: bool) -> str:
        name = settings.gateway_api_key_parameter
        try:
            value = provider.get(name, decrypt=True, max_age=KEY_CACHE_SECONDS, force_fetch=fresh)
        except GetParameterError as error:
            if error.__context__ and is_throttled(error.__context__):
                raise KeyThrottled("SSM asks for fewer requests for the gateway key") from None
            raise NeverSent(f"the gateway key can't be read from the SSM parameter {name}") from None
        return str(value)

    return api_key
