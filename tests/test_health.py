"""Whether the service says rightly that it can work, in time and without telling strangers why it cannot."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage, storages
from django.db import OperationalError, connection, connections
from django.db.migrations.recorder import MigrationRecorder
from django.tasks import task_backends
from django.test import Client
from django.utils import timezone

from files import health, queues, storage
from graph import probes

pytestmark = pytest.mark.django_db(transaction=True)  # the checks have threads and connections of their own


class Hanging(FileSystemStorage):
    """As a store whose answer never comes."""

    opened = threading.Semaphore(0)
    answers = threading.Event()

    def _open(self, name: str, mode: str = "rb") -> Any:
        Hanging.opened.release()
        Hanging.answers.wait()
        raise FileNotFoundError


@pytest.fixture
def hanging(settings) -> Iterator[None]:
    Hanging.answers.clear()
    Hanging.opened = threading.Semaphore(0)
    entry = {"BACKEND": "tests.test_health.Hanging"}
    settings.STORAGES = {**settings.STORAGES, "public": entry}
    yield
    Hanging.answers.set()
    for thread in threading.enumerate():
        if thread.name.startswith("health-"):
            thread.join()


@pytest.fixture(autouse=True)
def _closed(monkeypatch) -> None:
    """Connections of the checks' threads are closed, as everywhere but to a database in memory."""
    if connection.vendor == "sqlite":
        monkeypatch.setattr(type(connections["default"]), "is_in_memory_db", lambda _: False)


@pytest.fixture(autouse=True)
def readiness(monkeypatch) -> health.Readiness:
    """One that remembers nothing yet."""
    made = health.Readiness()
    monkeypatch.setattr(probes, "_READINESS", made)
    return made


def statuses(answer: Any) -> dict[str, str]:
    return {name: each["status"] for name, each in answer.json()["checks"].items()}


