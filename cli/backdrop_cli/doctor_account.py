"""What the AWS account allows, as far as `doctor` asks."""

import json
from functools import cached_property

from botocore.exceptions import ClientError

from backdrop_cli.deployment import Deployment
from backdrop_cli.doctor_finding import Finding

WHAT = "executions"
FEW_EXECUTIONS = 100
"""With fewer, uploads wait less when RetryQueue is told of them first; docs/many-uploads.md has the figures."""


class _RetryQueue:
    """What the deployed stack does with RetryQueue."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    @cached_property
    def _attributes(self) -> dict[str, str]:
        url = self._deployment.settings.retry_queue_url
        names = self._deployment.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn", "Policy"])
        return {str(name): value for name, value in names["Attributes"].items()}

    @property
    def most_messages(self) -> int:
        """How many RetryFunction works on at once."""
        sources = self._deployment.functions.list_event_source_mappings(EventSourceArn=self._attributes["QueueArn"])
        found = (each.get("ScalingConfig", {}).get("MaximumConcurrency", 0) for each in sources["EventSourceMappings"])
        return max(found, default=0)

    @property
    def is_notified(self) -> bool:
        """Whether uploads are told to it first."""
        policy = json.loads(self._attributes.get("Policy") or "{}")
        return any(statement.get("Sid") == "Uploads" for statement in policy.get("Statement", []))


def executions(deployment: Deployment) -> Finding:
    """Whether the stack is deployed for as many executions as the account may have at once."""
    try:
        allowed, queue = _allowed(deployment), _RetryQueue(deployment)
        return _judged(allowed, queue.most_messages, is_queue_notified=queue.is_notified)
    except ClientError as error:
        return _not_told(error)


def executions_before(deployment: Deployment, retry_concurrency: int, *, is_queue_notified: bool) -> Finding:
    """The same before there is a stack, for the parameters that it will have."""
    try:
        return _judged(_allowed(deployment), retry_concurrency, is_queue_notified=is_queue_notified)
    except ClientError as error:
        return _not_told(error)


def _allowed(deployment: Deployment) -> int:
    """A new account may run ten. https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
    return int(deployment.functions.get_account_settings()["AccountLimit"]["ConcurrentExecutions"])


def _judged(allowed: int, most_messages: int, *, is_queue_notified: bool) -> Finding:
    says = f"Lambda runs {allowed} at once in this account, RetryFunction takes {most_messages} messages at once"
    better = [f"RetryConcurrency={max(allowed, 2)}"] if most_messages > allowed else []
    if allowed < FEW_EXECUTIONS and not is_queue_notified:
        better.append("NotifyQueue=true")
    if not better:
        return Finding(WHAT, "ok", says)
    do = f'Deploy with {" ".join(better)}, or have the quota "Concurrent executions" raised.'
    return Finding(WHAT, "doubt", says, do)


def _not_told(error: ClientError) -> Finding:
    says = f"{error.operation_name}: {error.response['Error']['Code']}"
    return Finding(WHAT, "doubt", says, "Ask somebody who may lambda:GetAccountSettings.")
