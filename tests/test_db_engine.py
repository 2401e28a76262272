"""The worker of the queue in the database: attempts, workers that die, and rows that go."""

import signal
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, OperationalError, connections
from django.tasks import TaskResultStatus
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from config import queues
from files import db_engine, retries, storage, tasks
from files.models import Worker
from tests.api import record

pytestmark = pytest.mark.django_db

NOBODYS = "01a1ff50-eee9-73a5-8ce1-77eb4cbc94bc"
POISON = "no id at all"


@pytest.fixture(autouse=True)
def queue(settings) -> None:
    settings.TASKS_BACKEND = "db"
    settings.TASKS = queues.tasks("db")


def enqueued(file_id: str = NOBODYS) -> Any:
    """The row of a task; of an unknown file there is nothing to do, and POISON always fails."""
    return tasks.relocate.enqueue(file_id).db_result  # type: ignore[attr-defined]


def run(row: Any, name: str = "a") -> Any:
    """One attempt, by that worker."""
    row.claim(name)
    worker(name).run_task(row)
    row.refresh_from_db()
    return row


def worker(name: str) -> Any:
    """It ends when there is nothing to do."""
    return db_engine._Worker(
        queue_names=["*"],
        excluded_queue_names=[],
        interval=0,
        batch=True,
        backend_name="default",
        startup_delay=False,
        max_tasks=None,
        worker_id=name,
    )


def seconds_until(moment: datetime) -> float:
    return (moment - timezone.now()).total_seconds()


# --- attempts --------------------------------------------------------------------------------------


def test_what_succeeds_is_run_once():
    row = run(enqueued())
    assert (row.status, row.worker_ids) == (TaskResultStatus.SUCCESSFUL, ["a"])


def test_what_fails_is_run_again_later_and_later_and_not_for_ever(caplog):
    row = enqueued(POISON)
    for delay in retries.BACKOFF:
        run(row)
        assert row.status == TaskResultStatus.READY
        assert delay - 5 < seconds_until(row.run_after) <= delay
        assert row.exception_class_path == "builtins.ValueError"
    assert not DBTaskResult.objects.ready().exists()  # not before its time
    run(row)
    assert (row.status, len(row.worker_ids)) == (TaskResultStatus.FAILED, retries.MAX_ATTEMPTS)
    assert "ValueError" in row.traceback
    assert caplog.text.count("Attempt") == retries.MAX_ATTEMPTS - 1


def test_a_task_that_always_fails_does_not_stop_the_queue():
    poison, behind = enqueued(POISON), enqueued()
    worker("a").run()
    poison.refresh_from_db()
    behind.refresh_from_db()
    assert (poison.status, behind.status) == (TaskResultStatus.READY, TaskResultStatus.SUCCESSFUL)


def test_a_task_of_another_version_does_not_stop_the_queue():
    row = enqueued()
    DBTaskResult.objects.update(task_path="files.tasks.of_another_version")
    row.refresh_from_db()
    assert run(row).status == TaskResultStatus.READY


def test_an_attempt_is_ended_when_it_takes_too_long(alice, monkeypatch):
    monkeypatch.setattr(retries, "LONGEST", 1)
    monkeypatch.setattr(storage, "alias_for", lambda *_: threading.Event().wait(60))
    row = run(enqueued(str(record(alice).pk)))
    assert (row.status, row.exception_class_path) == (TaskResultStatus.READY, "builtins.TimeoutError")


# --- workers that die ------------------------------------------------------------------------------


def test_what_a_dead_worker_was_doing_is_done_again():
    lost, others = enqueued(), enqueued()
    for name, row in (("dead", lost), ("alive", others)):
        db_engine.beat(name)
        row.claim(name)
    Worker.objects.filter(name="dead").update(seen_at=timezone.now() - timedelta(minutes=2))
    db_engine.bury_silent()
    lost.refresh_from_db()
    others.refresh_from_db()
    assert (lost.status, others.status) == (TaskResultStatus.READY, TaskResultStatus.RUNNING)
    assert 0 < seconds_until(lost.run_after) <= retries.BACKOFF[0]
    assert list(Worker.objects.values_list("name", flat=True)) == ["alive"]


def test_a_worker_that_was_heard_of_is_not_buried():
    db_engine.beat("alive")
    Worker.objects.update(seen_at=timezone.now() - timedelta(seconds=40))
    db_engine.bury_silent()
    assert Worker.objects.exists()


