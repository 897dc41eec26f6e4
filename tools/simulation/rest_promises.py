"""What is promised of one stack for the time when everything is at rest."""

from typing import Any

from backdrop.ledger_items import record_of
from tools.simulation.call_promises import CallPromises
from tools.simulation.calls import PRICE_TOLD
from tools.simulation.shared_state import SharedState
from tools.simulation.simulated_s3 import StoredObject
from tools.simulation.stack import Stack
from tools.simulation.uploads import Uploads
from tools.simulation.write_promises import WritePromises

MOST_INVOCATIONS, MOST_AN_HOUR, MOST_A_LATER_HOUR = 150, 150, 15
"""Of the functions, for one upload: at all, while things go wrong, and while it waits for the next day."""


class RestPromises:
    """Of one play."""

    def __init__(self, shared: SharedState, uploads: Uploads, calls: CallPromises, writes: WritePromises) -> None:
        self._shared, self._uploads, self._calls, self._writes = shared, uploads, calls, writes

    def unfinished(self, stack: Stack) -> bool:
        """Whether something is left to do for a current upload."""
        return any(
            record is None or not _is_over(record) or record["state"]["S"] == "SUPERSEDED"
            for _, record in self._uploads.current(stack)
        )

    def all_ended(self, stack: Stack) -> None:
        """Each current upload as a result, a dead letter, or unchanged; each other one at all."""
        for photo, item in self._uploads.current(stack):
            if item is None:
                self._shared.broken(f"{photo.key}: lost: the ledger does not know it")
            elif not _is_over(item):
                self._shared.broken(f"{photo.key}: lost: it stays {item['state']['S']}")
            elif item["state"]["S"] == "SUPERSEDED":
                self._shared.broken(f"{photo.key}: lost: it is SUPERSEDED and current")
            elif item["state"]["S"] in ("DONE", "UNCHANGED"):
                self._has_result(stack, photo, item)
        # Without versions, the event that Lambda sends on names whatever is under the key by now.
        may_be_forgotten = bool(self._shared.kills + self._shared.handed_back) and not self._shared.photos.is_versioned
        for item in stack.table.items.values():
            if "state" in item and not _is_over(item) and not may_be_forgotten and not _was_never_sent(item):
                self._shared.broken(f"{item['key']['S']}: it stays {item['state']['S']}")
            if item.get("state", {}).get("S") == "REJECTED" and not may_be_forgotten:
                failed = (item["id"]["S"], item["failed_at"]["S"])
                if failed not in self._writes.dead_letters[stack]:
                    self._shared.broken(f"{item['key']['S']}: no dead letter of its failure")

    def _has_result(self, stack: Stack, photo: StoredObject, item: dict[str, Any]) -> None:
        is_done = item["state"]["S"] == "DONE"
        is_whole = all("M" in output for output in item["outputs"]["L"])
        if photo.key in self._uploads.was_restored or photo.key in self._uploads.results_removed:
            return  # whoever removes an upload or its results for good has the word about them
        if is_done and not is_whole:
            self._shared.broken(f"{photo.key}: DONE without one of its results")
        for output in item["outputs"]["L"]:
            found = stack.results.current(output["M"]["key"]["S"]) if "M" in output else None
            if found is None:
                continue  # somebody has deleted it
            wanted = item["id"]["S"] if is_done else item["result_of"]["S"]
            if not is_done and found.metadata["source-etag"] != photo.etag:
                self._shared.broken(f"{photo.key}: UNCHANGED, though the result was made from other bytes")
            if found.metadata["job-id"] != wanted:
                self._shared.broken(f"{photo.key}: the result that is there is of another upload")
            if found.metadata["job-id"] not in found.body.decode("latin-1"):
                self._shared.broken(f"{photo.key}: its result was made for another upload")

    def adds_up(self, stack: Stack) -> None:
        """Charges, ledger, dead letters and metrics agree."""
        dead_letters = {
            dead_letter["job"]["id"]: dead_letter["reason"] for dead_letter in stack.dead_letters if dead_letter["job"]
        }
        for item_id, item in stack.table.items.items():
            if "state" not in item:
                continue
            charges = self._calls.charges[stack, item_id]
            images = sum(charge.images for charge in charges)
            is_paid = float(item["paid_at"]["N"]) > 0 if "paid_at" in item else False
            paid = int(item["images"]["N"]) if is_paid else 0
            unsettled = int(item.get("unsettled_images", {"N": "0"})["N"])
            if item["state"]["S"] == "CALLING":
                unsettled += int(item["images"]["N"])
            key = item["key"]["S"]
            if not paid <= images <= paid + unsettled:
                self._shared.broken(f"{key}: {images} images charged; the ledger says {paid}, perhaps {unsettled} more")
            if (
                is_paid
                and charges
                and round(float(item["cost_usd"]["S"]) * 100) not in {each.cents for each in charges}
            ):
                self._shared.broken(f"{key}: the ledger's cost is none of the gateway's")
            billed = dead_letters.get(item_id, {}).get("billed", "")
            if item["state"]["S"] == "REJECTED" and ((billed == "no" and charges) or (billed == "yes" and not charges)):
                self._shared.broken(f"{key}: its dead letter says billed {billed}; {len(charges)} charges")
        if not self._shared.kills and not self._shared.lost_answers:
            self._metrics_agree(stack)

    def _metrics_agree(self, stack: Stack) -> None:
        """Metrics tell each purchase. The ledger knows of two for one upload as one and unsettled images."""
        records = [record_of(item) for item in stack.table.items.values() if "state" in item]
        spent = float(sum(record.cost for record in records if record.paid_at))
        unsettled = sum(record.unsettled_images for record in records) * PRICE_TOLD / 100
        if not spent - 0.001 < stack.metrics["SpendUsd"] < spent + unsettled + 0.001:
            self._shared.broken(f"metrics say {stack.metrics['SpendUsd']:.2f} USD, the ledger {spent:.2f}")

    def few_invocations(self, stack: Stack, troubled: float, later: float) -> None:
        """Of each upload, after `troubled` hours in which things went wrong, and `later` ones until all was at rest."""
        for subject, count in stack.invocations.items():
            most = MOST_INVOCATIONS + MOST_AN_HOUR * troubled + MOST_A_LATER_HOUR * later
            most *= max(self._uploads.count[subject], 1)
            if subject != "reconcile" and count > most:
                self._shared.broken(f"{subject}: {count} invocations")


def _was_never_sent(item: dict[str, Any]) -> bool:
    """Whether no call was made for an upload that is still claimed: nothing is missing once it is replaced."""
    return bool(item["state"]["S"] == "CLAIMED" and item.get("attempts", {"N": "0"})["N"] == "0")


def _is_over(item: dict[str, Any]) -> bool:
    state = item["state"]["S"]
    if state == "REJECTED":
        return bool(item["dead_lettered"]["BOOL"])
    return state in ("DONE", "SUPERSEDED", "UNCHANGED")
