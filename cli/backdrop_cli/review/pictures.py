"""Pictures as the screen needs them, made once and kept on this machine's disk, in so many bytes."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore, Lock
from uuid import uuid4

from botocore.exceptions import ClientError

from backdrop.aws_errors import ARCHIVED, code_of, status_of
from backdrop.images import sniff
from backdrop.job import has_dot_segment
from backdrop.results import MAX_RESULT_BYTES
from backdrop_cli.deployment import Deployment
from backdrop_cli.review.pairs import Picture
from backdrop_cli.thumbnails import NotShown, thumbnail

SIDES = {"small": 400, "large": 1600}
"""Of the pictures in the grid and of those that are looked at closely: the longer side, in pixels."""
MOST_CACHE_BYTES = 512 * 2**20
_FETCHES = 6  # at once; each holds one whole picture in memory


@dataclass(frozen=True)
class Whole:
    """A picture's own bytes."""

    data: bytes
    content_type: str


class Cache:
    """Files in `folder`, of `most_bytes` together; those that were not read for longest are deleted."""

    def __init__(self, folder: Path, most_bytes: int = MOST_CACHE_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._lock = Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._bytes = sum(size for _, size, _ in self._files())

    def read(self, name: str) -> bytes | None:
        """What was kept under a name."""
        path = self._folder / name
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return data

    def keep(self, name: str, data: bytes) -> None:
        """Keep it, at the cost of others. A disk that is full is no trouble: it is made again the next time."""
        part = self._folder / f".{uuid4().hex[:8]}.part"
        try:
            part.write_bytes(data)
            part.replace(self._folder / name)
        except OSError:
            part.unlink(missing_ok=True)
            return
        with self._lock:
            self._bytes += len(data)
            if self._bytes > self._most_bytes:
                self._shrink()

    def _shrink(self) -> None:
        files = sorted(self._files())
        self._bytes = sum(size for _, size, _ in files)
        for _, size, path in files:
            if self._bytes <= self._most_bytes * 0.9:
                return
            path.unlink(missing_ok=True)
            self._bytes -= size

    def _files(self) -> list[tuple[float, int, Path]]:
        found = []
        for path in self._folder.iterdir():
            with suppress(OSError):  # another process has deleted it
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        return found


class Pictures:
    """Fetches pictures and makes them smaller."""

    def __init__(self, deployment: Deployment, cache: Cache) -> None:
        self._deployment = deployment
        self._cache = cache
        self._fetching = BoundedSemaphore(_FETCHES)

    def scaled(self, picture: Picture, size: str) -> bytes:
        """As WebP, in one of SIDES. Raises NotShown."""
        name = f"{picture.token}-{size}.webp"
        data = self._cache.read(name)
        if data is None:
            with self._fetching:
                data = thumbnail(self._fetched(picture), SIDES[size]).data
            self._cache.keep(name, data)
        return data

    def whole(self, picture: Picture) -> Whole:
        """As it is in its bucket. Raises NotShown."""
        with self._fetching:
            data = self._fetched(picture)
        kind = sniff(data)
        if kind is None:
            raise NotShown("It is no picture that can be shown here.")
        return Whole(data, kind.content_type)

    def _fetched(self, picture: Picture) -> bytes:
        if has_dot_segment(picture.key):
            raise NotShown("S3 can't be asked for it by this key.")
        where = {"VersionId": picture.version_id} if picture.version_id else {}
        if not picture.version_id and picture.etag:
            where = {"IfMatch": f'"{picture.etag}"'}
        try:
            found = self._deployment.s3.get_object(Bucket=picture.bucket, Key=picture.key, **where)  # type: ignore[arg-type]
        except ClientError as error:
            if status_of(error) in (404, 412):  # 412: replaced since it was listed
                raise NotShown("It is not there any more.") from None
            if code_of(error) == ARCHIVED:
                raise NotShown("It is in an archive.") from None
            if status_of(error) == 400:
                raise NotShown("It is encrypted with a key that only its uploader has.") from None
            raise
        with found["Body"] as body:
            if picture.job_id and found["Metadata"].get("job-id") != picture.job_id:
                raise NotShown("Another upload's result is there now.")
            if found["ContentLength"] > MAX_RESULT_BYTES:
                raise NotShown(f"It is too large to be shown here: {found['ContentLength']} bytes.")
            return body.read()