def test_a_task_that_kills_its_workers_is_given_up():
    row = enqueued()
    for number in range(retries.MAX_ATTEMPTS):
        name = f"worker-{number}"
        db_engine.beat(name)
        row.claim(name)
        db_engine.bury(name)
        row.refresh_from_db()
    assert row.status == TaskResultStatus.FAILED
    assert row.exception_class_path == "files.db_engine.WorkerLost"


def test_what_another_one_has_taken_up_since_is_left_to_it():
    row = enqueued()
    for name in ("a", "b"):
        db_engine.beat(name)
        row.claim(name)
    db_engine.bury("a")
    row.refresh_from_db()
    assert (row.status, row.worker_ids) == (TaskResultStatus.RUNNING, ["a", "b"])


@pytest.fixture
def brief(monkeypatch) -> None:
    """A worker that ends at once, in the process and with the connection of the test."""
    monkeypatch.setattr(db_engine._Worker, "run", lambda self: None)
    monkeypatch.setattr(db_engine._Worker, "configure_signals", lambda self: None)
    monkeypatch.setattr(connections, "close_all", lambda: None)


def test_who_takes_the_place_of_a_dead_worker_takes_up_its_task_at_once(brief):
    row = enqueued()
    db_engine.beat("a")
    row.claim("a")
    db_engine.work("a")
    row.refresh_from_db()
    assert row.status == TaskResultStatus.READY
    assert not Worker.objects.exists()  # it has ended


def test_a_database_that_is_down_ends_the_process_to_be_started_again(brief, monkeypatch, caplog):
    def fail(self: Any) -> None:
        raise OperationalError("a test")

    monkeypatch.setattr(db_engine._Worker, "run", fail)
    with pytest.raises(SystemExit) as ended:
        db_engine.work("a")
    assert ended.value.code == 1
    assert "The database failed, and with it worker a: a test" in caplog.text


def test_the_same_signal_twice_at_once_is_one_wish(monkeypatch):
    busy = worker("a")
    busy.running_task = True
    busy.shutdown(signal.SIGTERM, None)
    busy.shutdown(signal.SIGTERM, None)  # the task goes on
    assert not busy.running
    busy._told_at -= 2  # seconds
    monkeypatch.setattr(busy, "reset_signals", lambda: None)
    with pytest.raises(SystemExit):
        busy.shutdown(signal.SIGTERM, None)


class _Ending(threading.Event):
    """Not before the third look."""

    looks = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.looks += 1
        return self.looks > 2


def test_a_database_that_is_down_does_not_end_the_signs_of_life(brief, monkeypatch, caplog):
    beat, failures = db_engine.beat, [DatabaseError("a test")]

    def failing(name: str) -> None:
        if failures:
            raise failures.pop()
        beat(name)

    monkeypatch.setattr(db_engine, "beat", failing)
    db_engine._keep("a", _Ending())
    assert "could not give a sign of life" in caplog.text
    assert Worker.objects.filter(name="a").exists()


# --- rows that go ----------------------------------------------------------------------------------


def test_what_is_over_for_long_is_forgotten():
    ages = {
        "successful, new": (TaskResultStatus.SUCCESSFUL, retries.DONE_KEPT - 0.5),
        "successful, old": (TaskResultStatus.SUCCESSFUL, retries.DONE_KEPT + 0.5),
        "failed, new": (TaskResultStatus.FAILED, retries.FAILED_KEPT - 0.5),
        "failed, old": (TaskResultStatus.FAILED, retries.FAILED_KEPT + 0.5),
        "waiting, old": (TaskResultStatus.READY, 100),
    }
    for said, (status, days) in ages.items():
        finished = timezone.now() - timedelta(days=days)
        DBTaskResult.objects.filter(pk=enqueued(said).pk).update(status=status, finished_at=finished)
    db_engine.prune()
    left = {row.args_kwargs["args"][0] for row in DBTaskResult.objects.all()}
    assert left == {"successful, new", "failed, new", "waiting, old"}


# --- the command -----------------------------------------------------------------------------------


def test_without_a_queue_there_is_nothing_for_a_worker_to_do(settings):
    settings.TASKS_BACKEND = "immediate"
    with pytest.raises(CommandError, match="nothing for a worker to do"):
        call_command("worker")


def test_at_least_one_process_is_needed():
    with pytest.raises(CommandError, match="--processes"):
        call_command("worker", processes=0)
