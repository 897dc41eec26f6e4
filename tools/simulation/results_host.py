"""The host of the gateway's results, and what the plan makes of requests for them."""

import httpx

from tools.simulation.gateway_answers import Answer, Order, picture, response
from tools.simulation.shared_state import SharedState
from tools.simulation.stack import Worker

LINK_LIFE_SECONDS = 24 * 3600.0


class ResultsHost:
    """With the pictures of all orders in `bought`."""

    def __init__(self, shared: SharedState, bought: list[Order]) -> None:
        self._shared, self._bought = shared, bought

    def fetched(self, request: httpx.Request, worker: Worker) -> Answer:
        """What a link leads to."""
        kind = self._shared.troubles.of_result(worker.subject)
        _, _, number, name = request.url.path.split("/")
        order = next(order for order in self._bought if order.number == int(number))
        data = picture(order, int(name.partition(".")[0]))
        if self._shared.time.now - order.at > LINK_LIFE_SECONDS:
            kind = "404"
        if kind == "drop":
            return 0.3, httpx.ReadError("closed")
        if kind == "hang":
            return 10.0**6, httpx.ReadError("closed")
        if kind == "redirect":
            return 0.3, response(302, b"", {"location": "http://169.254.169.254/"})
        if kind in ("403", "404", "500"):
            return 0.3, response(int(kind), b"")
        content = {"cut": data[:60], "html": b"<html>", "empty": b""}.get(kind, data)
        return 0.3, response(200, content)
