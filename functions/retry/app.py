"""RetryQueue message → job → process; what can't be finished now stays in the queue, hidden until its time."""

from dataclasses import replace
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from backdrop.aws_errors import in_short
from backdrop.bootstrap import get_services, prepare
from backdrop.events_in import from_message
from backdrop.invocation import ends_at, new_owner, try_again_in
from backdrop.log import logger
from backdrop.process import dead_letter_malformed, identified, run
from backdrop.services import Services

OLD_SECONDS = 5 * 86400.0  # of 14 days that the queue keeps a message
OLD_RECEIVES = 500  # of maxReceiveCount 1000

prepare()


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Process the messages of a batch; answers with the ids of those that have to come back."""
    services = get_services()
    failures = []
    for message in event["Records"]:
        try:
            due_in = _process(message, services, new_owner(context), ends_at(context, services))
        except Exception as error:
            due_in = try_again_in(error, services, int(message["attributes"]["ApproximateReceiveCount"]))
        if due_in is None or (_is_old(message, services) and _renewed(message, due_in, services)):
            continue
        _hide(message, due_in, services)
        failures.append({"itemIdentifier": message["messageId"]})
    return {"batchItemFailures": failures}


def _process(message: dict[str, Any], services: Services, owner: str, until: float) -> float | None:
    """Seconds until the message should come back; None when it is done with."""
    decoded = from_message(message["body"], services.settings.input_bucket)
    for malformed in decoded.malformed:
        dead_letter_malformed(malformed, services)
    jobs = [identified(job, services) for job in decoded.jobs]
    if len(jobs) + len(decoded.malformed) > 1 or jobs != decoded.jobs:
        # One message an upload from here on, so that one that waits doesn't hold up or repeat the others; and one that
        # says which upload it is about, should its object be replaced or deleted before the end.
        for job in jobs:
            services.queues.retry(job, 0)
        return None
    for job in jobs:
        outcome = run(replace(job, receipt_handle=message["receiptHandle"]), services, owner, until)
        if outcome.due_at is not None:
            return max(0.0, outcome.due_at - services.clock.now())
    return None


def _is_old(message: dict[str, Any], services: Services) -> bool:
    """Whether a message nears the end of its life: SQS counts its receives and its days, whatever it waits for.

    A new one takes its place, once in days; the template allows the function to feed itself (RecursiveLoop).
    """
    attributes = message["attributes"]
    age = services.clock.now() - int(attributes["SentTimestamp"]) / 1000
    return age > OLD_SECONDS or int(attributes["ApproximateReceiveCount"]) > OLD_RECEIVES


def _renewed(message: dict[str, Any], seconds: float, services: Services) -> bool:
    try:
        services.queues.renew(message["body"], seconds)
    except (BotoCoreError, ClientError) as error:
        logger.warning("the message could not be renewed; the old one stays", error=in_short(error))
        return False
    return True


def _hide(message: dict[str, Any], seconds: float, services: Services) -> None:
    try:
        services.queues.hide(message["receiptHandle"], seconds)
    except (BotoCoreError, ClientError) as error:
        # It comes back all the same, after the queue's visibility timeout.
        logger.warning("the message's visibility could not be changed", error=in_short(error))
