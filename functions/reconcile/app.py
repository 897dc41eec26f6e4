"""Schedule → uploads that are unknown, stuck, or asleep although today has room → RetryFunction looks at them."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from backdrop.bootstrap import get_services, prepare
from backdrop.invocation import ends_at, new_owner
from backdrop.log import logger
from backdrop.reconcile import reconcile
from backdrop.wake import wake

prepare(calls_gateway=False)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Look for room for those that sleep and, unless the event wants `only` that, for lost uploads.

    The answer counts what was woken, listed, recent and enqueued.
    """
    services = get_services()
    until = ends_at(context, services)
    answer: dict[str, Any] = {"woken": wake(services, until)}
    if event.get("only") != "wake":
        is_scheduled = event.get("source") == "aws.events"  # by hand, it looks through everything
        answer |= asdict(reconcile(services, new_owner(context), until, in_parts=is_scheduled))
    return answer
