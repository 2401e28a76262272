"""The database of each service that the tests start, known by the service's data folder.

On SQLite it is a file in that folder. On PostgreSQL it is made when it is first asked for, and dropped at the
end of the run.
"""

import atexit
import contextlib
import os
import secrets
import sqlite3
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests import postgres

_SERVER = os.environ.get(postgres.VARIABLE)
_names: dict[Path, str] = {}  # of databases on PostgreSQL, by data folder


def settings(data_dir: Path) -> dict[str, str]:
    """What a service over that folder is told about its database."""
    if _SERVER is None:
        return {}
    if data_dir not in _names:
        _create(data_dir, template="template1")
    return {"DATABASE_URL": postgres.naming(_SERVER, _names[data_dir])}


def copy(of: Path, to: Path) -> None:
    """The database of a folder that was copied. Nobody may be connected to it."""
    if _SERVER is not None:
        _create(to, template=_names[of])


def ask(data_dir: Path, query: str) -> list[tuple[Any, ...]]:
    """The rows that a query finds there."""
    if _SERVER is None:
        with contextlib.closing(sqlite3.connect(data_dir / "coffer.sqlite3", timeout=5)) as file:
            return file.execute(query).fetchall()
    with psycopg.connect(postgres.naming(_SERVER, _names[data_dir])) as connection:
        return connection.execute(query).fetchall()


def _create(data_dir: Path, *, template: str) -> None:
    name = f"coffer_e2e_{secrets.token_hex(6)}"
    _run(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
    _names[data_dir] = name


def _run(statement: sql.Composed) -> None:
    assert _SERVER is not None
    with psycopg.connect(_SERVER, autocommit=True) as connection:
        connection.execute(statement)


@atexit.register
def _drop_all() -> None:
    for name in _names.values():
        _run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
