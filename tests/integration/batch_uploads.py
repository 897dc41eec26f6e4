"""A batch, as `submit --notify` makes it, and the events of its end."""

import json
from typing import Any

import botocore.client
import pytest

from backdrop import batches
from backdrop.batches import shard_name
from backdrop.job import Job
from tests.integration.conftest import Run
from tests.integration.harness import Harness
from tests.integration.stack import INPUT

BATCH = "0123456789abcdef"


@pytest.fixture
def ends(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The details of `Background Batch Finished`, as they come; each is looked at when it does."""
    ends: list[dict[str, Any]] = []
    client: Any = botocore.client.BaseClient
    call = client._make_api_call

    def watched(self: Any, operation: str, arguments: Any) -> Any:
        if operation == "PutEvents":
            [entry] = arguments["Entries"]
            if entry["DetailType"] == "Background Batch Finished":
                assert len(entry["Detail"]) < 4096
                ends.append(json.loads(entry["Detail"]))
        return call(self, operation, arguments)

    monkeypatch.setattr(client, "_make_api_call", watched)
    return ends


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "UPLOADS_OF_A_SHARD", 2)


class Batch:
    """A batch of keys, put one by one."""

    def __init__(self, harness: Harness, *keys: str) -> None:
        self._harness, self._keys = harness, keys
        harness.services.batches.create(BATCH, list(keys), None)

    def put(self, key: str, data: bytes, **metadata: str) -> Job:
        """Upload it, without any notification."""
        return self._harness.put(key, data, batch=shard_name(BATCH, self._keys.index(key)), **metadata)

    def upload(self, key: str, data: bytes, **metadata: str) -> Job:
        """Upload it, and let the trigger have its event."""
        job = self.put(key, data, **metadata)
        self._harness.notify(job)
        return job


def sums(event: dict[str, Any]) -> dict[str, Any]:
    return {name: event[name] for name in ("images", "cost_usd", "unsettled_images")}


def receipt_of(run: Run, batch_id: str) -> dict[str, Any]:
    """The receipt's sums of a batch."""
    [row] = [row for row in run("receipt", "--by", "batch") if row["batch"] == batch_id]
    return sums(row)


def let_all_end(harness: Harness) -> None:
    """Notify of everything that is in the bucket, and let it all end."""
    for entry in harness.s3.list_object_versions(Bucket=INPUT).get("Versions", []):
        harness.notify(Job(INPUT, entry["Key"], entry["VersionId"], entry["ETag"].strip('"'), entry["Size"]))
    harness.drain(seconds=4 * 3600)
