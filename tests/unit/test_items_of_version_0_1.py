"""Items that version 0.1 wrote into the ledger are understood: `tests/data/ledger_items_0_1.json` are real ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from backdrop.clock import Clock
from backdrop.ledger import Ledger, Record

ITEMS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "ledger_items_0_1.json").read_text()
)
UPLOADS = {name: item for name, item in ITEMS.items() if name != "pace"}


class OneItem:
    """A table that holds one item."""

    def __init__(self, item: dict[str, Any]) -> None:
        self._item = item

    def get_item(self, **_: Any) -> dict[str, Any]:
        return {"Item": self._item}


def read(name: str) -> Record:
    table: Any = OneItem(UPLOADS[name])
    record = Ledger(table, "ledger", Clock()).read(UPLOADS[name]["id"]["S"])
    assert record is not None
    return record


@pytest.mark.parametrize("name", UPLOADS)
def test_every_state_is_read(name: str) -> None:
    record = read(name)

    assert record.state == UPLOADS[name]["state"]["S"]
    assert record.key == UPLOADS[name]["key"]["S"]
    assert len(record.history) == len(UPLOADS[name]["history"]["L"])


@pytest.mark.parametrize(
    ("name", "unanswered"),
    [
        ("done", 0),
        ("claimed, waits after a failed call", 0),
        ("calling, its worker died", 0),
        ("unknown, waits for its replay", 1),
        ("rejected, outcome unknown", 2),
        ("rejected by the gateway", 0),
    ],
)
def test_calls_without_an_answer_are_counted_from_replays(name: str, unanswered: int) -> None:
    """Version 0.1 counted replays, and its first call not at all."""
    record = read(name)
    assert record.unanswered == unanswered
    assert record.unsettled_images == unanswered * record.images, "which receipts tell"


def test_a_call_of_version_0_1_keeps_its_key_and_body() -> None:
    call = read("unknown, waits for its replay").call

    assert call is not None
    assert call.idempotency_key.endswith("-1")
    assert json.loads(call.body)["prompt"] == "wood"
