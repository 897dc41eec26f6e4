"""The AI gateway's images API: requests, answers and what each status means for the upload and the wallet."""

import hashlib
import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from backdrop import answers, http, images
from backdrop.answers import MAX_ANSWER_BYTES
from backdrop.errors import (
    AccountFault,
    CallFailed,
    FailureFacts,
    GatewayBusy,
    GatewayError,
    KeyThrottled,
    NeverSent,
    NoImage,
    OutcomeUnknown,
    Refused,
)
from backdrop.ledger import Call
from backdrop.request import Request
from backdrop.settings import Settings

RETRY_AFTER_SECONDS = (1.0, 900.0)  # what is asked for is clamped to this
MAX_ERROR_BYTES = 2**16
MAX_KEPT_BYTES = 2**16  # of an answer without an image; a ledger item holds 400 KB
_MAX_CENTS = 100_000  # more is no price
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
_QUOTE_CHARACTERS = 12  # a message that repeats this many characters of the prompt quotes it
_SEARCHED_CHARACTERS = 2000  # the search takes time by their square
_NEVER = 2.0**40  # epoch seconds
PATHS = {"generations": "/images/generations", "edits": "/images/edits", "edits-multipart": "/images/edits"}


@dataclass(frozen=True)
class Answer:
    """What was bought: links to fetch, or the images themselves when the gateway sent them inline.

    When it sent both, each is as long as there are images, and empty where the other one has the image.
    """

    links: tuple[str, ...]
    inline: tuple[bytes, ...]
    request_id: str
    cost_usd: Decimal


class Gateway:
    """Sends calls. `api_key(fresh)` returns the key, read anew from its store when `fresh`."""

    def __init__(
        self, settings: Settings, api_key: Callable[[bool], str], transport: httpx.BaseTransport | None = None
    ) -> None:
        self._settings = settings
        self._api_key = api_key
        self._client = http.new_client(transport)

    def new_call(
        self, request: Request, image_link: str, idempotency_key: str, now: float, link_dies_at: float
    ) -> Call:
        """The call for a request; `image_link` is what the gateway fetches the photo from. Times are epoch seconds."""
        route = self._settings.gateway_route
        fields: dict[str, Any] = {"model": self._settings.gateway_model, "prompt": request.prompt, "n": request.n}
        if route == "generations":
            fields["response_format"] = "url"
        if route != "edits-multipart":
            fields["image_url"] = image_link
        if request.size:
            fields["size"] = request.size
        if route == "edits-multipart":
            link_dies_at = _NEVER  # there is none
        return Call(idempotency_key, route, json.dumps(fields), link_dies_at, now)

    def have_key(self) -> None:
        """Read the key if it is not at hand. Raises KeyThrottled; what else is wrong with it, the call will tell."""
        try:
            self._api_key(False)
        except KeyThrottled:
            raise
        except NeverSent:
            pass

    def send(self, call: Call, photo: bytes, seconds: float) -> Answer:
        """Make one call; `photo` is sent by a file upload only. Raises a GatewayError that says what is known."""
        fields = json.loads(call.body)
        upload = photo if call.route == "edits-multipart" else None
        ends_at = time.monotonic() + seconds
        key = self._api_key(False).strip() or self._api_key(True).strip()
        response = self._post(call, fields, upload, key, seconds)
        if response.status == 401:
            fresh_key = self._api_key(True).strip()  # it may have been rotated
            if fresh_key != key:
                key = fresh_key
                response = self._post(call, fields, upload, key, max(1.0, ends_at - time.monotonic()))
        if not 200 <= response.status < 300:
            raise _error(response, fields["prompt"], key)
        return self._answer(response, call, key)

    def _post(
        self, call: Call, fields: dict[str, Any], upload: bytes | None, key: str, seconds: float
    ) -> http.Response:
        if not is_key(key):
            raise NeverSent("the gateway key in SSM is empty or has characters that no key has")
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": call.idempotency_key}
        url = self._settings.gateway_base_url + PATHS[call.route]
        if upload is None:
            headers["Content-Type"] = "application/json"
            request = self._client.build_request("POST", url, headers=headers, content=call.body.encode())
        else:
            # A replay must be the same byte for byte, and so must its boundary; a prompt can't hold a digest of itself.
            boundary = hashlib.sha256(f"{call.idempotency_key} {call.body}".encode()).hexdigest()
            headers["Content-Type"] = f"multipart/form-data; boundary={boundary}"
            kind = images.sniff(upload) or images.JPEG
            file = (f"photo.{kind.extension}", upload, kind.content_type)
            texts = {name: str(value) for name, value in fields.items()}
            request = self._client.build_request("POST", url, headers=headers, data=texts, files={"image": file})
        try:
            return http.exchange(self._client, request, seconds, MAX_ANSWER_BYTES)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
            raise NeverSent(f"no connection to the gateway: {type(error).__name__}") from None
        except httpx.TransportError as error:
            raise OutcomeUnknown(f"sent, but no complete answer: {type(error).__name__}") from None

    def _answer(self, response: http.Response, call: Call, key: str) -> Answer:
        fields = json.loads(call.body)
        request_id = _opaque(response.headers.get("x-request-id", ""))
        base = urlsplit(self._settings.gateway_base_url)
        body, what = response.body, "no image"
        found: tuple[str | bytes, ...] = ()
        try:
            if response.is_cut:
                raise answers.UnreadableAnswer(f"more than {MAX_ANSWER_BYTES} bytes")
            body = answers.inflated(body, response.headers.get("content-encoding", ""))
            found = answers.images(body, fields["n"], f"{base.scheme}://{base.netloc}", call.body)
        except answers.CutAnswer:
            raise OutcomeUnknown("the answer was cut off") from None
        except answers.UnreadableAnswer as error:
            what = str(error)
        if found:
            links = tuple(image if isinstance(image, str) else "" for image in found)
            inline = tuple(image if isinstance(image, bytes) else b"" for image in found)
            cost = self._cost(response, fields["n"])
            return Answer(links if any(links) else (), inline if any(inline) else (), request_id, cost)
        said = _detail(_error_object(body), fields["prompt"], key)
        message = f"status {response.status} with {what} (request {request_id}){said}"
        if response.status != 200:  # accepted for later, perhaps: nobody can say what was charged
            raise OutcomeUnknown(message)
        raise NoImage(message, body[:MAX_KEPT_BYTES])

    def _cost(self, response: http.Response, n: int) -> Decimal:
        try:
            cents = Decimal(response.headers["x-cost-cents"])
            if 0 <= cents <= _MAX_CENTS:
                return cents / 100
        except (KeyError, ArithmeticError):
            pass
        return self._settings.price_per_image_usd * n


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


