"""Object metadata → prompt and options."""

import base64
from email.header import Header

import pytest

from backdrop.errors import PermanentFailure
from backdrop.request import MAX_PROMPT_CHARACTERS, Request, read_request


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def no_file() -> str:
    """No folder has a prompt.txt."""
    return ""


def word(text: str) -> str:
    """One RFC 2047 encoded word."""
    return f"=?UTF-8?B?{b64(text)}?="


def taken_as_latin_1(text: str) -> str:
    """UTF-8 bytes that somebody read as Latin-1: é becomes Ã©."""
    return text.encode().decode("latin-1")


LONG = "Strand bei Sonnenuntergang, Möwen über grünem Wasser, 海辺の夕暮れ – " * 5


@pytest.mark.parametrize(
    ("stored", "prompt"),
    [
        pytest.param("a sunny beach", "a sunny beach", id="ascii"),
        pytest.param("  a sunny beach \t", "a sunny beach", id="blanks around it"),
        pytest.param("=?UTF-8?B?Y2Fmw6k=?=", "café", id="B"),
        pytest.param("=?utf-8?b?Y2Fmw6k=?=", "café", id="b in lower case"),
        pytest.param("=?UTF-8?Q?caf=C3=A9_in_Paris?=", "café in Paris", id="Q"),
        pytest.param("=?ISO-8859-1?Q?caf=E9?=", "café", id="another charset"),
        pytest.param("=?UTF-8?Q?caf=C3=A9?= =?UTF-8?Q?_noir?=", "café noir", id="adjacent words"),
        pytest.param("=?UTF-8?Q?caf=C3?= =?UTF-8?Q?=A9?=", "café", id="a character split over two words"),
        pytest.param("=?UTF-8?Q?caf=C3=A9?= =?ISO-8859-1?Q?_d=E9j=E0?=", "café déjà", id="words of two charsets"),
        pytest.param("a =?UTF-8?Q?caf=C3=A9?= at night", "a café at night", id="a word between plain ones"),
        pytest.param(
            Header(LONG.strip(), "utf-8", 75).encode(linesep=""), LONG.strip(), id="a long text in many words"
        ),
        pytest.param(taken_as_latin_1("café – 海辺"), "café – 海辺", id="raw UTF-8"),
        pytest.param(word(taken_as_latin_1("café – 海辺")), "café – 海辺", id="raw UTF-8 as S3 returns it"),
        pytest.param("caf\xe9", "café", id="raw Latin-1"),
        pytest.param(word("=?UTF-8?Q?hi?="), "=?UTF-8?Q?hi?=", id="text that looks like an encoded word"),
        pytest.param(word(word("hi")), word("hi"), id="encoded twice is decoded once"),
        pytest.param("is 2 =? 3 or ?= 4", "is 2 =? 3 or ?= 4", id="marks of an encoded word in plain text"),
    ],
)
def test_a_prompt_is_decoded_exactly_once(stored: str, prompt: str) -> None:
    """Row 14."""
    assert read_request({"prompt": stored}, no_file, "") == Request(prompt, 1, None)


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param("=?UTF-8?B?Y2Fmw6k=", id="cut off"),
        pytest.param("=?UTF-8?B?Y2Fmw6k=?= =?UTF-8?B?Y2Fm", id="second word cut off"),
        pytest.param("=?UTF-8?B?a?=", id="B of impossible length"),
        pytest.param("=?UTF-8?B?!!!!?=", id="B with characters that are not base64"),
        pytest.param("=?UTF-8?Q?caf=ZZ?=", id="Q with an escape that is not hexadecimal"),
        pytest.param("=?UTF-8?B?/w==?=", id="B that is not UTF-8"),
        pytest.param("=?UTF-8?Q?caf=FF?=", id="Q that is not UTF-8"),
        pytest.param("=?US-ASCII?Q?caf=C3=A9?=", id="ASCII that is not"),
        pytest.param("=?klingon?B?Y2Fm?=", id="unknown charset"),
        pytest.param("=?rot13?Q?cafe?=", id="a codec that is no charset"),
        pytest.param("=?UTF-7?Q?+2AA-?=", id="half a character"),
        pytest.param("=?UTF-8?X?Y2Fm?=", id="unknown encoding"),
    ],
)
def test_a_broken_encoding_is_an_invalid_option_and_not_the_default_prompt(stored: str) -> None:
    """Row 15."""
    with pytest.raises(PermanentFailure) as rejected:
        read_request({"prompt": stored}, no_file, "the default")
    assert rejected.value.code == "invalid_option"
    assert rejected.value.billed == "no"


