"""The output bucket: what a key has, and storing results so that an older one never replaces a newer one."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from botocore.exceptions import ClientError

from backdrop.aws_errors import status_of
from backdrop.errors import CurrentResults, PermanentFailure
from backdrop.failure_codes import FailureCode
from backdrop.images import ImageType
from backdrop.request import MAX_IMAGES
from backdrop.s3_objects import MAX_KEY_BYTES, S3Objects
from backdrop.upload import Record

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_METADATA_BYTES = 2048  # of all user metadata together
RESULT_SUFFIX = rf"(\.[1-{MAX_IMAGES}])?\.(png|jpg|webp|avif)"
"""A regular expression: what `result_key` puts behind a photo's key."""
_MAX_CONFLICTS = 5


def result_key(key: str, index: int, images: int, extension: str) -> str:
    """Where a result goes: `<key>.<ext>`, or `<key>.<index>.<ext>` for one of several; `index` from 1."""
    return f"{key}.{extension}" if images == 1 else f"{key}.{index}.{extension}"


def check_result_key(key: str, images: int) -> None:
    """Raises PermanentFailure with `invalid_option` when the longest result key would be longer than S3 allows."""
    longest = result_key(key, images, images, "avif")
    if len(longest.encode()) > MAX_KEY_BYTES:
        message = f"the result's key would be longer than {MAX_KEY_BYTES} bytes"
        raise PermanentFailure(FailureCode.INVALID_OPTION, message)


class ResultStorage:
    """The results in the output bucket."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self._objects = S3Objects(client)

    def current_results(self, key: str, n: int, fingerprint: str, again: str) -> CurrentResults | None:
        """The `n` results of a photo's key, if the latest were made from `fingerprint`, and for this `again` if any.

        None when they were not, or one of them is gone. Of a key with more than a thousand others that begin with it
        and a dot, only those are seen that come first.
        """
        suffix = re.compile(RESULT_SUFFIX)
        listed = self._client.list_objects_v2(Bucket=self._bucket, Prefix=f"{key}.").get("Contents", [])
        results = [each for each in listed if suffix.fullmatch(each["Key"], len(key))]
        latest = max((each["LastModified"] for each in results), default=None)
        found: dict[str, dict[str, Any]] = {}
        job_id = ""
        for each in results:
            head = self._objects.head(self._bucket, each["Key"])
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
        # Mostly the key has none yet, and a look first would be a request for nothing.
        condition: dict[str, Any] = {"IfNoneMatch": "*"}
        for _ in range(_MAX_CONFLICTS):
            try:
                self._client.put_object(
                    Bucket=self._bucket,
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
            there = self._objects.head(self._bucket, key)
            if there is None:
                condition = {"IfNoneMatch": "*"}
                continue
            theirs = there["Metadata"]
            if theirs.get("job-id") == record.id:
                self._tell_current(record, reconsider)
                return stored
            if "job-id" not in theirs or theirs.get("source-key") != metadata.get("source-key"):
                raise PermanentFailure(
                    FailureCode.RESULT_UNAVAILABLE, f"the output key {key} is taken by something else"
                )
            if self._is_newer(theirs, record):
                return None
            condition = {"IfMatch": there["ETag"]}
        raise RuntimeError(f"the output key {key} changed {_MAX_CONFLICTS} times while a result was being stored")

    def _output(self, key: str, content_type: str, size: int) -> dict[str, Any]:
        """An entry of a record's `outputs`; `size` in bytes."""
        return {"bucket": self._bucket, "key": key, "content_type": content_type, "bytes": size}

    def _is_newer(self, theirs: dict[str, str], record: Record) -> bool:
        """Whether the stored result's upload came after the record's."""
        # The current version decides, whatever its date: S3 dates a multipart object by its initiation.
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
        current = self._objects.current(record)
        if current is not None and current.id in (record.id, theirs.get("job-id")):
            return current.id != record.id
        if current is not None and current.etag == theirs.get("source-etag"):
            # The photo of the stored result was uploaded again: that upload keeps this result, or replaces it.
            return True
        # LastModified has whole seconds, and a tie leaves what is there.
        return float(theirs.get("source-modified", 0)) >= record.source_modified

    def _tell_current(self, record: Record, reconsider: Callable[[str], None]) -> None:
        current = self._objects.current(record)
        if current is not None and current.id != record.id:
            reconsider(current.id)


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
