"""What the handlers share about an invocation."""

from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from aws_lambda_powertools.utilities.typing import LambdaContext

from backdrop.aws_errors import in_short, is_throttled
from backdrop.errors import Throttled
from backdrop.log import logger
from backdrop.process import Outcome
from backdrop.queues import THROTTLED_SECONDS, backoff
from backdrop.services import Services

UNEXPECTED_SECONDS = (5.0, 480.0)  # less than what the reconciler takes for lost


def new_owner(context: LambdaContext) -> str:
    """Names one attempt at one job in the ledger. The request id alone is shared by all jobs of an invocation."""
    return f"{context.aws_request_id}/{uuid4().hex[:8]}"


def ends_at(context: LambdaContext, services: Services) -> float:
    """When Lambda will end this invocation, in epoch seconds. A new worker sets its clock first."""
    if not services.clock.is_set:
        services.rate_limiter.look()
    return services.clock.now() + context.get_remaining_time_in_millis() / 1000


def try_again_in(error: Exception, services: Services, tries: int) -> float:
    """Tell an error that ended the work on a job; seconds until it should be tried again, after `tries` receives."""
    if is_throttled(error):
        logger.info("postponed", why=f"AWS asks for fewer requests: {in_short(error)}")
        services.metrics.postponed(Throttled.reason)
        return backoff(tries, *THROTTLED_SECONDS)
    logger.exception("unexpected; it is tried again", error=in_short(error))
    services.metrics.unexpected()
    return backoff(tries, *UNEXPECTED_SECONDS)


def summary(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """The function's answer, for people who invoke it by hand."""
    return {
        "uploads": [
            {"job_id": outcome.job.id, "key": outcome.job.key, "state": outcome.state, "outputs": list(outcome.outputs)}
            for outcome in outcomes
        ]
    }
