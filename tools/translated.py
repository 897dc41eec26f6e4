"""`python -m tools.translated`: the template as CloudFormation gets it, after the SAM transform, as JSON.

Some mistakes, a circular dependency above all, show only there.
"""

import json
import os
from pathlib import Path
from typing import Any

from cfnlint.decode.cfn_yaml import load
from samtranslator.translator.transform import transform

TEMPLATE = Path(__file__).parent.parent / "template.yaml"


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}


def translated(path: Path = TEMPLATE) -> Any:
    """The translated template, with a stand-in for the code that `sam build` would upload."""
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    template = load(str(path))
    for resource in template["Resources"].values():
        for uri in ("CodeUri", "ContentUri"):
            if uri in resource.get("Properties", {}):
                resource["Properties"][uri] = "s3://bucket/key"
    return transform(template, {"AWS::Region": "us-east-1"}, _NoManagedPolicies())


if __name__ == "__main__":
    print(json.dumps(translated(), indent=2))
