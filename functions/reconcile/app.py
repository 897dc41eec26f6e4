"""Schedule → uploads that the ledger doesn't know or that are stuck → RetryQueue."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from backdrop.bootstrap import get_services, prepare
from backdrop.invocation import ends_at, new_owner
from backdrop.log import logger
from backdrop.reconcile import reconcile

prepare(calls_gateway=False)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(_event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Look for lost uploads; the answer counts what was listed, recent and enqueued."""
    services = get_services()
    return asdict(reconcile(services, new_owner(context), ends_at(context, services)))
