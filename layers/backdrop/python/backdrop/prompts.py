"""Prompts for people who can't set metadata: a `prompt.txt` in the photo's folder or in the nearest one above it."""

from threading import Lock
from unicodedata import normalize

from backdrop.clock import Clock
from backdrop.errors import PermanentFailure
from backdrop.failure_codes import FailureCode
from backdrop.job import PROMPT_FILE
from backdrop.request import MAX_PROMPT_CHARACTERS, check_prompt, clean_prompt
from backdrop.storage import Storage

REMEMBERED_SECONDS = 60.0
MOST_REMEMBERED = 500  # of up to MAX_FILE_BYTES each: the most is 5 MB
MAX_FILE_BYTES = 10_000  # the longest prompt in characters of four bytes, and room for what is stripped


class FolderPrompts:
    """What the `prompt.txt` objects of a bucket say; that there is none is remembered like a text, for a minute."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._remembered: dict[tuple[str, str], tuple[bytes, float]] = {}
        """Content and when to look again by bucket and key, the oldest first."""
        self._lock = Lock()  # the command line looks at many uploads at a time

    def find(self, bucket: str, key: str) -> str:
        """The prompt for the object `key`, cleaned; empty when neither its folder nor any above it has one.

        Raises PermanentFailure with `invalid_option` when the nearest one can't be used; the message names its key.
        """
        folders = key.split("/")[:-1]
        for depth in range(len(folders), -1, -1):
            file = "/".join([*folders[:depth], PROMPT_FILE])
            # Systems write the same name composed or decomposed: macOS mostly é as e and an accent.
            for form in dict.fromkeys((file, normalize("NFC", file), normalize("NFD", file))):
                if prompt := _decoded(self._content(bucket, form), form):
                    return prompt
        return ""

    def forget(self) -> None:
        """Read every file anew from here on."""
        with self._lock:
            self._remembered.clear()

    def _content(self, bucket: str, file: str) -> bytes:
        now = self._clock.now()
        content, until = self._remembered.get((bucket, file), (b"", 0.0))
        if now < until:
            return content
        content = self._storage.read_start(bucket, file, MAX_FILE_BYTES + 1)
        with self._lock:
            self._remembered.pop((bucket, file), None)  # so that it goes to the end
            if len(self._remembered) >= MOST_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[bucket, file] = content, now + REMEMBERED_SECONDS
        return content


def _decoded(content: bytes, file: str) -> str:
    if len(content) > MAX_FILE_BYTES:
        raise PermanentFailure(
            FailureCode.INVALID_OPTION,
            f"{file} has more than {MAX_FILE_BYTES} bytes; a prompt has {MAX_PROMPT_CHARACTERS} characters at most",
        )
    try:
        prompt = clean_prompt(content.decode())
    except UnicodeDecodeError:
        raise PermanentFailure(FailureCode.INVALID_OPTION, f"{file} is not UTF-8 text") from None
    check_prompt(prompt, f"the prompt in {file}")
    return prompt
