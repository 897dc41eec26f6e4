"""What a cold start has to import; tools/bench/cold.py says what that takes."""

import json
import re
import subprocess
import sys
import sysconfig
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.unit.test_settings import ENVIRONMENT

ROOT = Path(__file__).parents[2]
SITE = Path(sysconfig.get_path("purelib"))
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "urllib3", "six")
LAYER = re.findall(r"^([\w-]+)==", (ROOT / "layers/dependencies/requirements.txt").read_text(), re.MULTILINE)

# A few more than there are: httpx, boto3 and Python may grow a little.
MOST_LIBRARY_MODULES = 300
MOST_OWN_MODULES = 52  # small ones: from 30 to 39, with the same code in them, took no time that could be measured
MOST_OF_THE_STANDARD_LIBRARY = 250
CLIENTS = ["dynamodb", "events", "s3", "sqs", "ssm"]
READY = """
import json, sys
sys.path[:0] = sys.argv[1:]
import boto3, botocore.config
clients, make = [], boto3.Session.client
def client(session, name, **more):
    clients.append(name)
    more["config"] = more["config"].merge(botocore.config.Config(retries={"total_max_attempts": 1}))
    return make(session, name, **more)
boto3.Session.client = client
import app
print(json.dumps([list(sys.modules), clients]))
"""
NOWHERE = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",  # pragma: allowlist secret - made up
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
}
NEVER = {
    *("openai", "httpx2", "requests", "aiohttp", "pydantic", "fastjsonschema", "aws_xray_sdk", "datadog_lambda"),
    *("PIL", "numpy", "click", "rich", "pygments", "moto"),
    *("aws_lambda_powertools.event_handler", "aws_lambda_powertools.utilities.batch"),
    *("aws_lambda_powertools.utilities.idempotency", "aws_lambda_powertools.utilities.parser"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a function can import: the layers' packages and what the Lambda runtime brings."""
    folder = tmp_path_factory.mktemp("importable")
    (folder / "backdrop").symlink_to(ROOT / "layers/backdrop/python/backdrop")
    for name in {*LAYER, *RUNTIME}:
        for part in {file.parts[0] for file in distribution(name).files or []} - {"..", "__pycache__"}:
            (folder / part).symlink_to(SITE / part)
    return folder


def ready(folder: Path, function: str) -> tuple[set[str], set[str], list[str]]:
    """What a fresh process has when its handler is ready: modules beyond the standard library and of it; clients."""
    done = subprocess.run(
        [sys.executable, *("-I", "-S", "-B", "-c", READY), str(ROOT / "functions" / function), str(folder)],
        env=ENVIRONMENT | NOWHERE,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    modules, clients = json.loads(done.stdout)
    others = {name for name in modules if name.partition(".")[0] not in sys.stdlib_module_names}
    return others, set(modules) - others, clients


@pytest.mark.parametrize("function", ["replace_background", "retry", "reconcile"])
def test_a_cold_start_imports_no_more_than_it_needs(folder: Path, function: str) -> None:
    modules, standard, clients = ready(folder, function)
    assert modules & NEVER == set()
    own = {name for name in modules if name.partition(".")[0] == "backdrop"}
    assert len(own) <= MOST_OWN_MODULES, sorted(own)
    assert len(modules - own) <= MOST_LIBRARY_MODULES, sorted(modules - own)
    assert len(standard) <= MOST_OF_THE_STANDARD_LIBRARY, sorted(standard)
    assert sorted(clients) == CLIENTS
