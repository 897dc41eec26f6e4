"""Which upload of a photo is which: the order in which they came, which one is current, when each was replaced."""

from collections import Counter
from typing import Any

from tools.simulation.shared_state import SharedState
from tools.simulation.simulated_s3 import StoredObject
from tools.simulation.stack import Stack, Worker


class Uploads:
    """Of one play."""

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared
        self.count: Counter[str] = Counter()
        """By key."""
        self.was_restored: set[str] = set()
        """Keys of which an older upload became current again."""
        self.results_removed: set[str] = set()
        """Keys whose results somebody has deleted."""
        self._number: dict[tuple[str, str], int] = {}
        """Of each version of a key: which it was, from 1."""
        self._replaced_at: dict[tuple[str, str], float] = {}
        self._looked_at: dict[Worker, float] = {}

    def written(self, photo: StoredObject) -> None:
        """A version of a key was written."""
        self.count[photo.key] += 1
        self._number[photo.key, _identity(photo)] = self.count[photo.key]
        self.changed(photo.key)

    def changed(self, key: str) -> None:
        """Another object may be under a key now."""
        current = self._shared.photos.current(key)
        for of, identity in self._number:
            if of == key:
                is_current = current is not None and identity == _identity(current)
                if is_current:
                    if self._replaced_at.pop((of, identity), None) is not None:
                        self.was_restored.add(key)
                else:
                    self._replaced_at.setdefault((of, identity), self._shared.time.now)

    def looked_at(self, worker: Worker) -> None:
        """A worker has read the photo that it works on."""
        self._looked_at[worker] = self._shared.time.now

    def was_seen_replaced(self, worker: Worker, key: str, item: dict[str, Any]) -> bool:
        """Whether another object was under an upload's key when a worker looked last."""
        replaced_at = self._replaced_at.get((key, _identity_of_item(item)))
        return replaced_at is not None and replaced_at < self._looked_at.get(worker, 0.0) - 1.0

    def number(self, key: str, item: dict[str, Any]) -> int:
        """Which upload of a key an item in the ledger is of, from 1; 0 for none."""
        return self._number.get((key, _identity_of_item(item)), 0)

    def current_number(self, key: str) -> int:
        """Which upload of a key is current; 0 for none."""
        current = self._shared.photos.current(key)
        return 0 if current is None else self._number.get((key, _identity(current)), 0)

    def current(self, stack: Stack) -> list[tuple[StoredObject, dict[str, Any] | None]]:
        """The current uploads, and their items in a stack's ledger."""
        items = stack.table.items.values()
        by_identity = {(item["key"]["S"], _identity_of_item(item)): item for item in items if "state" in item}
        photos = self._shared.photos
        current = [photos.current(key) for key in photos.versions if key.endswith(".jpg")]
        return [(photo, by_identity.get((photo.key, _identity(photo)))) for photo in current if photo is not None]


def _identity(photo: StoredObject) -> str:
    return photo.version_id if photo.version_id != "null" else f"{photo.etag} {int(photo.modified)}"


def _identity_of_item(item: dict[str, Any]) -> str:
    version = item.get("version_id", {}).get("S")
    return version or f"{item.get('etag', {}).get('S')} {item.get('modified', {}).get('N')}"
