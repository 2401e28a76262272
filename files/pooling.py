"""How many threads share a database: a connection is given back before a request waits for its client, and
those that write to SQLite take turns."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from django.db import connection, transaction

_turn = threading.Lock()


def release() -> None:
    """Return the connection to its pool; the next query gets one again.

    A request otherwise keeps it to its end, and a few clients that read or send slowly would keep them all.
    One to SQLite is an open file, of which each thread may have its own.
    """
    if connection.vendor != "sqlite" and not connection.in_atomic_block:
        connection.close()


@contextmanager
def writing() -> Iterator[None]:
    """A transaction that writes; on SQLite, which lets one write at a time, in turn.

    SQLite itself has the others ask again after pauses, without any order: of 64 threads some asked at the
    wrong moments until their time was up. Between processes it is left to that.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        with transaction.atomic():
            yield
        return
    with ExitStack() as turn:
        turn.enter_context(_turn)
        with transaction.atomic():
            transaction.on_commit(turn.close)  # before whatever else is done then, which may take long
            yield
