"""Photos on this machine, and what is written on them when they are uploaded."""

import base64
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from backdrop.errors import PermanentFailure
from backdrop.images import ACCEPTED_UPLOADS, HEADER_BYTES, sniff
from backdrop.request import clean_prompt, read_request
from backdrop.storage import MAX_METADATA_BYTES, MAX_UPLOAD_BYTES, RESULT_SUFFIX
from backdrop.upload import PROMPT_FILE, has_dot_segment, is_no_photo

_RESULT = re.compile(f"(?P<photo>.+?){RESULT_SUFFIX}", re.DOTALL)
_PHOTO = re.compile(r".+\.(jpe?g|png|webp)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Photo:
    """A file, the key that it gets, and the metadata that says what is wanted."""

    path: Path
    key: str
    metadata: dict[str, str]

    @property
    def images(self) -> int:
        """How many are asked for."""
        return int(self.metadata.get("n", "1"))

    @property
    def has_prompt(self) -> bool:
        """Whether it brings one of its own."""
        return "prompt" in self.metadata or "prompt-b64" in self.metadata

    def digests(self) -> tuple[str, str]:
        """SHA-256 as S3 writes checksums, and MD5 as it writes the etag of what was put in one piece."""
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        with self.path.open("rb") as file:
            while piece := file.read(2**20):
                sha256.update(piece)
                md5.update(piece)
        return base64.b64encode(sha256.digest()).decode(), md5.hexdigest()


@dataclass
class Found:
    """`photos` to upload; `left_alone` has by reason the files of folders that are none."""

    photos: list[Photo] = field(default_factory=list)
    left_alone: dict[str, list[Path]] = field(default_factory=dict)


def find(paths: Sequence[Path], to: str, prompt: str | None, options: dict[str, str], out: Path | None = None) -> Found:
    """The photos among `paths`, folders with all that is below them. A folder keeps its name in the keys, and its tree.

    Without `prompt`, a photo's is that of the prompt.txt nearest to it, from its folder up to the one that was named.
    What is below `out`, and what is called like a result, is left alone. Raises UsageError for what can't be uploaded
    as it was asked for.
    """
    if to.startswith("/"):
        raise click.UsageError(f"--to is {to!r}; it is the beginning of a key, as in spring/.")
    if prompt is not None:
        prompt = clean_prompt(prompt)
        if not prompt:
            raise click.UsageError("--prompt is empty: it has no visible character.")
    found = Found()
    for path in paths:
        if path.is_dir():
            for file, why in _below(path, out):
                if why:
                    found.left_alone.setdefault(why, []).append(file)
                    continue
                key = f"{to}{(Path(path.resolve().name) / file.relative_to(path)).as_posix()}"
                found.photos.append(_photo(file, key, prompt, path, options))
        elif is_no_photo(path.name):
            found.left_alone.setdefault("no photo by its name", []).append(path)
        elif _is_result(path.name, {other.name for other in paths if other.parent == path.parent}):
            found.left_alone.setdefault("called like a result", []).append(path)
        else:
            why = _why_not(path)
            if why:
                raise click.UsageError(f"{path}: {why}.")
            found.photos.append(_photo(path, f"{to}{path.name}", prompt, path.parent, options))
    twice = [key for key, times in Counter(photo.key for photo in found.photos).items() if times > 1]
    if twice:
        raise click.UsageError(
            f"More than one of the photos would become {twice[0]!r}. Upload them with different --to."
        )
    return found


def _below(folder: Path, out: Path | None) -> Iterator[tuple[Path, str]]:
    """Files below a folder, each with why it is no photo to upload; hidden ones are passed over."""
    unreadable: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=lambda error: unreadable.append(Path(error.filename))):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in list(folders):
            if Path(parent, name).is_symlink():
                yield Path(parent, name), "a link to a folder"
            elif out and Path(parent, name).resolve() == out.resolve():
                folders.remove(name)
        for name in sorted(names):
            if is_no_photo(name) or name.startswith("."):
                continue
            path = Path(parent, name)
            is_result = _is_result(name, set(names)) or _is_result(name, None)
            yield path, "called like a result" if is_result else _why_not(path)
    yield from ((path, "a folder that can't be read") for path in unreadable)


def _is_result(name: str, names: set[str] | None) -> bool:
    """Whether a file is called like the result of one of `names`; None for any photo, wherever it is by now."""
    found = _RESULT.fullmatch(name)
    if found is None:
        return False
    return found["photo"] in names if names is not None else _PHOTO.fullmatch(found["photo"]) is not None


def _why_not(path: Path) -> str:
    """Why a file can't be uploaded; empty when it can."""
    try:
        if not path.is_file():
            return "neither a file nor a folder"
        with path.open("rb") as file:
            kind = sniff(file.read(HEADER_BYTES))
        size = path.stat().st_size
    except OSError as error:
        return f"can't be read ({error.strerror})"
    if kind not in ACCEPTED_UPLOADS:
        return "neither JPEG, PNG nor WebP"
    if size > MAX_UPLOAD_BYTES:
        return "larger than 25 MiB"
    return ""


def _photo(path: Path, key: str, prompt: str | None, top: Path, options: dict[str, str]) -> Photo:
    try:
        key.encode()
    except UnicodeEncodeError:
        raise click.UsageError(f"{str(path)!r}: the name is not UTF-8. Rename it.") from None
    if has_dot_segment(key) or is_no_photo(key):
        raise click.UsageError(
            f"{path}: its key would be {key!r}, which Backdrop doesn't take."
            " --to is the beginning of a key, as in spring/."
        )
    return Photo(path, key, _metadata(prompt or _nearest_prompt(path.parent, top), options))


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


def _metadata(prompt: str, options: dict[str, str]) -> dict[str, str]:
    """What is wanted, as object metadata; checked as the functions will check it."""
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
    if sum(len(name) + len(value) for name, value in metadata.items()) > MAX_METADATA_BYTES:
        raise click.UsageError(
            "The prompt is longer than S3's metadata. Put it into prompt.txt in the bucket's folder."
        )
    return metadata
