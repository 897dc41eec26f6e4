"""The fast half of `make second-opinion`; tests/integration/test_simulated_aws.py has the other."""

import pytest

from tools import second_opinion


def test_the_translated_template_makes_its_stack_in_motos_cloudformation(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    assert second_opinion.cloudformation()
