"""Whatever comes from outside: no unexpected exception, nothing lost, and what was said is what is understood."""

import base64
import json
from dataclasses import replace
from decimal import Decimal
from email.header import Header
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backdrop.answers import CutAnswer, UnreadableAnswer, inflated, sold
from backdrop.clock import Clock
from backdrop.errors import GatewayError, PermanentFailure, ResultError
from backdrop.events_in import from_event, from_message
from backdrop.gateway import Answer, Gateway
from backdrop.gateway_errors import retry_after
from backdrop.images import PNG, is_whole, sniff
from backdrop.job import Job
from backdrop.prompts import FolderPrompts
from backdrop.queues import Queues
from backdrop.request import MAX_PROMPT_CHARACTERS, Request, clean_prompt, read_request
from backdrop.results import checked
from backdrop.settings import Settings

few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
NAMES = ["Records", "detail-type", "detail", "source", "job", "body", "key", "bucket", "s3", "object", "eventVersion"]
NAMES += ["eventName", "name", "version_id", "etag", "purchase", "failed_at", "requestPayload", "requestContext"]
like_ours = st.recursive(
    scalars | st.sampled_from(["in", "a.jpg", "2.1", "ObjectCreated:Put", "aws.s3", "Object Created", "%ff"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
)
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(12 * 3) + b"\0\0\0\0IEND\xae\x42\x60\x82"
some_bytes = st.binary(max_size=300)
with_a_head = st.builds(
    bytes.__add__,
    st.sampled_from([PICTURE[:8], b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", b"\0\0\0\x20ftypavif"]),
    some_bytes,
)


class Sent:
    """RetryQueue's client: the last body."""

    body = ""

    def send_message(self, MessageBody: str, **_: Any) -> None:
        self.body = MessageBody


@few
@given(st.text() | anything.map(json.dumps) | like_ours.map(json.dumps))
def test_a_message_is_understood_or_malformed(body: str) -> None:
    decoded = from_message(body, "in")

    assert all(job.bucket == "in" and job.key for job in decoded.jobs)
    assert all(isinstance(malformed.body, str) for malformed in decoded.malformed)


@few
@given(st.lists(like_ours, max_size=4))
def test_no_record_of_an_event_costs_another_one(records: list[Any]) -> None:
    good = {"eventVersion": "2.1", "eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "in"}}}
    good["s3"]["object"] = {"key": "a.jpg"}  # type: ignore[index]

    assert Job("in", "a.jpg") in from_event({"Records": [*records, good]}, "in").jobs


keys = st.text(min_size=1).filter(lambda key: key.isprintable())
jobs = st.builds(
    Job, st.just("in"), keys, st.none() | st.text("abc012", min_size=1), st.none() | st.text("ab0", min_size=1)
)


@few
@given(jobs, st.none() | st.integers(0, 2**40), st.none() | st.integers(0, 2**33), st.none() | st.just("2026"))
def test_a_message_brings_back_the_job_that_it_was_written_for(
    job: Job, size: int | None, modified: int | None, failed_at: str | None
) -> None:
    job, sent = replace(job, size=size, modified=modified, failed_at=failed_at), Sent()
    queues: Any = Queues(sent, "retry", "dead_letters")  # type: ignore[arg-type]
    queues.retry(job, 3.0)

    assert from_message(sent.body, "in").jobs == [job]


metadata_names = st.sampled_from(["prompt", "prompt-b64", "n", "size", "again", "tag"])


@few
@given(st.dictionaries(metadata_names, st.text() | st.sampled_from(["1", "8", "9", "=?utf-8?q?a?="])), st.text())
def test_metadata_make_a_request_or_a_reason(metadata: dict[str, str], default: str) -> None:
    code = ""
    try:
        request = read_request(metadata, lambda: "", default)
    except PermanentFailure as failure:
        code = failure.code
    assert code in ("missing_prompt", "invalid_option") or (
        1 <= request.n <= 8 and 0 < len(request.prompt) <= MAX_PROMPT_CHARACTERS
    )


def _may_be_utf8_taken_for_latin1(text: str) -> bool:
    """S3 returns raw UTF-8 in that form, so such a text (as "Â¡") is read as the one it stands for ("¡")."""
    try:
        return text.encode("latin-1").decode() != text
    except UnicodeError:
        return False


visible = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Cf", "Z", "Cn", "Co"]), min_size=1, max_size=80
).filter(lambda text: not _may_be_utf8_taken_for_latin1(text))


@few
@given(visible)
def test_a_prompt_is_understood_as_it_was_meant(prompt: str) -> None:
    def understood(metadata: dict[str, str]) -> str:
        try:
            return read_request(metadata, lambda: "", "").prompt
        except PermanentFailure as failure:
            return failure.code

    expected = clean_prompt(prompt) or "missing_prompt"
    as_words = Header(prompt, "utf-8", maxlinelen=10**6).encode()

    assert understood({"prompt-b64": base64.b64encode(prompt.encode()).decode()}) == expected
    assert understood({"prompt": as_words}) == expected


@few
@given(some_bytes | st.text().map(str.encode) | st.binary(min_size=9_990, max_size=10_010))
def test_a_prompt_file_is_a_prompt_or_a_reason(content: bytes) -> None:
    class Files:
        def read_start(self, _bucket: str, _key: str, most: int) -> bytes:
            return content[:most]

    prompts = FolderPrompts(Files(), Clock())  # type: ignore[arg-type]
    code, found = "", ""
    try:
        found = prompts.find("in", "a/b.jpg")
    except PermanentFailure as failure:
        code = failure.code
    assert code == "invalid_option" or found == clean_prompt(content.decode())


answers_like_ours = st.recursive(
    scalars | st.sampled_from(["https://cdn.test/1.png", "//x", base64.b64encode(PICTURE).decode(), "data:,"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "images", "url", "b64_json", "image_url", "error"]), inner, max_size=4
        )
    ),
)
bodies = some_bytes | with_a_head | answers_like_ours.map(json.dumps).map(str.encode)


@few
@given(bodies, st.text(max_size=10))
def test_the_body_of_an_answer_holds_images_or_says_why_not(body: bytes, encoding: str) -> None:
    try:
        found = sold(inflated(body, encoding), 3, "https://gateway.test", "{}")
    except (CutAnswer, UnreadableAnswer):
        return
    assert len(found.images) <= 3
    assert all(image for image in found.images)


header_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


@few
@given(
    st.integers(200, 599),
    bodies,
    st.dictionaries(
        st.sampled_from(["x-request-id", "retry-after", "x-cost-cents", "content-encoding", "idempotent-replayed"]),
        header_values | st.sampled_from(["NaN", "-1", "1e999", "Sun, 22 Nov 2026 08:00:00 GMT"]),
    ),
)
def test_every_answer_has_a_meaning(
    gateway_settings: Settings, status: int, body: bytes, headers: dict[str, str]
) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, headers=headers, stream=httpx.ByteStream(body)))
    gateway = Gateway(gateway_settings, lambda _: "sk-key", transport)
    call = gateway.new_call(Request("wood", 2, None), "https://photo.test/", "key", 0.0, 0.0)
    came: Answer | GatewayError
    try:
        came = gateway.send(call, b"", 5.0)
    except GatewayError as error:
        came = error
    assert "sk-key" not in str(came)
    assert not isinstance(came, Answer) or 0 <= came.cost_usd < 10**6


