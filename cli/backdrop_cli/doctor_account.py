"""What the AWS account allows, as far as `doctor` asks."""

from collections.abc import Callable

from botocore.exceptions import ClientError

from backdrop_cli.deployment import Deployment
from backdrop_cli.doctor_finding import Finding

WHAT = "executions"


def executions(deployment: Deployment) -> Finding:
    """Whether Lambda may run as many functions at once as RetryFunction takes messages."""

    def most_messages() -> int:
        queue = deployment.sqs.get_queue_attributes(
            QueueUrl=deployment.settings.retry_queue_url, AttributeNames=["QueueArn"]
        )["Attributes"]["QueueArn"]
        sources = deployment.functions.list_event_source_mappings(EventSourceArn=queue)["EventSourceMappings"]
        return max((source.get("ScalingConfig", {}).get("MaximumConcurrency", 0) for source in sources), default=0)

    return executions_for(deployment, most_messages)


def executions_for(deployment: Deployment, most_messages: Callable[[], int]) -> Finding:
    """The same for a RetryConcurrency that `most_messages` tells; a new account may run ten.

    https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
    """
    try:
        allowed = int(deployment.functions.get_account_settings()["AccountLimit"]["ConcurrentExecutions"])
        wanted = most_messages()
    except ClientError as error:
        says = f"{error.operation_name}: {error.response['Error']['Code']}"
        return Finding(WHAT, "doubt", says, "Ask somebody who may lambda:GetAccountSettings.")
    says = f"Lambda runs {allowed} at once in this account, RetryFunction takes {wanted} messages at once"
    if wanted <= allowed:
        return Finding(WHAT, "ok", says)
    do = f'Deploy with RetryConcurrency={max(allowed, 2)}, or have the quota "Concurrent executions" raised.'
    return Finding(WHAT, "doubt", says, do)
