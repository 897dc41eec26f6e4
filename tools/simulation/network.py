"""Everything that is not AWS, over HTTP: the gateway and the host of its results. S3's links are here, too."""

import httpx
from greenlet import getcurrent

from tools.simulation.call_promises import CallPromises
from tools.simulation.gateway import SimulatedGateway
from tools.simulation.gateway_answers import Answer, outcome_of, response
from tools.simulation.results_host import ResultsHost
from tools.simulation.shared_state import SharedState
from tools.simulation.simulated_s3 import status_of_link
from tools.simulation.stack import Worker


class Network(httpx.BaseTransport):
    """Of one play."""

    def __init__(self, shared: SharedState, promises: CallPromises) -> None:
        self._shared, self._promises = shared, promises
        self._gateway = SimulatedGateway(shared, promises)
        self._results = ResultsHost(shared, self._gateway.bought)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Within the request's read timeout."""
        worker: Worker = getcurrent().worker
        shared = self._shared
        shared.check_alive(worker)
        deadline = float(request.extensions["timeout"]["read"])
        kill = shared.troubles.kill_of(worker.subject)
        what = f"{'call' if request.method == 'POST' else 'fetch'} for {worker.subject}"
        if kill == "before":
            shared.kill(worker, f"before the {what}")
        shared.pause(0.03)
        try:
            seconds, answer = self._answer(request, worker)
            if request.method == "POST":
                self._promises.outcome(request.headers["idempotency-key"], outcome_of(answer, seconds >= deadline))
            if seconds >= deadline:
                shared.pause(deadline)
                raise httpx.ReadTimeout("the total deadline is over")
            shared.pause(seconds)
        finally:
            self._promises.ended(worker)
        if kill == "after":
            shared.kill(worker, f"at the answer to the {what}")
        if isinstance(answer, Exception):
            shared.note("network", f"{type(answer).__name__} for {worker.name}")
            raise answer
        shared.note("gateway", f"answers the {what} with {answer.status_code}")
        return answer

    def _answer(self, request: httpx.Request, worker: Worker) -> Answer:
        if request.method == "POST":
            return self._gateway.called(request, worker)
        if request.url.host.endswith(".amazonaws.com"):
            return 0.03, response(status_of_link(str(request.url), self._shared.photos, self._shared.time.now), b"j")
        return self._results.fetched(request, worker)
