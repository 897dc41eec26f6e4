import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.deployed import Deployed
from tools.local_stack import SAMPLE_PHOTO, LocalStack

LOST_KEY = "lost/mug.jpg"
"""Uploaded without a notification at the start, because reconcile leaves it alone for two minutes."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """The real template on a local stack of the tests' own, at ten calls a second."""
    home: Path = tmp_path_factory.mktemp("local-stack")
    stack = LocalStack(home, free_port(), free_port(), build_folder=home / "build")
    stack.start()
    try:
        stack.deploy(RequestsPerMinute=600, ReconcileSchedule="off")
        stack.put_unnoticed(LOST_KEY, SAMPLE_PHOTO.read_bytes(), "a lost upload")
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def deployed(stack: LocalStack) -> Deployed:
    stack.gateway.reset()
    stack.gateway.settings(image_pixels=20_000, rate_limit=None)
    deployed = Deployed(stack)
    deployed.forget_the_pace()
    return deployed
