"""Which of the files that were named, and of the folders, are photos to upload."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import click

from backdrop.images import ACCEPTED_UPLOADS, HEADER_BYTES, sniff
from backdrop.job import is_no_photo
from backdrop.request import clean_prompt
from backdrop.result_storage import RESULT_SUFFIX
from backdrop.storage import MAX_UPLOAD_BYTES
from backdrop_cli.photos import PREPARED_FROM, Photo, check_keys, check_length, key_below, photo_of
from backdrop_cli.preparing import EXTENSIONS, RAW_EXTENSIONS, Unreadable, is_picture, plan, renamed
from backdrop_cli.progress import Step, side_by_side

_RESULT = re.compile(f"(?P<photo>.+?){RESULT_SUFFIX}", re.DOTALL)
_PHOTO = re.compile(r".+\.(jpe?g|png|webp|avif|hei[cf]|tiff?|bmp|gif)", re.IGNORECASE | re.DOTALL)
_NO_PICTURE = "neither JPEG, PNG nor WebP, nor what could be made one of them"


@dataclass
class Found:
    """`photos` to upload; `left_alone` has by reason the files of folders that are none.

    `unreadable` has with a sentence each what is called like a photo, or begins like one, and can't be used.
    """

    photos: list[Photo] = field(default_factory=list)
    left_alone: dict[str, list[Path]] = field(default_factory=dict)
    unreadable: dict[Path, str] = field(default_factory=dict)


def find(
    paths: Sequence[Path],
    to: str,
    prompt: str | None,
    options: dict[str, str],
    out: Path | None = None,
    prepares: bool = False,
) -> Found:
    """The photos among `paths`, folders with all that is below them. A folder keeps its name in the keys, and its tree.

    Without `prompt`, a photo's is that of the prompt.txt nearest to it, from its folder up to the one that was named.
    What is below `out`, and what is called like a result, is left alone. With `prepares`, what `with_plans` can make
    a photo of is one, too. Raises UsageError for what can't be uploaded as it was asked for.
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
            for file, why in _below(path, out, prepares):
                if why == _NO_PICTURE and file.suffix.lower() in EXTENSIONS:
                    found.unreadable[file] = "it is called like a photo, but is no picture"
                    continue
                if why:
                    found.left_alone.setdefault(why, []).append(file)
                    continue
                key = f"{to}{key_below(path.resolve().name, file.relative_to(path))}"
                found.photos.append(photo_of(file, key, prompt, path, options))
        elif is_no_photo(path.name):
            found.left_alone.setdefault("no photo by its name", []).append(path)
        elif _is_result(path.name, {other.name for other in paths if other.parent == path.parent}):
            found.left_alone.setdefault("called like a result", []).append(path)
        else:
            why = _why_not(path, prepares)
            if why:
                raise click.UsageError(f"{path}: {why}.")
            found.photos.append(photo_of(path, f"{to}{path.name}", prompt, path.parent, options))
    check_keys(found.photos)
    return found


def with_plans(found: Found, max_side: int, step: Step) -> Found:
    """The photos with what has to be done to them, and the keys that they get by that; no pixel is decoded.

    Raises UsageError when two of them would get one key.
    """

    def planned(photo: Photo) -> Photo | str:
        try:
            what = plan(photo.path, max_side)
        except Unreadable as error:
            return str(error)
        except OSError as error:
            return f"it can't be read ({error.strerror})"
        if what is None:
            return photo
        metadata = photo.metadata | {PREPARED_FROM: what.mark}
        check_length(metadata)
        return replace(photo, key=renamed(photo.key, what.extension), metadata=metadata, plan=what)

    photos, unreadable = list[Photo](), dict(found.unreadable)
    for photo, result in zip(found.photos, side_by_side(planned, found.photos, step), strict=True):
        if isinstance(result, str):
            unreadable[photo.path] = result
        else:
            photos.append(result)
    check_keys(photos)
    return replace(found, photos=photos, unreadable=unreadable)


def _below(folder: Path, out: Path | None, prepares: bool) -> Iterator[tuple[Path, str]]:
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
            yield path, "called like a result" if is_result else _why_not(path, prepares)
    yield from ((path, "a folder that can't be read") for path in unreadable)


def _is_result(name: str, names: set[str] | None) -> bool:
    """Whether a file is called like the result of one of `names`; None for any photo, wherever it is by now."""
    found = _RESULT.fullmatch(name)
    if found is None:
        return False
    return found["photo"] in names if names is not None else _PHOTO.fullmatch(found["photo"]) is not None


def _why_not(path: Path, prepares: bool) -> str:
    """Why a file can't be uploaded; empty when it can."""
    try:
        if not path.is_file():
            return "neither a file nor a folder"
        with path.open("rb") as file:
            start = file.read(HEADER_BYTES)
        size = path.stat().st_size
    except OSError as error:
        return f"can't be read ({error.strerror})"
    if prepares:
        if path.suffix.lower() in RAW_EXTENSIONS:
            return "a camera's raw file"
        return "" if is_picture(start) else _NO_PICTURE
    if sniff(start) not in ACCEPTED_UPLOADS:
        return "neither JPEG, PNG nor WebP"
    if size > MAX_UPLOAD_BYTES:
        return "larger than 25 MiB"
    return ""
