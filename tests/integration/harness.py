"""A whole Backdrop in one process: moto as AWS, the stand-in gateway, the real handlers, and a clock that tests move.

`Harness` puts the parts together, and gives tests what they do and show under one name.
"""

from backdrop import bootstrap
from backdrop.services import Services
from tests.integration import moved_clock
from tests.integration.moved_clock import MovedClock
from tests.integration.moved_queues import MovedQueues
from tests.integration.simulated_lambda import SimulatedLambda
from tests.integration.stack import Stack
from tests.integration.users import Users
from tests.integration.views import Views
from tools.stand_in_gateway.server import GatewayControl


class Harness:
    """See the module."""

    def __init__(self, endpoint_url: str, gateway: GatewayControl) -> None:
        MovedClock.moved = 0.0
        self.gateway = gateway

        stack = Stack(endpoint_url)
        self.s3, self.sqs, self.dynamodb, self.ssm = stack.s3, stack.sqs, stack.dynamodb, stack.ssm
        self.retry_url, self.dead_letter_url = stack.retry_url, stack.dead_letter_url

        queues = MovedQueues(stack)
        self.send, self.redrive = queues.send, queues.redrive
        self.waiting, self.dead_letters, self.next_due = queues.waiting, queues.dead_letters, queues.next_due
        self.now, self.advance = moved_clock.now, queues.advance

        self.functions = functions = SimulatedLambda(queues)
        self.trigger_function, self.retry_function = functions.trigger_function, functions.retry_function
        self.reconcile_function = functions.reconcile_function
        self.restart, self.invoke, self.notify = functions.restart, functions.invoke, functions.notify
        self.retry_once, self.drain = functions.retry_once, functions.drain
        self.reconcile = functions.reconcile

        users = Users(stack, functions.notify)
        self.put, self.upload, self.set_modified = users.put, users.upload, users.set_modified
        self.put_key = users.put_key
        self.put_key(gateway.key)

        views = Views(stack, gateway)
        self.outputs, self.output_keys = views.outputs, views.output_keys
        self.current, self.record, self.state = views.current, views.record, views.state
        self.charged, self.prompts = views.charged, views.prompts

    @property
    def services(self) -> Services:
        """What the handlers work with."""
        return bootstrap.get_services()
