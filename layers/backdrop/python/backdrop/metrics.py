"""What operators count, as CloudWatch metrics: log lines in the embedded metric format, which cost no call.

A line is written when its fact is known, not at the end of an invocation: a worker that is killed later has told what
it bought. The template's alarms and dashboard read these names; docs/runbook.md says what to do about them.
"""

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from backdrop.log import logger

NAMESPACE = "Backdrop"


class Metrics:
    """Metrics of one stack, which is their dimension `Stack`."""

    def __init__(self, stack: str) -> None:
        self._stack = stack

    def bought(self, images: int, usd: str) -> None:
        """Images were charged, or must be taken as charged."""
        self._publish({"ImagesBought": images, "SpendUsd": float(usd)})

    def stored(self) -> None:
        """An image is in the output bucket."""
        self._publish({"ImagesStored": 1})

    def postponed(self, reason: str) -> None:
        """An upload waits: `slot`, `pause`, `daily_limit` (for the next day), `throttled` (by AWS) or `retry`."""
        self._publish({"Postponed": 1}, Reason=reason)

    def waiting(self, seconds: float, paid_seconds: float = 0.0) -> None:
        """An upload has waited this long since it came, and this long since it was paid; 0 for not at all."""
        self._publish({"WaitingSeconds": seconds, "PaidNotStoredSeconds": paid_seconds}, MetricUnit.Seconds)

    def dead_lettered(self, code: str) -> None:
        """A dead letter was written."""
        self._publish({"DeadLettered": 1}, Code=code)

    def gateway_answered(self, seconds: float) -> None:
        """A call brought an answer."""
        self._publish({"GatewaySeconds": seconds}, MetricUnit.Seconds)

    def gateway_failed(self, error: str) -> None:
        """A call brought no image; `error` is the class of GatewayError, with the HTTP status if there was one."""
        self._publish({"GatewayErrors": 1}, Error=error)

    def outcome_unknown(self) -> None:
        """A call was sent and nobody knows what came of it."""
        self._publish({"UnknownOutcomes": 1})

    def unexpected(self) -> None:
        """A handler met an error that has no meaning here: mostly AWS refusing or failing."""
        self._publish({"UnexpectedErrors": 1})

    def _publish(self, values: dict[str, float], unit: MetricUnit = MetricUnit.Count, **dimension: str) -> None:
        line = EphemeralMetrics(namespace=NAMESPACE)
        for name, text in {"Stack": self._stack, **dimension}.items():
            line.add_dimension(name, text)
        for name, value in values.items():
            line.add_metric(name, MetricUnit.NoUnit if name.endswith("Usd") else unit, value)
        line.add_metadata("correlation_id", logger.get_correlation_id())
        line.flush_metrics()
