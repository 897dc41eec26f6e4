"""What is promised of calls of the gateway and of its charges, checked as they come."""

import math
from collections import Counter, defaultdict
from typing import Any

from backdrop.clock import utc_day
from tools.simulation.calls import Call, Charge, Outcome
from tools.simulation.drawing import PROMPT
from tools.simulation.shared_state import SharedState
from tools.simulation.stack import Stack, Worker
from tools.simulation.uploads import Uploads

KNOWN_SECONDS = 23 * 3600.0
"""For so long Backdrop takes a key for known to the gateway."""
TRAVEL_SECONDS = 0.1
"""A call counts for the day on which it is sent, and takes a moment to arrive."""
MIDNIGHT_SECONDS = 4.0
"""Around midnight, clocks that are apart may take a call for one of either day."""


class CallPromises:
    """Of one play."""

    def __init__(self, shared: SharedState, uploads: Uploads) -> None:
        self._shared, self._uploads = shared, uploads
        self.charges: dict[tuple[Stack, str], list[Charge]] = defaultdict(list)
        """By upload, as the calls."""
        self._calls: dict[tuple[Stack, str], list[Call]] = defaultdict(list)
        self._redrives: Counter[Stack] = Counter()
        self._recent: dict[Stack, list[float]] = defaultdict(list)
        self._days: dict[tuple[Stack, str], int] = defaultdict(int)
        self._outcomes: dict[str, list[Outcome]] = defaultdict(list)
        self._running: dict[Worker, tuple[Stack, str]] = {}

    def redriven(self, stack: Stack) -> None:
        """Somebody moved the dead letters back."""
        self._redrives[stack] += 1

    def arrived(self, call: Call, fields: dict[str, Any]) -> None:
        """The gateway gets a call."""
        of = (call.stack, call.upload)
        subject = call.worker.subject
        before = [each for each in self._calls[of] if each.key == call.key]
        item = call.stack.table.items.get(call.upload, {})
        if not fields["prompt"].startswith(PROMPT):
            self._shared.broken(f"{subject}: a call has another prompt: {fields['prompt'][:40]}")
        if before:
            self._may_be_repeated(call, item)
        else:
            self._may_be_made(call, item)
        if of in self._running.values():
            self._shared.broken(f"{subject}: two calls at once")
        self._running[call.worker] = of
        self._calls[of].append(call)
        if not call.is_repeated_at_once:
            self._paced(call)

    def ended(self, worker: Worker) -> None:
        """A worker's call has its answer, or the worker is dead."""
        self._running.pop(worker, None)

    def outcome(self, key: str, outcome: Outcome) -> None:
        """What an answer tells of a call."""
        self._outcomes[key].append(outcome)

    def _may_be_made(self, call: Call, item: dict[str, Any]) -> None:
        subject = call.worker.subject
        is_written = item.get("state", {}).get("S") == "CALLING" and item["idempotency_key"].get("S") == call.key
        if not is_written:
            self._shared.broken(f"{subject}: a call was sent before CALLING was written")
        charges = self.charges[call.stack, call.upload]
        known = [charge for charge in charges if call.at - charge.at < KNOWN_SECONDS]
        if known and self._shared.conditions.keys != "ignored":
            self._shared.broken(f"{subject}: a new key after a charge")
        is_first = item.get("attempts", {}).get("N") == "1"  # else it repeats one that never arrived
        if is_first and self._uploads.was_seen_replaced(call.worker, subject, item):
            self._shared.broken(f"{subject}: a call for a photo that was replaced before")

    def _may_be_repeated(self, call: Call, item: dict[str, Any]) -> None:
        subject = call.worker.subject
        outcomes, redrives = self._outcomes[call.key], self._redrives[call.stack]
        if call.stack.policies == {"park"} and not redrives and outcomes[-1:] in (["lost"], ["answered"], ["failure"]):
            self._shared.broken(f"{subject}: under park, a call was repeated after its answer was: {outcomes[-1]}")
        most = 2 + self._shared.conditions.max_attempts * (1 + redrives) + redrives
        if outcomes.count("lost") > most:
            self._shared.broken(f"{subject}: a call without an answer was repeated {outcomes.count('lost')} times")
        if item.get("links", {}).get("L") and item.get("answered_inline", {}).get("BOOL") is False:
            self._shared.broken(f"{subject}: a call was repeated although the ledger has its links")

    def _paced(self, call: Call) -> None:
        recent = self._recent[call.stack]
        left_at = call.at - call.worker.delayed
        recent.append(left_at)
        skew = self._shared.conditions.skew_seconds
        off = skew and 2 * min(skew + 1.0, 4.0)
        allowed = math.ceil(max(call.stack.rates) * (60 + off) / 60)
        in_a_minute = sum(left_at - 60 < at <= left_at for at in recent)
        if in_a_minute > allowed:
            self._shared.broken(f"{in_a_minute} calls in a minute; {allowed} are allowed")

    def charged(self, charge: Charge) -> None:
        """The gateway took money."""
        of = (charge.stack, charge.upload)
        self.charges[of].append(charge)
        known = [each for each in self.charges[of] if charge.at - each.at < KNOWN_SECONDS]
        if self._shared.conditions.keys != "ignored" and len(known) > 1:
            self._shared.broken(f"{charge.worker.subject}: charged {len(known)} times")
        sent = len(self._calls[of])
        if len(self.charges[of]) > sent:
            self._shared.broken(f"{charge.upload}: more charges than calls")
        self._within_limit(charge)

    def _within_limit(self, charge: Charge) -> None:
        limit = max(charge.stack.limits) if 0 not in charge.stack.limits else 0
        if not limit:
            return
        into = charge.at % 86_400
        margin = MIDNIGHT_SECONDS if self._shared.conditions.skew_seconds else TRAVEL_SECONDS
        if margin < into < 86_400 - margin:
            day = (charge.stack, utc_day(charge.at))
            self._days[day] += charge.images
            if self._days[day] > limit:
                self._shared.broken(f"more than {limit} images were bought on one day")
