"""`python -m tools.simulation`: plays seeds, and tells each violation with its seed."""

import argparse
import random
import sys

from tools.simulation.determinism import real_monotonic
from tools.simulation.drawing import draw
from tools.simulation.play import Play


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tools.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--seed", type=int, help="the first; else a random one")
    parser.add_argument("--story", action="store_true")
    arguments = parser.parse_args()
    first = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**9)
    print(f"first seed {first}", flush=True)
    began = real_monotonic()
    failed = 0
    for seed in range(first, first + arguments.seeds):
        play = Play(draw(seed)).run()
        for violation in play.violations[:3]:
            print(f"seed {seed}: {violation}", flush=True)
        failed += bool(play.violations)
        if arguments.story:
            for at, who, what in play.history:
                print(f"{at - play.begin:10.2f} {who}: {what}")
    print(f"{arguments.seeds} seeds played, {failed} with a violation, {real_monotonic() - began:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
