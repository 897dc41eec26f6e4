"""What was aimed at, beside what was measured; and why, where it was missed."""

from collections.abc import Iterator
from typing import Any

from tools.bench.scenario import Scenario
from tools.bench.workers import OURS

Rows = dict[str, list[dict[str, Any]]]
"""By title of their section."""

EXPLAINED = """Shares are ours divided by the other's."""

WHY_NOT = {
    "TLS: CPU ms of an upload": (
        "**TLS, milliseconds.** These are a machine's, and grow with whatever else runs on it. An earlier run of "
        "2026-11-30, when an upload still made eleven requests, had 33, 36 and 47 ms, and the floor 13. What one "
        "function takes of another's holds."
    ),
    "TLS: CPU ms of the first upload": "**TLS, the first upload.** As above: 52, 52 and 60 ms then.",
    "TLS: cold, of the alternative as it is": (
        "**TLS, cold.** In CPU it is met. In that earlier run it was 0.34 in time, too."
    ),
    "TLS: CPU of an upload, of the floor": (
        "**TLS, of the floor.** An upload makes ten requests, eight of them to AWS, where the floor makes four, two of "
        "them to AWS. Without sockets it takes 303,000 of Python's instructions and the floor 102,000: 213,000 are "
        "botocore's for eight requests, 26,700 each, where the floor's two take 37,000 each. Most of the rest is the "
        "record in DynamoDB's form, and the link, which the floor has, too. Over TLS, ours also opens two new "
        "connections to the gateway for each upload, the floor keeps one: one that went stale would make a call that "
        "was never sent look like one of unknown outcome."
    ),
    "warm with AWS's times: of the floor": (
        "**Warm, with AWS's times.** Eight requests to AWS, 128 ms of what they typically take, where the floor makes "
        "two, 70 ms. 25 ms of the difference are the list by which an unchanged photo is not bought again, 15 the "
        "event, 24 the four writes by which nothing is paid twice, in pace and in order. CPU time of a machine that "
        "is shared by many is higher, for all functions."
    ),
    "scale: drain / perfect": (
        "**Drain.** Slots are 1.05 times as far apart as the limit asks, places in the queue 1.02 times as far as "
        "slots, and repeated calls, 1 % here, fill a part of the gaps: 1.05 × 1.02 ÷ 1.01 is 1.06, less what the last "
        "calls take in both. Both stay. A gateway that counts its limit by the second answers 2.3 % of the calls with "
        "429 at 1.05 and 4.8 % at 1.02; places 1.01 apart cost up to 2.86 invocations an upload. With neither of "
        "them, and without failures, 1,000 at 600 a minute take 1.04: 5 of about 130 seconds for a worker's start, the "
        "moments by which SQS is late, and the last result. At 3,000 a minute the queue's pollers are as many as it "
        "takes after minutes only; [many uploads at once](many-uploads.md) says what to set."
    ),
    "ten executions: drain / perfect": (
        "**Ten executions.** With S3 notifying the function, Lambda tries events that it had no room for again after "
        "waits that double to five minutes. `NotifyQueue=true` is for such accounts."
    ),
    "ten executions: drain / perfect with any number": (
        "**Ten executions, beside any number.** Ten calls at a time, of 12 or of 20 seconds each, are 50 or 30 a "
        "minute, where 60 are allowed: 1.2 or 2 times as long, whatever the order. Only several calls an execution "
        "would change that; the decisions say why they are not built."
    ),
    "Lambda, USD for 1,000 images": (
        "**Lambda.** Each call is waited for by an execution of its own: 12 seconds at 256 MB are $0.05 for 1,000, "
        "before anything else. Several uploads an execution would bring it to $0.024; the decisions say why that is "
        "not built."
    ),
}
_TLS_CPU_MS = {"all kept": 35, "S3's and EventBridge's closed": 50, "all closed": 55}
_SCALE = {(1_000, 600): 1.05, (10_000, 600): 1.05, (10_000, 3_000): 1.08}
"""Of a perfect scheduler, by uploads and calls a minute."""


def has_one(scenario: Scenario) -> bool:
    """Whether there is a target for a simulated run."""
    return not scenario.name and (scenario.uploads, scenario.rpm) in _SCALE


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
    for row in _of(found["An upload over TLS"], function=OURS):
        where = row["connections"]
        yield "TLS: CPU ms of an upload", where, _TLS_CPU_MS[where], row["later, cpu ms"]
        yield "TLS: CPU of an upload, of the floor", where, 2, row["/ floor"]
        yield "TLS: CPU ms of the first upload", where, 90, row["first upload, cpu ms"]
    [cold] = _of(found["Cold start over TLS"], function="ours, with bytecode")
    yield "TLS: cold, of the alternative as it is", "first result, CPU", 0.4, cold["cpu / alternative"]
    yield "TLS: cold, of the alternative as it is", "first result, time", 0.4, cold["ms / alternative"]
    for row in _of(found["A warm upload by itself"], function=OURS):
        yield "warm with AWS's times: of the floor", f"{row['photo MB']:g} MB", 1.6, row["with AWS / floor"]
    runs = found["Scale, simulated"]
    for row in runs:
        pace = (row["uploads"], row["calls/min"])
        if pace in _SCALE and not row["with"]:
            yield "scale: drain / perfect", f"{pace[0]:,} at {pace[1]:,} a minute", _SCALE[pace], row["drain / perfect"]
    for row in found["Ten executions, simulated"]:
        where = f"calls of {row['seconds a call']} s{', NotifyQueue=true' * row['NotifyQueue']}"
        yield "ten executions: drain / perfect", where, 1.1, row["drain / perfect"]
        yield "ten executions: drain / perfect with any number", where, 1.1, row["of any number"]
    lambda_usd = next(float(row["USD for 1,000 images"]) for row in _of(found["What AWS asks for"], component="Lambda"))
    yield "Lambda, USD for 1,000 images", "at 600 a minute", 0.03, lambda_usd
    busy, calls = sum(row["429"] for row in runs), sum(row["paid"] + row["calls without an image"] for row in runs)
    yield "429 in 10,000 calls, of a strict limit", f"{calls:,} simulated calls", 1, busy / calls * 10_000
    linked = _of(found["Memory"], function=OURS, route="generations", answer="url")
    yield "memory: a quarter to spare, MiB", "generations, any mix of sizes", 192, max(row["MiB"] for row in linked)


def _of(some: list[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in some if all(row.get(name) == value for name, value in wanted.items())]
