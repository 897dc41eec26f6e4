"""A plugin of detect-secrets, which knows the keys of AWS, GitHub and others but not those of the gateway."""

import re

from detect_secrets.plugins.base import RegexBasedDetector


class GatewayKeyDetector(RegexBasedDetector):  # type: ignore[misc]
    """Finds keys as gateways with OpenAI's interface give them out: `sk-` and a long random text."""

    secret_type = "Gateway key"  # noqa: S105  # pragma: allowlist secret - only its name
    denylist = (re.compile(r"\bsk-[A-Za-z0-9_-]{20,}"),)
