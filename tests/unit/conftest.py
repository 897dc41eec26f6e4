"""What several unit tests need."""

from dataclasses import replace

import pytest

from backdrop.settings import Settings
from tools.default_settings import DEFAULT_SETTINGS


@pytest.fixture
def settings() -> Settings:
    return replace(DEFAULT_SETTINGS, input_bucket="photos-in", output_bucket="photos-out")
