"""A photo on this machine: the key that it gets, and what is written on it when it is uploaded."""

import base64
import hashlib
import io
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePath

import click

from backdrop.errors import PermanentFailure
from backdrop.job import PROMPT_FILE, has_dot_segment, is_no_photo
from backdrop.request import clean_prompt, read_request
from backdrop.result_storage import MAX_METADATA_BYTES
from backdrop_cli.preparing import Plan, renamed

PREPARED_FROM = "prepared-from"
"""Of an upload's metadata: the file that a prepared photo was made from."""


@dataclass(frozen=True)
class Photo:
    """A file, the key that it gets, and the metadata that says what is wanted."""

    path: Path
    key: str
    metadata: dict[str, str]
    plan: Plan | None = None
    """What is done to it before it is uploaded; None for what is uploaded as it is."""
    variant: str = ""
    line: int = 0
    """Of the table that names it; 0 without one."""

    @property
    def place(self) -> str:
        """What the key has before the file's name."""
        name = unicodedata.normalize("NFC", self.path.name)
        return self.key.removesuffix(renamed(name, self.plan.extension) if self.plan else name)

    @property
    def beside(self) -> Path:
        """What the results' files begin with, where they are downloaded next to the photo."""
        return self.path.with_stem(f"{self.path.stem}.{self.variant}") if self.variant else self.path

    @property
    def images(self) -> int:
        """How many are asked for."""
        return int(self.metadata.get("n", "1"))

    @property
    def has_prompt(self) -> bool:
        """Whether it brings one of its own."""
        return "prompt" in self.metadata or "prompt-b64" in self.metadata

    def is_in(self, checksum: str | None, etag: str) -> bool:
        """Whether an object with S3's SHA-256 `checksum`, if it has one, and this etag has the file's bytes.

        The etag is an MD5 only of what was put in one piece, and never with a KMS key.
        """
        with self.path.open("rb") as file:
            if checksum is not None and checksum == checksum_of(file):
                return True
            return etag == hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def checksum_of(file: io.BufferedReader | io.BytesIO) -> str:
    """The SHA-256, as S3 writes it, of a file that is open at its beginning; it is left there."""
    digest = hashlib.file_digest(file, "sha256").digest()
    file.seek(0)
    return base64.b64encode(digest).decode()


def photo_of(path: Path, key: str, prompt: str | None, top: Path, options: dict[str, str]) -> Photo:
    """A file that is to be uploaded; `top` is how far up a prompt.txt is looked for when there is no `prompt`.

    Raises UsageError for what Backdrop doesn't take.
    """
    try:
        key.encode()
    except UnicodeEncodeError:
        raise click.UsageError(f"{str(path)!r}: the name is not UTF-8. Rename it.") from None
    if has_dot_segment(key) or is_no_photo(key):
        raise click.UsageError(
            f"{path}: its key would be {key!r}, which Backdrop doesn't take."
            " --to is the beginning of a key, as in spring/."
        )
    return Photo(
        path,
        unicodedata.normalize("NFC", key),
        metadata_for(clean_prompt(prompt or "") or _nearest_prompt(path.parent, top), options),
    )


def checked(to: str, prompt: str | None) -> str | None:
    """`prompt` as it is sent. Raises UsageError when it shows nothing, or when no key can begin with `to`."""
    if to.startswith("/"):
        raise click.UsageError(f"--to is {to!r}; it is the beginning of a key, as in spring/.")
    if prompt is None:
        return None
    prompt = clean_prompt(prompt)
    if not prompt:
        raise click.UsageError("--prompt is empty: it has no visible character.")
    return prompt


def key_below(folder: str, path: PurePath) -> str:
    """The key of a file at `path` below a folder, whichever way the system writes paths."""
    return (type(path)(folder) / path).as_posix()


def _nearest_prompt(folder: Path, top: Path) -> str:
    while True:
        file = folder / PROMPT_FILE
        if file.is_file():
            try:
                text = clean_prompt(file.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError):
                raise click.UsageError(f"{file} is not UTF-8 text that can be read.") from None
            if text:
                return text
        if folder == top or folder == folder.parent:
            return ""
        folder = folder.parent


def metadata_for(prompt: str, options: dict[str, str]) -> dict[str, str]:
    """What is asked for, as object metadata; checked as the functions will check it."""
    metadata = dict(options)
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise click.UsageError("The prompt is not UTF-8.") from None
    if prompt:
        # Headers are ASCII on one line, and "=?" begins an encoded word: everything else goes as base64.
        plain = prompt.isascii() and prompt.isprintable() and "=?" not in prompt
        metadata |= {"prompt": prompt} if plain else {"prompt-b64": base64.b64encode(prompt.encode()).decode()}
    try:
        read_request(metadata, lambda: "", "to be found in the bucket")
    except PermanentFailure as rejected:
        raise click.UsageError(f"{rejected.message}.") from None
    if why := too_long(metadata):
        raise click.UsageError(f"{why[0].upper()}{why[1:]}.")
    return metadata


def too_long(metadata: dict[str, str]) -> str:
    """Why S3 doesn't take metadata of this length; empty when it does."""
    if sum(len(name) + len(value) for name, value in metadata.items()) <= MAX_METADATA_BYTES:
        return ""
    return "the prompt is longer than S3's metadata. Put it into prompt.txt in the bucket's folder"
