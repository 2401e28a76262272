"""Giving a database connection back before a request waits for its client."""

from django.db import connection


def release() -> None:
    """Return the connection to its pool; the next query gets one again.

    A request otherwise keeps it to its end, and a few clients that read or send slowly would keep them all.
    One to SQLite is an open file, of which each thread may have its own.
    """
    if connection.vendor != "sqlite" and not connection.in_atomic_block:
        connection.close()
