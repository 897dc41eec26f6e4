"""Events for integrations, on the default EventBridge bus. One that can't be published costs nothing but itself."""

import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from backdrop.log import logger
from backdrop.upload import Record

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient


class EventPublisher:
    """Publishes what became of uploads; docs/integrations.md shows the fields."""

    def __init__(self, client: "EventBridgeClient") -> None:
        self._client = client

    def replaced(self, record: Record, seconds: float) -> None:
        """The results are stored, `seconds` after the upload was first seen."""
        self._publish(
            "Background Replaced",
            {
                "job_id": record.id,
                "input": _input(record),
                "outputs": list(record.outputs),
                "model": record.model,
                "images": len(record.outputs),
                "cost_usd": float(record.cost_usd or 0),
                "attempts": record.calls_sent,
                "seconds": round(seconds, 3),
                "tag": record.tag or None,
            },
        )

    def failed(self, record: Record | None, reason: dict[str, Any]) -> None:
        """A dead letter was written; without a record, of a malformed message."""
        self._publish(
            "Background Replacement Failed",
            {
                "job_id": record.id if record else None,
                "input": _input(record) if record else None,
                "reason": reason,
                "tag": (record.tag or None) if record else None,
            },
        )

    def _publish(self, detail_type: str, detail: dict[str, Any]) -> None:
        try:
            answer = self._client.put_events(
                Entries=[{"Source": "backdrop", "DetailType": detail_type, "Detail": json.dumps(detail)}]
            )
        except (BotoCoreError, ClientError) as error:
            logger.warning("event not published", detail_type=detail_type, error=type(error).__name__)
            return
        if answer["FailedEntryCount"]:
            logger.warning("event not published", detail_type=detail_type, error=answer["Entries"][0].get("ErrorCode"))


def _input(record: Record) -> dict[str, Any]:
    return {"bucket": record.bucket, "key": record.key, "version_id": record.version_id}
