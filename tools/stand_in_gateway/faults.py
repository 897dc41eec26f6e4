"""Scripted faults: what tests and demos can make go wrong, by kind.

Before the work, nothing charged:
    status             `status`, and raw text for `retry_after`, `body` and `code` where given
    drop               the connection closes without an answer
    hang               the same after `seconds`
    raw                no HTTP of ours: `text`, then `count` times `more`, one every `interval` seconds, then it closes
In the answer, charged, and recorded for replays as if it were the real one:
    empty, null_url, fewer (one image less than asked for), html, link (`url` in place of the real one),
    inline (`text` and `megabytes` of zeros as base64 in place of the picture),
    answer (`text` in place of the JSON, `{link}` in it as the link to the picture; `status`, if that is a 2xx)
In the delivery of the answer, charged:
    drop_after_charge  the connection closes without an answer
    hang_after_charge  the answer comes `seconds` late
    truncate           half the body under its full Content-Length, then the connection closes
    drip               one byte every `interval` seconds
    status_after_charge  a proxy answers in the gateway's place: as `status`
On a picture's link, with `"where": "media"`:
    status and raw (as above), redirect (to `location`), html (labelled as the picture), zero (no bytes), drip,
    half (without Content-Length), short (Content-Length is larger than the body), endless (at most 200 MB),
    gzip_bomb (inflates to `megabytes`)
"""

from dataclasses import dataclass

from .errors import GatewayError

BEFORE_THE_WORK = {"status", "drop", "hang", "raw"}
IN_THE_ANSWER = {"empty", "null_url", "fewer", "html", "link", "inline", "answer"}
IN_THE_DELIVERY = {"drop_after_charge", "hang_after_charge", "truncate", "drip", "status_after_charge"}
_KINDS = {
    "images": BEFORE_THE_WORK | IN_THE_ANSWER | IN_THE_DELIVERY,
    "media": {"status", "raw", "redirect", "html", "zero", "drip", "half", "short", "gzip_bomb", "endless"},
}


@dataclass(frozen=True)
class Fault:
    """One line of the script; which fields matter depends on its kind."""

    kind: str
    where: str = "images"
    times: int = 1
    """How many matching calls it hits; 0 = for ever."""
    match: str = ""
    """Only calls whose prompt contains this."""
    status: int = 503
    retry_after: str | None = None
    body: str | None = None
    code: str | None = None
    seconds: float = 1.0
    interval: float = 0.05
    url: str | None = None
    location: str = ""
    megabytes: int = 67
    text: str = ""
    """A character for each byte, as in Latin-1."""
    more: str = ""
    count: int = 0

    @classmethod
    def parse(cls, item: object) -> "Fault":
        """Raises `GatewayError` 400 for what is no fault."""
        try:
            fault = cls(**item)  # type: ignore[arg-type]
        except TypeError as error:
            raise GatewayError(400, f"Not a fault: {error}") from error
        if fault.kind not in _KINDS.get(fault.where, ()):
            raise GatewayError(400, f"There is no fault {fault.kind!r} for {fault.where!r}.")
        return fault
