"""`python -m tools.simulation`: plays seeds, tells each violation with its seed, and the first as a short story.

`make simulate SEEDS=n [SEED=first]` is the same.
"""

import argparse
import gc
import hashlib
import random
import sys
from dataclasses import replace

from tools.simulation import story
from tools.simulation.determinism import real_monotonic
from tools.simulation.drawing import draw
from tools.simulation.play import Play
from tools.simulation.shrinking import kind, shrunk

COLLECTED_EVERY = 50  # seeds; a collection takes as long as a short play


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tools.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--seed", type=int, help="the first; else a random one")
    parser.add_argument("--only", help="of its events only those with these numbers, as in 0,3,4")
    parser.add_argument("--story", action="store_true", help="tell what happens")
    parser.add_argument("--stop", action="store_true", help="end with the first violation, without its story")
    arguments = parser.parse_args()
    first = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**9)
    print(f"first seed {first}", flush=True)
    began = real_monotonic()
    failed: list[Play] = []
    digest = hashlib.sha256()
    gc.disable()
    for seed in range(first, first + arguments.seeds):
        if seed % COLLECTED_EVERY == 0:
            gc.collect()
        plan = draw(seed)
        if arguments.only:
            plan = replace(plan, kept=tuple(map(int, arguments.only.split(","))))
        play = Play(plan).run()
        digest.update(repr(play.history).encode())
        for violation in play.violations:
            print(f"seed {seed}: {violation}", flush=True)
        if play.violations:
            failed.append(play)
        if arguments.story:
            print(*story.told(play), sep="\n")
        if failed and arguments.stop:
            return 1
    if failed and not arguments.story:
        _tell(failed[0])
    seconds = real_monotonic() - began
    print(f"{arguments.seeds} seeds played, {len(failed)} with a violation; histories {digest.hexdigest()[:16]}")
    print(f"took {seconds:.1f} s, {arguments.seeds / seconds:.1f} seeds a second")
    return 1 if failed else 0


def _tell(play: Play) -> None:
    """The first violation of a play, with as few events as still lead to it."""
    violation = play.violations[0]
    short = Play(shrunk(play.plan, violation)).run()
    print(f"\nThe shortest way found to {kind(violation)!r}; play it with\n  {story.command(short)}\n")
    print(*story.told(short), sep="\n")
    print()


if __name__ == "__main__":
    sys.exit(main())
