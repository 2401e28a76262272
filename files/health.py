"""Whether the service can do its work: each thing that it needs is asked, side by side and in bounded time.

What is wrong goes into the log; the report has names and times alone, since anybody may read it. Nothing is
written anywhere.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from django.core.files.storage import FileSystemStorage, storages
from django.db import connection, connections
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from files import queues, storage

logger = logging.getLogger(__name__)

# Seconds for all together. Probes give up after some themselves: kubelet after 1 unless it is told otherwise.
_PATIENCE = 3.0
_GOOD_FOR = 1.0  # seconds: whoever asks more often gets the same report


@dataclass(frozen=True, slots=True)
class Outcome:
    """`seconds` is how long it took, or how long it was waited for."""

    is_ok: bool
    seconds: float


class _Unready(Exception):
    """The message says what is missing."""


@dataclass(frozen=True, slots=True)
class _Asked:
    answer: Future[None]
    since: float


class Readiness:
    """Asks, and remembers the answer for a second. What hangs holds one thread, however often it is asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._report: Mapping[str, Outcome] = {}
        self._made = -_GOOD_FOR
        self._open: dict[str, _Asked] = {}

    def report(self) -> Mapping[str, Outcome]:
        """By the name of what was asked."""
        with self._lock:  # who comes meanwhile gets what comes of it
            if time.monotonic() - self._made >= _GOOD_FOR:
                self._note(self._ask())
                self._made = time.monotonic()
            return self._report

    def _ask(self) -> dict[str, Outcome]:
        begun = time.monotonic()
        asked = {name: self._begin(name, check) for name, check in _checks().items()}
        return {name: self._outcome(name, each, begun + _PATIENCE) for name, each in asked.items()}

    def _begin(self, name: str, check: Callable[[], None]) -> _Asked:
        before = self._open.get(name)
        if before is not None and not before.answer.done():
            return before
        asked = self._open[name] = _Asked(Future(), time.monotonic())
        # A daemon: one that hangs must not keep the process from ending, as a pool's would.
        threading.Thread(target=_run, args=(check, asked.answer), name=f"health-{name}", daemon=True).start()
        return asked

    def _outcome(self, name: str, asked: _Asked, give_up: float) -> Outcome:
        try:
            error = asked.answer.exception(max(0.0, give_up - time.monotonic()))
        except TimeoutError as silence:
            error = silence
        before = self._report.get(name)
        if error is not None and (before is None or before.is_ok):
            # Once: probes come every few seconds, and an outage should not fill the log.
            logger.error("Not ready: %s: %s: %s", name, type(error).__name__, error)
        return Outcome(error is None, time.monotonic() - asked.since)

    def _note(self, report: Mapping[str, Outcome]) -> None:
        for name, outcome in report.items():
            if outcome.is_ok and name in self._report and not self._report[name].is_ok:
                logger.warning("Ready again: %s.", name)
        self._report = report


def _run(check: Callable[[], None], answer: "Future[None]") -> None:
    try:
        check()
    except BaseException as error:  # whatever a library raises
        answer.set_exception(error)
    else:
        answer.set_result(None)
    finally:
        connections.close_all()  # this thread's own


def _checks() -> dict[str, Callable[[], None]]:
    checks: dict[str, Callable[[], None]] = {
        "database": _database,
        "migrations": _migrations,
        "queue": _queue,
    }
    for alias in storage.aliases():
        checks[f"storage:{alias}"] = lambda alias=alias: _storage(alias)  # type: ignore[misc]
    return checks


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _migrations() -> None:
    """Newer ones than ours are fine: then this is the old code of an upgrade under way."""
    missing = _leaves() - MigrationRecorder(connection).applied_migrations().keys()
    if missing:
        raise _Unready(f"{len(missing)} migrations are not applied")


@cache
def _leaves() -> frozenset[tuple[str, str]]:
    """The last migration of each app, which none is applied without those before it."""
    return frozenset(MigrationLoader(None, ignore_no_migrations=True).graph.leaf_nodes())


def _queue() -> None:
    queues.waiting()


def _storage(alias: str) -> None:
    """Ask for an object that is not there: a bucket answers so only to credentials that hold. A folder has to
    be one to write to, or to be made."""
    backend = storages[alias]
    with suppress(FileNotFoundError):
        backend.open(storage.scratch_key(), "rb").close()
    if isinstance(backend, FileSystemStorage) and not _is_writable(Path(backend.location)):
        raise _Unready("its folder cannot be written to")


def _is_writable(folder: Path) -> bool:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
