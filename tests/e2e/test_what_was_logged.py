"""Row 63: what all tests of a stack logged, emitted, published and dead-lettered; runs last on each, by its name."""

import base64
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import HALVES
from tests.e2e.deployed import Deployed, Mailbox
from tools.local_stack import KEY_PARAMETER
from tools.polling import until

pytestmark = pytest.mark.parametrize(
    "half", [pytest.param(half, marks=pytest.mark.xdist_group(half)) for half in HALVES]
)
PHOTO = (Path(__file__).parents[2] / "tools" / "samples" / "mug.jpg").read_bytes()
PROMPT = "an unmistakable backdrop, mine alone"
SIGNATURE = "unmistakable-signature"
QUERY = re.compile(r"://[^\s\"]*\?")
UPLOAD_FUNCTIONS = ("-replace-background", "-retry")
WITHOUT_RECORD = ("skipped", "superseded")
"""Lines about what the ledger may never have heard of."""


@pytest.fixture
def everything(deployed: Deployed, all_events: Mailbox) -> dict[str, list[str]]:
    """All that could give something away, after some uploads that try to make it."""
    deployed.gateway.faults(
        [
            {
                "kind": "status",
                "status": 500,
                "match": "first",
                "body": f'{{"error": {{"message": "{PROMPT} first"}}}}',
            },
            {"kind": "status", "status": 400, "match": "second"},
            {"kind": "drop_after_charge", "match": "third"},
            {
                "kind": "link",
                "match": "fourth",
                "url": f"{deployed.gateway.base_url.removesuffix('/v1')}/media/none.png?signature={SIGNATURE}",
            },
        ]
    )
    for name in ("first", "second", "third", "fourth"):
        deployed.put(f"{name}.jpg", PHOTO, prompt=f"{PROMPT} {name}")
    deployed.until_finished(3, seconds=60)
    until("a dead link", lambda: any("paid, but not stored yet" in line for line in deployed.logs()))
    deployed.dead_letters()
    return {
        "logs": deployed.logs(),
        "events": [json.dumps(event, ensure_ascii=False) for event in all_events.take()],
        "dead letters": deployed.dead_letters_seen,
    }


def prompts(deployed: Deployed) -> set[str]:
    """All that were used on this stack: those of every version of every upload, and of every prompt.txt."""

    def prompt(bucket: str, version: Any) -> str:
        if version["Key"].endswith("prompt.txt"):
            found = deployed.s3.get_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
            return str(found["Body"].read().decode())
        found = (
            {}
            if not version["Size"]
            else deployed.s3.head_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])["Metadata"]
        )
        return base64.b64decode(found.get("prompt-b64", "")).decode() or found.get("prompt", "")

    names = [bucket["Name"] for bucket in deployed.s3.list_buckets()["Buckets"]]
    with ThreadPoolExecutor(4) as pool:
        found = {
            text
            for name in names
            if "-output-" not in name and "-sam-" not in name
            for page in deployed.s3.get_paginator("list_object_versions").paginate(Bucket=name)
            for text in pool.map(partial(prompt, name), page.get("Versions", []))
        }
    return found - {""}


def ids_by_key(deployed: Deployed) -> dict[str, set[str]]:
    """Job ids of all stacks' ledgers by the upload's key."""
    found: dict[str, set[str]] = {}
    for table in deployed.dynamodb.list_tables()["TableNames"]:
        for page in deployed.dynamodb.get_paginator("scan").paginate(TableName=table):
            for item in page["Items"]:
                if "key" in item:
                    found.setdefault(item["key"]["S"], set()).add(item["id"]["S"])
    return found


def json_lines(lines: list[str]) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in lines if line.startswith("{"))


def test_nothing_that_leaves_holds_a_key_a_signature_a_link_or_a_prompt(
    deployed: Deployed, everything: dict[str, list[str]], half: str
) -> None:
    assert any('"_aws"' in line for line in everything["logs"])
    assert all(everything.values())
    key = deployed.stack.client("ssm").get_parameter(Name=KEY_PARAMETER, WithDecryption=True)["Parameter"]["Value"]
    secrets = {PROMPT, SIGNATURE, key, "sk-aig", "X-Amz-", "/media/", "Bearer", "AWSAccessKeyId", *prompts(deployed)}
    assert f"{PROMPT} fourth" in secrets

    for kind, texts in everything.items():
        found = [text for text in texts if QUERY.search(text) or any(secret in text for secret in secrets)]
        assert found == [], kind


def test_every_line_about_an_upload_carries_its_job_id(deployed: Deployed, half: str) -> None:
    deployed.put("a.jpg", PHOTO, prompt="wood")
    deployed.until_stored("a.jpg.png")
    deployed.until_finished(1, seconds=30)
    by_key = ids_by_key(deployed)
    known = {job_id for ids in by_key.values() for job_id in ids}

    def is_told(line: dict[str, Any]) -> bool:
        job_id = line.get("correlation_id") or ""
        if line["message"].startswith(WITHOUT_RECORD):
            return re.fullmatch("[0-9a-f]{32}", job_id) is not None
        return job_id in by_key.get(line["key"], set())

    for function in ("-reconcile", *UPLOAD_FUNCTIONS):
        lines = [line for line in json_lines(deployed.logs(function)) if "key" in line]
        assert [line for line in lines if not is_told(line)] == [], function
    for function in UPLOAD_FUNCTIONS:
        others = [line for line in json_lines(deployed.logs(function)) if "key" not in line]
        assert any("_aws" in line for line in others)
        about_uploads = [line for line in others if "malformed" not in line.get("Code", line.get("message", ""))]
        assert [line for line in about_uploads if line.get("correlation_id") not in known] == [], function
