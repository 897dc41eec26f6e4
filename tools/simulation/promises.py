"""What Backdrop promises, checked while a plan is played and when everything is at rest."""

import math
import sys
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from backdrop.clock import utc_day
from backdrop.ledger_items import record_of
from tools.simulation.batch_promises import BatchPromises
from tools.simulation.drawing import PROMPT
from tools.simulation.gateway import PRICE_TOLD, Call, Charge, Outcome
from tools.simulation.simulated_s3 import SIGNATURE, StoredObject

if TYPE_CHECKING:
    from tools.simulation.play import Play
    from tools.simulation.region import Worker
    from tools.simulation.stack import Stack

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
MOST_INVOCATIONS, MOST_AN_HOUR, MOST_A_LATER_HOUR = 150, 150, 15
"""Of the functions, for one upload: at all, while things go wrong, and while it waits for the next day."""
SECRETS = (PROMPT, SIGNATURE[:40], "sk-first", "sk-second", "?sig=")
KNOWN_SECONDS = 23 * 3600.0
"""For so long Backdrop takes a key for known to the gateway."""
TRAVEL_SECONDS = 0.1
"""A call counts for the day on which it is sent, and takes a moment to arrive."""
MIDNIGHT_SECONDS = 4.0
"""Around midnight, clocks that are apart may take a call for one of either day."""


