"""Connections to SQLite are used again, but never one with which something is wrong."""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import DatabaseError, OperationalError
from django.db.utils import ConnectionHandler
from pytest_django.plugin import DjangoDbBlocker

from database.sqlite import base
from database.sqlite.base import DatabaseWrapper

NAME = "own.sqlite3"
OPTIONS = {"transaction_mode": "IMMEDIATE", "timeout": 1, "init_command": "PRAGMA journal_mode=WAL"}


@pytest.fixture
def wrapper(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[DatabaseWrapper]:
    """Of a database of its own in a file."""
    settings = ConnectionHandler({"default": {"ENGINE": "database.sqlite", "NAME": str(tmp_path / NAME)}})
    made = DatabaseWrapper(settings.settings["default"] | {"OPTIONS": OPTIONS}, "own")
    with django_db_blocker.unblock():
        run(made, "CREATE TABLE notes (text)")
        yield made
        made.close()
    for pool in base._pools.values():
        while pool.idle:
            pool.idle.pop().connection.close()


def run(wrapper: DatabaseWrapper, sql: str) -> list[tuple[object, ...]]:
    with wrapper.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def opened(wrapper: DatabaseWrapper) -> sqlite3.Connection:
    wrapper.ensure_connection()
    connection = wrapper.connection
    assert isinstance(connection, sqlite3.Connection)
    return connection


def test_a_connection_that_was_closed_is_used_again(wrapper: DatabaseWrapper) -> None:
    first = opened(wrapper)
    wrapper.close()
    assert opened(wrapper) is first


def test_two_at_once_have_two_connections(wrapper: DatabaseWrapper) -> None:
    other = wrapper.copy("other")
    assert opened(wrapper) is not opened(other)
    other.close()


def test_one_with_an_error_is_not_used_again(wrapper: DatabaseWrapper) -> None:
    first = opened(wrapper)
    with pytest.raises(DatabaseError):
        run(wrapper, "SELECT * FROM nothing")
    wrapper.close()
    assert opened(wrapper) is not first


def test_one_in_a_transaction_is_not_used_again(wrapper: DatabaseWrapper) -> None:
    first = opened(wrapper)
    first.execute("BEGIN")
    first.execute("INSERT INTO notes VALUES ('never committed')")
    wrapper.close()
    assert opened(wrapper) is not first
    assert run(wrapper, "SELECT * FROM notes") == []


def test_one_whose_foreign_keys_were_left_off_is_not_used_again(wrapper: DatabaseWrapper) -> None:
    first = opened(wrapper)
    wrapper.disable_constraint_checking()
    wrapper.close()
    assert opened(wrapper) is not first


def test_a_file_that_was_put_in_the_place_of_the_other_is_the_one_that_is_read(
    wrapper: DatabaseWrapper, tmp_path: Path
) -> None:
    run(wrapper, "INSERT INTO notes VALUES ('old')")
    wrapper.close()
    with sqlite3.connect(tmp_path / "new.sqlite3") as new:
        new.execute("CREATE TABLE notes (text)")
        new.execute("INSERT INTO notes VALUES ('new')")
    new.close()
    for left in tmp_path.glob(f"{NAME}-*"):
        left.unlink()
    (tmp_path / "new.sqlite3").rename(tmp_path / NAME)
    assert run(wrapper, "SELECT text FROM notes") == [("new",)]


def test_unused_ones_are_closed_so_that_the_file_is_whole_without_its_log(
    wrapper: DatabaseWrapper, tmp_path: Path
) -> None:
    run(wrapper, "INSERT INTO notes VALUES ('kept')")
    wrapper.close()
    log = tmp_path / f"{NAME}-wal"
    assert log.exists()
    deadline = time.monotonic() + 30
    while log.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert run(wrapper, "SELECT text FROM notes") == [("kept",)]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_finds_none_open_and_leaves_none_to_the_child(wrapper: DatabaseWrapper) -> None:
    first = opened(wrapper)
    wrapper.close()
    child = os.fork()
    if child == 0:
        os._exit(1 if base._pools else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        first.execute("SELECT 1")
    assert run(wrapper, "SELECT * FROM notes") == []


# --- writers ---------------------------------------------------------------------------------------


def begin(wrapper: DatabaseWrapper) -> None:
    wrapper.ensure_connection()
    wrapper.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)


def end(wrapper: DatabaseWrapper, how: str) -> None:
    getattr(wrapper, how)()
    if how != "close":
        wrapper.set_autocommit(True)


@pytest.mark.parametrize("how", ["commit", "rollback", "close"])
def test_who_writes_next_begins_when_the_one_before_has_ended(
    wrapper: DatabaseWrapper, tmp_path: Path, how: str
) -> None:
    begin(wrapper)
    run(wrapper, "INSERT INTO notes VALUES ('first')")
    began = threading.Event()

    def write() -> None:
        other = wrapper.copy("other")
        begin(other)
        began.set()
        run(other, "INSERT INTO notes VALUES ('second')")
        end(other, "commit")
        other.close()

    thread = threading.Thread(target=write)
    thread.start()
    assert not began.wait(0.2)
    end(wrapper, how)
    thread.join(30)
    assert began.is_set()
    expected = [("first",), ("second",)] if how == "commit" else [("second",)]
    assert run(wrapper, "SELECT text FROM notes") == expected


def test_a_turn_that_does_not_come_is_a_locked_database(wrapper: DatabaseWrapper) -> None:
    begin(wrapper)
    other = wrapper.copy("other")
    with pytest.raises(OperationalError, match="database is locked"):
        begin(other)
    other.close()
    end(wrapper, "rollback")
    begin(other)
    end(other, "commit")
    other.close()


def test_a_failed_begin_gives_its_turn_back(wrapper: DatabaseWrapper, tmp_path: Path) -> None:
    opened(wrapper)
    with sqlite3.connect(tmp_path / NAME, isolation_level=None) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="database is locked"):
            begin(wrapper)
        stranger.execute("ROLLBACK")
    stranger.close()
    wrapper.close()
    begin(wrapper)
    run(wrapper, "INSERT INTO notes VALUES ('now')")
    end(wrapper, "commit")
    assert run(wrapper, "SELECT text FROM notes") == [("now",)]


def test_another_process_that_writes_is_waited_for(wrapper: DatabaseWrapper, tmp_path: Path) -> None:
    patience = opened(wrapper).execute("PRAGMA busy_timeout").fetchone()
    with sqlite3.connect(tmp_path / NAME, isolation_level=None, check_same_thread=False) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        stranger.execute("INSERT INTO notes VALUES ('first')")
        end_soon = threading.Timer(0.3, stranger.execute, ["COMMIT"])
        end_soon.start()
        begin(wrapper)
        assert run(wrapper, "SELECT text FROM notes") == [("first",)]
        end(wrapper, "commit")
        end_soon.join()
    stranger.close()
    # What is written without a transaction has SQLite wait, as before.
    assert opened(wrapper).execute("PRAGMA busy_timeout").fetchone() == patience == (1000,)


def test_readers_do_not_queue(wrapper: DatabaseWrapper) -> None:
    begin(wrapper)
    other = wrapper.copy("other")
    assert run(other, "SELECT text FROM notes") == []
    other.close()
    end(wrapper, "rollback")
