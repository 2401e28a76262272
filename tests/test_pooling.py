"""Threads that share a database: those that write to SQLite take turns."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from files import pooling

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="other databases let many write at a time"),
]

SOON, LATER = 10.0, 0.3  # seconds: for what has to happen, and for what must not


def entered() -> bool:
    """Whether another thread gets its turn by now."""
    with ThreadPoolExecutor(1) as other:
        return other.submit(_try).result(SOON)


def _try() -> bool:
    got = pooling._turn.acquire(timeout=LATER)
    if got:
        pooling._turn.release()
    return got


def test_one_writes_at_a_time():
    holds, gave_up = threading.Event(), threading.Event()

    def hold() -> None:
        with pooling._turn:
            holds.set()
            time.sleep(LATER)
            gave_up.set()

    with ThreadPoolExecutor(1) as other:
        held = other.submit(hold)
        assert holds.wait(SOON)
        with pooling.writing():
            assert gave_up.is_set()
            assert not entered()
        held.result(SOON)
    assert entered()


def test_what_is_done_after_a_commit_keeps_nobody_waiting():
    found = []
    with pooling.writing():
        transaction.on_commit(lambda: found.append(entered()))
        assert not entered()
    assert found == [True]


def test_after_a_failure_it_is_the_turn_of_the_next():
    with pytest.raises(ZeroDivisionError), pooling.writing():
        raise ZeroDivisionError
    assert entered()


def test_within_a_transaction_it_is_no_turn_of_its_own():
    with pooling.writing(), pooling.writing():
        pass
    assert entered()
