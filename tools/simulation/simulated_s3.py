"""S3 in memory: buckets with or without versions, and as much of its client as Backdrop uses."""

import hashlib
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from botocore.exceptions import ClientError

from tools.simulation.connection import Connection

PAGE = 1000  # entries of a listing


@dataclass
class StoredObject:
    """One version of an object, or a delete marker. `modified` is epoch seconds."""

    key: str
    version_id: str
    body: bytes
    size: int
    etag: str
    modified: float
    metadata: dict[str, str] = field(default_factory=dict)
    content_type: str = ""
    is_marker: bool = False


class Bucket:
    """The versions of each key, the newest last."""

    def __init__(self, *, is_versioned: bool = False) -> None:
        self.is_versioned = is_versioned
        self.versions: dict[str, list[StoredObject]] = {}
        self._keys: list[str] = []
        self._writes = 0

    def put(
        self,
        key: str,
        body: bytes,
        now: float,
        metadata: dict[str, str] | None = None,
        content_type: str = "",
        size: int | None = None,
    ) -> StoredObject:
        """Write an object; `size` stands for bytes that nobody keeps."""
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        return self._add(
            StoredObject(
                key, self._new_id(), body, len(body) if size is None else size, etag, now, metadata or {}, content_type
            )
        )

    def delete(self, key: str, now: float) -> None:
        """Delete an object: with versions, by a marker."""
        if self.is_versioned:
            self._add(StoredObject(key, self._new_id(), b"", 0, "", now, is_marker=True))
        elif self.versions.pop(key, None):
            self._keys.remove(key)

    def restore(self, key: str) -> None:
        """Remove the newest version or marker for good, so that the one before it is current again."""
        if self.is_versioned and len(self.versions.get(key, [])) > 1:
            self.versions[key].pop()

    def current(self, key: str) -> StoredObject | None:
        """What a GET without a version finds."""
        versions = self.versions.get(key)
        return versions[-1] if versions and not versions[-1].is_marker else None

    def version(self, key: str, version_id: str) -> StoredObject | None:
        """One version of a key."""
        return next((each for each in self.versions.get(key, ()) if each.version_id == version_id), None)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """The keys that were ever written, in S3's order."""
        for at in range(bisect_left(self._keys, prefix), len(self._keys)):
            if not self._keys[at].startswith(prefix):
                return
            yield self._keys[at]

    def _add(self, new: StoredObject) -> StoredObject:
        if new.key not in self.versions:
            insort(self._keys, new.key)
        if self.is_versioned:
            self.versions.setdefault(new.key, []).append(new)
        else:
            self.versions[new.key] = [new]
        return new

    def _new_id(self) -> str:
        self._writes += 1
        return f"v{self._writes:06}" if self.is_versioned else "null"


