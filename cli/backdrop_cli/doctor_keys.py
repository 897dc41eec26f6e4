"""What `backdrop doctor` says of idempotency keys: whether a repeated call is paid once."""

from collections import Counter
from itertools import islice
from urllib.parse import urlsplit

from backdrop.upload import REPLAY_KNOWN, REPLAY_NEW
from backdrop_cli.deployment import Deployment
from backdrop_cli.doctor_finding import Finding
from backdrop_cli.page import counted

WHAT = "keys"
DOCUMENTED = {"api.aigateway.sh"}
"""Hosts of gateways whose pages say that they honour idempotency keys; docs/gateways.md has the others."""
_LOOKED_AT = 1000  # uploads of the ledger
_PARK = "Deploy with OnUnknownOutcome=park: then people decide about a call whose answer got lost."


def keys(deployment: Deployment, is_documented: bool) -> Finding:
    """What repeated calls of the ledger's uploads showed, or else what is documented.

    `is_documented` when the gateway's API shows that it is one whose pages say so.
    """
    seen = Counter(
        what
        for record in islice(deployment.records.all(), _LOOKED_AT)
        for line in record.history
        for what in (REPLAY_KNOWN, REPLAY_NEW)
        if line.endswith(what)
    )
    if seen[REPLAY_KNOWN]:
        return Finding(WHAT, "ok", f"honoured: {counted(seen[REPLAY_KNOWN], 'repeated call')} brought the first answer")
    host = urlsplit(deployment.settings.gateway_base_url).hostname
    if seen[REPLAY_NEW]:
        says = f"{counted(seen[REPLAY_NEW], 'repeated call')} brought no word of an earlier one: perhaps paid twice"
    elif is_documented or host in DOCUMENTED:
        return Finding(WHAT, "ok", "honoured, as the gateway documents")
    else:
        says = f"{host} is not known to honour idempotency keys: a repeated call may be paid twice"
    if deployment.settings.on_unknown_outcome == "park":
        return Finding(WHAT, "ok", f"{says}; so OnUnknownOutcome is park")
    return Finding(WHAT, "doubt", says, _PARK)
