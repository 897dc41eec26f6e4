"""`python -m tools.least_privilege`: does every function need every permission of its role?

On a local stack of its own, which enforces IAM, each permission is taken out of its deployed role for a moment. The
role's function then gets a few uploads that need all of the permissions together, and something has to go wrong that
goes right with them. One line a statement says what; the exit code is 1 when the lack of a permission goes unnoticed.

The functions are invoked here, with the events that S3 and SQS would bring: left to themselves, the others would make
good what one of them can't do.
"""

import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.least_privilege.role import Permission, Role
from tools.least_privilege.stage import RECONCILE, RETRY, TRIGGER, Stage
from tools.local_stack import LocalStack, LocalStackError, with_iam_enforced

MOST_SECONDS = 480.0
_GATEWAY_SECONDS = 10

# What the emulator lets happen whatever a role says, and why nothing can go wrong here without it. Believed only when
# an explicit Deny changes nothing either.
_LOGS = dict.fromkeys(("logs:CreateLogStream", "logs:PutLogEvents"), "it writes the functions' logs itself")
_MISSING = {"s3:ListBucket": "it answers 404 for a missing object in any case; AWS 403 without this"}
_POLLER = dict.fromkeys(
    ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"), "its poller reaches into the queue itself"
)
NOT_ENFORCED = {TRIGGER: _LOGS | _MISSING, RETRY: _LOGS | _MISSING | _POLLER, RECONCILE: _LOGS}

Play = Callable[[Stage], Iterator[str]]
PLAYS: dict[str, Play] = {
    TRIGGER: Stage.replace_background,
    RETRY: Stage.retry,
    RECONCILE: Stage.reconcile,
}
OTHER_PLAYS: dict[str, dict[str, Play]] = {
    TRIGGER: {},
    RETRY: dict.fromkeys(_POLLER, Stage.polled),
    RECONCILE: dict.fromkeys(("dynamodb:Scan", "sqs:ChangeMessageVisibility"), Stage.wake),
}
"""Of permissions that the usual play doesn't take."""


class Examination:
    """Of one function's role."""

    def __init__(self, stage: Stage, stack: LocalStack, name: str) -> None:
        self._stage = stage
        self._name = name
        self._function = stack.outputs[f"{name}FunctionName"]
        self._role = Role(stack, self._function)
        self.unnoticed = 0

    def check(self) -> None:
        """Raises LocalStackError when something goes wrong with all permissions in place."""
        for play in {PLAYS[self._name], *OTHER_PLAYS[self._name].values()}:
            wrong = self._play(play, self._role.permissions)
            if wrong:
                raise LocalStackError(f"{self._name}Role has all its permissions, and yet: {wrong}.")

    def lines(self) -> Iterator[str]:
        """One a statement."""
        statements: dict[str, list[Permission]] = defaultdict(list)
        for permission in self._role.permissions:
            statements[permission.sid].append(permission)
        for sid, permissions in statements.items():
            is_one_resource = len({permission.resource for permission in permissions}) == 1
            found: dict[str, list[str]] = defaultdict(list)
            for permission in permissions:
                name = permission.action if is_one_resource else f"{permission.action} on {permission.resource}"
                found[self._without(permission)].append(name)
            results = "; ".join(f"{', '.join(names)}: {result}" for result, names in found.items())
            yield f"{self._name + 'Role':<23}{sid:<27}{results}"

    def _without(self, permission: Permission) -> str:
        """What goes wrong without a permission."""
        play = OTHER_PLAYS[self._name].get(permission.action, PLAYS[self._name])
        others = [other for other in self._role.permissions if other is not permission]
        wrong = self._play(play, others)
        if wrong:
            return wrong
        why = NOT_ENFORCED[self._name].get(permission.action)
        if why and not self._play(play, others, denied=permission):
            return f"not enforced by the emulator ({why})"
        self.unnoticed += 1
        return "NOTHING GOES WRONG"

    def _play(self, play: Play, permissions: list[Permission], denied: Permission | None = None) -> str:
        self._stage.clear(self._function)
        self._role.allow(permissions, denied)
        try:
            return next(play(self._stage), "")
        finally:
            self._role.allow(self._role.permissions)


def _run(home: Path) -> int:
    deadline = time.monotonic() + MOST_SECONDS
    with with_iam_enforced(home) as stack:
        stack.deploy(RequestsPerMinute=60, ReconcileSchedule="off", GatewayTimeoutSeconds=_GATEWAY_SECONDS)
        stage = Stage(stack)
        unnoticed = 0
        print(f"{'role':<23}{'statement':<27}what goes wrong without it", flush=True)
        for name in PLAYS:
            if name == RECONCILE:
                stage.wait_for_the_lost()
            examination = Examination(stage, stack, name)
            examination.check()
            for line in examination.lines():
                print(line, flush=True)
                if time.monotonic() > deadline:
                    raise LocalStackError(f"This takes longer than {MOST_SECONDS:g} s, so it is given up.")
            unnoticed += examination.unnoticed
    print(f"\nPermissions whose lack goes unnoticed: {unnoticed}")
    return 1 if unnoticed else 0


def main() -> int:
    """The command."""
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, lambda number, _: sys.exit(128 + number))  # an exception, so that the stack is stopped
    try:
        with tempfile.TemporaryDirectory(prefix="backdrop-") as home:
            return _run(Path(home))
    except (LocalStackError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