class Promises:
    """Of one play."""

    def __init__(self, play: "Play") -> None:
        self._play = play
        self.violations: list[str] = []
        self.batch = BatchPromises(play)
        self.kills = 0
        self.lost_answers = 0
        """Of AWS, for good: whoever asked can't know what took place."""
        self.removed: set[str] = set()
        """Keys whose results somebody has deleted."""
        self._handed_back = 0
        self._order: Counter[str] = Counter()
        self._number: dict[tuple[str, str], int] = {}
        """Of each version of a key: which it was, from 1."""
        self._replaced_at: dict[tuple[str, str], float] = {}
        self._was_restored: set[str] = set()
        self._redrives: Counter[Stack] = Counter()
        self._calls: dict[tuple[Stack, str], list[Call]] = defaultdict(list)
        self._charges: dict[tuple[Stack, str], list[Charge]] = defaultdict(list)
        self._recent: dict[Stack, list[float]] = defaultdict(list)
        self._days: dict[tuple[Stack, str], int] = defaultdict(int)
        self._outcomes: dict[str, list[Outcome]] = defaultdict(list)
        self._running: dict[Worker, tuple[Stack, str]] = {}
        self._looked_at: dict[Worker, float] = {}
        self._dead_letters: dict[Stack, set[tuple[str, str]]] = defaultdict(set)

    def broken(self, what: str) -> None:
        """A violation; the same one is told once."""
        if what not in self.violations:
            self.violations.append(what)
            self._play.note("VIOLATION", what)

    # What happens outside

    def uploaded(self, photo: StoredObject) -> None:
        """A version of a key was written."""
        self._order[photo.key] += 1
        self._number[photo.key, _identity(photo)] = self._order[photo.key]
        self.changed(photo.key)

    def changed(self, key: str) -> None:
        """Another object may be under a key now."""
        current = self._play.photos.current(key)
        for of, identity in self._number:
            if of == key:
                is_current = current is not None and identity == _identity(current)
                if is_current:
                    if self._replaced_at.pop((of, identity), None) is not None:
                        self._was_restored.add(key)
                else:
                    self._replaced_at.setdefault((of, identity), self._play.time.now)

    def redriven(self, stack: "Stack") -> None:
        """Somebody moved the dead letters back."""
        self._redrives[stack] += 1

    # What workers do

    def before(self, stack: "Stack", name: str, about: str) -> Any:
        """What is there before a write."""
        if name in ("dynamodb.PutItem", "dynamodb.UpdateItem"):
            return dict(stack.table.items.get(about, {}))
        if name == "s3.PutObject":
            return stack.results.current(about)
        return None

    def after(self, stack: "Stack", worker: "Worker", name: str, about: str, before: Any) -> None:
        """What a write has changed."""
        if name == "s3.GetObject" and about == worker.subject:
            self._looked_at[worker] = self._play.time.now
        elif name == "sqs.SendMessage" and about == "DeadLetterQueue":
            dead_letter = stack.dead_letters[-1]
            self._dead_letters[stack].add(((dead_letter["job"] or {}).get("id", ""), dead_letter["failed_at"]))
        elif name in ("dynamodb.PutItem", "dynamodb.UpdateItem"):
            item = stack.table.items[about]
            if about == "pace":
                if before.get("next_slot") != item.get("next_slot") or before.get("probe_at") != item.get("probe_at"):
                    worker.delayed -= worker.delayed_before_request
            elif "state" in item:
                was, now = before.get("state", {"S": ""})["S"], item["state"]["S"]
                if now not in NEXT_STATES[was]:
                    self.broken(f"{worker.subject}: {was or 'nothing'} became {now}")
        elif name == "events.PutEvents":
            self.batch.published(stack)
        elif name == "s3.PutObject" and before is not None:
            self._result_replaced(stack, worker, about, before)

    def _result_replaced(self, stack: "Stack", worker: "Worker", about: str, before: StoredObject) -> None:
        new = stack.results.current(about)
        key = worker.subject
        if new is None or before.metadata["source-key"] != new.metadata["source-key"] or key in self._was_restored:
            return
        older, newer = self._number_of(key, before, stack), self._number_of(key, new, stack)
        if newer < older:
            current = self._play.photos.current(key)
            if current is not None and self._number.get((key, _identity(current)), 0) >= older:
                self.broken(f"{key}: the result of upload {older} was replaced by that of upload {newer}")

    def _number_of(self, key: str, result: StoredObject, stack: "Stack") -> int:
        item = stack.table.items[result.metadata["job-id"]]
        version = item["version_id"].get("S")
        identity = version or f"{item['etag'].get('S')} {item['modified'].get('N')}"
        return self._number.get((key, identity), 0)

    def call_arrives(self, call: Call, fields: dict[str, Any]) -> None:
        """The gateway gets a call."""
        of = (call.stack, call.upload)
        subject = call.worker.subject
        before = [each for each in self._calls[of] if each.key == call.key]
        item = call.stack.table.items.get(call.upload, {})
        if not fields["prompt"].startswith(PROMPT):
            self.broken(f"{subject}: a call has another prompt: {fields['prompt'][:40]}")
        is_written = item.get("state", {}).get("S") == "CALLING" and item["idempotency_key"].get("S") == call.key
        if not before and not is_written:
            self.broken(f"{subject}: a call was sent before CALLING was written")
        if not before:
            known = [charge for charge in self._charges[of] if call.at - charge.at < KNOWN_SECONDS]
            if known and self._play.conditions.keys != "ignored":
                self.broken(f"{subject}: a new key after a charge")
            identity = item.get("version_id", {}).get("S") or (
                f"{item.get('etag', {}).get('S')} {item.get('modified', {}).get('N')}"
            )
            replaced_at = self._replaced_at.get((subject, identity))
            is_first = item.get("attempts", {}).get("N") == "1"  # else it repeats one that never arrived
            if is_first and replaced_at is not None and replaced_at < self._looked_at.get(call.worker, 0.0) - 1.0:
                self.broken(f"{subject}: a call for a photo that was replaced before")
        if before:
            self._may_be_repeated(call, subject)
        if before and item.get("links", {}).get("L") and item.get("answered_inline", {}).get("BOOL") is False:
            self.broken(f"{subject}: a call was repeated although the ledger has its links")
        if of in self._running.values():
            self.broken(f"{subject}: two calls at once")
        self._running[call.worker] = of
        self._calls[of].append(call)
        if not call.is_repeated_at_once:
            self._paced(call)

    def call_ends(self, worker: "Worker") -> None:
        """It has its answer, or is dead."""
        self._running.pop(worker, None)

    def outcome(self, key: str, outcome: Outcome) -> None:
        """What an answer tells of a call."""
        self._outcomes[key].append(outcome)

    def _may_be_repeated(self, call: Call, subject: str) -> None:
        outcomes, redrives = self._outcomes[call.key], self._redrives[call.stack]
        if call.stack.policies == {"park"} and not redrives and outcomes[-1:] in (["lost"], ["answered"], ["failure"]):
            self.broken(f"{subject}: under park, a call was repeated after its answer was: {outcomes[-1]}")
        most = 2 + self._play.conditions.max_attempts * (1 + redrives) + redrives
        if outcomes.count("lost") > most:
            self.broken(f"{subject}: a call without an answer was repeated {outcomes.count('lost')} times")

    def _paced(self, call: Call) -> None:
        recent = self._recent[call.stack]
        left_at = call.at - call.worker.delayed
        recent.append(left_at)
        off = self._play.conditions.skew_seconds and 2 * min(self._play.conditions.skew_seconds + 1.0, 4.0)
        allowed = math.ceil(max(call.stack.rates) * (60 + off) / 60)
        in_a_minute = sum(left_at - 60 < at <= left_at for at in recent)
        if in_a_minute > allowed:
            self.broken(f"{in_a_minute} calls in a minute; {allowed} are allowed")

    def charged(self, charge: Charge) -> None:
        """The gateway took money."""
        of = (charge.stack, charge.upload)
        self._charges[of].append(charge)
        known = [each for each in self._charges[of] if charge.at - each.at < KNOWN_SECONDS]
        if self._play.conditions.keys != "ignored" and len(known) > 1:
            self.broken(f"{charge.worker.subject}: charged {len(known)} times")
        sent = len(self._calls[of])
        if len(self._charges[of]) > sent:
            self.broken(f"{charge.upload}: more charges than calls")
        limit = max(charge.stack.limits) if 0 not in charge.stack.limits else 0
        if limit:
            into = charge.at % 86_400
            margin = MIDNIGHT_SECONDS if self._play.conditions.skew_seconds else TRAVEL_SECONDS
            if margin < into < 86_400 - margin:
                self._days[charge.stack, utc_day(charge.at)] += charge.images
                if self._days[charge.stack, utc_day(charge.at)] > limit:
                    self.broken(f"more than {limit} images were bought on one day")

    def ended_with(self, _stack: "Stack", function: str, worker: "Worker", error: Exception) -> None:
        """A handler raised; what it worked on is in Lambda's message."""
        self._handed_back += function == "trigger"
        if not isinstance(error, BotoCoreError | ClientError):
            self.broken(f"{worker.subject}: {function} ended with {type(error).__name__}: {error}")

    def unexpected(self, worker: "Worker") -> None:
        """A handler met an error that has no meaning there."""
        error = sys.exception()
        if not isinstance(error, BotoCoreError | ClientError):
            self.broken(f"{worker.subject}: unexpected {type(error).__name__}: {error}")

    def logged(self, text: str) -> None:
        """A log line was written."""
        for secret in SECRETS:
            if secret in text:
                self.broken(f"a log line holds {secret[:12]!r}")

    # At rest

    def unfinished(self, stack: "Stack") -> bool:
        """Whether something is left to do for a current upload."""
        return any(
            record is None or not _is_over(record) or record["state"]["S"] == "SUPERSEDED"
            for _, record in self._current(stack)
        )

    def _current(self, stack: "Stack") -> list[tuple[StoredObject, dict[str, Any] | None]]:
        """The current uploads, and their items in the ledger."""
        by_identity = {_item_identity(item): item for item in stack.table.items.values() if "state" in item}
        photos = self._play.photos
        current = [photos.current(key) for key in photos.versions if key.endswith(".jpg")]
        return [(photo, by_identity.get((photo.key, _identity(photo)))) for photo in current if photo is not None]

    def at_rest(self) -> None:
        """Everything has ended."""
        for stack in self._play.stacks:
            self._all_ended(stack)
            self.batch.at_rest(stack)
            self._adds_up(stack)
            for subject, count in stack.invocations.items():
                troubled, later = self._play.hours
                most = MOST_INVOCATIONS + MOST_AN_HOUR * troubled + MOST_A_LATER_HOUR * later
                most *= max(self._order[subject], 1)
                if subject != "reconcile" and count > most:
                    self.broken(f"{subject}: {count} invocations")

    def _all_ended(self, stack: "Stack") -> None:
        for photo, item in self._current(stack):
            if item is None:
                self.broken(f"{photo.key}: lost: the ledger does not know it")
            elif not _is_over(item):
                self.broken(f"{photo.key}: lost: it stays {item['state']['S']}")
            elif item["state"]["S"] == "SUPERSEDED":
                self.broken(f"{photo.key}: lost: it is SUPERSEDED and current")
            elif item["state"]["S"] in ("DONE", "UNCHANGED"):
                self._has_result(stack, photo, item)
        # Without versions, the event that Lambda sends on names whatever is under the key by now.
        may_be_forgotten = bool(self.kills + self._handed_back) and not self._play.conditions.is_versioned
        for item in stack.table.items.values():
            if "state" in item and not _is_over(item) and not may_be_forgotten and not _was_never_sent(item):
                self.broken(f"{item['key']['S']}: it stays {item['state']['S']}")
            if item.get("state", {}).get("S") == "REJECTED" and not may_be_forgotten:
                failed = (item["id"]["S"], item["failed_at"]["S"])
                if failed not in self._dead_letters[stack]:
                    self.broken(f"{item['key']['S']}: no dead letter of its failure")

    def _has_result(self, stack: "Stack", photo: StoredObject, item: dict[str, Any]) -> None:
        is_done = item["state"]["S"] == "DONE"
        is_whole = all("M" in output for output in item["outputs"]["L"])
        if photo.key in self._was_restored or photo.key in self.removed:
            return  # whoever removes an upload or its results for good has the word about them
        if is_done and not is_whole:
            self.broken(f"{photo.key}: DONE without one of its results")
        for output in item["outputs"]["L"]:
            found = stack.results.current(output["M"]["key"]["S"]) if "M" in output else None
            if found is None:
                continue  # somebody has deleted it
            wanted = item["id"]["S"] if is_done else item["result_of"]["S"]
            if not is_done and found.metadata["source-etag"] != photo.etag:
                self.broken(f"{photo.key}: UNCHANGED, though the result was made from other bytes")
            if found.metadata["job-id"] != wanted:
                self.broken(f"{photo.key}: the result that is there is of another upload")
            if found.metadata["job-id"] not in found.body.decode("latin-1"):
                self.broken(f"{photo.key}: its result was made for another upload")

    def _adds_up(self, stack: "Stack") -> None:
        dead_letters = {
            dead_letter["job"]["id"]: dead_letter["reason"] for dead_letter in stack.dead_letters if dead_letter["job"]
        }
        for item_id, item in stack.table.items.items():
            if "state" not in item:
                continue
            charges = self._charges[stack, item_id]
            images = sum(charge.images for charge in charges)
            is_paid = float(item["paid_at"]["N"]) > 0 if "paid_at" in item else False
            paid = int(item["images"]["N"]) if is_paid else 0
            unsettled = int(item.get("unsettled_images", {"N": "0"})["N"])
            if item["state"]["S"] == "CALLING":
                unsettled += int(item["images"]["N"])
            key = item["key"]["S"]
            if not paid <= images <= paid + unsettled:
                self.broken(f"{key}: {images} images charged; the ledger says {paid}, perhaps {unsettled} more")
            if (
                is_paid
                and charges
                and round(float(item["cost_usd"]["S"]) * 100) not in {each.cents for each in charges}
            ):
                self.broken(f"{key}: the ledger's cost is none of the gateway's")
            billed = dead_letters.get(item_id, {}).get("billed", "")
            if item["state"]["S"] == "REJECTED" and ((billed == "no" and charges) or (billed == "yes" and not charges)):
                self.broken(f"{key}: its dead letter says billed {billed}; {len(charges)} charges")
        if not self.kills and not self.lost_answers:
            self._metrics_agree(stack)

    def _metrics_agree(self, stack: "Stack") -> None:
        """Metrics tell each purchase. The ledger knows of two for one upload as one and unsettled images."""
        records = [record_of(item) for item in stack.table.items.values() if "state" in item]
        spent = float(sum(record.cost for record in records if record.paid_at))
        unsettled = sum(record.unsettled_images for record in records) * PRICE_TOLD / 100
        if not spent - 0.001 < stack.metrics["SpendUsd"] < spent + unsettled + 0.001:
            self.broken(f"metrics say {stack.metrics['SpendUsd']:.2f} USD, the ledger {spent:.2f}")


def _identity(photo: StoredObject) -> str:
    return photo.version_id if photo.version_id != "null" else f"{photo.etag} {int(photo.modified)}"


def _item_identity(item: dict[str, Any]) -> tuple[str, str]:
    version = item["version_id"].get("S")
    return item["key"]["S"], version or f"{item['etag'].get('S')} {item['modified'].get('N')}"


def _was_never_sent(item: dict[str, Any]) -> bool:
    """Whether no call was made for an upload that is still claimed: nothing is missing once it is replaced."""
    return bool(item["state"]["S"] == "CLAIMED" and item.get("attempts", {"N": "0"})["N"] == "0")


def _is_over(item: dict[str, Any]) -> bool:
    state = item["state"]["S"]
    if state == "REJECTED":
        return bool(item["dead_lettered"]["BOOL"])
    return state in ("DONE", "SUPERSEDED", "UNCHANGED")