@pytest.mark.parametrize(
    ("metadata", "prompt"),
    [
        pytest.param({"prompt-b64": b64("café – 海辺")}, "café – 海辺", id="alone"),
        pytest.param({"prompt": "a beach", "prompt-b64": b64("a forest")}, "a forest", id="wins over prompt"),
        pytest.param({"prompt": "=?broken", "prompt-b64": b64("a forest")}, "a forest", id="wins over a broken prompt"),
        pytest.param({"prompt-b64": b64("=?UTF-8?Q?hi?=")}, "=?UTF-8?Q?hi?=", id="is not decoded as a header"),
        pytest.param({"prompt-b64": b64("Ã©")}, "Ã©", id="is not decoded as UTF-8 again"),
        pytest.param({"prompt-b64": b64("line one\r\n\tline two")}, "line one\r\n\tline two", id="lines and tabs"),
        pytest.param({"prompt-b64": b64("👩‍👧‍👦 at the sea")}, "👩‍👧‍👦 at the sea", id="joined emoji"),
    ],
)
def test_prompt_b64_is_base64_of_utf_8(metadata: dict[str, str], prompt: str) -> None:
    """Row 14."""
    assert read_request(metadata, no_file, "").prompt == prompt


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param("####", id="not base64"),
        pytest.param("YWJj!ZGVm", id="one wrong character"),
        pytest.param("YWJ", id="padding missing"),
        pytest.param("/w==", id="not UTF-8"),
        pytest.param("7aCA", id="half a character"),
        pytest.param("caf\xe9", id="not ASCII"),
        pytest.param(word("abc"), id="an encoded word"),
    ],
)
def test_a_broken_prompt_b64_is_an_invalid_option_whatever_prompt_says(stored: str) -> None:
    """Row 15."""
    with pytest.raises(PermanentFailure) as rejected:
        read_request({"prompt": "a beach", "prompt-b64": stored}, no_file, "the default")
    assert rejected.value.code == "invalid_option"


INVISIBLE = [
    pytest.param(text, id=name)
    for name, text in {
        "zero-width space": "\u200b",
        "byte order mark": "\ufeff",
        "word joiner": "\u2060",
        "soft hyphen": "\u00ad",
        "marks of direction": "\u200e\u200f\u061c\u202a\u202c\u2066\u2069",
        "joiners": "\u200c\u200d",
        "variation selectors": "\ufe00\ufe0f\U000e0100\U000e01ef\u180b",
        "Hangul fillers": "\u3164\u115f\u1160\uffa0",
        "empty Braille pattern": "\u2800",
        "empty note head": "\U0001d159",
        "tags": "\U000e0001\U000e0020\U000e007f\U000e0000\U000e0fff",
        "combining grapheme joiner": "\u034f",
        "Khmer inherent vowels": "\u17b4\u17b5",
        "Mongolian vowel separator": "\u180e",
        "invisible operators": "\u2061\u2064",
        "interlinear annotation": "\ufff9\ufffb",
        "lines and paragraphs": "\u2028\u2029",
        "blanks of all widths": "\u00a0\u1680\u2000\u200a\u202f\u205f\u3000",
        "control characters": "\x00\x1b\x7f\x85",
        "no characters": "\ufffe\uffff\ufdd0\u2065\ufff0",
        "several, and blanks": " \u200b\r\n\ufeff \u3164\t",
    }.items()
]


