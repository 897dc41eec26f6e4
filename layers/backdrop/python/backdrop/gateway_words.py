"""The gateway's own words, which are untrusted text: what of them may go into logs and dead letters.

Never a key, a link or anything that quotes the prompt.
"""

import json
import re
from collections.abc import Callable
from typing import Any

MAX_ERROR_BYTES = 2**16
_QUOTE_CHARACTERS = 12  # a message that repeats this many characters of the prompt quotes it
_SEARCHED_CHARACTERS = 2000  # the search takes time by their square


def error_object(body: bytes) -> dict[str, Any]:
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


def told_code(codes: list[str], prompt: str, key: str, is_known: Callable[[str], bool]) -> str:
    """Of the gateway's code and type for an error a known one, or the first, as far as it may be told; else nothing."""
    for code in filter(is_known, codes):
        return "_".join(re.findall(r"[A-Za-z0-9]+", code))  # a code that is known here, however it is punctuated
    return _safe_code(next(filter(None, codes), ""), prompt, key)


def _safe_code(code: str, prompt: str, key: str) -> str:
    """The gateway's code for an error, if it is a plain word that gives nothing away; else nothing."""
    is_plain = re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", code, re.ASCII)
    return code if is_plain and code not in key and _words(code) not in _words(prompt) else ""


def detail(error: dict[str, Any], prompt: str, key: str) -> str:
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


def opaque(text: str) -> str:
    """Untrusted text as an identifier: printable ASCII, not long."""
    return re.sub(r"[^!-~]", "", text)[:100]
