"""What the handlers share about an invocation."""

from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from aws_lambda_powertools.utilities.typing import LambdaContext

from backdrop.app import App
from backdrop.process import Outcome


def new_owner(context: LambdaContext) -> str:
    """A name in the ledger for one go at one job. The request id alone is shared by all jobs of an invocation."""
    return f"{context.aws_request_id}/{uuid4().hex[:8]}"


def ends_at(context: LambdaContext, app: App) -> float:
    """When Lambda will end this invocation, in epoch seconds. A new worker sets its clock first."""
    if not app.clock.is_set:
        app.pace.look()
    return app.clock.now() + context.get_remaining_time_in_millis() / 1000


def summary(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """The function's answer, for people who invoke it by hand."""
    return {
        "uploads": [
            {"job_id": outcome.job.id, "key": outcome.job.key, "state": outcome.state, "outputs": list(outcome.outputs)}
            for outcome in outcomes
        ]
    }
