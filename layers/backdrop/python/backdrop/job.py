"""Which upload is meant: its identity, and which objects are none."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from backdrop.call import Purchase

PROMPT_FILE = "prompt.txt"
"""Base name of the objects that hold a prompt for the photos of their folder."""
_NO_PHOTO = re.compile(
    rf"|{re.escape(PROMPT_FILE)}|\.DS_Store|\._.*|~\$.*|(?i:thumbs\.db|desktop\.ini)",
    re.DOTALL,
)
"""Base names of folder markers, of prompts, and of what macOS, Windows and Office leave behind in folders."""


@dataclass(frozen=True)
class Job:
    """One upload. `version_id` is None where the bucket keeps no versions or the event named none."""

    bucket: str
    key: str
    version_id: str | None = None
    etag: str | None = None
    size: int | None = None
    """Bytes."""
    modified: int | None = None
    """When it was written, in epoch seconds; known, and part of its identity, where the bucket keeps no versions."""
    failed_at: str | None = None
    """Of the dead letter that this job was moved back from; None for every other job."""
    purchase: Purchase | None = None
    receipt_handle: str | None = None
    """Of the message that brought it."""

    @property
    def id(self) -> str:
        """The same for duplicate events of an upload, another for a re-upload of its key."""
        modified = None if has_dot_segment(self.key) else self.modified  # only a listing could tell it
        identity = json.dumps([self.bucket, self.key, self.version_id or f"{self.etag} of {modified}"])
        return hashlib.sha256(identity.encode()).hexdigest()[:32]

    @property
    def is_identified(self) -> bool:
        """Whether it is told apart from other uploads of its key; where a bucket keeps no versions, no event does."""
        return self.version_id is not None or self.modified is not None or has_dot_segment(self.key)

    @property
    def is_skipped(self) -> bool:
        """Folder markers, empty objects, `prompt.txt` and what systems leave behind are no photos and no failures."""
        return self.size == 0 or is_no_photo(self.key)

    def as_dict(self) -> dict[str, Any]:
        """The `job` of a message or dead letter."""
        return {
            "id": self.id,
            "bucket": self.bucket,
            "key": self.key,
            "version_id": self.version_id,
            "etag": self.etag,
            "size": self.size,
            "modified": self.modified,
        }


def is_no_photo(key: str) -> bool:
    """Whether a key or path is skipped for its base name."""
    return _NO_PHOTO.fullmatch(key.rpartition("/")[2]) is not None


def has_dot_segment(key: str) -> bool:
    """Whether the key can't be asked for: HTTP clients resolve `.` and `..` as in a path, and so name another key."""
    return not {".", ".."}.isdisjoint(key.split("/"))


def known_version(version_id: str | None) -> str | None:
    """None for "null", as S3 calls the version of what was written while the bucket kept none."""
    return None if version_id in (None, "", "null") else version_id
