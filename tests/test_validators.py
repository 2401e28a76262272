"""Names, texts, tags and metadata: what is kept of them, what is mended and what is refused."""

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from files import validators
from files.errors import EmptyFile, FileTooLarge, InvalidInput, UnsupportedType
from files.profiles import UploadProfile

PROFILE = UploadProfile(
    name="mine",
    description="",
    max_size=10,
    types=("text/plain", "text/csv"),
    visibility="private",
    max_pixels=1,
    fit=None,
)

# Written as escapes, because an editor would show what they do and not that they are there.
RTL_OVERRIDE = "\u202e"
DIRECTION_MARKS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
CONTROLS = "\x00\x01\x1f\x7f\x80\x85\x9f"
LONE_HALVES = "\ud83dx\udfff"


def reason(call: Any, value: object) -> tuple[str, str]:
    """The field and the reason with which a value is refused."""
    with pytest.raises(InvalidInput) as refused:
        call(value)
    return refused.value.field, refused.value.reason


# --- size and type ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 10])
def test_a_file_up_to_the_limit_is_let_in(size):
    validators.check_size(size, PROFILE)


def test_an_empty_file_is_refused():
    with pytest.raises(EmptyFile):
        validators.check_size(0, PROFILE)


def test_a_file_one_byte_too_large_is_refused_with_the_figures():
    with pytest.raises(FileTooLarge) as refused:
        validators.check_size(11, PROFILE)

    assert (refused.value.size, refused.value.limit) == (11, 10)


def test_a_type_that_the_profile_names_is_let_in():
    validators.check_type("text/csv", PROFILE, claimed="image/png")


def test_another_type_is_refused_and_the_claim_only_reported():
    with pytest.raises(UnsupportedType) as refused:
        validators.check_type("image/png", PROFILE, claimed="text/csv")

    assert refused.value.detected == "image/png"
    assert refused.value.claimed == "text/csv"
    assert refused.value.allowed == ["text/plain", "text/csv"]


# --- the name that came with a file ----------------------------------------------------------------


