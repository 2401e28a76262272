"""Both hashes of bytes that come in pieces, whatever the pieces, and no thread left behind."""

import hashlib
import os
import threading
from contextlib import closing
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from files import hashing
from files.hashing import Hashes

MIB = 1024 * 1024
CONTENT = bytes(range(256)) * (9 * MIB // 256) + b"the end"
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("md5")]


def hashed(*pieces: bytes) -> Hashes:
    hashes = Hashes()
    for piece in pieces:
        hashes.update(piece)
    return hashes


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, len(CONTENT)), max_size=20))
def test_hashes_do_not_depend_on_how_the_bytes_are_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(CONTENT)]
    hashes = hashed(*(CONTENT[first:last] for first, last in pairwise(edges)))
    assert (hashes.md5, hashes.sha256) == (MD5, SHA256)


def test_hashes_of_nothing_are_those_of_nothing() -> None:
    assert Hashes().md5 == hashlib.md5(b"").hexdigest()
    assert Hashes().sha256 == hashlib.sha256(b"").hexdigest()


def test_few_bytes_take_no_thread() -> None:
    with closing(hashed(*[b"x" * 1024] * 4095)):
        assert helpers() == []


def test_many_bytes_take_one_thread_until_they_are_hashed() -> None:
    hashes = hashed(*[b"x" * MIB] * 9)
    assert len(helpers()) == 1
    hashes.finish()
    assert helpers() == []
    assert hashes.md5 == hashlib.md5(b"x" * 9 * MIB).hexdigest()
    assert helpers() == []


def test_of_many_uploads_some_have_a_thread_and_all_are_hashed() -> None:
    many = [Hashes() for _ in range(3 * (os.cpu_count() or 1))]
    for _ in range(9):
        for each in many:
            each.update(b"x" * MIB)
    assert len(helpers()) == (os.cpu_count() or 1)
    many[0].close()
    many[-1].update(b"x" * MIB)  # one is free again
    assert len(helpers()) == (os.cpu_count() or 1)
    assert {each.md5 for each in many[1:-1]} == {hashlib.md5(b"x" * 9 * MIB).hexdigest()}
    assert many[-1].md5 == hashlib.md5(b"x" * 10 * MIB).hexdigest()
    assert helpers() == []


def test_more_bytes_may_come_after_a_look_at_the_hashes() -> None:
    hashes = hashed(CONTENT)
    assert hashes.md5 == MD5
    hashes.update(CONTENT)
    assert hashes.md5 == hashlib.md5(CONTENT * 2).hexdigest()


def test_closing_leaves_no_thread_and_may_be_repeated() -> None:
    hashes = hashed(*[b"x" * MIB] * 9)
    hashes.close()
    hashes.close()
    assert helpers() == []


class Blocked:
    """Hashes nothing before it may."""

    def __init__(self, error: Exception | None = None) -> None:
        self.may_go_on = threading.Event()
        self.error = error

    def update(self, piece: bytes) -> None:
        self.may_go_on.wait(10)
        if self.error is not None:
            raise self.error


def test_who_sends_faster_than_is_hashed_waits() -> None:
    hashes = Hashes()
    slow = Blocked()
    hashes._md5 = slow  # type: ignore[assignment]
    taken: list[int] = []

    def send() -> None:
        for number in range(20):
            hashes.update(b"x" * 4 * MIB)
            taken.append(number)

    sender = threading.Thread(target=send)
    sender.start()
    sender.join(0.5)
    assert taken == list(range(hashing._WAITING))
    slow.may_go_on.set()
    sender.join()
    assert len(taken) == 20
    hashes.close()


def test_what_fails_on_the_thread_is_raised_to_the_caller() -> None:
    hashes = Hashes()
    broken = Blocked(MemoryError("no memory"))
    broken.may_go_on.set()
    hashes._md5 = broken  # type: ignore[assignment]
    with pytest.raises(MemoryError):
        hashed_to_the_end(hashes)
    assert helpers() == []


def hashed_to_the_end(hashes: Hashes) -> None:
    hashes.update(b"x" * 4 * MIB)
    hashes.finish()
