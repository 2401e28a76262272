"""Global ids: what the schema gives out is read back, and anything else names nothing."""

import base64
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strawberry import relay

from graph import ids

ID = UUID("0190d5a0-abcd-7000-8000-000000000001")
FILE = relay.to_base64("File", ID)

untimed = settings(deadline=None)


def encode(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode("ascii")


@pytest.mark.parametrize(
    "text, expected",
    [
        (f"File:{ID}", ("File", str(ID))),
        ("User:7", ("User", "7")),
        ("File:a:b", ("File", "a:b")),
        ("File:", ("File", "")),
        (":", ("", "")),
        ("File", ("File", "")),
        ("Für:ü", ("Für", "ü")),
    ],
)
def test_an_id_is_a_type_and_a_value(text, expected):
    assert ids.parse(encode(text)) == expected


# No base64, or no text in it.
UNREADABLE = [
    "",
    "x",
    "not base64!",
    FILE[:-1],
    f"{FILE}=",
    f" {FILE}",
    f"{FILE}\n",
    FILE.replace("l", "ł", 1),
    "RmlsZQ_-",
    "/////w==",
    "\ud800",
    "\x00",
    "====",
    "x" * 100_000,
]


@pytest.mark.parametrize("global_id", UNREADABLE, ids=lambda value: ascii(value)[:20])
def test_what_cannot_be_read_names_nothing(global_id):
    assert ids.file_id(global_id) is None
    assert ids.user_id(global_id) is None


@pytest.mark.parametrize("global_id", ["not base64!", "/////w==", "\ud800", FILE[:-1]])
def test_what_cannot_be_read_has_no_type(global_id):
    assert ids.parse(global_id) == ("", "")


# --- files -----------------------------------------------------------------------------------------


@untimed
@given(st.uuids())
def test_the_id_of_a_file_is_read_back(uuid):
    assert ids.file_id(relay.to_base64("File", uuid)) == uuid


@pytest.mark.parametrize(
    "text",
    [
        f"User:{ID}",
        f"file:{ID}",
        f"FILE:{ID}",
        f" File:{ID}",
        f"File :{ID}",
        f":{ID}",
        str(ID),
        "File:",
        "File:7",
        "File:None",
        f"File:{str(ID)[:-1]}",
        f"File:{ID}0",
        f"File:{ID}:",
        f"File:{'g' * 32}",
    ],
)
def test_another_thing_is_no_file(text):
    assert ids.file_id(encode(text)) is None


@pytest.mark.parametrize(
    "spelling",
    [
        str(ID).upper(),
        ID.hex,
        f"{{{ID}}}",
        f"urn:uuid:{ID}",
        f"{ID} ",
        f" {ID}",
        str(ID).replace("-", "", 1),
        str(ID).replace("0", "\uff10"),
        str(ID).replace("0", "\u0660"),
    ],
)
def test_one_file_has_one_id(spelling):
    assert ids.file_id(encode(f"File:{spelling}")) is None


def test_one_file_has_one_spelling_of_its_id():
    # The last letter before the padding holds bits that base64 does not use.
    ending = len(FILE.rstrip("=")) - 1
    assert FILE.endswith("=")
    others = [
        FILE[:ending] + letter + FILE[ending + 1 :]
        for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        if letter != FILE[ending]
    ]

    assert [other for other in others if ids.file_id(other) == ID] == []


# --- users -----------------------------------------------------------------------------------------


@untimed
@given(st.integers(0, 10**18 - 1))
def test_the_id_of_a_user_is_read_back(number):
    assert ids.user_id(relay.to_base64("User", str(number))) == number


@pytest.mark.parametrize(
    "text",
    [
        "File:7",
        f"User:{ID}",
        "User:",
        "User:-7",
        "User:+7",
        "User: 7",
        "User:7 ",
        "User:7.0",
        "User:7_0",
        "User:0x7",
        "User:seven",
        "User:٧",
        "User:７",
        "User:²",
        "User:7:8",
        "user:7",
        "7",
        "User:" + "9" * 19,
        "User:" + "9" * 5_000,
    ],
    ids=lambda text: text[:20],
)
def test_another_thing_is_no_user(text):
    assert ids.user_id(encode(text)) is None


@pytest.mark.parametrize("text", ["User:07", "User:0007"])
def test_one_user_has_one_id(text):
    assert ids.user_id(encode(text)) is None


# --- whatever comes --------------------------------------------------------------------------------


@untimed
@given(st.text(st.characters(codec=None)) | st.binary().map(lambda raw: base64.b64encode(raw).decode()))
def test_whatever_comes_is_an_id_or_nothing(text):
    found = ids.file_id(text)
    assert found is None or relay.to_base64("File", found) == text
    assert ids.user_id(text) is None or ids.parse(text)[0] == "User"
