"""In a bucket whose versions are suspended, each upload of a key is one of its own."""

from typing import Any

from backdrop.job import Job
from tests.integration.harness import Harness
from tests.integration.stack import INPUT


def test_a_re_upload_in_a_bucket_with_suspended_versions_is_a_new_upload(
    harness: Harness, photo: bytes, picture_of: Any
) -> None:
    harness.s3.put_bucket_versioning(Bucket=INPUT, VersioningConfiguration={"Status": "Suspended"})
    for data, prompt in ((photo, "wood"), (picture_of("PNG"), "snow")):
        answer = harness.s3.put_object(Bucket=INPUT, Key="a.jpg", Body=data, Metadata={"prompt": prompt})
        harness.notify(Job(INPUT, "a.jpg", None, answer["ETag"].strip('"'), len(data)))
    harness.drain()

    assert [charge["prompt"] for charge in harness.gateway.charges()] == ["wood", "snow"]
