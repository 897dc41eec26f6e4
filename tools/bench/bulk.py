"""`python -m tools.bench.bulk`: many uploads at once on the local stack, beside a variant with SQS's backoff alone."""

import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tools.bench.report import table
from tools.files import ROOT, SAMPLE_PHOTO
from tools.local_stack import LocalStack
from tools.polling import until

UPLOADS = 300
CALLS_A_SECOND = 10
CALL_SECONDS = 0.5
MAX_INLINE_WAIT_SECONDS = 400.0


def measured(name: str, template: Path, **parameters: object) -> list[dict[str, Any]]:
    """Two runs on a stack of its own: while workers still start, and with workers that are there."""
    home = Path(tempfile.mkdtemp(prefix="backdrop-bulk-"))
    stack = LocalStack(home, template=template)
    stack.start()
    try:
        stack.deploy(**parameters)
        stack.gateway.settings(
            image_pixels=20_000,
            latency_seconds=CALL_SECONDS,
            rate_limit={"requests": CALLS_A_SECOND, "seconds": 1},
        )
        return [{"variant": name, "workers": workers} | _drained(stack, workers) for workers in ("cold", "warm")]
    finally:
        stack.stop()


def _drained(stack: LocalStack, folder: str) -> dict[str, Any]:
    s3, outputs = stack.client("s3"), stack.outputs
    photo = SAMPLE_PHOTO.read_bytes()
    invoked, called = _invocations(stack), len(stack.gateway.calls())
    began = time.time()
    for number in range(UPLOADS):
        s3.put_object(
            Bucket=outputs["InputBucketName"],
            Key=f"{folder}/{number}.jpg",
            Body=photo,
            Metadata={"prompt": f"wood {number}"},
        )
    pages = s3.get_paginator("list_objects_v2")

    def stored() -> int:
        found = pages.paginate(Bucket=outputs["OutputBucketName"], Prefix=f"{folder}/")
        return sum(page["KeyCount"] for page in found)

    with contextlib.suppress(TimeoutError):  # said by the number of those that are stored
        until("everything stored", lambda: stored() >= UPLOADS, MAX_INLINE_WAIT_SECONDS, every=0.5)
    calls = stack.gateway.calls()[called:]
    took = time.time() - began
    return {
        "stored": stored(),
        "calls": len(calls),
        "429": sum(call["status"] == 429 for call in calls),
        "first call after s": round(min(call["at"] for call in calls) - began, 1),
        "seconds": round(took, 1),
        "drain / ideal": round(took / (UPLOADS / CALLS_A_SECOND), 2),
        "invocations": round((_invocations(stack) - invoked) / UPLOADS, 2),
    }


def _invocations(stack: LocalStack) -> int:
    """From the line that Lambda logs when an invocation begins."""
    logs = stack.client("logs")
    pages = logs.get_paginator("filter_log_events")
    return sum(
        event["message"].startswith("START")
        for group in logs.describe_log_groups()["logGroups"]
        for page in pages.paginate(logGroupName=group["logGroupName"])
        for event in page["events"]
    )


def rows() -> list[dict[str, Any]]:
    """Ours and the other, one after the other."""
    return [
        *measured("Backdrop", ROOT / "template.yaml", RequestsPerMinute=CALLS_A_SECOND * 60, ReconcileSchedule="off"),
        *measured("SQS backoff", Path(__file__).parent / "plain" / "template.yaml"),
    ]


if __name__ == "__main__":
    print(table(rows()))
    sys.exit(0)
