"""What was aimed at, beside what was measured; and why, where it was missed."""

from collections.abc import Iterator
from typing import Any

from tools.bench.workers import OURS

Rows = dict[str, list[dict[str, Any]]]
"""By title of their section."""

EXPLAINED = """Shares are ours divided by the other's."""

WHY_NOT = {
    "cold: of the alternative": (
        "**Cold start.** The rows with bytecode compare with an alternative that has it, too, which is more "
        "than a plain build gives it. With bytecode for all, the alternative gains more: it imports twice as many "
        "modules, and compiling them is most of its time."
    ),
    "warm: of the floor": (
        "**Warm, of the floor.** The ledger, the pace and the event are what the floor lacks: eight calls to "
        "AWS instead of two, five of them to DynamoDB. On one machine a call is mostly botocore's own CPU "
        "time for signing, building and parsing. With what the calls typically take in AWS it is as above, "
        '"with AWS / floor".'
    ),
    "bulk: drain / ideal": (
        "**Bulk, drain.** Without workers, it takes the emulator seconds until the first of them calls, Backdrop's "
        'as long as the plain variant\'s: "first call after s". From there on, the drain is that of warm workers.'
    ),
    "bulk: 429": (
        "**Bulk, 429.** They come in the first seconds, while a dozen workers start on the same cores as the "
        "emulator, and a call leaves later than its slot says."
    ),
    "scale: drain / perfect": (
        "**Scale.** At 30,000 calls a minute and 12 seconds a call, 6,000 calls would have to run at a time. "
        "Lambda runs 1,000 executions until AWS is asked for more, which ends it at about 5,000 calls a minute; "
        "and it tries events that it had no room for again after waits that double to five minutes. With 8,000 "
        "executions allowed (a row above), those waits are left, and the time that Lambda takes to start workers, "
        "1,000 in ten seconds. At 3,000 a minute the queue's pollers are as many as it takes after minutes only. And "
        "where all calls are sent within two minutes, as with 1,000 uploads at 600 a minute, the slowest of them, of "
        "60 seconds or tried again, are a large part of the time."
    ),
}
_SCALE = {(1_000, 600): 1.05, (10_000, 600): 1.05, (10_000, 3_000): 1.08}
"""Of a perfect scheduler, by uploads and calls a minute."""


def rows(found: Rows) -> list[dict[str, Any]]:
    """A row for each target."""
    return [
        {
            "target": name,
            "where": where,
            "at most": most,
            "measured": round(value, 3),
            "": "met" if value <= most else "missed",
        }
        for name, where, most, value in _all(found)
    ]


def explanations(targets: list[dict[str, Any]]) -> str:
    """Why those that were missed were missed."""
    missed = dict.fromkeys(row["target"] for row in targets if row[""] == "missed")
    return "\n\n".join(WHY_NOT.get(name, f"**{name}**: not explained.") for name in missed)


def _all(found: Rows) -> Iterator[tuple[str, str, float, float]]:
    for row in _of(found["Cold start"], function=OURS):
        where = f"{row['until']}, {'with' if row['bytecode'] else 'without'} bytecode"
        yield "cold: of the alternative", where, 0.6, row["/ alternative"]
    http = found["A warm upload against the local stack"]
    for row in _of(http, function=OURS):
        where = f"{row['photo MB']:g} MB"
        yield "warm: of the floor", where, 2, row["/ floor"]
        if row["photo MB"] >= 5:
            yield "warm: of the alternative", where, 1, row["/ alternative"]
    memory = _of(found["Memory"], function=OURS)
    by_photo = [row["MiB"] for row in _of(memory, route="generations", answer="url") if row["result MiB"] == 1]
    yield "memory: spread over photos of 0.1 to 25 MiB, MiB", "generations", 16, max(by_photo) - min(by_photo)
    yield (
        "memory: the most, MiB",
        "everything that was tried, without Lambda's runtime",
        256,
        max(row["MiB"] for row in memory),
    )
    for row in _of(found["Three hundred uploads at once"], variant="Backdrop"):
        where = f"{row['workers']} workers"
        yield "bulk: drain / ideal", where, 1.2, row["drain / ideal"]
        yield "bulk: 429", where, 0.01, row["429"] / row["calls"]
    for row in found["Scale, played"]:
        where = f"{row['uploads']:,} at {row['calls/min']:,} a minute{', ' * bool(row['with'])}{row['with']}"
        most = _SCALE.get((row["uploads"], row["calls/min"]), 1.12) if not row["with"] else 1.12
        yield "scale: drain / perfect", where, most, row["drain / perfect"]
    share = float(found["What AWS asks for"][-1]["of the image's price"].rstrip("%")) / 100
    yield "AWS, of an image's price", "2 MB photos", 0.01, share


def _of(some: list[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in some if all(row.get(name) == value for name, value in wanted.items())]