class SimulatedS3:
    """The client."""

    def __init__(self, buckets: dict[str, Bucket], connection: Connection) -> None:
        self._buckets = buckets
        self._connection = connection

    def get_object(
        self, Bucket: str, Key: str, VersionId: str | None = None, Range: str | None = None, IfMatch: str | None = None
    ) -> dict[str, Any]:
        """As S3's."""

        def read() -> dict[str, Any]:
            found = self._found(Bucket, Key, VersionId, "GetObject")
            if IfMatch is not None and IfMatch.strip('"') != found.etag:
                raise error("GetObject", "PreconditionFailed", 412)
            answer = _answer(found)
            body = found.body
            if Range is not None:
                if not found.size:
                    raise error("GetObject", "InvalidRange", 416)
                last = min(int(Range.rpartition("-")[2]), found.size - 1)
                body = body[: last + 1]
                answer["ContentRange"] = f"bytes 0-{last}/{found.size}"
            return answer | {"Body": _Body(body)}

        return self._connection.call("s3", "GetObject", read, Key if Range else f"{Key} {VersionId or 'whole'}")

    def head_object(self, Bucket: str, Key: str, VersionId: str | None = None) -> dict[str, Any]:
        """As S3's."""
        return self._connection.call(
            "s3", "HeadObject", lambda: _answer(self._found(Bucket, Key, VersionId, "HeadObject")), Key
        )

    def list_objects_v2(self, Bucket: str, Prefix: str, MaxKeys: int = PAGE) -> dict[str, Any]:
        """As S3's, of one page."""

        def listed() -> dict[str, Any]:
            bucket = self._buckets[Bucket]
            current = (bucket.current(key) for key in bucket.keys(Prefix))
            entries = [_entry(each) for each in current if each is not None]
            return {"Contents": entries[:MaxKeys]} if entries else {}

        return self._connection.call("s3", "ListObjectsV2", listed, Prefix)

    def list_object_versions(
        self, Bucket: str, Prefix: str, KeyMarker: str = "", VersionIdMarker: str = ""
    ) -> dict[str, Any]:
        """As S3's; the markers are those of the entry after which to go on."""

        def listed() -> dict[str, Any]:
            bucket = self._buckets[Bucket]
            every = [each for key in bucket.keys(Prefix) for each in reversed(bucket.versions[key])]
            start = 0
            if KeyMarker:
                marks = [(each.key, each.version_id) for each in every]
                start = marks.index((KeyMarker, VersionIdMarker)) + 1 if (KeyMarker, VersionIdMarker) in marks else 0
            page = every[start : start + PAGE]
            versions = [
                _entry(each) | {"VersionId": each.version_id, "IsLatest": each is bucket.versions[each.key][-1]}
                for each in page
                if not each.is_marker
            ]
            answer: dict[str, Any] = {"Versions": versions, "IsTruncated": start + PAGE < len(every)}
            if answer["IsTruncated"]:
                answer |= {"NextKeyMarker": page[-1].key, "NextVersionIdMarker": page[-1].version_id}
            return answer

        return self._connection.call("s3", "ListObjectVersions", listed, Prefix)

    def put_object(
        self,
        Bucket: str,
        Key: str,
        Body: bytes,
        ContentType: str,
        Metadata: dict[str, str],
        IfNoneMatch: str | None = None,
        IfMatch: str | None = None,
    ) -> dict[str, Any]:
        """As S3's."""

        def written() -> dict[str, Any]:
            there = self._buckets[Bucket].current(Key)
            if IfNoneMatch and there is not None:
                raise error("PutObject", "PreconditionFailed", 412)
            if IfMatch and there is None:
                raise error("PutObject", "NoSuchKey", 404)
            if IfMatch and there is not None and IfMatch.strip('"') != there.etag:
                raise error("PutObject", "PreconditionFailed", 412)
            new = self._buckets[Bucket].put(Key, Body, self._connection.now(), Metadata, ContentType)
            return {"ETag": f'"{new.etag}"'}

        return self._connection.call("s3", "PutObject", written, Key)

    def generate_presigned_url(self, _operation: str, Params: dict[str, str], ExpiresIn: int) -> str:
        """As long as a real one."""
        version = f"versionId={Params['VersionId']}&" if "VersionId" in Params else ""
        dies_at = self._connection.now() + ExpiresIn
        signed = f"X-Amz-Expires={dies_at:.3f}&X-Amz-Security-Token={TOKEN}&X-Amz-Signature={SIGNATURE}"
        return f"https://{Params['Bucket']}.s3.us-east-1.amazonaws.com/{quote(Params['Key'])}?{version}{signed}"

    def _found(self, bucket: str, key: str, version_id: str | None, operation: str) -> StoredObject:
        store = self._buckets[bucket]
        found = store.version(key, version_id) if version_id else store.current(key)
        if found is None or found.is_marker:
            raise error(operation, "404" if operation == "HeadObject" else "NoSuchKey", 404)
        return found


TOKEN, SIGNATURE = "IQoJb3JpZ2luX2Vj" * 70, "5ec4e7a9" * 8


def status_of_link(link: str, photos: Bucket, now: float) -> int:
    """What a GET of a presigned link is answered."""
    url = urlsplit(link)
    query = parse_qs(url.query)
    key, version = unquote(url.path.lstrip("/")), query.get("versionId", [""])[0]
    found = photos.version(key, version) if version else photos.current(key)
    if now > float(query["X-Amz-Expires"][0]):
        return 403
    return 404 if found is None or found.is_marker else 200


def error(operation: str, code: str, status: int) -> ClientError:
    """S3's refusal."""
    response: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)


def _answer(found: StoredObject) -> dict[str, Any]:
    return {
        "VersionId": found.version_id,
        "ETag": f'"{found.etag}"',
        "ContentLength": found.size,
        "ContentType": found.content_type,
        "Metadata": dict(found.metadata),
        "LastModified": _whole_seconds(found.modified),
    }


def _entry(found: StoredObject) -> dict[str, Any]:
    return {
        "Key": found.key,
        "ETag": f'"{found.etag}"',
        "Size": found.size,
        "LastModified": _whole_seconds(found.modified),
    }


def _whole_seconds(at: float) -> datetime:
    return datetime.fromtimestamp(int(at), UTC)


class _Body:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def __enter__(self) -> "_Body":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, size: int = -1) -> bytes:
        return self._data if size < 0 else self._data[:size]
