"""Objects of S3: which upload one belongs to, which is current, and why one can't be read."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from backdrop.aws_errors import ARCHIVED, Kind, code_of, is_refused_by_kms_key, kind_of, status_of
from backdrop.errors import Unreadable
from backdrop.job import Job, known_version
from backdrop.upload import Record

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_KEY_BYTES = 1024  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html


class S3Objects:
    """Looks at objects of both buckets."""

    def __init__(self, client: "S3Client") -> None:
        self._client = client

    def current(self, record: Record) -> Job | None:
        """What is now under the record's key; None when it is deleted or can't be told."""
        try:
            head = self.head(record.bucket, record.key)
        except ClientError as error:
            if status_of(error) == 400:  # encrypted with its uploader's own key, so neither of those that were read
                return None
            raise
        if head is None:
            return None
        version_id, etag, modified = identity(head)
        return Job(record.bucket, record.key, version_id, etag, modified=modified)

    def unreadable(self, bucket: str, key: str, error: ClientError) -> Unreadable | None:
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
            head = self.head(bucket, key)
        except ClientError as error:
            if kind_of(error) is not Kind.STACK:
                raise
            return False
        return head is not None and str(head.get("ServerSideEncryption", "")).startswith("aws:kms")

    def is_replaced(self, job: Job) -> bool:
        """Whether another object is under the upload's key; one that was only deleted is not replaced."""
        current = self.current_entry(job)
        return current is not None and not self._is_entry_of(current, job)

    def is_current(self, job: Job) -> bool:
        """Whether the upload's own object is under its key."""
        current = self.current_entry(job)
        return current is not None and self._is_entry_of(current, job)

    @staticmethod
    def _is_entry_of(current: Any, job: Job) -> bool:
        if job.version_id and "VersionId" not in current:  # of a listing, which names no versions
            return job.etag in (None, current["ETag"].strip('"'))
        return is_of(current, job)

    def current_entry(self, job: Job) -> Any | None:
        """The key's current object as HEAD tells it or, where that takes the uploader's own key, a listing."""
        try:
            return self.head(job.bucket, job.key)
        except ClientError as error:
            if status_of(error) not in (400, 403):
                raise
        # The first of the keys that begin like this one is this one.
        found = self._client.list_objects_v2(Bucket=job.bucket, Prefix=job.key, MaxKeys=1).get("Contents", [])
        return next((entry for entry in found if entry["Key"] == job.key), None)

    def head(self, bucket: str, key: str) -> Any | None:
        """S3's answer to HEAD; None when there is no such object."""
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


def identified(job: Job, entry: Any) -> Job:
    """The job with the identity of a listing's entry or an answer."""
    version_id, etag, modified = identity(entry)
    size = entry["ContentLength"] if "ContentLength" in entry else entry["Size"]  # the latter: of a listing
    return replace(job, version_id=version_id, etag=etag, modified=modified, size=size)


def is_of(entry: Any, upload: Job | Record) -> bool:
    """Whether an answer is about this very upload, and not about another object of its key."""
    version_id, etag, modified = identity(entry)
    if version_id or upload.version_id:
        return version_id == upload.version_id
    return (etag, modified) == (upload.etag, upload.modified)


def exact(job: Job) -> Any:
    """What names this version in a request."""
    return {"Bucket": job.bucket, "Key": job.key} | ({"VersionId": job.version_id} if job.version_id else {})
