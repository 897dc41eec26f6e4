"""The template as it is written, and as CloudFormation gets it."""

from functools import cache
from typing import Any

from cfnlint.decode.cfn_yaml import load as load_yaml

from tools.translated import TEMPLATE, translated


@cache
def source() -> Any:
    """`template.yaml`."""
    return load_yaml(str(TEMPLATE))


@cache
def template() -> Any:
    """What SAM makes of it."""
    return translated()
