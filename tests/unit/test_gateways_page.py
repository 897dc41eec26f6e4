"""docs/gateways.md: what it tells people to type is what arrives."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from backdrop.settings import Settings
from tests.unit.test_settings import ENVIRONMENT

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "gateways.md").read_text()
SAM_PYTHON = ROOT / ".venv-sam" / "bin" / "python"
READ_BY_SAM = """
import json, sys
from samcli.cli.types import CfnParameterOverridesType
print(json.dumps(CfnParameterOverridesType().convert(tuple(sys.argv[1:]), None, None)))
"""


def section(title: str) -> str:
    return PAGE.partition(f"# {title}\n")[2].partition("\n#")[0]


@pytest.mark.skipif(not SAM_PYTHON.exists(), reason="the SAM CLI is not installed; `make setup` does it")
@pytest.mark.parametrize("shell", ["bash", "zsh", "file"])
def test_json_reaches_the_settings_as_it_was_written(shell: str, tmp_path: Path) -> None:
    text = section("JSON through `sam deploy`")
    if shell == "file":
        (file,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
        (tmp_path / "gateway.yaml").write_text(file)
        arguments = [f"file://{tmp_path / 'gateway.yaml'}"]
    elif not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    else:
        (line,) = re.findall(r"--parameter-overrides ('.*)\n", text)
        done = subprocess.run([shell, "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True)
        arguments = done.stdout.rstrip("\0").split("\0")
    done = subprocess.run([SAM_PYTHON, "-c", READ_BY_SAM, *arguments], capture_output=True, text=True, check=True)
    read = json.loads(done.stdout)
    names = {"GatewayRoute": "GATEWAY_ROUTE", "GatewayExtraFields": "GATEWAY_EXTRA_FIELDS"}
    settings = Settings.from_environment(ENVIRONMENT | {names[name]: read[name] for name in names})
    example = {"image_url": None, "images": [{"image_url": "{image}"}], "seed": 7}
    assert (settings.gateway_extra_fields, settings.gateway_route) == (example, "edits")