def is_key(text: str) -> bool:
    """Whether it can be a key at all: what goes into a header."""
    return bool(text) and text.isascii() and text.isprintable()


def _error(response: http.Response, prompt: str, key: str) -> GatewayError:
    status = response.status
    said = _error_object(response.body)
    message = f"the gateway answered {status}{_detail(said, prompt, key)}"
    codes = [str(said.get(name) or "") for name in ("code", "type")]
    names = set(map(plain_name, codes))
    code = _told_code(codes, prompt, key)
    wait = retry_after(response.headers.get("retry-after"))
    if status in _ACCOUNT_FAULTS or (400 <= status < 500 and names & _NO_MONEY):
        return AccountFault(status, message, code)
    if status == 429 or status in ORIGIN_NOT_REACHED:
        return GatewayBusy(status, message, code, wait)
    if status == 408 or 500 <= status < 600:
        request_id = _opaque(response.headers.get("x-request-id", ""))
        return CallFailed(
            status,
            message,
            code,
            FailureFacts(wait, request_id, _is_replayed(response.headers), bool(said.get("message"))),
        )
    if 400 <= status < 500:
        return Refused(status, message, code, bool(names & _PHOTO_NOT_FETCHED))
    # Redirected: nobody can say what was charged.
    return OutcomeUnknown(message)


def says_no_money(code: str) -> bool:
    """Whether a gateway's code or type of an error says that the account has no money."""
    return plain_name(code) in _NO_MONEY


def plain_name(code: str) -> str:
    """A gateway's code or type in small letters and digits only: each writes them its own way."""
    return re.sub(r"[^a-z0-9]", "", code[:100].lower())


def _is_replayed(headers: httpx.Headers) -> bool:
    """Whether a header such as `Idempotent-Replayed: true` says that this is the stored answer to an earlier call."""
    return any(
        "idempoten" in name and "replay" in name and value.strip().lower() not in ("", "false", "0", "no")
        for name, value in headers.items()
    )


def _error_object(body: bytes) -> dict[str, Any]:
    """The `error` object of the documented body, or a body that is such an object itself; empty for anything else."""
    if len(body) > MAX_ERROR_BYTES:
        return {}
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    if isinstance(error, str):  # not the documented form, and so not under its name
        return {"detail": error}
    return error if isinstance(error, dict) else {}


def _told_code(codes: list[str], prompt: str, key: str) -> str:
    """Of the gateway's code and type for an error the one that says most, as far as it may be told; else nothing."""
    for code in filter(says_no_money, codes):
        return "_".join(re.findall(r"[A-Za-z0-9]+", code))  # a word of ours, whatever is between its letters
    return _safe_code(next(filter(None, codes), ""), prompt, key)


def _safe_code(code: str, prompt: str, key: str) -> str:
    """The gateway's code for an error, if it is a plain word that gives nothing away; else nothing."""
    is_plain = re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", code, re.ASCII)
    return code if is_plain and code not in key and _words(code) not in _words(prompt) else ""


def _detail(error: dict[str, Any], prompt: str, key: str) -> str:
    """The gateway's own words as far as they are safe to log: no key, no link, nothing that quotes the prompt."""
    said = [str(error.get(name) or "") for name in ("type", "code", "message", "detail")]
    prompt = _words(prompt)
    quotes = {prompt[i : i + _QUOTE_CHARACTERS] for i in range(max(1, len(prompt) - _QUOTE_CHARACTERS + 1))}
    kept = [part for part in said if part and not any(quote in _words(part) for quote in quotes)]
    said_safely = " / ".join(kept).replace(key, "[…]")[:_SEARCHED_CHARACTERS]
    text = re.sub(r"\S*[?&=%@]\S*|\w+://\S+|Bearer \S+|sk-\S+", "[…]", said_safely)
    return f": {text[:300]}" if text else ""


def _words(text: str) -> str:
    """What it says, however it is written."""
    return " ".join(re.split(r"[\W_]+", text.casefold())).strip()


def _opaque(text: str) -> str:
    """Untrusted text as an identifier: printable ASCII, not long."""
    return re.sub(r"[^!-~]", "", text)[:100]
