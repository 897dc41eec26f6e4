"""What the uploader asked for: object metadata, or what stands in for its prompt → prompt and options."""

import base64
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header

from backdrop.errors import PermanentFailure
from backdrop.failure_codes import FailureCode
from backdrop.job import PROMPT_FILE, has_dot_segment

MAX_PROMPT_CHARACTERS = 2000  # S3 allows 2 KB of metadata in all; a prompt from elsewhere may be longer
MAX_IMAGES = 8
MAX_AGAIN_CHARACTERS = 64
_ENCODED_WORD = re.compile(  # RFC 2047; Python's decoder takes broken ones and drops what it can't read
    r"=\?[\w.:*-]+\?(?:[bB]\?[A-Za-z0-9+/]+={0,2}|[qQ]\?(?:[!-<>@-~]|=[0-9A-Fa-f]{2})*)\?=", re.ASCII
)
_LOOKS_ENCODED = re.compile(r"=\?[^?\s]*\?[^?\s]*\?[^?]*\?=|^\s*=\?|=\?[\w-]+\?[bBqQ]\?")
_HEAD = re.compile(r"\A[\s\ufeff]+")  # blanks, and the byte order mark that some editors begin a text with
_INVISIBLE_CATEGORIES = {"Cc", "Cf", "Zl", "Zp", "Zs"}
_INVISIBLE = re.compile(
    # What other categories have that shows nothing: the combining grapheme joiner, Hangul fillers, inherent vowels,
    # variation selectors, the empty Braille pattern and note head, what Unicode will fill with more of the kind
    # (https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt, Default_Ignorable_Code_Point), and
    # what it says is no character. Other unassigned ones may be letters or emoji that Python doesn't know yet.
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufdd0-\ufdef\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\ufffe\uffff\U0001d159\U000e0000-\U000e0fff]"
)
_TAG = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_SIZE = re.compile(r"[1-9]\d{1,4}x[1-9]\d{1,4}", re.ASCII)


@dataclass(frozen=True)
class Request:
    """A checked request: `n` images, `size` as WIDTHxHEIGHT in pixels or None for the model's own."""

    prompt: str
    n: int
    size: str | None
    again: str = ""
    """Another text than before asks for a purchase although nothing else has changed."""
    tag: str = ""
    """Whom it is for; empty for nobody in particular."""


def read_request(
    metadata: Mapping[str, str], folder_prompt: Callable[[], str], default_prompt: str, missing: int = 0
) -> Request:
    """Check the user metadata of an upload (keys lower-case, without `x-amz-meta-`).

    Without a prompt in it, `folder_prompt` is asked for one (empty for none), then `default_prompt` is taken. What
    shows nothing is no prompt.
    `missing` is S3's count of metadata values that it could not return. Raises PermanentFailure with
    `missing_prompt` or `invalid_option`.
    """
    if missing:
        raise _invalid(f"{missing} metadata value(s) can't be read by S3; send non-ASCII prompts as prompt-b64")
    prompt = (
        clean_prompt(_from_base64(metadata.get("prompt-b64", "")))
        or clean_prompt(_from_header(metadata.get("prompt", "")))
        or folder_prompt()
        or clean_prompt(default_prompt)
    )
    if not prompt:
        raise PermanentFailure(
            FailureCode.MISSING_PROMPT,
            f"no prompt in the object's metadata, no {PROMPT_FILE} in its folder or above, no DefaultPrompt",
        )
    check_prompt(prompt, "the prompt")
    return Request(
        prompt,
        _images(metadata.get("n")),
        _size(metadata.get("size")),
        _again(metadata.get("again", "")),
        _tag(metadata.get("tag")),
    )


def valid_tag(metadata: Mapping[str, str]) -> str:
    """The tag of an upload, also of one that asks for something impossible; empty for none or an invalid one."""
    tag = metadata.get("tag", "")
    return tag if _TAG.fullmatch(tag) else ""


def clean_prompt(text: str) -> str:
    """The prompt in `text`, without blanks around it and a byte order mark before it; empty when it shows nothing."""
    if all(unicodedata.category(each) in _INVISIBLE_CATEGORIES or _INVISIBLE.match(each) for each in text):
        return ""
    return _HEAD.sub("", text).rstrip()


def check_prompt(prompt: str, name: str) -> None:
    """Raises PermanentFailure with `invalid_option` for a prompt that can't be sent; the message calls it `name`."""
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise _invalid(f"{name} has {len(prompt)} characters; the most is {MAX_PROMPT_CHARACTERS}")
    if any(unicodedata.category(character) in ("Cc", "Cs") and character not in "\r\n\t" for character in prompt):
        raise _invalid(f"{name} has control characters in it")


def check_segments(key: str) -> None:
    """Raises PermanentFailure with `invalid_option` for a key with a `.` or `..` between its slashes."""
    if has_dot_segment(key):
        raise _invalid(
            "the key has a '.' or '..' between its slashes; HTTP clients resolve it as in a path, so nobody can ask S3"
            " for this object reliably. Upload the photo under a key without it"
        )


def _invalid(message: str) -> PermanentFailure:
    return PermanentFailure(FailureCode.INVALID_OPTION, message)


def _from_base64(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except ValueError:  # of base64 and of UTF-8 alike
        raise _invalid("prompt-b64 is not base64 of UTF-8 text") from None


def _from_header(value: str) -> str:
    """Text as it is, or RFC 2047 encoded words, decoded once."""
    words = _LOOKS_ENCODED.findall(value)
    if not words:
        return _utf8_again(value)
    if not all(_ENCODED_WORD.fullmatch(word) for word in words):
        raise _invalid("the prompt's RFC 2047 encoding is broken")
    try:
        parts = [
            part.decode(charset or "ascii") if isinstance(part, bytes) else part
            for part, charset in decode_header(value)
        ]
    except (HeaderParseError, UnicodeDecodeError, LookupError, ValueError):
        raise _invalid("the prompt's RFC 2047 encoding is broken") from None
    return _utf8_again("".join(parts))


def _utf8_again(text: str) -> str:
    """Undo UTF-8 bytes that were taken for Latin-1, as S3 and HTTP clients do with raw non-ASCII headers.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html shows S3 returning them this way.
    """
    try:
        return text.encode("latin-1").decode()
    except (UnicodeEncodeError, UnicodeDecodeError):
        return text


def _again(value: str) -> str:
    if len(value) > MAX_AGAIN_CHARACTERS or not (value.isascii() and (value.isprintable() or not value)):
        raise _invalid(f"again is no printable ASCII of {MAX_AGAIN_CHARACTERS} characters at most")
    return value


def _tag(value: str | None) -> str:
    if value is not None and not _TAG.fullmatch(value):
        raise _invalid("tag can be 1 to 64 of the letters A-Z and a-z, digits, '.', '_' and '-'")
    return value or ""


def _images(value: str | None) -> int:
    if value is None:
        return 1
    if value.strip() not in {str(n) for n in range(1, MAX_IMAGES + 1)}:
        raise _invalid(f"n is {value[:20]!r}; it can be 1 to {MAX_IMAGES}")
    return int(value)


def _size(value: str | None) -> str | None:
    if value is None:
        return None
    if not _SIZE.fullmatch(value.strip()):
        raise _invalid(f"size is {value[:20]!r}; write WIDTHxHEIGHT in pixels, as in 1024x1024")
    return value.strip()
