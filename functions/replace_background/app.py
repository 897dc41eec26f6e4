"""S3 event → job → process; what can't be finished now goes to RetryQueue."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from backdrop.handling import ends_at, new_owner, summary, try_again_in
from backdrop.job import from_event
from backdrop.log import logger
from backdrop.process import dead_letter_malformed, identified, run
from backdrop.wiring import app, prepare

prepare()


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Process the uploads of an S3 event.

    An exception sends the whole event to RetryQueue (OnFailure), so a message that can't be sent is raised.
    """
    it = app()
    decoded = from_event(event, it.settings.input_bucket)
    for malformed in decoded.malformed:
        dead_letter_malformed(malformed, it)
    outcomes = []
    for job in decoded.jobs:
        try:
            job = identified(job, it)
            outcome = run(job, it, new_owner(context), ends_at(context, it))
        except Exception as error:
            it.queues.retry(job, try_again_in(error, it, 0))
            continue
        if outcome.due_at is not None:
            it.queues.retry(outcome.job, outcome.due_at - it.clock.now())
        outcomes.append(outcome)
    return summary(outcomes)
