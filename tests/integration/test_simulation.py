"""The simulation of `make simulate`: new seeds every run, and that it plays the same seed the same."""

import random
from typing import Any

import pytest

from backdrop.events import EventPublisher
from tools.files import ROOT
from tools.simulation.determinism import real_monotonic
from tools.simulation.drawing import draw
from tools.simulation.mutants import mutants
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


def test_an_error_of_the_program_itself_breaks_a_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    real, errors = EventPublisher.replaced, [ZeroDivisionError()]

    def broken_at_first(*arguments: Any) -> None:
        if errors:
            raise errors.pop()
        real(*arguments)

    monkeypatch.setattr(EventPublisher, "replaced", broken_at_first)

    assert any("ZeroDivisionError" in violation for violation in Play(draw(3)).run().violations)


def test_each_fault_that_is_put_in_on_purpose_still_has_its_place() -> None:
    stale = [mutant.name for mutant in mutants() if mutant.applied((ROOT / mutant.path).read_text()) is None]

    assert stale == []
