"""What is promised of each write: of the ledger's states, of results, of dead letters, of events."""

from collections import defaultdict
from typing import Any

from tools.simulation.batch_promises import BatchPromises
from tools.simulation.shared_state import SharedState
from tools.simulation.simulated_s3 import StoredObject
from tools.simulation.stack import Stack, Worker
from tools.simulation.uploads import Uploads

NEXT_STATES = {
    "": {"CLAIMED", "CALLING", "REJECTED", "SUPERSEDED", "UNCHANGED"},  # the first write is the claim
    "CLAIMED": {"CLAIMED", "CALLING", "REJECTED", "SUPERSEDED", "UNCHANGED"},
    "CALLING": {"CALLING", "CLAIMED", "UNKNOWN", "PAID", "REJECTED"},
    "UNKNOWN": {"UNKNOWN", "CLAIMED", "CALLING", "PAID", "REJECTED", "SUPERSEDED"},
    "PAID": {"PAID", "UNKNOWN", "DONE", "REJECTED"},
    "DONE": {"DONE"},
    "REJECTED": {"REJECTED", "CLAIMED", "UNKNOWN", "PAID"},
    "SUPERSEDED": {"SUPERSEDED", "CLAIMED", "CALLING", "UNKNOWN", "UNCHANGED", "REJECTED", "PAID"},
    "UNCHANGED": {"UNCHANGED", "CLAIMED"},
}
"""Which states may follow in the ledger. PAID may follow a state that another worker wrote during the call."""


class WritePromises:
    """Of one play. `before` and `after` are told of each operation of AWS, with what it is about."""

    def __init__(self, shared: SharedState, uploads: Uploads, batch: BatchPromises) -> None:
        self._shared, self._uploads, self._batch = shared, uploads, batch
        self.dead_letters: dict[Stack, set[tuple[str, str]]] = defaultdict(set)
        """All that were ever sent: the upload, and when it failed."""

    def before(self, stack: Stack, name: str, about: str) -> Any:
        """What is there before a write."""
        if name in ("dynamodb.PutItem", "dynamodb.UpdateItem"):
            return dict(stack.table.items.get(about, {}))
        if name == "s3.PutObject":
            return stack.results.current(about)
        return None

    def after(self, worker: Worker, name: str, about: str, before: Any) -> None:
        """What a write has changed."""
        stack = worker.stack
        if name == "s3.GetObject" and about == worker.subject:
            self._uploads.looked_at(worker)
        elif name == "sqs.SendMessage" and about == "DeadLetterQueue":
            dead_letter = stack.dead_letters[-1]
            self.dead_letters[stack].add(((dead_letter["job"] or {}).get("id", ""), dead_letter["failed_at"]))
        elif name in ("dynamodb.PutItem", "dynamodb.UpdateItem"):
            self._item_written(worker, about, before)
        elif name == "events.PutEvents":
            self._batch.published(stack)
        elif name == "s3.PutObject" and before is not None:
            self._result_replaced(worker, about, before)

    def _item_written(self, worker: Worker, about: str, before: dict[str, Any]) -> None:
        item = worker.stack.table.items[about]
        if about == "pace":
            if before.get("next_slot") != item.get("next_slot") or before.get("probe_at") != item.get("probe_at"):
                worker.delayed -= worker.delayed_before_request
        elif "state" in item:
            was, now = before.get("state", {"S": ""})["S"], item["state"]["S"]
            if now not in NEXT_STATES[was]:
                self._shared.broken(f"{worker.subject}: {was or 'nothing'} became {now}")

    def _result_replaced(self, worker: Worker, about: str, before: StoredObject) -> None:
        stack, key = worker.stack, worker.subject
        new = stack.results.current(about)
        if new is None or before.metadata["source-key"] != new.metadata["source-key"]:
            return
        if key in self._uploads.was_restored:
            return
        older, newer = (
            self._uploads.number(key, stack.table.items[result.metadata["job-id"]]) for result in (before, new)
        )
        if newer < older <= self._uploads.current_number(key):
            self._shared.broken(f"{key}: the result of upload {older} was replaced by that of upload {newer}")
