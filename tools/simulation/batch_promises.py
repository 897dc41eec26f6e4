"""What is promised of a batch: told at least once, never before its last upload has ended, with the ledger's sums."""

import json
from collections import Counter
from typing import Any

from backdrop.batches import ENDS
from tools.simulation.drawing import BATCH
from tools.simulation.plan import Delete, Notice, Plan, Redrive, Restore, Upload
from tools.simulation.shared_state import SharedState
from tools.simulation.stack import Stack

TOLD = "Background Batch Finished"


class BatchPromises:
    """Of the batch of one play."""

    def __init__(self, shared: SharedState, plan: Plan) -> None:
        self._shared = shared
        events, conditions = plan.played, plan.conditions
        self._uploads = [event for event in events if isinstance(event, Upload) and "batch" in dict(event.metadata)]
        self._is_whole = len(self._uploads) == len(conditions.batch)
        self._is_redriven = any(isinstance(event, Redrive) for event in events)
        again = Counter(event.key for event in events if isinstance(event, Upload | Delete))
        lost = {event.number for event in events if isinstance(event, Notice) and not event.after}
        removed = {event.key for event in events if isinstance(event, Restore)}
        self._may_go_unseen = bool(removed & set(conditions.batch)) or any(
            again[upload.key] > 1 and (upload.number in lost or not conditions.is_versioned) for upload in self._uploads
        )
        """Gone before anybody has looked at it: nobody will ever know that it was of the batch."""

    def published(self, stack: Stack) -> None:
        """An event was taken."""
        entry = stack.published[-1]
        if entry["DetailType"] != TOLD:
            return
        told = json.loads(entry["Detail"])
        if not self._is_whole:
            self._shared.broken("a batch was told of which a part was never uploaded")
        items = [item for item in stack.table.items.values() if item.get("batch", {}).get("S", "").startswith(BATCH)]
        states = Counter(item["state"]["S"] for item in items)
        if told["uploads"] != len(self._uploads):
            self._shared.broken(f"a batch of {len(self._uploads)} was told with {told['uploads']}")
        if self._is_redriven or self._may_go_unseen:
            return  # what is moved back, or current again, meanwhile is in the ledger and no longer in the event
        if {state: states[state] for state in ENDS} != told["states"]:
            self._shared.broken(f"a batch was told as {told['states']}; the ledger has {dict(states)}")
        if _sums(items) != (told["images"], round(told["cost_usd"], 6), told["unsettled_images"]):
            self._shared.broken(f"a batch was told with other sums than the receipts' {_sums(items)}")

    def at_rest(self, stack: Stack) -> None:
        """Everything has ended."""
        if not self._uploads or not self._is_whole or self._may_go_unseen:
            return
        if all(entry["DetailType"] != TOLD for entry in stack.published):
            self._shared.broken("the end of a batch was never told")


def _sums(items: list[dict[str, Any]]) -> tuple[int, float, int]:
    paid = [item for item in items if float(item.get("paid_at", {"N": "0"})["N"]) > 0]
    return (
        sum(int(item["images"]["N"]) for item in paid),
        round(sum(float(item["cost_usd"]["S"]) for item in paid), 6),
        sum(int(item.get("unsettled_images", {"N": "0"})["N"]) for item in items),
    )
