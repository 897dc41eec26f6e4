from collections.abc import Iterator

import pytest

from tests.e2e.deployed import Deployed, Mailbox, listening
from tools.files import SAMPLE_PHOTO
from tools.local_stack import LocalStack, with_iam_enforced

LOST_PROMPT = "a lost upload"
LOST_KEY = "lost/mug.jpg"
"""Uploaded without a notification at the start, because reconcile leaves it alone for two minutes."""


HALVES = {
    "commands": (
        "test_cli.py",
        "test_cli_says_why.py",
        "test_gallery.py",
        "test_review.py",
        "test_alarms.py",
        "test_existing_bucket.py",
        "test_deploy.py",
        "test_demo.py",
        "test_wheel.py",
    ),
    "uploads": ("test_events.py", "test_pace.py", "test_pay_once.py", "test_reconcile.py", "test_uploads.py"),
}
"""What `--dist loadgroup` is to give to one process, with a stack of its own; about as long as each other.

pytest-xdist 3.8 can't do so with pytest 9, which no longer reads the attribute that it writes: until it can, tests are
spread one by one.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for half, files in HALVES.items():
            if item.path.name in files:
                item.add_marker(pytest.mark.xdist_group(half))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """The real template on a local stack of the tests' own, at ten calls a second, with IAM enforced."""
    with with_iam_enforced(tmp_path_factory.mktemp("local-stack")) as stack:
        stack.deploy(RequestsPerMinute=600, ReconcileSchedule="off")
        stack.put_unnoticed(LOST_KEY, SAMPLE_PHOTO.read_bytes(), LOST_PROMPT)
        yield stack


@pytest.fixture(scope="session")
def all_events(stack: LocalStack) -> Iterator[Mailbox]:
    """Everything that is published while the tests run."""
    with listening(stack, {"source": [{"prefix": ""}]}) as mailbox:
        yield mailbox


@pytest.fixture
def deployed(stack: LocalStack, all_events: Mailbox) -> Deployed:
    stack.gateway.reset()
    stack.gateway.settings(image_pixels=20_000, rate_limit=None)
    deployed = Deployed(stack)
    deployed.forget_the_pace()
    return deployed
