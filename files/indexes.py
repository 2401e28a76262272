"""Indices of PostgreSQL alone, and how migrations build indices while the service goes on.

On SQLite a filter is checked on the way through an index of the order that was asked for. Its planner does
not know how many rows a value has, and would sort all images rather than meet the newest fifty of them.
"""

from typing import Any

from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement
from django.db.migrations.operations import AddIndex
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

type Editor = BaseDatabaseSchemaEditor

_NOTHING = "SELECT 1"  # Django wants a statement
_DROP = 'DROP INDEX CONCURRENTLY IF EXISTS "{}"'


class PostgresIndex(models.Index):
    """A B-tree."""

    method = "btree"

    def create_sql(
        self, model: type[models.Model], schema_editor: Editor, using: str = "", **more: Any
    ) -> Statement:
        if schema_editor.connection.vendor != "postgresql":
            return Statement(_NOTHING)
        return super().create_sql(model, schema_editor, using=f" USING {self.method}", **more)

    def remove_sql(self, model: type[models.Model], schema_editor: Editor, **more: Any) -> str:
        if schema_editor.connection.vendor != "postgresql":
            return _NOTHING
        return super().remove_sql(model, schema_editor, **more)


class PostgresGinIndex(PostgresIndex):
    """For values of many parts. Django's own asks for an app of Django's that nothing else here needs."""

    method = "gin"


class AddIndexLive(AddIndex):
    """`AddIndex` that on PostgreSQL locks nobody out, and so cannot be part of a transaction: the migration
    says `atomic = False`. Where one broke off, what is there is kept and what is half made is made anew."""

    atomic = False

    def database_forwards(
        self,
        app_label: str,
        schema_editor: Editor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        if _is_whole(schema_editor, self.index.name):
            return
        if schema_editor.connection.vendor != "postgresql":
            schema_editor.add_index(model, self.index)
            return
        schema_editor.execute(_DROP.format(self.index.name))
        schema_editor.execute(self.index.create_sql(model, schema_editor, concurrently=True), params=None)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: Editor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        if schema_editor.connection.vendor != "postgresql":
            schema_editor.remove_index(model, self.index)
            return
        schema_editor.execute(_DROP.format(self.index.name))


class MakeTrigrams(Operation):
    """The function of `files.lookups.Trigrams`, of what every PostgreSQL has built in."""

    reversible = True

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """A function is no part of the models."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: Editor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(_MAKE_TRIGRAMS)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: Editor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute("DROP FUNCTION IF EXISTS coffer_trigrams(text)")

    def describe(self) -> str:
        return "Make the function of trigrams"


# In a loop, because an array that is put together by a query takes twice as long.
_MAKE_TRIGRAMS = """
CREATE OR REPLACE FUNCTION coffer_trigrams(value text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    letters text := upper(value);
    found text[] := '{}';
BEGIN
    FOR place IN 1..length(letters) - 2 LOOP
        found := found || substr(letters, place, 3);
    END LOOP;
    RETURN found;
END
$$
"""


def _is_whole(schema_editor: Editor, name: str) -> bool:
    """Whether there is an index of that name, and it is not what is left of one that could not be built."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = %s"
    if schema_editor.connection.vendor == "postgresql":
        query = "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(%s) AND indisvalid"
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(query, [name])
        return cursor.fetchone() is not None
