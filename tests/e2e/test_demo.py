"""`make demo` on a stack that runs."""

from pathlib import Path

import pytest

from tests.e2e.deployed import Deployed
from tests.unit.test_page import Parsed
from tools import demo
from tools.files import SAMPLES
from tools.local_stack import LocalStackError


def test_demo_submits_the_samples_and_shows_them_beside_the_one_that_failed(
    deployed: Deployed, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    demo.run(deployed.stack, tmp_path)

    said = capfd.readouterr().out
    assert "6 photos submitted" in said
    assert "no-prompt.jpg\n  missing_prompt: " in said
    assert "7 photos, 1 failed, $0.18" in said
    page = (tmp_path / demo.PAGE).read_text()
    assert len(Parsed(page).images()) == 2 * len(SAMPLES) + 1
    assert all(prompt in page for prompt in demo.PROMPTS.values())
    sold = [charge["prompt"] for charge in deployed.gateway.charges()]
    assert sorted(prompt for prompt in sold if prompt in demo.PROMPTS.values()) == sorted(demo.PROMPTS.values()), sold


def test_demo_says_so_when_a_command_of_it_fails(deployed: Deployed, tmp_path: Path) -> None:
    deployed.gateway.faults([{"kind": "status", "status": 422, "match": "mint"}])

    with pytest.raises(LocalStackError, match=r"`backdrop submit .*` failed"):
        demo.run(deployed.stack, tmp_path)