@pytest.mark.parametrize("text", INVISIBLE)
def test_a_prompt_that_shows_nothing_is_none_wherever_it_comes_from(text: str) -> None:
    """Row 13. cases: invisible prompt."""
    in_metadata = {"prompt": text, "prompt-b64": b64(text)}
    assert read_request(in_metadata, no_file, "a white studio").prompt == "a white studio"
    assert read_request({"prompt": word(text)}, lambda: "a forest", "a white studio").prompt == "a forest"
    assert read_request({"prompt": "a beach", "prompt-b64": b64(text)}, no_file, "").prompt == "a beach"
    with pytest.raises(PermanentFailure) as rejected:
        read_request(in_metadata, no_file, text)
    assert rejected.value.code == "missing_prompt"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\N{DESERT ISLAND}\ufe0f", id="an emoji with a variation selector"),
        pytest.param("\N{WOMAN}\u200d\N{ROCKET}", id="emoji joined to one"),
        pytest.param("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", id="Persian with a joiner in a word"),
        pytest.param("a\u00adbeach", id="a soft hyphen in a word"),
        pytest.param("\u200b.", id="a dot behind something invisible"),
        pytest.param("\u3164\uac00", id="a letter behind a filler"),
        pytest.param("\u2801", id="a Braille pattern"),
        pytest.param("\ue000", id="private use"),
        pytest.param("\U0001fbff", id="not assigned"),
        pytest.param("a\ufeffb", id="a byte order mark within"),
    ],
)
def test_a_prompt_that_shows_anything_is_sent_as_it_is(text: str) -> None:
    assert read_request({"prompt-b64": b64(text)}, no_file, "").prompt == text
    assert read_request({"prompt": word(text)}, no_file, "").prompt == text
    assert read_request({}, no_file, text).prompt == text


@pytest.mark.parametrize("head", ["\ufeff", "\ufeff\ufeff", " \ufeff\r\n", "\ufeff \ufeff"])
def test_a_byte_order_mark_before_a_prompt_is_not_sent(head: str) -> None:
    for metadata in (
        {"prompt": word(f"{head}a beach")},
        {"prompt": f"{head}a beach".encode().decode("latin-1")},
        {"prompt-b64": b64(f"{head}a beach")},
    ):
        assert read_request(metadata, no_file, "").prompt == "a beach"
    assert read_request({}, no_file, f"{head}a beach").prompt == "a beach"


NO_PROMPT = [
    pytest.param({}, id="none"),
    pytest.param({"prompt": ""}, id="empty"),
    pytest.param({"prompt": " \t "}, id="blank"),
    pytest.param({"prompt": word(" \n ")}, id="blank when decoded"),
    pytest.param({"prompt-b64": ""}, id="empty base64"),
    pytest.param({"prompt-b64": b64("  ")}, id="blank base64"),
]


@pytest.mark.parametrize("metadata", NO_PROMPT)
def test_an_upload_without_a_prompt_gets_the_default_prompt(metadata: dict[str, str]) -> None:
    """Row 13."""
    assert read_request(metadata, no_file, " a white studio ").prompt == "a white studio"


@pytest.mark.parametrize("default_prompt", ["", "  "])
@pytest.mark.parametrize("metadata", NO_PROMPT)
def test_a_prompt_is_missing_when_there_is_no_default_either(metadata: dict[str, str], default_prompt: str) -> None:
    """Row 13."""
    with pytest.raises(PermanentFailure) as rejected:
        read_request(metadata, no_file, default_prompt)
    assert rejected.value.code == "missing_prompt"


@pytest.mark.parametrize("metadata", NO_PROMPT)
def test_an_upload_without_a_prompt_gets_its_folders_before_the_default_one(metadata: dict[str, str]) -> None:
    assert read_request(metadata, lambda: "a forest", "a white studio").prompt == "a forest"


