"""The simulation of `make simulate`: new seeds every run, and that it plays the same seed the same."""

import random

from tools.simulation.determinism import real_monotonic
from tools.simulation.drawing import draw
from tools.simulation.play import Play

SECONDS = 40.0


def test_new_seeds_break_no_promise() -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"first seed {seed}")
    ends = real_monotonic() + SECONDS
    while real_monotonic() < ends:
        assert Play(draw(seed)).run().violations == [], f"make simulate SEEDS=1 SEED={seed}"
        seed += 1


def test_one_seed_has_one_history() -> None:
    for seed in range(10):
        first, second = Play(draw(seed)).run(), Play(draw(seed)).run()

        assert first.history == second.history
