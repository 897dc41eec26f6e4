"""What users do with the input bucket, and operators with the gateway's key."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from moto.backends import get_backend

from backdrop.job import Job
from tests.integration import moved_clock
from tests.integration.stack import INPUT, KEY_PARAMETER, Stack


class Users:
    """`notify` is what the bucket does about an upload."""

    def __init__(self, stack: Stack, notify: Callable[[Job], Any]) -> None:
        self._stack = stack
        self._notify = notify

    def put_key(self, value: str) -> None:
        """Put the gateway's key into SSM."""
        self._stack.ssm.put_parameter(Name=KEY_PARAMETER, Value=value, Type="SecureString", Overwrite=True)

    def put(self, key: str, data: bytes, **metadata: str) -> Job:
        """Upload an object without any notification; metadata names take _ for -."""
        names = {name.replace("_", "-"): value for name, value in metadata.items()}
        answer = self._stack.s3.put_object(Bucket=INPUT, Key=key, Body=data, Metadata=names)
        self.set_modified(key, moved_clock.now())  # moto takes the real time
        return Job(INPUT, key, answer.get("VersionId"), answer["ETag"].strip('"'), len(data))

    def set_modified(self, key: str, at: float) -> None:
        """Change when the current object of a key was written, in epoch seconds."""
        found = get_backend("s3")["123456789012"]["aws"].buckets[INPUT].keys[key]
        found.last_modified = datetime.fromtimestamp(at, UTC).replace(tzinfo=None)

    def upload(self, key: str, data: bytes, **metadata: str) -> Job:
        """Upload an object and let the trigger have its event."""
        job = self.put(key, data, **metadata)
        self._notify(job)
        return job
