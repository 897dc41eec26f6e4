"""The gateway's ways to take a photo: a row for each choice of GatewayRoute."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Route:
    """Where calls go below GatewayBaseUrl, and how the photo goes along."""

    path: str
    photo_field: str
    is_upload: bool = False
    """The photo is sent as a file of a form; else its link is a field of a JSON body."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """What is sent with every call."""


ROUTES: dict[str, Route] = {
    "generations": Route("/images/generations", "image_url", fields={"response_format": "url"}),
    "edits": Route("/images/edits", "image_url"),
    "edits-multipart": Route("/images/edits", "image", is_upload=True),
}
"""The names are those of the template's GatewayRoute."""
