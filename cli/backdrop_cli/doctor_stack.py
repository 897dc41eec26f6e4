"""What `backdrop doctor` finds in AWS: buckets, ledger, queues, and how far the rate limiter lets calls through."""

from collections.abc import Callable, Iterator

from botocore.exceptions import ClientError

from backdrop_cli.deployment import Deployment
from backdrop_cli.doctor_finding import Finding
from backdrop_cli.forecast import PaceNow, pace_now


def stack_findings(deployment: Deployment) -> Iterator[Finding]:
    """One look after the other. Raises Unreachable when there is no stack."""
    yield Finding("stack", "ok", f"{deployment.stack}, model {deployment.settings.gateway_model}")
    for what, look in _AWS.items():
        found = _seen(deployment, what, look)
        yield found
        if what == "ledger" and found.state == "ok":
            pace = pace_now(deployment)
            yield _pace(deployment, pace)
            yield _limits(deployment, pace)


def _seen(deployment: Deployment, what: str, look: Callable[[Deployment], str]) -> Finding:
    try:
        return Finding(what, "ok", look(deployment))
    except ClientError as error:
        code = error.response["Error"]["Code"]
        return Finding(what, "fault", f"{error.operation_name}: {code}", "Deploy again, or correct your permissions.")


def _input(deployment: Deployment) -> str:
    deployment.s3.head_bucket(Bucket=deployment.settings.input_bucket)
    return f"s3://{deployment.settings.input_bucket}"


def _output(deployment: Deployment) -> str:
    deployment.s3.head_bucket(Bucket=deployment.settings.output_bucket)
    return f"s3://{deployment.settings.output_bucket}"


def _table(deployment: Deployment) -> str:
    deployment.ledger.read("doctor")
    return deployment.settings.ledger_table


def _waiting(deployment: Deployment) -> str:
    return f"{_messages(deployment, deployment.settings.retry_queue_url)} waiting"


def _failed(deployment: Deployment) -> str:
    number = _messages(deployment, deployment.settings.dead_letter_queue_url)
    return f"{number} failed{' → `backdrop failures` says why' if number else ''}"


def _messages(deployment: Deployment, url: str) -> int:
    found = deployment.sqs.get_queue_attributes(
        QueueUrl=url,
        AttributeNames=[
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ],
    )
    return sum(map(int, found["Attributes"].values()))


_AWS: dict[str, Callable[[Deployment], str]] = {
    "input bucket": _input,
    "output bucket": _output,
    "ledger": _table,
    "RetryQueue": _waiting,
    "DeadLetterQueue": _failed,
}


def _pace(deployment: Deployment, pace: PaceNow) -> Finding:
    if not pace.is_blocked:
        return Finding("pace", "ok", f"{deployment.settings.requests_per_minute} calls a minute")
    words = pace.block_in_words(deployment.clock.now())
    if not pace.paused_since:
        return Finding("pace", "doubt", words, "Uploads wait and are tried again by themselves.")
    return Finding(
        "pace",
        "fault",
        f"paused: {words}",
        "Correct what is ✗ below; if nothing is, the next call ends the pause. Then all that wait go on by themselves.",
    )


def _limits(deployment: Deployment, pace: PaceNow) -> Finding:
    settings, bought = deployment.settings, pace.bought_today
    limit = settings.daily_image_limit
    spent = f"{bought} of {limit or 'any number of'} images bought or reserved today (UTC)"
    if 0 < limit <= bought:
        return Finding("daily limit", "doubt", spent, "Uploads wait for tomorrow. Raise DailyImageLimit to go on now.")
    return Finding("daily limit", "ok", spent)
