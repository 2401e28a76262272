"""Migrations of a database that is in use: forth and back, and again after one that broke off."""

from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import connection

from files.models import File
from tests.api import record

BEFORE = "0004_rendition_keys_are_unique"

pytestmark = pytest.mark.django_db(transaction=True)


def indices() -> set[str]:
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, File._meta.db_table)
    return {name for name, each in found.items() if each["index"] and name.startswith("file_")}


@pytest.fixture
def migrated_back() -> Iterator[None]:
    call_command("migrate", "files", BEFORE, verbosity=0)
    yield
    call_command("migrate", "files", verbosity=0)


def test_the_indices_of_the_models_are_made_and_taken_back(migrated_back, alice):
    record(alice, name="Urlaub.png", tags=["red"])
    assert len(indices()) == 7
    call_command("migrate", "files", verbosity=0)
    only_there = {"postgresql": 0, "sqlite": 7}[connection.vendor]
    assert len(indices()) == len(File._meta.indexes) - only_there
    assert File.objects.name_contains("LAUB").count() == 1


def test_a_migration_that_broke_off_is_run_again(migrated_back):
    with connection.cursor() as cursor:
        cursor.execute("CREATE INDEX file_owner_name ON files_file (owner_id, name, id)")
    call_command("migrate", "files", verbosity=0)
    assert {"file_owner_name", "file_public_name"} <= indices()


@pytest.mark.postgres("SQLite has no index that is half made")
def test_an_index_that_was_left_half_made_is_made_anew(migrated_back):
    this = "WHERE indexrelid = 'file_owner_name'::regclass"
    with connection.cursor() as cursor:
        cursor.execute("CREATE INDEX file_owner_name ON files_file (owner_id, name, id)")
        cursor.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'file_owner_name'::regclass"
        )
        call_command("migrate", "files", verbosity=0)
        cursor.execute(f"SELECT indisvalid FROM pg_index {this}")
        assert cursor.fetchall() == [(True,)]


@pytest.mark.postgres("SQLite has no way but to lock the file")
def test_no_index_locks_anybody_out(migrated_back):
    said: list[str] = []

    def note(execute, sql, params, many, context):
        said.append(str(sql))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        call_command("migrate", "files", verbosity=0)
    # A table that is new is nobody's yet.
    made = [sql for sql in said if "INDEX" in sql and "files_worker" not in sql and "SELECT" not in sql]
    assert len(made) == 2 * 14
    assert all("CONCURRENTLY" in sql for sql in made)
