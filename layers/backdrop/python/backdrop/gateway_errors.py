"""What an answer of the gateway that reports an error means, as a GatewayError."""

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from backdrop import http_client
from backdrop.errors import (
    AccountFault,
    BadRequestError,
    CallFailed,
    FailureFacts,
    GatewayBusy,
    GatewayError,
    OutcomeUnknown,
)
from backdrop.gateway_words import detail, error_object, opaque, told_code

RETRY_AFTER_SECONDS = (1.0, 900.0)  # what is asked for is clamped to this
ORIGIN_NOT_REACHED = {521, 522, 523, 525, 526, 529, 530}
"""A proxy says that no connection to the gateway was made, or that it turns calls away.

https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/
"""
_ACCOUNT_FAULTS = {401, 402, 403, 404}
_NO_MONEY = {
    "billinghardlimitreached",
    "insufficientcredits",
    "insufficientquota",
    "insufficientbalance",
    "insufficientfunds",
    "creditbalancetoolow",
    "outofcredits",
    "paymentrequired",
    "budgetexceeded",
    "spendcapexceeded",
    "billingnotactive",
    "exceededcurrentquotaerror",
    "accountoverdueerror",
    "arrearage",
}
"""Codes and types of errors that say that the account has no money, in letters and digits only; with any 4xx."""
_PHOTO_NOT_FETCHED = {
    "filedownloaderror",
    "imagedownloadfailed",
    "imagedownloaderror",
    "imagefetchfailed",
    "imagefetcherror",
    "failedtodownloadimage",
    "invalidimageurl",
    "imageurlunreachable",
}
"""Codes and types that say that the gateway could not download the photo from its link."""


def error_of(response: http_client.Response, prompt: str, key: str) -> GatewayError:
    """What an answer other than 2xx means; of its words only what is safe to log."""
    status = response.status
    said = error_object(response.body)
    message = f"the gateway answered {status}{detail(said, prompt, key)}"
    codes = [str(said.get(name) or "") for name in ("code", "type")]
    names = set(map(plain_name, codes))
    code = told_code(codes, prompt, key, says_no_money)
    wait = retry_after(response.headers.get("retry-after"))
    if status in _ACCOUNT_FAULTS or (400 <= status < 500 and names & _NO_MONEY):
        return AccountFault(status, message, code)
    if status == 429 or status in ORIGIN_NOT_REACHED:
        return GatewayBusy(status, message, code, wait)
    if status == 408 or 500 <= status < 600:
        request_id = opaque(response.headers.get("x-request-id", ""))
        return CallFailed(
            status,
            message,
            code,
            FailureFacts(wait, request_id, is_replayed(response.headers), bool(said.get("message"))),
        )
    if 400 <= status < 500:
        return BadRequestError(status, message, code, bool(names & _PHOTO_NOT_FETCHED))
    # Redirected: nobody can say what was charged.
    return OutcomeUnknown(message)


def retry_after(header: str | None, now: datetime | None = None) -> float | None:
    """Seconds to wait from a Retry-After header, as seconds or an HTTP date, clamped; None when absent or garbage."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            at = parsedate_to_datetime(header)
        except (ValueError, OverflowError):
            return None
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - (now or datetime.now(UTC))).total_seconds()
    if not math.isfinite(seconds):
        return None
    least, most = RETRY_AFTER_SECONDS
    return min(max(seconds, least), most)


def says_no_money(code: str) -> bool:
    """Whether a gateway's code or type of an error says that the account has no money."""
    return plain_name(code) in _NO_MONEY


def plain_name(code: str) -> str:
    """A gateway's code or type in small letters and digits only: each writes them its own way."""
    return re.sub(r"[^a-z0-9]", "", code[:100].lower())


def is_replayed(headers: httpx.Headers) -> bool:
    """Whether a header such as `Idempotent-Replayed: true` says that this is the stored answer to an earlier call."""
    return any(
        "idempoten" in name and "replay" in name and value.strip().lower() not in ("", "false", "0", "no")
        for name, value in headers.items()
    )
