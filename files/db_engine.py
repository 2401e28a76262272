"""Background work by the queue in the database: django-tasks-db's worker, which also tries again what failed
and takes up what a dead worker was doing. Both are bounded by the attempts that a task's row counts.
"""

import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from traceback import format_exception
from types import FrameType
from typing import Any

from django.core.management import call_command
from django.db import connections, transaction
from django.tasks import DEFAULT_TASK_BACKEND_ALIAS, TaskResultStatus
from django.utils import timezone
from django_tasks_db.management.commands import db_worker
from django_tasks_db.models import DBTaskResult
from django_tasks_db.utils import retry

from files import retries
from files.models import Worker
from files.outages import DATABASE_ERRORS

logger = logging.getLogger(__name__)

type Row = DBTaskResult[Any, Any]

_POLL = 1.0  # seconds between two looks into an empty queue
_BEAT = 5.0  # seconds between two signs of life
_SILENCE = timedelta(seconds=60)  # after which a worker is taken for dead: a dozen signs of life
_SAME_WISH = 1.0  # seconds within which two signals are one
_PRUNE_EVERY = 6 * 3600  # seconds


class WorkerLost(Exception):
    """The process that ran the task has ended or fallen silent."""


def work(name: str) -> None:
    """Run tasks until SIGTERM; one under way is finished. `name` is this worker's alone, but for one that it
    replaces. A database that is down ends the process, to be started again."""
    try:
        _work(name)
    except DATABASE_ERRORS as error:
        logger.error("The database failed, and with it worker %s: %s", name, error)
        sys.exit(1)


def _work(name: str) -> None:
    bury(name)
    beat(name)
    ending = threading.Event()
    keeper = threading.Thread(target=_keep, args=(name, ending), name="keeper", daemon=True)
    keeper.start()
    worker = _Worker(
        queue_names=["*"],
        excluded_queue_names=[],
        interval=_POLL,
        batch=False,
        backend_name=DEFAULT_TASK_BACKEND_ALIAS,
        startup_delay=True,
        max_tasks=None,
        worker_id=name,
    )
    worker.configure_signals()
    try:
        worker.run()
    finally:
        ending.set()
        keeper.join()
        with suppress(*DATABASE_ERRORS):  # if it is down, others find this worker silent
            bury(name)
        connections.close_all()


class _Worker(db_worker.Worker):
    _told_at = -math.inf

    def shutdown(self, signum: int, frame: FrameType | None) -> None:
        # Who tells all processes at once tells ours and our supervisor, which passes it on: that is one wish.
        if time.monotonic() - self._told_at > _SAME_WISH:
            self._told_at = time.monotonic()
            super().shutdown(signum, frame)

    def run_task(self, db_task_result: Row) -> None:
        # In one write, so that a kill between a failure and what follows from it loses neither.
        db_task_result.set_failed = partial(fail, db_task_result)
        with _at_most(retries.LONGEST):
            super().run_task(db_task_result)


@retry()
def fail(row: Row, error: BaseException) -> None:
    """Record an attempt that failed: the task is run again later, unless it was tried often enough."""
    attempts = len(row.worker_ids)
    delay = retries.delay_after(attempts)
    if delay is None:
        DBTaskResult.set_failed(row, error)
        return
    logger.warning("Attempt %d at %s (%s) failed: %r", attempts, row.task_name, row.id, error)
    row.status = TaskResultStatus.READY
    row.run_after = timezone.now() + timedelta(seconds=delay)
    row.exception_class_path = f"{type(error).__module__}.{type(error).__qualname__}"
    row.traceback = "".join(format_exception(error))
    row.save(update_fields=["status", "run_after", "exception_class_path", "traceback"])


# --- signs of life ---------------------------------------------------------------------------------


def beat(name: str) -> None:
    """A sign of life of that worker."""
    Worker.objects.update_or_create(name=name, defaults={"seen_at": timezone.now()})


def bury_silent() -> None:
    """Take up what workers were doing of which nothing was heard for long."""
    silent = Worker.objects.filter(seen_at__lt=timezone.now() - _SILENCE)
    for name in silent.values_list("name", flat=True):
        logger.warning("Nothing was heard of worker %s for %s.", name, _SILENCE)
        bury(name)


def bury(name: str) -> None:
    """That worker runs no more: what it was running is an attempt that failed. Only after that its row goes,
    so that a kill in here leaves it to be buried again."""
    with transaction.atomic():
        if not Worker.objects.select_for_update().filter(name=name).exists():
            return
        for row in DBTaskResult.objects.running().select_for_update():
            if row.worker_ids[-1:] == [name]:
                fail(row, WorkerLost(f"{name} was lost."))
        Worker.objects.filter(name=name).delete()


def prune() -> None:
    """Delete the rows of tasks that have been over for long."""
    call_command(
        "prune_db_task_results",
        queue_name="*",
        min_age_days=retries.DONE_KEPT,
        failed_min_age_days=retries.FAILED_KEPT,
        verbosity=0,
    )


def _keep(name: str, ending: threading.Event) -> None:
    """Beside the tasks: signs of life, and what no task is needed for."""
    prune_at = time.monotonic()
    while not ending.wait(_BEAT):
        try:
            beat(name)
            bury_silent()
            if time.monotonic() >= prune_at:
                prune()
                prune_at = time.monotonic() + _PRUNE_EVERY
        except DATABASE_ERRORS as error:
            logger.warning("Worker %s could not give a sign of life: %s", name, error)
        finally:
            connections.close_all()


@contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in what takes longer; only in a process's main thread."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"It took more than {seconds} s.")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