def without_database(monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise OperationalError('connection to server at "db.internal" failed: password of coffer')

    monkeypatch.setattr(type(connections["default"]), "get_new_connection", fail)


# --- what is said ----------------------------------------------------------------------------------


def test_a_service_that_has_all_it_needs_is_ready(client):
    answer = client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert statuses(answer) == dict.fromkeys(("database", "migrations", "queue", "storage:default"), "ok")
    assert all(0 <= each["ms"] < 3000 for each in answer.json()["checks"].values())
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_storage_that_is_not_there_is_named_and_no_more_is_said(client, settings, tmp_path, caplog):
    blocked = tmp_path / "a secret place"
    blocked.write_text("a file, where a folder should be")
    entry = {"BACKEND": "files.disk.DiskStorage", "OPTIONS": {"location": blocked / "files"}}
    settings.STORAGES = {**settings.STORAGES, "public": entry}
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["status"] == "failed"
    failed = [name for name, status in statuses(answer).items() if status == "failed"]
    assert failed == ["storage:public"]
    assert b"secret" not in answer.content
    assert "Not ready: storage:public" in caplog.text


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_gone_is_a_failure(client):
    assert statuses(client.get("/health/ready"))["storage:default"] == "ok"
    storages["default"].bucket.delete()  # type: ignore[attr-defined]
    assert statuses(_later(client))["storage:default"] == "failed"


def test_a_database_that_is_down_is_a_failure_of_which_the_log_has_the_reason(client, monkeypatch, caplog):
    without_database(monkeypatch)
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert statuses(answer)["database"] == "failed"
    assert statuses(answer)["storage:default"] == "ok"
    for secret in (b"db.internal", b"password", b"Traceback", b"Operational"):
        assert secret not in answer.content
    said = [record.getMessage() for record in caplog.records]
    assert sum(each.startswith("Not ready: database: OperationalError") for each in said) == 1
    assert all(each.startswith("Not ready: ") for each in said)


def test_a_migration_that_is_missing_is_a_failure(client):
    recorder = MigrationRecorder(connection)
    leaf = max(name for app, name in recorder.applied_migrations() if app == "files")
    recorder.record_unapplied("files", leaf)
    try:
        answer = client.get("/health/ready")
    finally:
        recorder.record_applied("files", leaf)
    assert statuses(answer)["migrations"] == "failed"
    assert statuses(answer)["database"] == "ok"


def test_a_migration_of_a_newer_release_is_none(client):
    recorder = MigrationRecorder(connection)
    recorder.record_applied("files", "9999_of_the_next_release")
    try:
        assert statuses(client.get("/health/ready"))["migrations"] == "ok"
    finally:
        recorder.record_unapplied("files", "9999_of_the_next_release")


def test_an_outage_is_logged_when_it_begins_and_when_it_ends(readiness, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(health, "_GOOD_FOR", 0.0)
    with monkeypatch.context() as broken:
        without_database(broken)
        for _ in range(3):
            readiness.report()
    readiness.report()
    said = [line.getMessage() for line in caplog.records if "database" in line.getMessage()]
    assert len(said) == 2
    assert said[0].startswith("Not ready: database")
    assert said[1] == "Ready again: database."


# --- in bounded time -------------------------------------------------------------------------------


@pytest.mark.usefixtures("hanging")
def test_what_does_not_answer_is_given_up_and_does_not_keep_the_others(readiness, monkeypatch):
    monkeypatch.setattr(health, "_PATIENCE", 0.5)
    report = readiness.report()
    assert not report["storage:public"].is_ok
    assert all(report[name].is_ok for name in report if name != "storage:public")


@pytest.mark.usefixtures("hanging")
def test_what_hangs_is_asked_once_however_often_it_is_probed(readiness, monkeypatch):
    monkeypatch.setattr(health, "_PATIENCE", 0.2)
    monkeypatch.setattr(health, "_GOOD_FOR", 0.0)
    for _ in range(3):
        assert not readiness.report()["storage:public"].is_ok
    assert Hanging.opened.acquire(timeout=0)
    assert not Hanging.opened.acquire(timeout=0)
    assert sum(thread.name == "health-storage:public" for thread in threading.enumerate()) == 1


def test_who_asks_again_at_once_gets_the_same_report(readiness, monkeypatch):
    first = readiness.report()
    assert readiness.report() is first
    monkeypatch.setattr(health, "_GOOD_FOR", 0.0)
    assert readiness.report() is not first


# --- who may ask -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_a_probe_may_call_the_service_by_any_name(path, settings):
    settings.ALLOWED_HOSTS = ["files.example.com"]
    assert Client(headers={"Host": "10.1.2.3:8000"}).get(path).status_code == 200
    assert Client(headers={"Host": "10.1.2.3:8000"}).get("/graphql").status_code == 400


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_a_probe_is_not_redirected_to_tls(path, settings, client):
    settings.SECURE_SSL_REDIRECT = True
    assert client.get(path).status_code == 200


def test_a_probe_is_neither_logged_nor_given_a_session(client, caplog):
    with caplog.at_level(logging.INFO):
        for path in ("/health/live", "/health/ready"):
            assert not client.get(path).cookies
    assert caplog.records == []


def test_probes_are_only_read(client):
    for path in ("/health/live", "/health/ready"):
        assert client.post(path).status_code == 405
        assert client.head(path).status_code == 200


def test_a_live_process_asks_nobody(client, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(storage, "aliases", None)
    with django_assert_num_queries(0):
        without_database(monkeypatch)
        answer = client.get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


# --- queues ----------------------------------------------------------------------------------------


@pytest.fixture
def database_queue(settings) -> Iterator[Any]:
    """The rows of tasks that wait."""
    settings.INSTALLED_APPS = list(dict.fromkeys([*settings.INSTALLED_APPS, "django_tasks_db"]))
    settings.TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
    from django_tasks_db.models import DBTaskResult

    is_there = DBTaskResult._meta.db_table in connection.introspection.table_names()
    if not is_there:
        with connection.schema_editor() as editor:
            editor.create_model(DBTaskResult)
    yield DBTaskResult
    if not is_there:
        with connection.schema_editor() as editor:
            editor.delete_model(DBTaskResult)


def test_tasks_that_run_at_once_do_not_wait():
    assert type(task_backends["default"]).__name__ == "ImmediateBackend"
    assert queues.waiting() == []


def test_tasks_in_the_database_are_counted_with_the_age_of_the_oldest(database_queue):
    assert queues.waiting() == [queues.Waiting("default", 0, None)]
    from files import tasks

    for _ in range(3):
        tasks.relocate.enqueue("x")
    old, running, _ = database_queue.objects.values_list("pk", flat=True)
    then = timezone.now() - timedelta(minutes=5)
    database_queue.objects.filter(pk=old).update(enqueued_at=then)
    database_queue.objects.filter(pk=running).update(enqueued_at=then - timedelta(hours=1), status="RUNNING")
    (waiting,) = queues.waiting()
    assert (waiting.backend, waiting.tasks) == ("default", 2)
    assert waiting.oldest is not None
    assert 300 <= waiting.oldest < 400


def test_a_queue_that_cannot_be_asked_is_a_failure(client, database_queue, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(database_queue._meta, "db_table", "nothing")
        answer = client.get("/health/ready")
    assert statuses(answer)["queue"] == "failed"


def _later(client: Any) -> Any:
    """The answer once the last report is not good any more."""
    deadline = time.monotonic() + 10
    answer = client.get("/health/ready")
    while answer.status_code == 200 and time.monotonic() < deadline:
        with contextlib.suppress(KeyError):
            answer = client.get("/health/ready")
    return answer
