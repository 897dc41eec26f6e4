"""A deployed function's role, permission by permission."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tools.local_stack import LocalStack


@dataclass(frozen=True)
class Permission:
    """One action on one resource: a statement that says nothing else."""

    sid: str
    statement: dict[str, Any]

    @property
    def action(self) -> str:
        """As `service:Operation`."""
        return str(self.statement["Action"])

    @property
    def resource(self) -> str:
        """Without what is the same for all of a service's resources here."""
        return str(self.statement["Resource"]).rpartition(":")[2]


def permissions_of(statement: dict[str, Any]) -> Iterator[Permission]:
    """What a statement allows, one by one."""
    rest = {name: value for name, value in statement.items() if name != "Sid"}
    for action in _listed(statement["Action"]):
        for resource in _listed(statement["Resource"]):
            yield Permission(statement.get("Sid", "(no Sid)"), rest | {"Action": action, "Resource": resource})


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


class Role:
    """A function's role. Its policies, which others may have too, give way to one of its own that says the same."""

    def __init__(self, stack: LocalStack, function: str) -> None:
        self._iam = stack.client("iam")
        arn: str = stack.client("lambda").get_function_configuration(FunctionName=function)["Role"]
        self._name = arn.rpartition("/")[2]
        self.permissions = [one for statement in self._take_statements() for one in permissions_of(statement)]
        self.allow(self.permissions)

    def allow(self, permissions: list[Permission], denied: Permission | None = None) -> None:
        """Allow these and nothing else, from the next call on."""
        statements = [permission.statement for permission in permissions]
        if denied:
            statements.append(denied.statement | {"Effect": "Deny"})
        self._iam.put_role_policy(
            RoleName=self._name,
            PolicyName="Permissions",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
        )

    def _take_statements(self) -> list[dict[str, Any]]:
        iam, role = self._iam, {"RoleName": self._name}
        statements = []
        for policy in iam.list_attached_role_policies(**role)["AttachedPolicies"]:
            arn = policy["PolicyArn"]
            version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            found = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]
            statements += found["Document"]["Statement"]
            iam.detach_role_policy(**role, PolicyArn=arn)
        for name in iam.list_role_policies(**role)["PolicyNames"]:
            statements += iam.get_role_policy(**role, PolicyName=name)["PolicyDocument"]["Statement"]
            iam.delete_role_policy(**role, PolicyName=name)
        return statements
