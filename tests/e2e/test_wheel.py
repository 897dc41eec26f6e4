"""The command as people install it: a wheel from a clean clone, in an environment with nothing else in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.e2e.deployed import Deployed
from tools.local_stack import CREDENTIALS

ROOT = Path(__file__).parents[2]
UV = ROOT / ".local/uv/bin/uv"


def done(*command: object, **environment: str) -> str:
    """What a command says, outside of the repository and of its environment."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    finished = subprocess.run(
        [str(part) for part in command],
        cwd="/",
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="there is no clone to be made")
def test_a_wheel_from_a_clean_clone_brings_a_command_that_works_and_no_tools(
    deployed: Deployed, tmp_path: Path
) -> None:
    done("git", "clone", "--quiet", "--depth=1", ROOT.as_uri(), tmp_path / "clone")
    done(UV, "build", "--quiet", "--wheel", "--out-dir", tmp_path, tmp_path / "clone")
    [wheel] = tmp_path.glob("*.whl")
    done(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "empty")
    done(UV, "pip", "install", "--quiet", "--python", tmp_path / "empty", wheel)
    command = tmp_path / "empty/bin/backdrop"
    environment = CREDENTIALS | {"AWS_ENDPOINT_URL": deployed.stack.endpoint_url, "HOME": str(tmp_path)}

    assert "doctor" in done(command, "--help", **environment)
    assert "fault" not in done(command, "doctor", "--json", **environment)
    folders = {name.partition("/")[0] for name in ZipFile(wheel).namelist()}
    assert {name for name in folders if not name.endswith(".dist-info")} == {"backdrop", "backdrop_cli"}
