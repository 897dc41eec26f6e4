"""Why an upload was dead-lettered: every code, whether it was billed, and what people can do.

The table in docs/failures.md is made from here by `make help-page`, and so is what the command line says.
"""

from enum import StrEnum
from typing import Literal

Billed = Literal["no", "yes", "unknown"]


class FailureCode(StrEnum):
    """The `code` of a dead letter's reason."""

    billed: Billed
    """What is billed, unless the failure itself knows better."""
    means: str
    advice: str

    def __new__(cls, code: str, billed: Billed, means: str, advice: str) -> "FailureCode":
        """A code with what it tells people."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.billed, member.means, member.advice = billed, means, advice
        return member

    MISSING_PROMPT = (
        "missing_prompt",
        "no",
        "no prompt in the metadata, no `prompt.txt` in the folder or above it, no `DefaultPrompt`",
        "Put a prompt.txt into the folder, then resume; or upload it again with a prompt.",
    )
    INVALID_OPTION = (
        "invalid_option",
        "no",
        "`message` says which: `n`, `size`, an encoding, prompt or key too long, a `.` or `..` in the key, `n` over the"
        " daily limit",
        "Upload it again with what the message asks for. If that names a prompt.txt, correct the file and resume.",
    )
    UNSUPPORTED_MEDIA_TYPE = (
        "unsupported_media_type",
        "no",
        "the object is no JPEG, PNG or WebP image",
        "Upload it again as JPEG, PNG or WebP.",
    )
    TOO_LARGE = ("too_large", "no", "the photo has more than 25 MiB", "Upload it again with 25 MiB at most.")
    UNREADABLE = (
        "unreadable",
        "no",
        "S3 will not give the object to the functions: it is archived, encrypted with its uploader's own key (SSE-C),"
        " or its KMS key is disabled or not for the functions; `message` says which",
        "Restore it or let the functions use its KMS key, then resume; or upload it again.",
    )
    REJECTED_BY_GATEWAY = (
        "rejected_by_gateway",
        "no",
        "the gateway refused this request, or answered 403 or 404 to it three times while others got through; its words"
        " are in `message`. After a repeated call `billed` is `unknown`",
        "Upload another photo, or with another prompt. If all fail so, try another GatewayRoute.",
    )
    ATTEMPTS_EXHAUSTED = (
        "attempts_exhausted",
        "unknown",
        "`MaxAttempts` calls failed, and a proxy may hide that one was charged",
        "Resume when the gateway is well: the same call is made again, under its key.",
    )
    NO_IMAGE_RETURNED = (
        "no_image_returned",
        "yes",
        "no image came, or fewer than asked for; those that came are stored. `message` has the gateway's words, and its"
        " [answer is kept](runbook.md#dead-letters) for seven days",
        "It was paid, and resume buys nothing. Ask the gateway for the money; uploading it again buys anew.",
    )
    RESULT_UNAVAILABLE = (
        "result_unavailable",
        "yes",
        "the result's link is dead or must not be followed, or the image has no end, or the output key is taken by an"
        " object that is not this photo's result",
        "It was paid. Resume fetches it again while its link lives, 24 hours; later, ask the gateway with the ledger's"
        " request_id.",
    )
    OUTCOME_UNKNOWN = (
        "outcome_unknown",
        "unknown",
        "a call got no answer, or its replay told nothing; `billed` is `yes` when an earlier answer brought the images"
        " and they got lost",
        "Look whether the gateway charged it; resume repeats the same call under its key, for 23 hours. Later, upload"
        " it again.",
    )
    MALFORMED_MESSAGE = (
        "malformed_message",
        "no",
        'not an upload: `"job"` is null, and the text is in `"body"`',
        "Look at its body with --json: it is no message of Backdrop's. Delete it.",
    )
