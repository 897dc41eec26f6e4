"""What an upload asks for, and whether the key's current result is made from just that."""

import hashlib
import json
from dataclasses import asdict, replace

from backdrop.batches import shard_of
from backdrop.errors import PermanentFailure
from backdrop.failure_codes import FailureCode
from backdrop.images import ACCEPTED_UPLOADS
from backdrop.job import Job
from backdrop.prompts import FolderPrompts
from backdrop.request import Request, check_segments, read_request, valid_tag
from backdrop.result_storage import check_result_key
from backdrop.settings import Settings
from backdrop.storage import MAX_UPLOAD_BYTES, Storage, Upload


def inspect(job: Job, storage: Storage, prompts: FolderPrompts, settings: Settings) -> tuple[Upload, Request]:
    """The upload and what it asks for, checked. Raises Superseded, or PermanentFailure with why it can't succeed."""
    check_segments(job.key)
    upload = storage.inspect(job)
    try:
        return upload, _checked(job, upload, prompts, settings)
    except PermanentFailure as failure:
        failure.tag, failure.batch = valid_tag(upload.metadata), shard_of(upload.metadata)
        raise


def _checked(job: Job, upload: Upload, prompts: FolderPrompts, settings: Settings) -> Request:
    if upload.size > MAX_UPLOAD_BYTES:
        message = f"the photo has {upload.size} bytes; the most is {MAX_UPLOAD_BYTES}"
        raise PermanentFailure(FailureCode.TOO_LARGE, message)
    if upload.kind not in ACCEPTED_UPLOADS:
        raise PermanentFailure(FailureCode.UNSUPPORTED_MEDIA_TYPE, "the object is no JPEG, PNG or WebP image")
    request = read_request(
        upload.metadata,
        lambda: prompts.find(job.bucket, job.key),
        settings.default_prompt,
        upload.missing_metadata,
    )
    request = _with_extra_n(request, settings)
    check_result_key(job.key, request.n)
    if 0 < settings.daily_image_limit < request.n:
        message = f"n is {request.n}; DailyImageLimit allows fewer in a whole day"
        raise PermanentFailure(FailureCode.INVALID_OPTION, message)
    return request


def fingerprint(upload: Upload, request: Request, settings: Settings) -> str:
    """The same for uploads whose results would be made from the same bytes in the same way, whichever time it is."""
    # What nobody has asked for is left out, so that an option that is added later changes no fingerprint.
    asked = {name: value for name, value in asdict(request).items() if value not in (None, "") or name == "size"}
    asked |= {"again": ""}
    asked.pop("tag", None)
    parts = [upload.etag, asked, settings.gateway_model, settings.gateway_route]
    if settings.gateway_path or settings.gateway_extra_fields:
        parts += [settings.gateway_path, json.dumps(settings.gateway_extra_fields, sort_keys=True)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _with_extra_n(request: Request, settings: Settings) -> Request:
    """The request for as many images as GatewayExtraFields lets the gateway make: they are counted and paid."""
    extra = settings.gateway_extra_fields
    if "n" not in extra:
        return request
    if extra["n"] is None and request.n > 1:
        message = f"n is {request.n}; GatewayExtraFields leaves n out, so it can be 1"
        raise PermanentFailure(FailureCode.INVALID_OPTION, message)
    return replace(request, n=extra["n"] or 1)
