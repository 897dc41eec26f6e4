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
    "TLS: CPU of an upload, of the floor": (
        "**TLS, of the floor.** The floor makes four requests and keeps its connection to the gateway; ours makes"
        " eleven, and opens two new connections to the gateway, whose handshakes cost CPU: a kept one that went "
        "stale would make a call that was never sent look like one of unknown outcome."
    ),
    "Lambda, USD for 1,000 images": (
        "**Lambda.** Each call is waited for by an execution of its own. Several uploads an execution would "
        "bring it to $0.024; the decisions say why that is not built."
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
        "**Scale.** 1.05 of it is the headroom between slots, which stays: a gateway that counts its limit by the"
        " second answers 2.3 % of the calls with 429 at 1.05 and 4.8 % at 1.02, and the drain gets longer by a "
        "quarter instead of shorter by 3 %. At 30,000 calls a minute and 12 seconds a call, 6,000 calls would "
        "have to run at a time. Lambda runs 1,000 executions until AWS is asked for more, and tries events that "
        "it had no room for again after waits that double to five minutes. At 3,000 a minute the queue's pollers "
        "are as many as it takes after minutes only. [Many uploads at once](many-uploads.md) says what to set."
    ),
    "warm with AWS's times: of the floor": (
        "**Warm, with AWS's times.** Nine requests to AWS where the floor makes two. The older 1.69 is from "
        "before an upload looked whether the key's current result is made from the very same photo, a list "
        "request that typically takes 25 ms. Another, the claim, could be the first write that follows; the "
        "decisions say why it stays. CPU time of a machine that is shared by many is higher, for all functions."
    ),
}
_TLS_CPU_MS = {"all kept": 35, "S3's and EventBridge's closed": 50, "all closed": 55}
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
    for row in _of(found["A warm upload by itself"], function=OURS):
        yield "warm with AWS's times: of the floor", f"{row['photo MB']:g} MB", 1.6, row["with AWS / floor"]
    for row in _of(found["An upload over TLS"], function=OURS):
        where = row["connections"]
        yield "TLS: CPU ms of an upload", where, _TLS_CPU_MS[where], row["later, cpu ms"]
        yield "TLS: CPU of an upload, of the floor", where, 2, row["/ floor"]
        yield "TLS: CPU ms of the first upload", where, 90, row["first upload, cpu ms"]
    [cold] = _of(found["Cold start over TLS"], function="ours, with bytecode")
    yield "TLS: cold, of the alternative as it is", "first result, with bytecode", 0.4, cold["ms / alternative"]
    memory = _of(found["Memory"], function=OURS)
    json_routes = [row["MiB"] for row in _of(memory, route="generations", answer="url")]
    yield "memory: a quarter to spare, MiB", "generations, any mix of sizes", 192, max(json_routes)
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
    for row in found["Scale, simulated"]:
        where = f"{row['uploads']:,} at {row['calls/min']:,} a minute{', ' * bool(row['with'])}{row['with']}"
        most = _SCALE.get((row["uploads"], row["calls/min"]), 1.12) if not row["with"] else 1.12
        yield "scale: drain / perfect", where, most, row["drain / perfect"]
    lambda_usd = next(float(row["USD for 1,000 images"]) for row in _of(found["What AWS asks for"], component="Lambda"))
    yield "Lambda, USD for 1,000 images", "at 600 a minute", 0.03, lambda_usd
    share = float(found["What AWS asks for"][-1]["of the image's price"].rstrip("%")) / 100
    yield "AWS, of an image's price", "2 MB photos", 0.01, share


def _of(some: list[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in some if all(row.get(name) == value for name, value in wanted.items())]
