"""The Range header against the rules of RFC 9110, section 14, and the heads of a body of several ranges."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from files import byte_ranges
from files.byte_ranges import MAX_RANGES, ByteRange, Unsatisfiable

untimed = settings(deadline=None)

# What stands for the answers that are no list of ranges.
WHOLE = None
NONE_WITHIN = "416"


def answer(header: str, size: int) -> list[tuple[int, int]] | str | None:
    """The (first, last) of each range, `WHOLE` or `NONE_WITHIN`."""
    try:
        found = byte_ranges.parse(header, size)
    except Unsatisfiable:
        return NONE_WITHIN
    return WHOLE if found is None else [(each.first, each.last) for each in found]


def ones(count: int) -> str:
    """A header that asks for so many single bytes, none next to another."""
    return "bytes=" + ",".join(f"{2 * number}-{2 * number}" for number in range(count))


@pytest.mark.parametrize(
    "header, size, expected",
    [
        # the examples of section 14.1.2, of a file of 10000 bytes
        ("bytes=0-499", 10_000, [(0, 499)]),
        ("bytes=500-999", 10_000, [(500, 999)]),
        ("bytes=-500", 10_000, [(9_500, 9_999)]),
        ("bytes=9500-", 10_000, [(9_500, 9_999)]),
        ("bytes=0-0,-1", 10_000, [(0, 0), (9_999, 9_999)]),
        ("bytes= 0-999, 4500-5499, -1000", 10_000, [(0, 999), (4_500, 5_499), (9_000, 9_999)]),
        # one range
        ("bytes=0-", 10, [(0, 9)]),
        ("bytes=0-9", 10, [(0, 9)]),
        ("bytes=9-9", 10, [(9, 9)]),
        ("bytes=-1", 10, [(9, 9)]),
        ("bytes=-10", 10, [(0, 9)]),
        ("bytes=0-0", 1, [(0, 0)]),
        ("bytes=00-05", 10, [(0, 5)]),
        ("BYTES=0-1", 10, [(0, 1)]),
        # more than there is
        ("bytes=5-10", 10, [(5, 9)]),
        ("bytes=5-99999", 10, [(5, 9)]),
        ("bytes=-11", 10, [(0, 9)]),
        (f"bytes=0-{10**18}", 10, [(0, 9)]),
        (f"bytes=-{10**18}", 10, [(0, 9)]),
        ("bytes=0-9223372036854775807", 10, [(0, 9)]),
        # beyond the end
        ("bytes=10-", 10, NONE_WITHIN),
        ("bytes=10-20", 10, NONE_WITHIN),
        ("bytes=-0", 10, NONE_WITHIN),
        ("bytes=10-,20-30,-0", 10, NONE_WITHIN),
        (f"bytes={10**18}-", 10, NONE_WITHIN),
        ("bytes=0-", 0, NONE_WITHIN),
        ("bytes=-5", 0, NONE_WITHIN),
        # several ranges keep their order, and those beyond the end are left out
        ("bytes=0-1,4-5", 10, [(0, 1), (4, 5)]),
        ("bytes=4-5,0-1", 10, [(4, 5), (0, 1)]),
        ("bytes=0-1,2-3", 10, [(0, 1), (2, 3)]),
        ("bytes=0-1,20-30", 10, [(0, 1)]),
        ("bytes=20-30,-2", 10, [(8, 9)]),
        ("bytes=0-1,-0", 10, [(0, 1)]),
        ("bytes=,0-1,, ,4-5,", 10, [(0, 1), (4, 5)]),
        ("bytes=0-1 ,\t4-5", 10, [(0, 1), (4, 5)]),
        # the same bytes twice
        ("bytes=0-5,5-6", 10, WHOLE),
        ("bytes=0-5,0-5", 10, WHOLE),
        ("bytes=5-6,0-9", 10, WHOLE),
        ("bytes=0-9,2-3,5-6", 10, WHOLE),
        ("bytes=0-,-1", 10, WHOLE),
        ("bytes=0-0,-1", 1, WHOLE),
        # reversed, and then nothing of the header counts
        ("bytes=5-4", 10, WHOLE),
        ("bytes=0-1,5-4", 10, WHOLE),
        ("bytes=30-20", 10, WHOLE),
        # of another unit
        ("items=0-1", 10, WHOLE),
        ("none", 10, WHOLE),
        ("seconds=1-2", 10, WHOLE),
        ("=0-1", 10, WHOLE),
        # no ranges at all
        ("", 10, WHOLE),
        ("bytes", 10, WHOLE),
        ("bytes=", 10, WHOLE),
        ("bytes=,", 10, WHOLE),
        ("bytes= , ,", 10, WHOLE),
        ("bytes=-", 10, WHOLE),
        ("bytes=--1", 10, WHOLE),
        ("bytes=1", 10, WHOLE),
        ("bytes=1--2", 10, WHOLE),
        ("bytes=1-2-3", 10, WHOLE),
        ("bytes=-1-2", 10, WHOLE),
        ("bytes=a-b", 10, WHOLE),
        ("bytes=0x0-0x5", 10, WHOLE),
        ("bytes=+1-2", 10, WHOLE),
        ("bytes=1.5-2", 10, WHOLE),
        ("bytes=1e1-", 10, WHOLE),
        ("bytes=1_0-", 10, WHOLE),
        ("bytes=0-1;2-3", 10, WHOLE),
        ("bytes=0-1,x", 10, WHOLE),
        ("bytes=0-1 2-3", 10, WHOLE),
        ("bytes==0-1", 10, WHOLE),
        ("bytes=*", 10, WHOLE),
        ("bytes=0-1/10", 10, WHOLE),
        ("bytes=0-1\x00", 10, WHOLE),
        # digits of other scripts are no digits here
        ("bytes=٠-٥", 10, WHOLE),
        ("bytes=０-５", 10, WHOLE),
        ("bytes=-²", 10, WHOLE),
        ("bytes=0\u20135", 10, WHOLE),
        # more digits than any file has bytes
        ("bytes=0-" + "9" * 5_000, 10, WHOLE),
        ("bytes=-" + "9" * 5_000, 10, WHOLE),
        ("bytes=" + "0" * 5_000 + "-", 10, WHOLE),
        # more ranges than are worth serving one by one
        (ones(MAX_RANGES), 100, [(2 * number, 2 * number) for number in range(MAX_RANGES)]),
        (ones(MAX_RANGES + 1), 100, WHOLE),
        (ones(10_000), 100_000, WHOLE),
        ("bytes=" + "," * 10_000 + "0-1", 10, [(0, 1)]),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_a_header_asks_for_these_bytes(header, size, expected):
    assert answer(header, size) == expected


def test_a_range_knows_its_length():
    assert ByteRange(3, 3).length == 1
    assert ByteRange(0, 9).length == 10


# --- against a model -------------------------------------------------------------------------------

_positions = st.integers(0, 60)
_specs = st.one_of(
    st.tuples(_positions, _positions).map(lambda pair: (pair[0], pair[0] + pair[1])),
    st.tuples(_positions, st.none()),
    st.tuples(st.none(), _positions),
)


def _bytes_of(spec: tuple[int | None, int | None], size: int) -> list[int]:
    """The positions that a range stands for, found by asking of each byte whether it is meant."""
    first, last = spec
    if first is None:
        assert last is not None
        return [byte for byte in range(size) if byte >= size - last]
    return [byte for byte in range(size) if byte >= first and (last is None or byte <= last)]


@untimed
@given(st.lists(_specs, min_size=1, max_size=5), st.integers(0, 50))
def test_the_bytes_are_those_of_a_simple_model(specs, size):
    header = "bytes=" + ", ".join(
        f"{'' if first is None else first}-{'' if last is None else last}" for first, last in specs
    )
    meant = [found for spec in specs if (found := _bytes_of(spec, size))]
    every = [byte for found in meant for byte in found]

    if not meant:
        expected: object = NONE_WITHIN
    elif len(every) > len(set(every)):
        expected = WHOLE
    else:
        expected = [(found[0], found[-1]) for found in meant]
    assert answer(header, size) == expected


_headers = st.one_of(
    st.text(max_size=60),
    st.text("0123456789-, ", max_size=60).map("bytes={}".format),
    st.text("bytes=0123456789٣-,; \t", max_size=60),
)


@untimed
@given(_headers, st.integers(0, 2**63 - 1))
@example("bytes=-", 1)
def test_whatever_is_asked_every_range_lies_within_the_file(header, size):
    try:
        found = byte_ranges.parse(header, size)
    except Unsatisfiable:
        return

    for each in found or []:
        assert 0 <= each.first <= each.last < size
    assert found != []
    assert sum(each.length for each in found or []) <= size


# --- a body of several ranges ----------------------------------------------------------------------


def test_a_part_says_what_it_is_and_where_it_belongs():
    head = byte_ranges.part_head(ByteRange(5, 9), size=10, content_type="text/plain", boundary="edge")

    assert head == b"\r\n--edge\r\nContent-Type: text/plain\r\nContent-Range: bytes 5-9/10\r\n\r\n"


def test_the_last_boundary_ends_the_body():
    assert byte_ranges.multipart_end("edge") == b"\r\n--edge--\r\n"