@pytest.mark.parametrize("metadata", [{"prompt": "a beach"}, {"prompt-b64": b64("a beach")}])
def test_no_folder_is_looked_at_for_an_upload_that_brings_a_prompt(metadata: dict[str, str]) -> None:
    def look() -> str:
        raise AssertionError

    assert read_request(metadata, look, "").prompt == "a beach"


def test_a_missing_prompt_is_told_with_all_places_where_it_could_be() -> None:
    with pytest.raises(PermanentFailure) as rejected:
        read_request({}, no_file, "")
    for place in ("metadata", "prompt.txt", "DefaultPrompt"):
        assert place in rejected.value.message


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x7f", "\x85"])
def test_control_characters_are_an_invalid_option(character: str) -> None:
    """Row 15."""
    with pytest.raises(PermanentFailure) as rejected:
        read_request({"prompt-b64": b64(f"a {character} beach")}, no_file, "the default")
    assert rejected.value.code == "invalid_option"


def test_the_longest_prompt_is_accepted_and_a_longer_one_is_an_invalid_option() -> None:
    """Row 15."""
    longest = "é" * MAX_PROMPT_CHARACTERS
    assert read_request({"prompt-b64": b64(longest)}, no_file, "").prompt == longest
    with pytest.raises(PermanentFailure) as rejected:
        read_request({"prompt-b64": b64(longest + "é")}, no_file, "the default")
    assert rejected.value.code == "invalid_option"


def test_metadata_that_s3_could_not_return_is_an_invalid_option_and_not_the_default_prompt() -> None:
    """Row 15."""
    with pytest.raises(PermanentFailure) as rejected:
        read_request({"n": "2"}, no_file, "the default", missing=1)
    assert rejected.value.code == "invalid_option"


def test_one_image_of_the_models_own_size_is_the_default() -> None:
    assert read_request({"prompt": "a beach"}, no_file, "") == Request("a beach", n=1, size=None)


@pytest.mark.parametrize(("stored", "n"), [("1", 1), ("4", 4), ("8", 8), (" 2 ", 2)])
def test_n_is_one_to_eight(stored: str, n: int) -> None:
    assert read_request({"prompt": "a beach", "n": stored}, no_file, "").n == n


@pytest.mark.parametrize("stored", ["", "0", "9", "-1", "1.5", "NaN", "two", "1e0", "08", "8 8", "٣", "9" * 5000])
def test_any_other_n_is_an_invalid_option(stored: str) -> None:
    """Row 16."""
    with pytest.raises(PermanentFailure) as rejected:
        read_request({"prompt": "a beach", "n": stored}, no_file, "")
    assert rejected.value.code == "invalid_option"


@pytest.mark.parametrize(("stored", "size"), [("1024x1024", "1024x1024"), ("64x4096", "64x4096"), (" 16x16 ", "16x16")])
def test_size_is_width_x_height(stored: str, size: str) -> None:
    assert read_request({"prompt": "a beach", "size": stored}, no_file, "").size == size


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "1024",
        "999999",
        "0x0",
        "x",
        "1024x",
        "-16x16",
        "16x16x16",
        "999999x16",
        "16 x 16",
        "1e3x16",
        "nan",
        "../x",
        "1６x1６",
    ],
)
def test_any_other_size_is_an_invalid_option(stored: str) -> None:
    """Row 16."""
    with pytest.raises(PermanentFailure) as rejected:
        read_request({"prompt": "a beach", "size": stored}, no_file, "")
    assert rejected.value.code == "invalid_option"


def test_a_rejection_never_repeats_the_prompt() -> None:
    """Row 63."""
    for metadata in (
        {"prompt": "=?UTF-8?B?secretwords"},
        {"prompt-b64": "secretwords!"},
        {"prompt-b64": b64("secretwords \x00")},
        {"prompt": "secretwords", "n": "0"},
        {"prompt": "secretwords" * MAX_PROMPT_CHARACTERS},
    ):
        with pytest.raises(PermanentFailure) as rejected:
            read_request(metadata, no_file, "")
        assert "secretwords" not in str(rejected.value)
