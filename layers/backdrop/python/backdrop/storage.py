"""The two buckets: reading uploads, storing results so that an older one never replaces a newer one."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from botocore.exceptions import ClientError

from backdrop.aws_errors import ARCHIVED, Kind, code_of, is_refused_by_kms_key, kind_of, status_of
from backdrop.errors import CurrentResults, PermanentFailure, Superseded, Unreadable
from backdrop.images import ACCEPTED_UPLOADS, HEADER_BYTES, ImageType, sniff
from backdrop.job import Job, has_dot_segment, known_version
from backdrop.request import MAX_IMAGES
from backdrop.upload import Record

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_UPLOAD_BYTES = 25 * 2**20
LINK_SECONDS = 3600
MAX_KEY_BYTES = 1024  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
MAX_METADATA_BYTES = 2048  # of all user metadata together
RESULT_SUFFIX = rf"(\.[1-{MAX_IMAGES}])?\.(png|jpg|webp|avif)"
"""A regular expression: what `result_key` puts behind a photo's key."""
_RACES = 5


@dataclass(frozen=True)
class Upload:
    """What the input bucket says about an upload. `modified` is epoch seconds."""

    metadata: dict[str, str]
    missing_metadata: int
    modified: float
    etag: str


@dataclass(frozen=True)
class Listed:
    """An entry of the input bucket's listing. `modified` is epoch seconds."""

    job: Job
    modified: float


def result_key(key: str, index: int, images: int, extension: str) -> str:
    """Where a result goes: `<key>.<ext>`, or `<key>.<index>.<ext>` for one of several; `index` from 1."""
    return f"{key}.{extension}" if images == 1 else f"{key}.{index}.{extension}"


class EncodedKey(Superseded):
    """There is no object of the key, but `job` is the same upload under the key percent-decoded."""

    def __init__(self, job: Job) -> None:
        super().__init__("the event's key is percent-encoded")
        self.job = job


