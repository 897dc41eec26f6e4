"""What gateways take and answer, each in its own way, as far as their published pages said on 2026-11-30.

Only what those pages say is refused or dropped here; docs/gateways.md says which pages. A gateway's own models, prices
and sizes are not played: every image costs the same and looks the same.
"""

from dataclasses import dataclass
from typing import Literal

_OPENAI_SIZES = frozenset({"auto", "1024x1024", "1536x1024", "1024x1536"})
_OPENAI_FIELDS = (
    *("model", "prompt", "n", "size", "quality", "background", "output_format", "output_compression"),
    *("input_fidelity", "moderation", "partial_images", "stream", "user", "mask"),
)


@dataclass(frozen=True)
class Endpoint:
    """One way to send a photo."""

    path: str
    """Below /v1."""
    fields: tuple[str, ...]
    photo: str
    """Where the photo's link is, as `images[].image_url`; of a form, the file `image`."""
    is_form: bool = False
    needs_photo: bool = True
    """Otherwise a call without one buys an unrelated picture."""


@dataclass(frozen=True)
class Dialect:
    """One gateway."""

    model: str
    endpoints: tuple[Endpoint, ...]
    drops_unknown: bool = False
    """Whether a field that it doesn't know is ignored without a word; otherwise it is refused with this status:"""
    unknown_status: int = 400
    unknown: str = "unknown_parameter"
    """The code of that refusal."""
    formats: tuple[str, ...] = ("url", "b64_json")
    """What `response_format` may say."""
    is_inline: bool = False
    """Whether it answers with `b64_json`, whatever is asked for."""
    sizes: frozenset[str] | None = None
    """What `size` may say; None for any WIDTHxHEIGHT."""
    required_header: str = ""
    tells_price: Literal["", "cents", "litellm", "usage"] = ""
    """Where: `X-Cost-Cents`, `x-litellm-response-cost`, or `usage.cost`."""
    has_schema: bool = False
    """Whether there is `/models/{id}/schema`, and `/balance`."""


def _form(*fields: str, path: str = "images/edits") -> Endpoint:
    return Endpoint(path, fields, "image", is_form=True)


DIALECTS = {
    "aigateway": Dialect(
        "ideogram/ideogram-v3-replace-background",
        (
            Endpoint(
                "images/generations",
                ("model", "prompt", "n", "size", "response_format", "image_url"),
                "image_url",
                needs_photo=False,
            ),
            Endpoint("images/edits", ("model", "prompt", "n", "size", "image_url", "mask_url"), "image_url"),
            _form("model", "prompt", "n", "size", "response_format"),
        ),
        unknown_status=422,
        unknown="unsupported_parameter",
        has_schema=True,
    ),
    "together": Dialect(
        "black-forest-labs/FLUX.1-kontext-pro",
        (
            Endpoint(
                "images/generations",
                (
                    *("model", "prompt", "n", "image_url", "reference_images", "response_format", "width", "height"),
                    *("steps", "seed", "guidance_scale", "negative_prompt", "output_format", "image_loras"),
                    "disable_safety_checker",
                ),
                "image_url",
                needs_photo=False,
            ),
        ),
        formats=("url", "base64"),
    ),
    "together, other models": Dialect(
        "black-forest-labs/FLUX.2-pro",
        (
            Endpoint(
                "images/generations",
                (
                    *("model", "prompt", "n", "image_url", "reference_images", "response_format", "width", "height"),
                    *("steps", "seed", "guidance_scale", "output_format", "disable_safety_checker"),
                ),
                "reference_images[]",
                needs_photo=False,
            ),
        ),
        formats=("url", "base64"),
    ),
    "openai": Dialect(
        "gpt-image-1",
        (
            _form(*_OPENAI_FIELDS),
            Endpoint("images/edits", (*_OPENAI_FIELDS, "images"), "images[].image_url"),
            Endpoint("images/generations", _OPENAI_FIELDS, "", needs_photo=False),
        ),
        is_inline=True,
        sizes=_OPENAI_SIZES,
    ),
    "litellm": Dialect(
        "gpt-image-1",
        (_form(*_OPENAI_FIELDS),),
        is_inline=True,
        sizes=_OPENAI_SIZES,
        tells_price="litellm",
    ),
    "portkey": Dialect(
        "gpt-image-1",
        (_form(*_OPENAI_FIELDS),),
        is_inline=True,
        sizes=_OPENAI_SIZES,
        required_header="x-portkey-provider",
    ),
    "openrouter": Dialect(
        "bytedance-seed/seedream-4.5",
        (
            Endpoint(
                "images",
                (
                    *("model", "prompt", "n", "size", "input_references", "aspect_ratio", "resolution", "quality"),
                    *("background", "output_format", "output_compression", "provider", "seed", "stream"),
                ),
                "input_references[].image_url.url",
                needs_photo=False,
            ),
        ),
        is_inline=True,
        tells_price="usage",
    ),
    "seedream": Dialect(
        "seedream-4-0-250828",
        (
            Endpoint(
                "images/generations",
                (
                    *("model", "prompt", "image", "size", "response_format", "seed", "guidance_scale", "watermark"),
                    *("sequential_image_generation", "sequential_image_generation_options", "stream"),
                ),
                "image",
                needs_photo=False,
            ),
        ),
        drops_unknown=True,
    ),
    "aimlapi": Dialect(
        "bytedance/seedream-v4-edit",
        (
            Endpoint(
                "images/generations",
                ("model", "prompt", "image_urls", "size", "response_format", "seed", "watermark", "n"),
                "image_urls[]",
            ),
        ),
    ),
    "xai": Dialect(
        "grok-imagine-image",
        (
            Endpoint(
                "images/edits",
                ("model", "prompt", "n", "image", "response_format", "aspect_ratio", "resolution", "user"),
                "image.url",
            ),
        ),
    ),
}


def link_at(fields: object, path: str) -> object:
    """What is at `images[].image_url` in a body: the first entry of a list, a member of an object."""
    found = fields
    for name in filter(None, path.split(".")):
        found = found.get(name.removesuffix("[]")) if isinstance(found, dict) else None
        if name.endswith("[]"):
            found = found[0] if isinstance(found, list) and found else None
        elif isinstance(found, list) and name == path:  # one or several, as Seedream's `image`
            found = found[0] if found else None
    return found if path else None
