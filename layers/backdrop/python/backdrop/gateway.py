"""The AI gateway's images API: the requests that are sent, and what a good answer brings."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import httpx

from backdrop import answers, gateway_extras, http_client, images
from backdrop.answers import MAX_ANSWER_BYTES
from backdrop.call import Call
from backdrop.errors import KeyThrottled, NeverSent, NoImage, OutcomeUnknown
from backdrop.gateway_errors import error_of, is_replayed
from backdrop.gateway_words import detail, error_object, opaque
from backdrop.prices import price_in_headers
from backdrop.request import Request
from backdrop.routes import ROUTES
from backdrop.settings import Settings

MAX_KEPT_BYTES = 2**16  # of an answer without an image; a ledger item holds 400 KB
_NEVER = 2.0**40  # epoch seconds


@dataclass(frozen=True)
class Answer:
    """What was bought: links to fetch, or the images themselves when the gateway sent them inline.

    When it sent both, each is as long as there are images, and empty where the other one has the image.
    """

    links: tuple[str, ...]
    inline: tuple[bytes, ...]
    request_id: str
    cost_usd: Decimal
    is_replayed: bool = False
    """A header says that this is the stored answer to an earlier call with the same idempotency key."""


class Gateway:
    """Sends calls. `api_key(fresh)` returns the key, read anew from its store when `fresh`."""

    def __init__(
        self, settings: Settings, api_key: Callable[[bool], str], transport: httpx.BaseTransport | None = None
    ) -> None:
        self._settings = settings
        self._api_key = api_key
        self._client = http_client.new_client(transport)

    def new_call(
        self, request: Request, image_link: str, idempotency_key: str, now: float, link_dies_at: float
    ) -> Call:
        """The call for a request; `image_link` is what the gateway fetches the photo from. Times are epoch seconds."""
        route = ROUTES[self._settings.gateway_route]
        fields: dict[str, Any] = {"model": self._settings.gateway_model, "prompt": request.prompt, "n": request.n}
        fields |= route.fields
        if not route.is_upload:
            fields[route.photo_field] = image_link
        if request.size:
            fields["size"] = request.size
        fields = gateway_extras.merged(fields, self._settings.gateway_extra_fields, image_link)
        body = json.dumps(fields)
        return Call(
            idempotency_key,
            self._settings.gateway_route,
            body,
            link_dies_at if json.dumps(image_link)[1:-1] in body else _NEVER,
            now,
            self._settings.gateway_path,
            gateway_extras.headers(self._settings.gateway_extra_headers, request.tag),
        )

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
        upload = photo if ROUTES[call.route].is_upload else None
        ends_at = time.monotonic() + seconds
        key = self._api_key(False).strip() or self._api_key(True).strip()
        response = self._post(call, fields, upload, key, seconds)
        if response.status == 401:
            fresh_key = self._api_key(True).strip()  # it may have been rotated
            if fresh_key != key:
                key = fresh_key
                response = self._post(call, fields, upload, key, max(1.0, ends_at - time.monotonic()))
        if not 200 <= response.status < 300:
            raise error_of(response, _prompt(fields), key)
        return self._answer(response, call, key)

    def _post(
        self, call: Call, fields: dict[str, Any], upload: bytes | None, key: str, seconds: float
    ) -> http_client.Response:
        if not is_key(key):
            raise NeverSent("the gateway key in SSM is empty or has characters that no key has")
        headers = {name: call.headers[name] for name in sorted(call.headers)}  # the ledger keeps no order
        headers |= {"Authorization": f"Bearer {key}", "Idempotency-Key": call.idempotency_key}
        route = ROUTES[call.route]
        url = self._settings.gateway_base_url + (call.path or route.path)
        if upload is None:
            headers["Content-Type"] = "application/json"
            request = self._client.build_request("POST", url, headers=headers, content=call.body.encode())
        else:
            # A replay must be the same byte for byte, and so must its boundary; a prompt can't hold a digest of itself.
            boundary = hashlib.sha256(f"{call.idempotency_key} {call.body}".encode()).hexdigest()
            headers["Content-Type"] = f"multipart/form-data; boundary={boundary}"
            kind = images.sniff(upload) or images.JPEG
            file = (f"photo.{kind.extension}", upload, kind.content_type)
            texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
            request = self._client.build_request(
                "POST", url, headers=headers, data=texts, files={route.photo_field: file}
            )
        try:
            return http_client.exchange(self._client, request, seconds, MAX_ANSWER_BYTES)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
            raise NeverSent(f"no connection to the gateway: {type(error).__name__}") from None
        except httpx.TransportError as error:
            raise OutcomeUnknown(f"sent, but no complete answer: {type(error).__name__}") from None

    def _answer(self, response: http_client.Response, call: Call, key: str) -> Answer:
        fields = json.loads(call.body)
        n = fields.get("n", 1)
        request_id = opaque(response.headers.get("x-request-id", ""))
        base = urlsplit(self._settings.gateway_base_url)
        body, what = response.body, "no image"
        sold = answers.Sold(())
        try:
            if response.is_cut:
                raise answers.UnreadableAnswer(f"more than {MAX_ANSWER_BYTES} bytes")
            body = answers.inflated(body, response.headers.get("content-encoding", ""))
            sold = answers.sold(body, n, f"{base.scheme}://{base.netloc}", call.body)
        except answers.CutAnswer:
            raise OutcomeUnknown("the answer was cut off") from None
        except answers.UnreadableAnswer as error:
            what = str(error)
        if sold.images:
            links = tuple(image if isinstance(image, str) else "" for image in sold.images)
            inline = tuple(image if isinstance(image, bytes) else b"" for image in sold.images)
            told = (price_in_headers(response.headers), sold.cost_usd, self._settings.price_per_image_usd * n)
            cost = next(price for price in told if price is not None)
            return Answer(
                links if any(links) else (),
                inline if any(inline) else (),
                request_id,
                cost,
                is_replayed(response.headers),
            )
        said = detail(error_object(body), _prompt(fields), key)
        message = f"status {response.status} with {what} (request {request_id}){said}"
        if response.status != 200:  # accepted for later, perhaps: nobody can say what was charged
            raise OutcomeUnknown(message)
        raise NoImage(message, body[:MAX_KEPT_BYTES])


def _prompt(fields: dict[str, Any]) -> str:
    """The prompt that was sent, which an extra field may have left out or replaced."""
    return str(fields.get("prompt", ""))


def is_key(text: str) -> bool:
    """Whether it can be a key at all: what goes into a header."""
    return bool(text) and text.isascii() and text.isprintable()
