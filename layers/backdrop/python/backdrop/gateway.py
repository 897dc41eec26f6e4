"""The AI gateway's images API: requests, answers and what each status means for the upload and the wallet."""

import binascii
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

import httpx

from backdrop import http, images
from backdrop.errors import (
    AccountFault,
    GatewayError,
    KeyThrottled,
    NeverSent,
    NoImage,
    OutcomeUnknown,
    Refused,
    TryLater,
)
from backdrop.ledger import Call
from backdrop.request import Request
from backdrop.settings import Settings

RETRY_AFTER_SECONDS = (1.0, 900.0)  # what is asked for is clamped to this
MAX_ANSWER_BYTES = 48 * 2**20  # b64_json: eight images of about 4 MB
MAX_ANSWER_ENTRIES = 10_000  # each takes up to 25 times its bytes in memory once it is parsed
MAX_ERROR_BYTES = 2**16
MAX_LINK_BYTES = 2**13  # eight of them fit into a ledger item and into a message
_MAX_CENTS = 100_000  # more is no price
_TRY_LATER = {408, 429, 500, 502, 503, 504}
_ACCOUNT_FAULTS = {401, 402, 403, 404}
_QUOTE_CHARACTERS = 12  # a message that repeats this many characters of the prompt quotes it
_SEARCHED_CHARACTERS = 2000  # the search takes time by their square
_NEVER = 2.0**40  # epoch seconds
PATHS = {"generations": "/images/generations", "edits": "/images/edits", "edits-multipart": "/images/edits"}


@dataclass(frozen=True)
class Answer:
    """What was bought: links to fetch, or the images themselves when the gateway sent them inline."""

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
        if response.status != 200:
            raise _error(response, fields["prompt"], key)
        return self._answer(response, fields["n"])

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

    def _answer(self, response: http.Response, n: int) -> Answer:
        request_id = _opaque(response.headers.get("x-request-id", ""))
        if response.is_cut:
            raise NoImage(f"status 200 with more than {MAX_ANSWER_BYTES} bytes (request {request_id})")
        if response.body.count(b",") > MAX_ANSWER_ENTRIES:
            raise NoImage(f"status 200 with more than {MAX_ANSWER_ENTRIES} entries (request {request_id})")
        try:
            entries = json.loads(response.body, parse_int=float)["data"]  # int() raises for very long ones
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            whole = isinstance(error, UnicodeDecodeError) and error.reason != "unexpected end of data"
            if response.body.lstrip().startswith(b"{") and not whole:
                raise OutcomeUnknown("the answer was cut off") from None
            raise NoImage(f"status 200 with something that is no JSON (request {request_id})") from None
        except (KeyError, TypeError, RecursionError):
            raise NoImage(f"status 200 in a shape that is not documented (request {request_id})") from None
        found = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
        links = tuple(entry["url"] for entry in found if _is_link(entry.get("url")))[:n]
        inline = () if links else tuple(filter(None, (_decoded(entry.get("b64_json")) for entry in found[:n])))
        if not links and not inline:
            raise NoImage(f"status 200 without an image (request {request_id})")
        return Answer(links, inline, request_id, self._cost(response, n))

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


def _is_link(value: Any) -> bool:
    """Whether it is text that the ledger and a message can keep; where it leads is for `results` to say."""
    if not isinstance(value, str):
        return False
    try:
        return 0 < len(value.encode()) <= MAX_LINK_BYTES
    except UnicodeEncodeError:  # half a character, which JSON can hold
        return False


def _decoded(text: Any) -> bytes:
    """The bytes of base64; none for anything else."""
    try:
        return binascii.a2b_base64(text, strict_mode=True)  # base64.b64decode would copy the text
    except (TypeError, ValueError, binascii.Error):
        return b""


def _error(response: http.Response, prompt: str, key: str) -> GatewayError:
    status = response.status
    message = f"the gateway answered {status}{_detail(response.body, prompt, key)}"
    if status in _TRY_LATER:
        return TryLater(status, message, retry_after(response.headers.get("retry-after")))
    if status in _ACCOUNT_FAULTS:
        return AccountFault(status, message)
    if 400 <= status < 500:
        return Refused(status, message)
    # Accepted for later, redirected, or a proxy that lost the gateway: nobody can say what was charged.
    return OutcomeUnknown(message)


def _detail(body: bytes, prompt: str, key: str) -> str:
    """The gateway's own words as far as they are safe to log: no key, no link, nothing that quotes the prompt."""
    if len(body) > MAX_ERROR_BYTES:
        return ""
    try:
        error = json.loads(body)["error"]
        said = [str(error.get(name) or "") for name in ("type", "code", "message")]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
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
