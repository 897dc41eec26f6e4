"""S3 event → job → process; what can't be finished now goes to RetryQueue."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from backdrop.bootstrap import get_services, prepare
from backdrop.events_in import from_event
from backdrop.invocation import ends_at, new_owner, summary, try_again_in
from backdrop.log import logger
from backdrop.process import dead_letter_malformed, identified, run

prepare()


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Process the uploads of an S3 event.

    An exception sends the whole event to RetryQueue (OnFailure), so a message that can't be sent is raised.
    """
    services = get_services()
    decoded = from_event(event, services.settings.input_bucket)
    for malformed in decoded.malformed:
        dead_letter_malformed(malformed, services)
    outcomes = []
    for job in decoded.jobs:
        try:
            job = identified(job, services)
            outcome = run(job, services, new_owner(context), ends_at(context, services), is_new=True)
        except Exception as error:
            services.queues.retry(job, try_again_in(error, services, 0))
            continue
        if outcome.due_at is not None:
            services.queues.retry(outcome.job, outcome.due_at - services.clock.now())
        outcomes.append(outcome)
    return summary(outcomes)