@pytest.mark.parametrize(
    "claimed, shown",
    [
        ("report.pdf", "report.pdf"),
        ("Jahresbericht für Köln.pdf", "Jahresbericht für Köln.pdf"),
        ("写真.jpg", "写真.jpg"),
        ("صورة.png", "صورة.png"),
        (".gitignore", ".gitignore"),
        ("a..b", "a..b"),
        # paths
        ("/etc/passwd", "passwd"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\Users\\me\\photo.jpg", "photo.jpg"),
        ("a/b\\c/d.txt", "d.txt"),
        ("./x", "x"),
        ("..%2fx", "..%2fx"),
        # nothing left to show
        (None, "file"),
        ("", "file"),
        ("   ", "file"),
        (".", "file"),
        ("..", "file"),
        ("...", "file"),
        (". .", "file"),
        ("folder/", "file"),
        ("folder/..", "file"),
        ("\x00", "file"),
        (DIRECTION_MARKS, "file"),
        (CONTROLS, "file"),
        # what cannot be seen, or turns the text around
        ("evil\x00.jpg", "evil.jpg"),
        ("photo.jpg\x00.exe", "photo.jpg.exe"),
        ("line\r\nbreak.txt", "linebreak.txt"),
        (f"invoice{RTL_OVERRIDE}gpj.exe", "invoicegpj.exe"),
        (f"{DIRECTION_MARKS}a{DIRECTION_MARKS}.txt", "a.txt"),
        (f"a{CONTROLS}b.txt", "ab.txt"),
        ("\ufeffa.txt", "a.txt"),
        ("a\u2028b\u2029c.txt", "abc.txt"),
        (f"a{LONE_HALVES}.txt", "ax.txt"),
        # spaces
        ("  two  words .txt ", "two words .txt"),
        ("no\u00a0break.txt", "no break.txt"),
        ("a\u3000b.txt", "a b.txt"),
        # one spelling of each letter
        ("e\u0301te\u0301.txt", "été.txt"),
        ("A\u030angstro\u0308m", "Ångström"),
        ("e\u200e\u0301.txt", "é.txt"),
        ("한.txt", unicodedata.normalize("NFC", "한.txt")),
        # emoji, of several characters too
        ("👍.png", "👍.png"),
        ("👨\u200d👩\u200d👧.png", "👨\u200d👩\u200d👧.png"),
        ("🇩🇪❤\ufe0f.png", "🇩🇪❤\ufe0f.png"),
    ],
)
def test_a_name_is_made_safe_to_show(claimed, shown):
    assert validators.display_name(claimed) == shown


@pytest.mark.parametrize(
    "claimed, ending",
    [
        ("n" * 300 + ".jpeg", "n.jpeg"),
        ("n" * 300, "nnn"),
        ("ü" * 300 + ".pdf", "ü.pdf"),
        ("👍" * 300 + ".png", "👍.png"),
        ("n" * 300 + "." + "x" * 16, "n." + "x" * 16),
        ("." + "n" * 300, "nnn"),
        ("a." + "n" * 300, "nnn"),
        ("n" * 300 + ".tar.gz", ".gz"),
    ],
)
def test_a_long_name_is_cut_before_its_extension(claimed, ending):
    shown = validators.display_name(claimed)

    assert len(shown) == 255
    assert shown.endswith(ending)


@pytest.mark.parametrize(
    "claimed, shown",
    [("n" * 254 + " " + "m" * 20, "n" * 254), ("." * 300 + "n" * 20, "file")],
    ids=["a space at the cut", "dots up to the cut"],
)
def test_what_a_cut_leaves_is_a_name_again(claimed, shown):
    assert validators.display_name(claimed) == shown


def _is_hidden(character: str) -> bool:
    """By the categories and directions of Unicode, and not by a list like that of the code."""
    return (
        unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
        or unicodedata.bidirectional(character)
        in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
        or character in "\u061c\u200e\u200f\ufeff"
    )


# How long one example takes on a busy machine says nothing about it.
untimed = settings(deadline=None)

# Text in which what makes names difficult stands close together.
_difficult = st.text(
    st.sampled_from(" .\t\n/\\\x00\x85\u00a0\u0301\u0338\u200d\u200e\u202e\u2028\ufeff\ud83dae한=<👍"),
    max_size=12,
)
_long = st.tuples(
    st.sampled_from(["n" * 240, "é" * 250, ". " * 126, "." * 250, "e\u200e\u0301" * 90]), _difficult
).map("".join)
_names = st.one_of(
    st.text(st.characters(codec=None), max_size=300), _difficult, _long, _long.map(lambda t: t[::-1])
)


@untimed
@given(_names)
@example("." * 300 + "n" * 20)
def test_every_name_can_be_shown(claimed):
    shown = validators.display_name(claimed)

    assert shown.strip(". ") != ""
    assert len(shown) <= 255
    assert "/" not in shown
    assert "\\" not in shown
    assert not [character for character in shown if _is_hidden(character)]
    assert shown.encode("utf-8")


@untimed
@given(_names)
@example("e\u200e\u0301")
@example("n" * 254 + " " + "m" * 20)
def test_a_name_that_is_safe_is_not_changed_again(claimed):
    shown = validators.display_name(claimed)

    assert validators.display_name(shown) == shown


@untimed
@given(_names)
def test_a_name_that_is_safe_may_be_given_on_purpose(claimed):
    shown = validators.display_name(claimed)

    assert validators.clean_name(shown) == shown


# --- the name that is given on purpose -------------------------------------------------------------


@pytest.mark.parametrize(
    "given_name, kept",
    [
        ("report.pdf", "report.pdf"),
        ("  report.pdf ", "report.pdf"),
        ("e\u0301.txt", "é.txt"),
        (".gitignore", ".gitignore"),
        ("👍🏽.png", "👍🏽.png"),
        ("n" * 255, "n" * 255),
        (" " * 10 + "n" * 255 + " " * 10, "n" * 255),
    ],
)
def test_a_given_name_is_kept(given_name, kept):
    assert validators.clean_name(given_name) == kept


@pytest.mark.parametrize(
    "given_name, why",
    [
        ("", "give at least one character"),
        ("   ", "give at least one character"),
        ("n" * 256, "use at most 255 characters"),
        ("a\x00b", "leave out invisible characters and marks of text direction"),
        ("a\x85b", "leave out invisible characters and marks of text direction"),
        ("a\nb", "leave out invisible characters and marks of text direction"),
        (f"a{RTL_OVERRIDE}b", "leave out invisible characters and marks of text direction"),
        ("a\ud83db", "leave out invisible characters and marks of text direction"),
        ("a\u2028b", "leave out invisible characters and marks of text direction"),
        ("../a", "give a name, not a path"),
        ("a/b", "give a name, not a path"),
        ("a\\b", "give a name, not a path"),
        ("/", "give a name, not a path"),
        (".", "give a name, not a path"),
        ("..", "give a name, not a path"),
    ],
)
def test_a_given_name_that_could_not_be_shown_is_refused_and_not_mended(given_name, why):
    assert reason(validators.clean_name, given_name) == ("name", why)


# --- texts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "clean, field, limit",
    [
        (validators.clean_title, "title", 255),
        (validators.clean_description, "description", 5_000),
    ],
)
class TestText:
    @pytest.mark.parametrize(
        "text, kept",
        [
            (None, None),
            ("", None),
            (" \n ", None),
            ("  A title ", "A title"),
            ("two\nlines\tand a tab", "two\nlines\tand a tab"),
            ("e\u0301", "é"),
            ("שלום \u200f👍", "שלום \u200f👍"),
        ],
    )
    def test_it_is_kept_without_the_space_around_it(self, clean, field, limit, text, kept):
        assert clean(text) == kept

    def test_it_may_be_as_long_as_the_limit(self, clean, field, limit):
        assert clean(" " + "é" * limit + " ") == "é" * limit
        assert reason(clean, "é" * (limit + 1)) == (field, f"use at most {limit} characters")

    @pytest.mark.parametrize("character", ["\x00", "\x08", "\x0b", "\x1b", "\x7f", "\ud800"])
    def test_what_cannot_be_kept_or_shown_is_refused(self, clean, field, limit, character):
        assert reason(clean, f"a{character}b") == (field, "leave out control characters")


