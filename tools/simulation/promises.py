"""What Backdrop promises, checked while a plan is played and when everything is at rest."""

import sys

from botocore.exceptions import BotoCoreError, ClientError

from tools.simulation.batch_promises import BatchPromises
from tools.simulation.call_promises import CallPromises
from tools.simulation.drawing import PROMPT
from tools.simulation.plan import Plan
from tools.simulation.rest_promises import RestPromises
from tools.simulation.shared_state import SharedState
from tools.simulation.simulated_s3 import SIGNATURE
from tools.simulation.stack import Stack, Worker
from tools.simulation.uploads import Uploads
from tools.simulation.write_promises import WritePromises

SECRETS = (PROMPT, SIGNATURE[:40], "sk-first", "sk-second", "?sig=")


class Promises:
    """All of one play, and by themselves those of errors and of log lines."""

    def __init__(self, shared: SharedState, plan: Plan) -> None:
        self._shared = shared
        self.uploads = Uploads(shared)
        self.calls = CallPromises(shared, self.uploads)
        self.batch = BatchPromises(shared, plan)
        self.writes = WritePromises(shared, self.uploads, self.batch)
        self.rest = RestPromises(shared, self.uploads, self.calls, self.writes)

    def ended_with(self, function: str, worker: Worker, error: Exception) -> None:
        """A handler raised; what it worked on is in Lambda's message."""
        self._shared.handed_back += function == "trigger"
        if not isinstance(error, BotoCoreError | ClientError):
            self._shared.broken(f"{worker.subject}: {function} ended with {type(error).__name__}: {error}")

    def unexpected(self, worker: Worker) -> None:
        """A handler met an error that has no meaning there."""
        error = sys.exception()
        if not isinstance(error, BotoCoreError | ClientError):
            self._shared.broken(f"{worker.subject}: unexpected {type(error).__name__}: {error}")

    def logged(self, text: str) -> None:
        """No secret may be in a log line."""
        for secret in SECRETS:
            if secret in text:
                self._shared.broken(f"a log line holds {secret[:12]!r}")

    def at_rest(self, stack: Stack, troubled: float, later: float) -> None:
        """Everything has ended: after `troubled` hours in which things went wrong, and `later` ones after them."""
        self.rest.all_ended(stack)
        self.batch.at_rest(stack)
        self.rest.adds_up(stack)
        self.rest.few_invocations(stack, troubled, later)
