"""Which prompt.txt is a photo's, what it says, and how often it is read."""

import io
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backdrop.clock import Clock
from backdrop.errors import PermanentFailure
from backdrop.prompts import MAX_FILE_BYTES, MOST_REMEMBERED, REMEMBERED_SECONDS, FolderPrompts
from backdrop.request import MAX_PROMPT_CHARACTERS
from backdrop.storage import Storage


class S3:
    """As much of a client as is needed; `looks` are the keys that were asked for."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.looks: list[str] = []
        self.fails_with = 0

    def get_object(self, Bucket: str, Key: str, Range: str) -> dict[str, Any]:
        self.looks.append(Key)
        data = self.objects.get((Bucket, Key))
        status = self.fails_with or (404 if data is None else 416 if not data else 0)
        if status:
            raise ClientError({"ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")  # type: ignore[typeddict-item]
        assert data is not None
        first, _, last = Range.removeprefix("bytes=").partition("-")
        return {"Body": io.BytesIO(data[int(first) : int(last) + 1])}


class StoppedClock(Clock):
    """Stands until a test moves it."""

    time = 1_000_000.0

    def now(self) -> float:
        return self.time


class Photos:
    """An input bucket, and what finds its prompts."""

    def __init__(self) -> None:
        self.s3 = S3()
        self.clock = StoppedClock()
        client: Any = self.s3
        self.prompts = FolderPrompts(Storage(client), self.clock)

    def put(self, key: str, content: bytes, bucket: str = "photos-in") -> None:
        self.s3.objects[bucket, key] = content

    def find(self, key: str, bucket: str = "photos-in") -> str:
        return self.prompts.find(bucket, key)

    def rejection(self, key: str) -> PermanentFailure:
        with pytest.raises(PermanentFailure) as rejected:
            self.find(key)
        return rejected.value


@pytest.fixture
def photos() -> Photos:
    return Photos()


@pytest.mark.parametrize(
    ("key", "looked_for"),
    [
        ("c.jpg", ["prompt.txt"]),
        ("a/b/c.jpg", ["a/b/prompt.txt", "a/prompt.txt", "prompt.txt"]),
        ("a//c.jpg", ["a//prompt.txt", "a/prompt.txt", "prompt.txt"]),
        ("/c.jpg", ["/prompt.txt", "prompt.txt"]),
    ],
)
def test_a_prompt_is_looked_for_in_the_photos_folder_and_upwards(
    photos: Photos, key: str, looked_for: list[str]
) -> None:
    assert photos.find(key) == ""
    assert photos.s3.looks == looked_for


COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    ("key", "looked_for"),
    [
        (f"{COMPOSED}/c.jpg", [f"{COMPOSED}/prompt.txt", f"{DECOMPOSED}/prompt.txt", "prompt.txt"]),
        (f"{DECOMPOSED}/c.jpg", [f"{DECOMPOSED}/prompt.txt", f"{COMPOSED}/prompt.txt", "prompt.txt"]),
        (
            f"{COMPOSED}/{DECOMPOSED}/c.jpg",
            [
                f"{COMPOSED}/{DECOMPOSED}/prompt.txt",
                f"{COMPOSED}/{COMPOSED}/prompt.txt",
                f"{DECOMPOSED}/{DECOMPOSED}/prompt.txt",
                f"{COMPOSED}/prompt.txt",
                f"{DECOMPOSED}/prompt.txt",
                "prompt.txt",
            ],
        ),
        (f"a/{DECOMPOSED}.jpg", ["a/prompt.txt", "prompt.txt"]),
    ],
)
def test_a_folders_prompt_is_looked_for_under_both_unicode_forms_of_its_name(
    photos: Photos, key: str, looked_for: list[str]
) -> None:
    """Row 68. cases: two Unicode forms. Own form first, and a name that has only one form is looked for once."""
    assert photos.find(key) == ""
    assert photos.s3.looks == looked_for

    assert photos.find(key) == ""
    assert photos.s3.looks == looked_for, "that there is none is remembered of each form"


def test_a_folder_in_its_own_unicode_form_comes_before_the_other_and_both_before_the_folder_above(
    photos: Photos,
) -> None:
    """cases: two Unicode forms."""
    photos.put("prompt.txt", b"a forest")
    photos.put(f"{COMPOSED}/prompt.txt", b"a beach")
    assert photos.find(f"{DECOMPOSED}/1.jpg") == "a beach"

    photos.put(f"{DECOMPOSED}/prompt.txt", b"a desert")
    photos.clock.time += REMEMBERED_SECONDS
    assert photos.find(f"{DECOMPOSED}/2.jpg") == "a desert"
    assert photos.find(f"{COMPOSED}/3.jpg") == "a beach"


def test_the_nearest_prompt_is_the_photos(photos: Photos) -> None:
    photos.put("a/prompt.txt", b"a beach")
    photos.put("prompt.txt", b"a forest")

    assert photos.find("a/b/c.jpg") == "a beach"
    assert photos.s3.looks == ["a/b/prompt.txt", "a/prompt.txt"]
    assert photos.find("d/e.jpg") == "a forest"


@pytest.mark.parametrize("content", [b"", b" \r\n\t", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n", "\u200b\n\u3164".encode()])
def test_an_empty_one_counts_as_absent(photos: Photos, content: bytes) -> None:
    """cases: invisible prompt."""
    photos.put("a/prompt.txt", content)
    assert photos.find("a/c.jpg") == ""

    photos.put("prompt.txt", b"a forest")
    photos.clock.time += REMEMBERED_SECONDS
    assert photos.find("a/c.jpg") == "a forest"


@pytest.mark.parametrize(
    ("content", "prompt"),
    [
        pytest.param("café – 海辺".encode(), "café – 海辺", id="UTF-8"),
        pytest.param("\ufeffcafé".encode(), "café", id="with a byte order mark"),
        pytest.param("\ufeff\ufeff\n\ufeffcafé".encode(), "café", id="with several"),
        pytest.param(b"\n  a beach \r\n", "a beach", id="blanks around it"),
        pytest.param(b"a beach,\r\n\n\tat sunset\n", "a beach,\r\n\n\tat sunset", id="lines within"),
        pytest.param(b"=?UTF-8?Q?hi?=", "=?UTF-8?Q?hi?=", id="is not decoded as a header"),
        pytest.param("Ã©".encode(), "Ã©", id="is not decoded as UTF-8 again"),
        pytest.param(
            ("\ufeff" + "🏖" * MAX_PROMPT_CHARACTERS + "\r\n").encode(), "🏖" * MAX_PROMPT_CHARACTERS, id="the longest"
        ),
    ],
)
def test_the_text_is_utf_8_without_what_is_around_it(photos: Photos, content: bytes, prompt: str) -> None:
    photos.put("a/prompt.txt", content)
    assert photos.find("a/c.jpg") == prompt


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("café, secretwords".encode("latin-1"), id="Latin-1"),
        pytest.param("secretwords".encode("utf-16"), id="UTF-16"),
        pytest.param("secretwords".encode("utf-16-le"), id="UTF-16 without a byte order mark"),
        pytest.param(b"secretwords\x1b[0m at night", id="control characters"),
        pytest.param(b"secretwords" * 182, id="one or two characters too long"),
        pytest.param("é".encode() * MAX_FILE_BYTES + b"secretwords", id="far too long"),
        pytest.param(b" " * MAX_FILE_BYTES + b"secretwords", id="far too many blanks"),
    ],
)
def test_one_that_can_not_be_used_is_an_invalid_option_that_names_it_and_not_what_it_says(
    photos: Photos, content: bytes
) -> None:
    photos.put("a/prompt.txt", content)
    photos.put("prompt.txt", b"a forest")

    rejected = photos.rejection("a/b/c.jpg")

    assert rejected.code == "invalid_option"
    assert rejected.billed == "no"
    assert "a/prompt.txt" in rejected.message
    assert "secretwords" not in rejected.message


def test_no_more_is_read_of_a_huge_one_than_tells_that_it_is_too_long(
    photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos.put("prompt.txt", b"x" * 5_000_000)
    ranges = []
    real = photos.s3.get_object

    def get_object(**arguments: str) -> dict[str, Any]:
        ranges.append(arguments["Range"])
        return real(**arguments)

    monkeypatch.setattr(photos.s3, "get_object", get_object)

    photos.rejection("c.jpg")

    assert ranges == [f"bytes=0-{MAX_FILE_BYTES}"]


def test_what_a_folder_has_or_has_not_is_remembered_for_a_minute(photos: Photos) -> None:
    photos.put("prompt.txt", b"a forest")
    assert photos.find("a/1.jpg") == "a forest"
    photos.put("prompt.txt", b"a desert")
    photos.put("a/prompt.txt", b"a beach")

    photos.clock.time += REMEMBERED_SECONDS - 1
    assert photos.find("a/2.jpg") == "a forest"
    assert photos.find("3.jpg") == "a forest"
    assert photos.s3.looks == ["a/prompt.txt", "prompt.txt"]

    photos.clock.time += 1
    assert photos.find("a/4.jpg") == "a beach"
    assert photos.find("5.jpg") == "a desert"


def test_buckets_are_kept_apart(photos: Photos) -> None:
    photos.put("prompt.txt", b"a forest")
    photos.put("prompt.txt", b"a beach", bucket="others")

    assert photos.find("c.jpg") == "a forest"
    assert photos.find("c.jpg", bucket="others") == "a beach"


def test_of_many_folders_the_one_read_longest_ago_is_forgotten(photos: Photos) -> None:
    for number in range(MOST_REMEMBERED + 2):
        photos.put(f"{number}/prompt.txt", b"a beach")
    photos.find("0/c.jpg")
    photos.find("1/c.jpg")
    photos.clock.time += REMEMBERED_SECONDS
    photos.find("0/c.jpg")

    for number in range(2, MOST_REMEMBERED + 1):
        photos.find(f"{number}/c.jpg")
    photos.s3.looks.clear()
    photos.find("0/c.jpg")
    assert photos.s3.looks == []

    photos.find(f"{MOST_REMEMBERED + 1}/c.jpg")
    photos.find("0/c.jpg")
    assert photos.s3.looks == [f"{MOST_REMEMBERED + 1}/prompt.txt", "0/prompt.txt"]


@pytest.mark.parametrize("status", [403, 500, 503])
def test_any_other_answer_of_s3_is_raised_and_not_remembered(photos: Photos, status: int) -> None:
    photos.put("prompt.txt", b"a forest")
    photos.s3.fails_with = status
    with pytest.raises(ClientError):
        photos.find("c.jpg")

    photos.s3.fails_with = 0
    assert photos.find("c.jpg") == "a forest"


def test_a_prompt_whose_key_would_be_too_long_is_not_looked_for(photos: Photos) -> None:
    """S3 answers 400 to such a question, for ever."""
    photos.put("prompt.txt", b"a forest")

    assert photos.find("é" * 510 + "/c") == "a forest"
    assert photos.s3.looks == ["prompt.txt"]