# --- tags ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tags, kept",
    [
        ([], []),
        (["b", "a"], ["b", "a"]),
        (["a", " a ", "A", "a"], ["a", "A"]),
        (["e\u0301", "é"], ["é"]),
        (["t" * 64], ["t" * 64]),
        ([str(number) for number in range(32)], [str(number) for number in range(32)]),
        (["same"] * 100, ["same"]),
    ],
)
def test_tags_are_kept_once_each_in_their_order(tags, kept):
    assert validators.clean_tags(tags) == kept


@pytest.mark.parametrize(
    "tags, why",
    [
        ([""], "leave out empty tags"),
        (["a", " "], "leave out empty tags"),
        (["t" * 65], "use at most 64 characters"),
        (["a\x00"], "leave out control characters"),
        (["a\ud800"], "leave out control characters"),
        ([str(number) for number in range(33)], "use at most 32 tags"),
    ],
)
def test_tags_that_are_none_are_refused(tags, why):
    assert reason(validators.clean_tags, tags) == ("tags", why)


# --- metadata --------------------------------------------------------------------------------------


def nested(levels: int, *, of: type = dict) -> Any:
    """An object with a number inside as many levels of objects, or of lists."""
    value: Any = 1
    for _ in range(levels - 1):
        value = {"a": value} if of is dict else [value]
    return {"a": value}


def of_size(size: int) -> dict[str, str]:
    """An object of so many bytes of JSON."""
    return {"a": "x" * (size - len(json.dumps({"a": ""})))}


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"a": None, "b": [1, 2.5, True, "ü", {"c": []}], "👍": "\u200f"},
        {"path": "C:\\u0000", "pattern": "\\u0000"},
        nested(16),
        nested(16, of=list),
        of_size(16 * 1024),
        {"numbers": [0] * 4_000},
        {"numbers": [2**64 - 1, -(2**63), 1e308]},
    ],
    ids=["empty", "mixed", "backslashes", "deep", "deep lists", "large", "wide", "large numbers"],
)
def test_metadata_is_kept_as_it_is(metadata):
    before = json.dumps(metadata)

    assert json.dumps(validators.clean_metadata(metadata)) == before


@pytest.mark.parametrize(
    "metadata, why",
    [
        (None, "give a JSON object"),
        ([], "give a JSON object"),
        ([{"a": 1}], "give a JSON object"),
        ("{}", "give a JSON object"),
        (1, "give a JSON object"),
        (True, "give a JSON object"),
        (nested(17), "nest at most 16 levels deep"),
        (nested(17, of=list), "nest at most 16 levels deep"),
        (nested(10_000), "nest at most 16 levels deep"),
        (nested(10_000, of=list), "nest at most 16 levels deep"),
        (of_size(16 * 1024 + 1), "use at most 16384 bytes of JSON"),
        ({"ü" * 8_200: 1}, "use at most 16384 bytes of JSON"),
        ({"a": float("nan")}, "give JSON values only"),
        ({"a": [float("inf")]}, "give JSON values only"),
        ({"a": float("-inf")}, "give JSON values only"),
        ({"a": "\ud83d"}, "give JSON values only"),
        ({"\udc4d": 1}, "give JSON values only"),
        ({"a": 2**64}, "give JSON values only"),
        ({"a": [-(2**63) - 1]}, "give JSON values only"),
        ({"a": object()}, "give JSON values only"),
        ({"a": b"bytes"}, "give JSON values only"),
        ({"a": "x\x00y"}, "leave out NUL characters"),
        ({"x\x00y": 1}, "leave out NUL characters"),
        ({"a": ["\\\x00"]}, "leave out NUL characters"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_metadata_that_could_not_be_kept_is_refused(metadata, why):
    assert reason(validators.clean_metadata, metadata) == ("metadata", why)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@settings(untimed, max_examples=50)
@given(st.dictionaries(st.text(max_size=4), _json, max_size=4))
def test_metadata_comes_back_from_json_as_it_was_or_is_refused(metadata):
    try:
        kept = validators.clean_metadata(metadata)
    except InvalidInput:
        return
    assert json.loads(json.dumps(kept, ensure_ascii=False, allow_nan=False).encode("utf-8")) == metadata
