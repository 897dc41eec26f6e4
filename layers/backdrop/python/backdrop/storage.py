"""The input bucket: which uploads there are, what each is, and its bytes."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from botocore.exceptions import ClientError

from backdrop.aws_errors import status_of
from backdrop.errors import Superseded
from backdrop.images import HEADER_BYTES, ImageType, sniff
from backdrop.job import Job, has_dot_segment
from backdrop.s3_objects import MAX_KEY_BYTES, S3Objects, exact, identified, identity, is_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_UPLOAD_BYTES = 25 * 2**20
LINK_SECONDS = 3600


@dataclass(frozen=True)
class Upload:
    """What the input bucket says about an upload. `modified` is epoch seconds."""

    metadata: dict[str, str]
    missing_metadata: int
    modified: float
    etag: str
    size: int
    """Bytes."""
    kind: ImageType | None
    """By its first bytes."""


@dataclass(frozen=True)
class Listed:
    """An entry of the input bucket's listing. `modified` is epoch seconds."""

    job: Job
    modified: float


class EncodedKey(Superseded):
    """There is no object of the key, but `job` is the same upload under the key percent-decoded."""

    def __init__(self, job: Job) -> None:
        super().__init__("the event's key is percent-encoded")
        self.job = job


class Storage:
    """Reads uploads, and the objects beside them."""

    def __init__(self, client: "S3Client") -> None:
        self._client = client
        self._objects = S3Objects(client)

    def resolve(self, job: Job) -> Job:
        """The job with the identity of the key's current object; as it is when it has one or the object is gone.

        One that is skipped for its name is not looked at.
        """
        if job.is_identified or job.is_skipped:
            return job
        entry = self._objects.current_entry(job)
        return (self._decoded(job) or job) if entry is None else identified(job, entry)

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
        head = self._objects.head(job.bucket, key)
        if head is None:
            return None
        found = identified(replace(job, key=key), head)
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
        replaced by a newer version, and Unreadable.
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
            if unreadable := self._objects.unreadable(job.bucket, job.key, error):
                if not self._objects.is_current(job):
                    raise Superseded("another object has replaced it") from None
                raise unreadable from None
            raise
        with found["Body"] as body:
            start = body.read(HEADER_BYTES)
        if not is_of(found, job):
            raise Superseded("a newer version of the same key has replaced the object")
        return Upload(
            found["Metadata"],
            found.get("MissingMeta", 0),
            found["LastModified"].timestamp(),
            found["ETag"],
            int(found["ContentRange"].rpartition("/")[2]),
            sniff(start),
        )

    def metadata(self, job: Job) -> dict[str, str] | None:
        """The user metadata of this very upload, also when another has replaced it.

        Empty when it is gone or only its uploader can read it, None when S3 refuses, which may pass.
        """
        try:
            found = self._client.head_object(**exact(job))
        except ClientError as error:
            if status_of(error) == 403:
                return None
            if status_of(error) in (400, 404):  # 400: encrypted with its uploader's own key
                return {}
            raise
        return found["Metadata"] if is_of(found, job) else {}

    def link(self, job: Job) -> str:
        """A presigned link to this version, for the gateway; it dies after LINK_SECONDS."""
        return self._client.generate_presigned_url("get_object", Params=exact(job), ExpiresIn=LINK_SECONDS)

    def read(self, job: Job) -> bytes:
        """The photo itself, for the file upload route. Raises Superseded when this version is gone, Unreadable."""
        same_bytes: Any = {} if job.version_id or not job.etag else {"IfMatch": f'"{job.etag}"'}
        try:
            with self._client.get_object(**exact(job), **same_bytes)["Body"] as body:
                return body.read()
        except ClientError as error:
            if status_of(error) in (404, 412):
                raise Superseded("the object is gone") from None
            if unreadable := self._objects.unreadable(job.bucket, job.key, error):
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
            if unreadable := self._objects.unreadable(bucket, key, error):
                raise unreadable from None
            raise
        with found["Body"] as body:
            return body.read(most)

    def is_replaced(self, job: Job) -> bool:
        """Whether another object is under the upload's key; one that was only deleted is not replaced."""
        return self._objects.is_replaced(job)