@pytest.fixture(scope="module")
def gateway_settings() -> Settings:
    names = {
        "STACK_NAME": "s",
        "INPUT_BUCKET": "in",
        "OUTPUT_BUCKET": "out",
        "RETRY_QUEUE_URL": "r",
        "DEAD_LETTER_QUEUE_URL": "d",
        "LEDGER_TABLE": "t",
        "GATEWAY_BASE_URL": "https://gateway.test/v1",
        "GATEWAY_API_KEY_PARAMETER": "/k",
        "GATEWAY_MODEL": "m",
        "GATEWAY_ROUTE": "generations",
        "GATEWAY_TIMEOUT_SECONDS": "100",
        "REQUESTS_PER_MINUTE": "60",
        "DAILY_IMAGE_LIMIT": "0",
        "PRICE_PER_IMAGE_USD": str(Decimal("0.03")),
        "MAX_ATTEMPTS": "6",
        "ON_UNKNOWN_OUTCOME": "retry",
    }
    return Settings.from_environment(names)


@few
@given(st.text() | st.floats().map(str) | st.datetimes().map(str))
def test_a_wait_that_is_asked_for_is_bounded_or_none(header: str) -> None:
    seconds = retry_after(header)

    assert seconds is None or 1.0 <= seconds <= 900.0


@few
@given(st.text() | st.datetimes().map(lambda at: at.strftime("%a, %d %b %Y %H:%M:%S GMT")))
def test_a_clock_survives_any_date(header: str) -> None:
    clock = Clock()
    clock.observe(header)

    assert isinstance(clock.now(), float)


@few
@given(some_bytes | with_a_head)
def test_the_bytes_of_a_result_are_an_image_or_not(data: bytes) -> None:
    try:
        kind = checked(data)
    except ResultError:
        return
    assert sniff(data) == kind
    assert is_whole(data, kind)


@few
@given(st.integers(8, len(PICTURE) - 1), some_bytes)
def test_only_a_whole_picture_is_whole_whatever_follows_it(length: int, more: bytes) -> None:
    assert is_whole(PICTURE + more, PNG)
    assert not is_whole(PICTURE[:length], PNG)
