"""Whether the link to the photo that a call carries still works.

It dies after an hour, or earlier with the session of the role that signed it, whose length AWS doesn't document:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html
"""

import re
from enum import StrEnum

import httpx

from backdrop import http_client
from backdrop.call import Call

_SECONDS = 5.0
_MAX_BYTES = 65_536
_DEAD = {400, 401, 403}  # S3 answers 400 ExpiredToken when the session is over, 403 when the link's own time is


class LinkState(StrEnum):
    """What S3 says of a link."""

    WORKS = "works"
    DEAD = "dead"
    UNKNOWN = "unknown"
    """S3 says neither."""


def link_state(call: Call, new_link: str, now: float) -> LinkState:
    """Ask S3 for the first byte of the photo by the link that `call` carries.

    `new_link` is a link to the same object: only an address that begins like it is asked. A file upload has none
    that could be dead.
    """
    if now > call.image_link_dies_at:
        return LinkState.DEAD
    address = re.escape(new_link.partition("?")[0])
    link = re.search(address + r"\?[\w%&=.~+/-]*?X-Amz-Signature=[0-9a-f]{64}", call.body)
    if link is None:
        return LinkState.WORKS
    with http_client.new_client() as client:
        request = client.build_request("GET", link[0], headers={"Range": "bytes=0-0"})
        try:
            status = http_client.exchange(client, request, _SECONDS, _MAX_BYTES).status
        except httpx.TransportError:
            return LinkState.UNKNOWN
    if status in _DEAD:
        return LinkState.DEAD
    return LinkState.WORKS if 200 <= status < 300 else LinkState.UNKNOWN