class Storage:
    """Both buckets."""

    def __init__(self, client: "S3Client", output_bucket: str) -> None:
        self._client = client
        self._output_bucket = output_bucket

    def resolve(self, job: Job) -> Job:
        """The job with the identity of the key's current object; as it is when it has one or the object is gone.

        One that is skipped for its name is not looked at.
        """
        if job.is_identified or job.is_skipped:
            return job
        entry = self._current_entry(job)
        return (self._decoded(job) or job) if entry is None else _identified(job, entry)

    def _decoded(self, job: Job) -> Job | None:
        """The job under its key percent-decoded, when this very upload is there; None when it isn't.

        Some emulators encode the keys of EventBridge events. AWS doesn't, so the key as it came is looked for first.
        """
        try:
            key = unquote(job.key, errors="strict")
        except UnicodeDecodeError:
            return None
        if key == job.key or has_dot_segment(key):
            return None
        head = self._head(job.bucket, key)
        if head is None:
            return None
        found = _identified(replace(job, key=key), head)
        is_same = found.version_id == job.version_id if job.version_id else found.etag == job.etag
        return found if is_same else None

    def list_uploads(
        self, bucket: str, cursor: dict[str, str] | None, prefix: str = ""
    ) -> tuple[list[Listed], dict[str, str] | None]:
        """Up to a thousand current objects from `cursor` on, and the cursor behind them; None at the end."""
        page = self._client.list_object_versions(Bucket=bucket, Prefix=prefix, **(cursor or {}))  # type: ignore[arg-type]
        listed = [
            Listed(Job(bucket, entry["Key"], version, etag, entry["Size"], modified), entry["LastModified"].timestamp())
            for entry in page.get("Versions", [])
            if entry["IsLatest"]
            for version, etag, modified in [identity(entry)]
        ]
        if not page["IsTruncated"]:
            return listed, None
        return listed, {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    def inspect(self, job: Job) -> Upload:
        """Look at the upload's metadata and its first bytes.

        Raises EncodedKey when it is there under its key percent-decoded only, Superseded when it is deleted, empty or
        replaced by a newer version, PermanentFailure with `too_large`, `unsupported_media_type` or `unreadable`.
        """
        try:
            # Without VersionId: one look tells both what the upload is and whether it is still the current one.
            found = self._client.get_object(Bucket=job.bucket, Key=job.key, Range=f"bytes=0-{HEADER_BYTES - 1}")
        except ClientError as error:
            if status_of(error) == 404:
                if decoded := self._decoded(job):
                    raise EncodedKey(decoded) from None
                raise Superseded("the object is gone") from None
            if status_of(error) == 416:
                raise Superseded("the object is empty") from None
            if unreadable := self._unreadable(job.bucket, job.key, error):
                if not self._is_current(job):
                    raise Superseded("another object has replaced it") from None
                raise unreadable from None
            raise
        with found["Body"] as body:
            start = body.read(HEADER_BYTES)
        if not _is(found, job):
            raise Superseded("a newer version of the same key has replaced the object")
        size = int(found["ContentRange"].rpartition("/")[2])
        if size > MAX_UPLOAD_BYTES:
            raise PermanentFailure("too_large", f"the photo has {size} bytes; the most is {MAX_UPLOAD_BYTES}")
        if sniff(start) not in ACCEPTED_UPLOADS:
            raise PermanentFailure("unsupported_media_type", "the object is no JPEG, PNG or WebP image")
        return Upload(
            found["Metadata"],
            found.get("MissingMeta", 0),
            found["LastModified"].timestamp(),
            found["ETag"],
        )

    def current_results(self, key: str, n: int, fingerprint: str, again: str) -> CurrentResults | None:
        """The `n` results of a photo's key, if the latest were made from `fingerprint`, and for this `again` if any.

        None when they were not, or one of them is gone. Of a key with more than a thousand others that begin with it
        and a dot, only those are seen that come first.
        """
        suffix = re.compile(RESULT_SUFFIX)
        listed = self._client.list_objects_v2(Bucket=self._output_bucket, Prefix=f"{key}.").get("Contents", [])
        results = [each for each in listed if suffix.fullmatch(each["Key"], len(key))]
        latest = max((each["LastModified"] for each in results), default=None)
        found: dict[str, dict[str, Any]] = {}
        job_id = ""
        for each in results:
            head = self._head(self._output_bucket, each["Key"])
            metadata = head["Metadata"] if head else {}
            if metadata.get("source-key", quote(key)) != quote(key):
                continue  # as of a photo called a.jpg.1, beside a.jpg
            is_same = metadata.get("source-fingerprint") == fingerprint
            if head is None or not is_same or again not in ("", metadata.get("again", "")):
                if each["LastModified"] == latest:
                    return None
                continue
            job_id = metadata.get("job-id", "")
            name = each["Key"].rpartition(".")[0]
            found[name] = self._output(each["Key"], head["ContentType"], head["ContentLength"])
        wanted = [result_key(key, index, n, "").rstrip(".") for index in range(1, n + 1)]
        if latest is None or not all(name in found for name in wanted):
            return None
        return CurrentResults(tuple(found[name] for name in wanted), job_id, latest.timestamp())

    def link(self, job: Job) -> str:
        """A presigned link to this version, for the gateway; it dies after LINK_SECONDS."""
        return self._client.generate_presigned_url("get_object", Params=_exact(job), ExpiresIn=LINK_SECONDS)

    def read(self, job: Job) -> bytes:
        """The photo itself, for the file upload route. Raises Superseded when this version is gone, Unreadable."""
        try:
            with self._client.get_object(**_exact(job))["Body"] as body:
                return body.read()
        except ClientError as error:
            if status_of(error) == 404:
                raise Superseded("the object is gone") from None
            if unreadable := self._unreadable(job.bucket, job.key, error):
                raise unreadable from None
            raise

    def read_start(self, bucket: str, key: str, most: int) -> bytes:
        """The first bytes of a key's current object, `most` at most; none when it is empty or there is no object.

        Raises Unreadable.
        """
        if len(key.encode()) > MAX_KEY_BYTES:
            return b""  # S3 refuses to look for it
        try:
            found = self._client.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{most - 1}")
        except ClientError as error:
            if status_of(error) in (404, 416):  # 416: an empty object has no first byte
                return b""
            if unreadable := self._unreadable(bucket, key, error):
                raise unreadable from None
            raise
        with found["Body"] as body:
            return body.read(most)

    def check_key(self, key: str, images: int) -> None:
        """Raises PermanentFailure with `invalid_option` when the longest result key would be longer than S3 allows."""
        longest = result_key(key, images, images, "avif")
        if len(longest.encode()) > MAX_KEY_BYTES:
            raise PermanentFailure("invalid_option", f"the result's key would be longer than {MAX_KEY_BYTES} bytes")

    def store(
        self, record: Record, index: int, data: bytes, kind: ImageType, reconsider: Callable[[str], None]
    ) -> dict[str, Any] | None:
        """Put one result into the output bucket, as an entry of `outputs`; None when a newer upload's is there.

        After an older result was replaced, `reconsider` is told the job id of the upload that is current then, if that
        is another: it may just have taken the older result for its own.
        Raises PermanentFailure with `result_unavailable` when the key is taken by an object that is no result of this
        key.
        """
        key = result_key(record.key, index, record.images, kind.extension)
        metadata = _metadata(record)
        stored = self._output(key, kind.content_type, len(data))
        condition: dict[str, Any] = {"IfNoneMatch": "*"}  # mostly it is the first, and a look before would be in vain
        for _ in range(_RACES):
            try:
                self._client.put_object(
                    Bucket=self._output_bucket,
                    Key=key,
                    Body=data,
                    ContentType=kind.content_type,
                    Metadata=metadata,
                    **condition,
                )
                if "IfMatch" in condition:
                    self._tell_current(record, reconsider)
                return stored
            except ClientError as error:
                if status_of(error) not in (404, 409, 412):
                    raise
            there = self._head(self._output_bucket, key)
            if there is None:
                condition = {"IfNoneMatch": "*"}
                continue
            theirs = there["Metadata"]
            if theirs.get("job-id") == record.id:
                self._tell_current(record, reconsider)
                return stored
            if "job-id" not in theirs or theirs.get("source-key") != metadata.get("source-key"):
                raise PermanentFailure(
                    "result_unavailable", f"the output key {key} is taken by something else", billed="yes"
                )
            if self._is_newer(theirs, record):
                return None
            condition = {"IfMatch": there["ETag"]}
        raise RuntimeError(f"the output key {key} changed {_RACES} times while a result was being stored")

    def _output(self, key: str, content_type: str, size: int) -> dict[str, Any]:
        """An entry of a record's `outputs`; `size` in bytes."""
        return {"bucket": self._output_bucket, "key": key, "content_type": content_type, "bytes": size}

    def _is_newer(self, theirs: dict[str, str], record: Record) -> bool:
        """Whether the stored result's upload came after the record's."""
        # The current version has the word, whatever its date: S3 dates a multipart object by its initiation.
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
        current = self._current(record)
        if current is not None and current.id in (record.id, theirs.get("job-id")):
            return current.id != record.id
        if current is not None and current.etag == theirs.get("source-etag"):
            return True  # the photo of what is there was written again; it takes that for its own, or replaces it
        # LastModified has whole seconds, and a tie leaves what is there.
        return float(theirs.get("source-modified", 0)) >= record.source_modified

    def _tell_current(self, record: Record, reconsider: Callable[[str], None]) -> None:
        current = self._current(record)
        if current is not None and current.id != record.id:
            reconsider(current.id)

    def _current(self, record: Record) -> Job | None:
        """What is now under the record's key; None when it is deleted or can't be told."""
        try:
            head = self._head(record.bucket, record.key)
        except ClientError as error:
            if status_of(error) == 400:  # encrypted with its uploader's own key, so neither of those that were read
                return None
            raise
        if head is None:
            return None
        version_id, etag, modified = identity(head)
        return Job(record.bucket, record.key, version_id, etag, modified=modified)

    def _unreadable(self, bucket: str, key: str, error: ClientError) -> Unreadable | None:
        """Why S3 will not give an object to the functions; None when its answer to a GET doesn't say that."""
        code, status = code_of(error), status_of(error)
        if kind_of(error) is not Kind.OBJECT:
            if (code, status) != ("AccessDenied", 403) or not self._is_of_a_kms_key(bucket, key):
                return None
        elif code == ARCHIVED:
            where = error.response.get("AccessTier") or error.response.get("StorageClass") or "an archive"
            message = f"{key} is archived ({where}): restore it and move this dead letter back, or upload it again"
            return Unreadable(message, status)
        elif not is_refused_by_kms_key(code):
            message = f"{key} is encrypted with a key that only its uploader has (SSE-C): upload it again without one"
            return Unreadable(message, status)
        return Unreadable(
            f"S3 may not use the KMS key that {key} is encrypted with ({code}): let the functions' roles use the key,"
            " or enable it, and move this dead letter back; or upload it again without that key",
            status,
            may_pass=True,
        )

    def _is_of_a_kms_key(self, bucket: str, key: str) -> bool:
        """Whether a GET that was forbidden may only have lacked the object's KMS key.

        Both take s3:GetObject; a HEAD doesn't decrypt.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
        """
        try:
            head = self._head(bucket, key)
        except ClientError as error:
            if kind_of(error) is not Kind.STACK:
                raise
            return False
        return head is not None and str(head.get("ServerSideEncryption", "")).startswith("aws:kms")

    def is_replaced(self, job: Job) -> bool:
        """Whether another object is under the upload's key; one that was only deleted is not replaced."""
        current = self._current_entry(job)
        return current is not None and not self._is_entry_of(current, job)

    def _is_current(self, job: Job) -> bool:
        current = self._current_entry(job)
        return current is not None and self._is_entry_of(current, job)

    @staticmethod
    def _is_entry_of(current: Any, job: Job) -> bool:
        if job.version_id and "VersionId" not in current:  # of a listing, which names no versions
            return job.etag in (None, current["ETag"].strip('"'))
        return _is(current, job)

    def _current_entry(self, job: Job) -> Any | None:
        """The key's current object as HEAD tells it or, where that takes the uploader's own key, a listing."""
        try:
            return self._head(job.bucket, job.key)
        except ClientError as error:
            if status_of(error) not in (400, 403):
                raise
        # The first of the keys that begin like this one is this one.
        found = self._client.list_objects_v2(Bucket=job.bucket, Prefix=job.key, MaxKeys=1).get("Contents", [])
        return next((entry for entry in found if entry["Key"] == job.key), None)

    def _head(self, bucket: str, key: str) -> Any | None:
        try:
            return self._client.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if status_of(error) == 404:
                return None
            raise


def identity(entry: Any) -> tuple[str | None, str, int | None]:
    """Version id, etag and, where there is no version id, the time of the write, of a listing's entry or an answer."""
    version_id = known_version(entry.get("VersionId"))
    return version_id, entry["ETag"].strip('"'), None if version_id else int(entry["LastModified"].timestamp())


def _identified(job: Job, entry: Any) -> Job:
    version_id, etag, modified = identity(entry)
    size = entry["ContentLength"] if "ContentLength" in entry else entry["Size"]  # the latter: of a listing
    return replace(job, version_id=version_id, etag=etag, modified=modified, size=size)


def _is(entry: Any, upload: Job | Record) -> bool:
    version_id, etag, modified = identity(entry)
    if version_id or upload.version_id:
        return version_id == upload.version_id
    return (etag, modified) == (upload.etag, upload.modified)


def _exact(job: Job) -> Any:
    return {"Bucket": job.bucket, "Key": job.key} | ({"VersionId": job.version_id} if job.version_id else {})


def _metadata(record: Record) -> dict[str, str]:
    metadata = {
        "job-id": record.id,
        "source-key": quote(record.key),
        "source-version": record.version_id or "",
        "source-modified": f"{record.source_modified:.3f}",
        "source-fingerprint": record.fingerprint or "",
        "source-etag": record.etag or "",
        "again": record.again,
        "model": quote(record.model or "", safe="/:"),
        "request-id": record.request_id or "",
    }
    if sum(len(name) + len(value) for name, value in metadata.items()) > MAX_METADATA_BYTES:
        del metadata["source-key"]  # a long key outside ASCII triples when it is encoded
    return metadata
