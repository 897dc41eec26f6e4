"""Which of the files that were named, and of the folders, are photos to upload."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import click

from backdrop.images import ACCEPTED_UPLOADS, HEADER_BYTES, sniff
from backdrop.job import is_no_photo
from backdrop.result_storage import RESULT_SUFFIX
from backdrop.storage import MAX_UPLOAD_BYTES
from backdrop_cli.headers import Unreadable, is_picture
from backdrop_cli.mistakes import Mistake
from backdrop_cli.photos import PREPARED_FROM, Photo, checked, key_below, photo_of, too_long
from backdrop_cli.preparing import EXTENSIONS, RAW_EXTENSIONS, Plan, plan, renamed
from backdrop_cli.progress import Step, side_by_side
from backdrop_cli.prompt_templates import BadTemplate, filled, names_of

_RESULT = re.compile(f"(?P<photo>.+?){RESULT_SUFFIX}", re.DOTALL)
_PHOTO = re.compile(r".+\.(jpe?g|png|webp|avif|hei[cf]|tiff?|bmp|gif)", re.IGNORECASE | re.DOTALL)
NO_PICTURE = "neither JPEG, PNG nor WebP, nor what could be made one of them"
BROKEN = "it is called like a photo, but is no picture"


@dataclass
class Found:
    """`photos` to upload; `left_alone` has by reason the files of folders that are none.

    `unreadable` has with a sentence each what is called like a photo, or begins like one, and can't be used.
    """

    photos: list[Photo] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
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

    `prompt` can have names of `names_of` in it. Without one, a photo's is that of the prompt.txt nearest to it, from
    its folder up to the one that was named.
    What is below `out`, and what is called like a result, is left alone. With `prepares`, what `with_plans` can make
    a photo of is one, too. Raises UsageError for what can't be uploaded as it was asked for.
    """
    found, prompt = Found(), checked(to, prompt)
    for path in paths:
        if path.is_dir():
            for file, why in _below(path, out, prepares):
                if is_broken(file, why):
                    found.unreadable[file] = BROKEN
                    continue
                if why:
                    found.left_alone.setdefault(why, []).append(file)
                    continue
                key = f"{to}{key_below(path.resolve().name, file.relative_to(path))}"
                found.photos.append(photo_of(file, key, _prompt(prompt, file), path, options))
        elif is_no_photo(path.name):
            found.left_alone.setdefault("no photo by its name", []).append(path)
        elif _is_result(path.name, {other.name for other in paths if other.parent == path.parent}):
            found.left_alone.setdefault("called like a result", []).append(path)
        else:
            why = why_not(path, prepares)
            if why:
                raise click.UsageError(f"{path}: {why}.")
            found.photos.append(photo_of(path, f"{to}{path.name}", _prompt(prompt, path), path.parent, options))
    return found


def _prompt(template: str | None, path: Path) -> str | None:
    try:
        return template and filled(template, names_of(path))
    except BadTemplate as error:
        raise click.UsageError(f"{error}.") from None


def with_plans(found: Found, max_side: int, step: Step) -> Found:
    """The photos with what has to be done to them, and the keys that they get by that; no pixel is decoded."""

    def planned(path: Path) -> Plan | str | None:
        try:
            return plan(path, max_side)
        except Unreadable as error:
            return str(error)
        except OSError as error:
            return f"it can't be read ({error.strerror})"

    paths = list(dict.fromkeys(photo.path for photo in found.photos))
    plans = dict(zip(paths, side_by_side(planned, paths, step), strict=True))
    photos, mistakes = list[Photo](), list(found.mistakes)
    for photo in found.photos:
        what = plans[photo.path]
        if isinstance(what, str):
            continue
        if what is not None:
            photo = replace(
                photo,
                key=renamed(photo.key, what.extension),
                metadata=photo.metadata | {PREPARED_FROM: what.mark},
                plan=what,
            )
            mistakes += [Mistake(why, photo.line) for why in [too_long(photo.metadata)] if why]
        photos.append(photo)
    unreadable = found.unreadable | {path: what for path, what in plans.items() if isinstance(what, str)}
    return replace(found, photos=photos, mistakes=mistakes, unreadable=unreadable)


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
            yield path, "called like a result" if is_result else why_not(path, prepares)
    yield from ((path, "a folder that can't be read") for path in unreadable)


def _is_result(name: str, names: set[str] | None) -> bool:
    """Whether a file is called like the result of one of `names`; None for any photo, wherever it is by now."""
    found = _RESULT.fullmatch(name)
    if found is None:
        return False
    return found["photo"] in names if names is not None else _PHOTO.fullmatch(found["photo"]) is not None


def is_broken(path: Path, why: str) -> bool:
    """Whether a file that can't be uploaded, for `why`, is called as if it could: it is named, and the others go on."""
    return why == NO_PICTURE and path.suffix.lower() in EXTENSIONS


def why_not(path: Path, prepares: bool) -> str:
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
        return "" if is_picture(start) else NO_PICTURE
    if sniff(start) not in ACCEPTED_UPLOADS:
        return "neither JPEG, PNG nor WebP"
    if size > MAX_UPLOAD_BYTES:
        return "larger than 25 MiB"
    return ""
