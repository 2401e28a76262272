"""Django's SQLite backend, with a pool of open connections and a queue of writers.

To open one costs a request more than to answer it: fifty functions are registered, and the file's header and
log are read. A connection of each thread's own would stay open for as long as the thread lives, with pages of
its own in memory, and under ASGI each request has a new thread. The pool opens as many as are used at once.

SQLite lets one write at a time, and the others ask again and again, after a tenth of a second at last: of
many some ask until their patience ends, while later ones get through, and processors stand idle. Writers of
one process queue here, and the first of each process asks again soon: most transactions take less than a
millisecond.
"""

import os
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Self, override

from django.db import OperationalError
from django.db.backends.sqlite3 import base

# Seconds that a connection is kept unused. Whoever copies the file away, or puts another in its place, can do
# so once nobody uses the service: the last to close the file leaves no log beside it.
_IDLE = 1.0
_PATIENCE = 5.0  # seconds that a writer waits for its turn, as the sqlite3 module has it
_PRIMARY = 0xFF  # the bits of SQLite's extended error codes that say what kind of error it is
_ASK_AGAIN = 0.0005  # seconds between two questions whether another process has ended its transaction


@dataclass(frozen=True, slots=True)
class _Identity:
    """Which file a connection has open. Another may lie under its name by now."""

    device: int
    inode: int

    @classmethod
    def of(cls, path: str) -> Self | None:
        try:
            found = os.stat(path)  # noqa: PTH116  # a Path of it takes three times as long
        except OSError:
            return None
        return cls(found.st_dev, found.st_ino)


@dataclass(slots=True)
class _Idle:
    connection: sqlite3.Connection
    file: _Identity
    since: float


@dataclass(slots=True)
class _Pool:
    """Connections to one file that nobody uses now, the last used at the end."""

    idle: list[_Idle] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    closer: threading.Thread | None = None
    # Held by who is in a transaction that was begun to write.
    turn: threading.Lock = field(default_factory=threading.Lock)

    def take(self, path: str) -> _Idle | None:
        """An open connection to the file that has this name now; None if there is none to be had."""
        with self.lock:
            if not self.idle:
                return None
            found = self.idle.pop()
        if found.file != _Identity.of(path):
            found.connection.close()
            return None
        return found

    def give(self, connection: sqlite3.Connection, file: _Identity) -> None:
        with self.lock:
            self.idle.append(_Idle(connection, file, time.monotonic()))
            if self.closer is None:
                self.closer = threading.Thread(target=self._close_idle, name="sqlite-closer", daemon=True)
                self.closer.start()

    def clear(self) -> None:
        with self.lock:
            while self.idle:
                self.idle.pop().connection.close()

    def _close_idle(self) -> None:
        while True:
            time.sleep(_IDLE / 2)
            with self.lock:
                before = time.monotonic() - _IDLE
                stale = [each for each in self.idle if each.since < before]
                self.idle = [each for each in self.idle if each.since >= before]
                if ended := not (self.idle or stale):
                    self.closer = None
                for each in stale:
                    each.connection.close()
            if ended:
                return


_pools: dict[str, _Pool] = {}
# What another thread gave back while its process was forked: not to be used in the child, nor closed there.
_inherited: list[dict[str, _Pool]] = []


def _close_all() -> None:
    """SQLite remembers which locks its process has on a file that it has open: a child would take the
    parent's for its own and ask for none, and the next process to close the file would take the log away,
    with what the child has committed."""
    for pool in _pools.values():
        pool.clear()


def _leave_to_parent() -> None:
    _inherited.append(dict(_pools))
    _pools.clear()


os.register_at_fork(before=_close_all, after_in_child=_leave_to_parent)


class DatabaseWrapper(base.DatabaseWrapper):
    """`close` gives the connection to the pool, unless something went wrong with it."""

    _file: _Identity | None = None
    _turn: threading.Lock | None = None
    _checks_keys = True

    @override
    def get_connection_params(self) -> dict[str, Any]:
        # The driver would parse each moment and each truth value by a call into Python. Fields convert what
        # it has not parsed, and `database.prepared` by whole columns.
        return {**super().get_connection_params(), "detect_types": 0}

    @override
    def get_new_connection(self, conn_params: dict[str, Any]) -> sqlite3.Connection:
        path = str(self.settings_dict["NAME"])
        self._file = None
        self._checks_keys = True
        if self.is_in_memory_db():
            return super().get_new_connection(conn_params)  # type: ignore[no-any-return]
        pool = _pools.setdefault(path, _Pool())
        found = pool.take(path)
        if found is not None:
            self._file = found.file
            return found.connection
        connection: sqlite3.Connection = super().get_new_connection(conn_params)
        self._file = _Identity.of(path)
        return connection

    @override
    def disable_constraint_checking(self) -> bool:
        # As Django does while it changes tables. Such a connection is closed for good.
        self._checks_keys = False
        return bool(super().disable_constraint_checking())

    # Django's stubs leave out the methods below that begin with an underscore.

    def _close(self) -> None:
        try:
            connection: sqlite3.Connection | None = self.connection
            # One that was opened before a fork has no pool after it.
            pool = _pools.get(str(self.settings_dict["NAME"]))
            if pool is None or connection is None or self._file is None or not self._is_clean(connection):
                super()._close()  # type: ignore[misc]
            else:
                pool.give(connection, self._file)
        finally:
            self._end_turn()

    def _is_clean(self, connection: sqlite3.Connection) -> bool:
        """As it was when it was opened."""
        return self._checks_keys and not self.errors_occurred and not connection.in_transaction

    def _start_transaction_under_autocommit(self) -> None:
        pool = _pools.get(str(self.settings_dict["NAME"]))
        if pool is None or self.settings_dict["OPTIONS"].get("transaction_mode") != "IMMEDIATE":
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
            return
        deadline = time.monotonic() + self._patience
        if not pool.turn.acquire(timeout=self._patience):
            raise OperationalError("database is locked")
        self._turn = pool.turn
        try:
            self._begin_to_write(deadline)
        except BaseException:
            self._end_turn()
            raise

    def _begin_to_write(self, deadline: float) -> None:
        """As soon as no other process writes. Raises OperationalError at the deadline."""
        connection: sqlite3.Connection = self.connection
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError as error:
                    is_busy = error.sqlite_errorcode & _PRIMARY == sqlite3.SQLITE_BUSY
                    if not is_busy or time.monotonic() > deadline:
                        raise OperationalError(str(error)) from error
                time.sleep(_ASK_AGAIN)
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(1000 * self._patience)}")

    @property
    def _patience(self) -> float:
        """In seconds."""
        return float(self.settings_dict["OPTIONS"].get("timeout", _PATIENCE))

    def _commit(self) -> None:
        super()._commit()  # type: ignore[misc]
        self._end_turn()  # after a commit that failed Django rolls back

    def _rollback(self) -> None:
        try:
            super()._rollback()  # type: ignore[misc]
        finally:
            self._end_turn()

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.release()
