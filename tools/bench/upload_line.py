"""`python -m tools.bench.upload_line --aws PATH`: `backdrop submit` beside `aws s3 cp --recursive`, in pairs.

Both send a folder to the local stack's S3 over one line of so many MB/s and so long a round trip.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tools.bench.line import Run, Sender, photos, sender, submit
from tools.bench.report import table


def pair(to: Sender, aws: str, folder: Path, name: str, is_ours_first: bool) -> tuple[Run, Run]:
    """The AWS CLI's run and ours, one after the other."""
    commands: dict[str, Sequence[object]] = {
        "aws": (aws, "s3", "cp", "--recursive", folder, f"s3://{to.bucket}/aws-{name}/"),
        "ours": submit(folder, f"ours-{name}/", "--yes"),
    }
    runs = {which: to.run(*commands[which]) for which in sorted(commands, reverse=is_ours_first)}
    return runs["aws"], runs["ours"]


def row(count: int, megabytes: float, pairs: list[tuple[Run, Run]]) -> dict[str, Any]:
    """Medians, and the ratios of each pair."""
    ratios = [ours.seconds / aws.seconds for aws, ours in pairs]
    aws_seconds, our_seconds = (median(run.seconds for run in runs) for runs in zip(*pairs, strict=True))
    aws_cpu, our_cpu = (median(run.cpu_seconds for run in runs) for runs in zip(*pairs, strict=True))
    return {
        "photos": count,
        "MB": round(megabytes),
        "ratio of the times, pair by pair": ", ".join(f"{ratio:.2f}" for ratio in ratios),
        "median": f"{median(ratios):.2f}",
        "seconds, `submit` and `aws`": f"{our_seconds:.1f} and {aws_seconds:.1f}",
        "MB/s": f"{megabytes / our_seconds:.1f} and {megabytes / aws_seconds:.1f}",
        "CPU seconds": f"{our_cpu:.1f} and {aws_cpu:.1f}",
        "of the CPU": f"{median(ours.cpu_seconds / aws.cpu_seconds for aws, ours in pairs):.2f}",
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.upload_line", description=__doc__)
    parser.add_argument("--aws", required=True, help="the AWS CLI")
    parser.add_argument("--photos", type=int, nargs="+", default=[200, 300])
    parser.add_argument("--bytes", type=int, default=1_000_000, help="of a photo")
    parser.add_argument("--megabytes-a-second", type=float, default=8.0)
    parser.add_argument("--round-trip-seconds", type=float, default=0.04)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    rows = []
    with sender(options.megabytes_a_second * 1e6, options.round_trip_seconds) as to:
        few = to.home / "few"
        photos(few, 2, 1_000)
        pair(to, options.aws, few, "few", is_ours_first=True)  # neither is measured while its bytecode is written
        for count in options.photos:
            folder = to.home / f"photos-{count}"
            megabytes = photos(folder, count, options.bytes) / 1e6
            pairs = []
            for number in range(options.pairs):
                pairs.append(pair(to, options.aws, folder, f"{count}-{number}", is_ours_first=number % 2 == 0))
                aws, ours = pairs[-1]
                print(f"{count} photos: {ours.seconds:.1f} s, aws {aws.seconds:.1f} s", file=sys.stderr, flush=True)
            rows.append(row(count, megabytes, pairs))
    print(f"Load {', '.join(f'{load:.1f}' for load in os.getloadavg())} on {os.cpu_count()} cores.\n")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
