"""`python -m tools.simulation.mutants`: breaks each protection in turn, and says whether the simulation finds it.

Each mutant is played in a copy of the repository, from the same first seed on, until a promise is broken.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tools.files import ROOT

MUTANTS = Path(__file__).with_name("mutants.toml")
LAYER = "layers/backdrop/python"


@dataclass(frozen=True)
class Mutant:
    """`old` stands once in `file` and becomes `new`."""

    name: str
    file: str
    old: str
    new: str

    @property
    def path(self) -> str:
        """From the repository's root."""
        return self.file if "/" in self.file else f"{LAYER}/backdrop/{self.file}"

    def applied(self, text: str) -> str | None:
        """The file with the fault in it; None when `old` doesn't stand there once."""
        return text.replace(self.old, self.new) if text.count(self.old) == 1 else None


def mutants() -> list[Mutant]:
    """Those of the list."""
    return [Mutant(**each) for each in tomllib.loads(MUTANTS.read_text())["mutant"]]


def found_by(mutant: Mutant, seeds: int, first: int) -> tuple[int | None, str]:
    """After how many seeds a promise was broken, and which; None for not at all."""
    with tempfile.TemporaryDirectory() as folder:
        for part in ("tools", "functions", "layers", "cli"):
            shutil.copytree(ROOT / part, Path(folder, part), ignore=shutil.ignore_patterns("__pycache__"))
        text = mutant.applied((ROOT / mutant.path).read_text())
        if text is None:
            return None, "STALE: its text does not stand in the file once"
        Path(folder, mutant.path).write_text(text)
        command = [sys.executable, "-m", "tools.simulation", "--seeds", str(seeds), "--seed", str(first), "--stop"]
        paths = os.pathsep.join(str(Path(folder, part)) for part in ("", LAYER, "cli"))
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
        )
    violation = re.search(r"^seed (\d+): (.*)$", done.stdout, re.MULTILINE)
    if violation:
        return int(violation[1]) - first + 1, violation[2]
    if "seeds played" not in done.stdout:
        return 1, (done.stderr.strip().splitlines() or ["it did not start"])[-1]
    return None, "not found"


def main() -> int:
    """The command: a row of a table for each mutant."""
    parser = argparse.ArgumentParser(prog="python -m tools.simulation.mutants", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="at most, for each mutant")
    parser.add_argument("--seed", type=int, default=0, help="the first")
    parser.add_argument("--match", default="", help="only mutants with this in their name")
    arguments = parser.parse_args()
    chosen = [mutant for mutant in mutants() if arguments.match in mutant.name]
    found = stale = 0
    print("| protection that was broken | found after seeds | by |\n|---|---|---|", flush=True)
    for mutant in chosen:
        seeds, what = found_by(mutant, arguments.seeds, arguments.seed)
        found += seeds is not None
        stale += what.startswith("STALE")
        print(f"| {mutant.name} | {seeds or '–'} | {what} |", flush=True)
    print(f"\n{found} of {len(chosen)} found within {arguments.seeds} seeds each")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
