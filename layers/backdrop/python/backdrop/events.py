"""Events for integrations, on the default EventBridge bus.

One about an upload that can't be published costs nothing but itself; that of a batch is tried again.
"""

import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from backdrop.batches import FinishedBatch
from backdrop.errors import NotPublished
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

    def batch_finished(self, batch: FinishedBatch, seconds: float) -> None:
        """The last of a batch's uploads has ended, `seconds` after the batch was begun. Raises NotPublished."""
        self._put(
            "Background Batch Finished",
            {
                "batch_id": batch.id,
                "manifest": batch.manifest,
                "prefix": batch.prefix,
                "uploads": sum(batch.states.values()),
                "states": batch.states,
                "images": batch.images,
                "cost_usd": float(batch.cost_usd),
                "unsettled_images": batch.unsettled_images,
                "seconds": round(seconds, 3),
            },
        )

    def _publish(self, detail_type: str, detail: dict[str, Any]) -> None:
        try:
            self._put(detail_type, detail)
        except (BotoCoreError, ClientError) as error:
            logger.warning("event not published", detail_type=detail_type, error=type(error).__name__)
        except NotPublished as error:
            logger.warning("event not published", detail_type=detail_type, error=str(error))

    def _put(self, detail_type: str, detail: dict[str, Any]) -> None:
        answer = self._client.put_events(
            Entries=[{"Source": "backdrop", "DetailType": detail_type, "Detail": json.dumps(detail)}]
        )
        if answer["FailedEntryCount"]:
            raise NotPublished(str(answer["Entries"][0].get("ErrorCode")))


def _input(record: Record) -> dict[str, Any]:
    return {"bucket": record.bucket, "key": record.key, "version_id": record.version_id}
