"""What is taken from EXIF data: a few facts, whoever wrote it, and never an error."""

import struct
from collections.abc import Mapping
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from files import exif
from files.exif import CAMERA_MAX_LENGTH, PREFIX, TEXT_MAX_LENGTH, TIME_MAX_LENGTH, Exif

MAKE, MODEL, ORIENTATION, DETAILS = 0x010F, 0x0110, 0x0112, 0x8769
TAKEN_AT, OFFSET, LENS = 0x9003, 0x9011, 0xA434
TAKEN = "2024:05:01 12:30:45"


def data(main: Mapping[int, object] | None = None, details: Mapping[int, object] | None = None) -> bytes:
    """EXIF data as cameras write it."""
    made = Image.Exif()
    for tag, value in (main or {}).items():
        made[tag] = value
    made.get_ifd(DETAILS).update(details or {})
    return made.tobytes()


def directory(
    order: str, kind: int, count: int, value: bytes, tag: int = ORIENTATION, tail: bytes = b""
) -> bytes:
    """One entry, written by hand."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "IHHHI4sI", 8, 1, tag, kind, count, value, 0) + tail


def taken_at(time: str, offset: str | None = None) -> str | None:
    found = exif.read(data({}, {TAKEN_AT: time} | ({OFFSET: offset} if offset else {})))
    return found.taken_at if found else None


def camera(make: str | None, model: str | None) -> str | None:
    named = {tag: text for tag, text in ((MAKE, make), (MODEL, model)) if text is not None}
    found = exif.read(data(named))
    return found.camera if found else None


# --- facts -----------------------------------------------------------------------------------------


def test_time_camera_and_lens_are_known():
    content = data(
        {MAKE: "Canon", MODEL: "EOS R5", ORIENTATION: 6},
        {TAKEN_AT: TAKEN, OFFSET: "+02:00", LENS: "RF24-105mm F4 L IS USM"},
    )

    assert exif.read(content) == Exif(
        taken_at="2024-05-01T12:30:45+02:00", camera="Canon EOS R5", lens="RF24-105mm F4 L IS USM"
    )
    assert exif.orientation(content) == 6


def test_nothing_else_has_a_place():
    assert [field.name for field in fields(Exif)] == ["taken_at", "camera", "lens"]


def test_nothing_is_known_of_what_says_nothing_of_use():
    private = {0x010E: "A garden", 0x013B: "Alice", 0x8298: "Alice 2024"}
    serials = {0xA430: "Alice", 0xA431: "123456", 0xA435: "654321", 0x9286: b"ASCII\0\0\0At home"}

    assert exif.read(data(private, serials)) is None
    assert exif.read(b"") is None


@pytest.mark.parametrize("prefix", [b"", PREFIX, PREFIX * 2, PREFIX * 100_000], ids=len)
def test_the_prefix_may_be_there_or_not(prefix):
    content = data({MAKE: "Canon", ORIENTATION: 3}).removeprefix(PREFIX)

    assert exif.read(prefix + content) == Exif(camera="Canon")
    assert exif.orientation(prefix + content) == 3


@pytest.mark.parametrize(
    "time, offset, expected",
    [
        (TAKEN, None, "2024-05-01T12:30:45"),
        (TAKEN, "+02:00", "2024-05-01T12:30:45+02:00"),
        (TAKEN, "-09:30", "2024-05-01T12:30:45-09:30"),
        (TAKEN, "+00:00", "2024-05-01T12:30:45+00:00"),
        (TAKEN, "Z", "2024-05-01T12:30:45"),
        (TAKEN, "+99:00", "2024-05-01T12:30:45"),
        (TAKEN, "   :  ", "2024-05-01T12:30:45"),
        ("0000:00:00 00:00:00", None, None),
        ("    :  :     :  :  ", None, None),
        ("2024:13:01 12:30:45", None, None),
        ("2024:02:30 12:30:45", None, None),
        ("2024:05:01 24:00:00", None, None),
        ("2024-05-01 12:30:45", None, None),
        ("2024:5:1 1:2:3", None, None),
        ("2024:05:01", None, None),
        ("٢٠٢٤:05:01 12:30:45", None, None),
        ("yesterday", None, None),
        ("", "+02:00", None),
    ],
)
def test_a_time_is_that_of_the_camera_or_none(time, offset, expected):
    assert taken_at(time, offset) == expected
    assert len(expected or "") <= TIME_MAX_LENGTH


@pytest.mark.parametrize(
    "make, model, expected",
    [
        ("Canon", "EOS R5", "Canon EOS R5"),
        ("Canon", "Canon EOS R5", "Canon EOS R5"),
        ("NIKON CORPORATION", "NIKON D850", "NIKON D850"),
        ("Apple", "iPhone 15 Pro", "Apple iPhone 15 Pro"),
        ("OLYMPUS IMAGING CORP.", "E-M10", "OLYMPUS IMAGING CORP. E-M10"),
        ("samsung", "Samsung SM-G991B", "Samsung SM-G991B"),
        ("Canon", None, "Canon"),
        (None, "EOS R5", "EOS R5"),
        ("", "EOS R5", "EOS R5"),
        ("  ", "\0\0", None),
        (None, None, None),
    ],
)
def test_a_camera_is_make_and_model_with_the_make_once(make, model, expected):
    assert camera(make, model) == expected


# --- what others write -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written, shown",
    [
        ("  EOS \t R5\n", "EOS R5"),
        ("EOS\x07\x1b[31m R5", "EOS[31m R5"),
        ("EOS \u202egpj.5R", "EOS gpj.5R"),
        ("E\u200bO\u200eS", "EOS"),
        ("EOS\0R5", "EOS"),
        ("Spiegelreflex Größe", "Spiegelreflex Größe"),
        ("カメラ", "カメラ"),
        ("x" * TEXT_MAX_LENGTH, "x" * TEXT_MAX_LENGTH),
        ("x" * (TEXT_MAX_LENGTH + 1), None),
        ("x" * 60_000, None),
        ("\u202e\u200b", None),
    ],
)
def test_a_name_is_made_safe_to_show(written, shown):
    content = directory(
        "<", 2, len(written.encode()) + 1, struct.pack("<I", 26), MODEL, written.encode() + b"\0"
    )
    found = exif.read(content)

    assert (found and found.camera) == shown


def test_the_longest_names_fit_their_columns():
    found = camera("a" * TEXT_MAX_LENGTH, "b" * TEXT_MAX_LENGTH)

    assert found is not None
    assert len(found) == CAMERA_MAX_LENGTH


@pytest.mark.parametrize(
    "kind, count, value",
    [
        (2, 0, b"abc\0"),
        (2, 4, b"\xff\xfe\xfd\0"),
        (2, 0xFFFFFFFF, b"\xff\xff\xff\xff"),
        (2, 100, b"\xff\xff\xff\xff"),
        (3, 1, b"\0\1\0\0"),
        (7, 4, b"abc\0"),
        (0, 4, b"abc\0"),
        (65_535, 4, b"abc\0"),
    ],
    ids=["no length", "no text", "endless", "far away", "a number", "bytes", "no type", "unknown"],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_name_that_is_none_is_not_there(order, kind, count, value):
    assert exif.read(directory(order, kind, count, value, MODEL)) is None


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind, form", [(1, "B"), (3, "H"), (4, "I")])
@pytest.mark.parametrize("value", range(10))
def test_an_orientation_is_one_to_eight(order, kind, form, value):
    content = directory(order, kind, 1, struct.pack(order + form, value).ljust(4, b"\0"))

    assert exif.orientation(content) == (value if 1 <= value <= 8 else 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_alone_is_read_by_others_too(orientation):
    content = exif.only_orientation(orientation)
    theirs = Image.Exif()
    theirs.load(content)

    assert dict(theirs) == {ORIENTATION: orientation}
    assert exif.orientation(content) == orientation
    assert exif.read(content) is None


@pytest.mark.parametrize(
    "content",
    [
        b"II",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\0\0\0\0",
        b"II*\0\x08\0\0\0",
        b"II*\0\x08\0\0\0\xff\xff",
        b"MM\0*\0\0\0\x08\0\x02" + struct.pack(">HHI4s", ORIENTATION, 3, 1, b"\0\6\0\0") + b"\x01",
        b"garbage",
        data({MAKE: "Canon"})[:40],
    ],
)
def test_what_is_cut_off_is_read_as_far_as_it_goes(content):
    exif.read(content)
    assert exif.orientation(content) in {1, 6}


def test_many_entries_that_point_at_much_cost_no_more_than_one():
    # Reading each of these values would take 65,535 times 16 MiB.
    entry = struct.pack("<HHII", MODEL, 2, 16 * 1024**2, 8)
    content = b"II*\0" + struct.pack("<IH", 8, 65_535) + entry * 65_535 + b"x" * 16 * 1024**2

    assert exif.read(content) is None


@given(st.binary(max_size=400), st.sampled_from(["", "start", "camera"]))
def test_any_bytes_are_read_without_an_error(noise, start):
    begin = {"": b"", "start": b"II*\0\x08\0\0\0", "camera": data({MAKE: "Canon"}, {TAKEN_AT: TAKEN})[:30]}[
        start
    ]
    found = exif.read(begin + noise)

    assert exif.orientation(begin + noise) in range(1, 9)
    for text in (found.camera, found.lens) if found else ():
        assert text is None or 0 < len(text) <= CAMERA_MAX_LENGTH
