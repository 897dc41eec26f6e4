"""Whom an upload is told to first: ReplaceBackgroundFunction, or with `NotifyQueue=true` RetryQueue."""

from functools import cache
from typing import Any

import pytest

from tools.translated import translated

FUNCTION = {"Fn::GetAtt": ["ReplaceBackgroundFunction", "Arn"]}
QUEUE = {"Fn::GetAtt": ["RetryQueue", "Arn"]}


@cache
def template() -> Any:
    return translated()


class Deployed:
    """The template's resources as CloudFormation would make them for some parameters."""

    def __init__(self, **parameters: str) -> None:
        self._conditions = template()["Conditions"]
        self._values = {name: each.get("Default") for name, each in template()["Parameters"].items()} | parameters
        self.resources: dict[str, Any] = {
            name: self._resolved(resource)
            for name, resource in template()["Resources"].items()
            if "Condition" not in resource or self._holds({"Condition": resource["Condition"]})
        }

    def _holds(self, condition: Any) -> bool:
        [(name, value)] = condition.items()
        if name == "Condition":
            return self._holds(self._conditions[value])
        if name == "Fn::Not":
            return not self._holds(value[0])
        if name == "Fn::And":
            return all(map(self._holds, value))
        assert name == "Fn::Equals"
        left, right = value
        if "Ref" not in left:  # a list, joined
            left = {"Ref": left["Fn::Join"][1]["Ref"]}
        return bool(self._values[left["Ref"]] == right)

    def _resolved(self, part: Any) -> Any:
        if isinstance(part, list):
            return [each for each in map(self._resolved, part) if each != {"Ref": "AWS::NoValue"}]
        if not isinstance(part, dict):
            return part
        if "Fn::If" in part:
            condition, yes, no = part["Fn::If"]
            return self._resolved(yes if self._holds({"Condition": condition}) else no)
        resolved = {name: self._resolved(value) for name, value in part.items()}
        return {name: value for name, value in resolved.items() if value != {"Ref": "AWS::NoValue"}}

    def may(self, service: str, resource: Any) -> bool:
        """Whether a service of AWS may tell RetryQueue or the function of uploads."""
        if resource == FUNCTION:
            return any(
                each["Type"] == "AWS::Lambda::Permission"
                and each["Properties"]["Principal"] == service
                and each["Properties"]["FunctionName"] == {"Ref": "ReplaceBackgroundFunction"}
                for each in self.resources.values()
            )
        statements = self.resources["RetryQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]
        return any(each["Principal"] == {"Service": service} for each in statements)

    @property
    def has_statement_of_uploads(self) -> bool:
        """By which `backdrop doctor` knows who is told."""
        statements = self.resources["RetryQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]
        return any(each["Sid"] == "Uploads" for each in statements)


@pytest.mark.parametrize(
    ("parameters", "configurations", "target"),
    [({}, "LambdaConfigurations", FUNCTION), ({"NotifyQueue": "true"}, "QueueConfigurations", QUEUE)],
)
def test_s3_tells_one_of_them_of_everything_that_is_created(
    parameters: dict[str, str], configurations: str, target: Any
) -> None:
    deployed = Deployed(**parameters)
    bucket = deployed.resources["InputBucket"]
    told = bucket["Properties"]["NotificationConfiguration"]
    kind = "Function" if target == FUNCTION else "Queue"
    assert told == {configurations: [{"Event": "s3:ObjectCreated:*", kind: target}]}
    assert deployed.may("s3.amazonaws.com", target)
    assert deployed.may("s3.amazonaws.com", QUEUE) is (target == QUEUE)
    assert deployed.has_statement_of_uploads is (target == QUEUE)
    assert {"ReplaceBackgroundFunctionUploadPermission", "RetryQueuePolicy"} == set(bucket["DependsOn"])
    assert set(bucket["DependsOn"]) <= set(deployed.resources)


@pytest.mark.parametrize(("parameters", "target"), [({}, FUNCTION), ({"NotifyQueue": "true"}, QUEUE)])
def test_eventbridge_tells_it_of_uploads_to_an_existing_bucket(parameters: dict[str, str], target: Any) -> None:
    deployed = Deployed(ExistingInputBucket="photos-of-a-shop", **parameters)
    [told] = deployed.resources["UploadRule"]["Properties"]["Targets"]
    assert told["Arn"] == target
    assert told["DeadLetterConfig"] == {"Arn": QUEUE}
    assert deployed.may("events.amazonaws.com", target)
    assert deployed.has_statement_of_uploads is (target == QUEUE)
    assert "InputBucket" not in deployed.resources
