"""What a result is made from, told apart for years: a fingerprint that changed would buy everything again."""

import hashlib
import json
from dataclasses import replace

from backdrop.images import JPEG
from backdrop.inspection import fingerprint
from backdrop.request import Request
from backdrop.settings import Settings
from backdrop.storage import Upload

UPLOAD = Upload({}, 0, 1_795_000_000.0, '"etag"', 1000, JPEG)


def test_a_fingerprint_is_that_of_version_0_1(settings: Settings) -> None:
    asked = {"prompt": "wood", "n": 1, "size": None, "again": ""}
    parts = ['"etag"', asked, settings.gateway_model, settings.gateway_route]
    as_in_0_1 = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    request = Request("wood", 1, None)
    assert fingerprint(UPLOAD, request, settings) == as_in_0_1
    assert fingerprint(UPLOAD, replace(request, again="x", tag="acme"), settings) == as_in_0_1
    assert fingerprint(UPLOAD, replace(request, size="10x10"), settings) != as_in_0_1
