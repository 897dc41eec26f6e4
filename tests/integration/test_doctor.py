"""`backdrop doctor`: what it says of the account."""

import pytest
from botocore.stub import Stubber

from backdrop_cli.deployment import Deployment
from backdrop_cli.doctor_account import executions
from tests.integration.harness import Harness


@pytest.mark.parametrize(
    ("allowed", "wanted", "state", "do"),
    [
        (1000, 20, "ok", ""),
        (10, 20, "doubt", 'Deploy with RetryConcurrency=10, or have the quota "Concurrent executions" raised.'),
        (10, 10, "ok", ""),
    ],
)
def test_doctor_says_what_to_do_in_an_account_that_runs_few_functions_at_once(
    deployment: Deployment, world: Harness, allowed: int, wanted: int, state: str, do: str
) -> None:
    functions = deployment.functions
    with Stubber(functions) as answers:
        answers.add_response("get_account_settings", {"AccountLimit": {"ConcurrentExecutions": allowed}}, {})
        answers.add_response(
            "list_event_source_mappings",
            {"EventSourceMappings": [{"ScalingConfig": {"MaximumConcurrency": wanted}}]},
            {"EventSourceArn": "arn:aws:sqs:us-east-1:123456789012:backdrop-retry"},
        )
        found = executions(deployment)
    assert (found.state, found.do) == (state, do)
    assert f"Lambda runs {allowed} at once" in found.says


def test_doctor_goes_on_when_it_may_not_ask_what_the_account_allows(deployment: Deployment, world: Harness) -> None:
    with Stubber(deployment.functions) as answers:
        answers.add_client_error("get_account_settings", "AccessDeniedException")
        assert executions(deployment).state == "doubt"
