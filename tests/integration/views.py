"""What is there to see when something has happened."""

from typing import Any

from backdrop import bootstrap
from backdrop.job import Job
from backdrop.states import State
from backdrop.upload import Record
from tests.integration.stack import INPUT, OUTPUT, Stack
from tools.stand_in_gateway.server import GatewayControl


class Views:
    """Of results, the ledger and the gateway's account; of queues see `moved_queues`."""

    def __init__(self, stack: Stack, gateway: GatewayControl) -> None:
        self._s3 = stack.s3
        self._gateway = gateway

    def outputs(self) -> dict[str, dict[str, Any]]:
        """Stored results by key, each with Body, ContentType and Metadata."""
        found = {}
        for key in self.output_keys():
            answer = self._s3.get_object(Bucket=OUTPUT, Key=key)
            found[key] = {**answer, "Body": answer["Body"].read()}
        return found

    def output_keys(self) -> list[str]:
        """The keys of stored results."""
        return [entry["Key"] for entry in self._s3.list_objects_v2(Bucket=OUTPUT).get("Contents", [])]

    def record(self, job: Job) -> Record | None:
        """The upload's item in the ledger."""
        return bootstrap.get_services().records.known([job.id]).get(job.id)

    def state(self, job: Job) -> State | None:
        """The upload's state; None for one that the ledger doesn't know."""
        record = self.record(job)
        return record.state if record else None

    def current(self, key: str) -> Job:
        """The upload that a key holds now."""
        found = self._s3.head_object(Bucket=INPUT, Key=key)
        return Job(INPUT, key, found["VersionId"], found["ETag"].strip('"'), found["ContentLength"])

    def prompts(self) -> list[str]:
        """Those that were bought, in order."""
        return [charge["prompt"] for charge in self._gateway.charges()]

    def charged(self) -> int:
        """Images that the gateway charged."""
        return sum(charge["images"] for charge in self._gateway.charges())
