"""`tags__has_any` and `tags__has_all`: a JSON list of words against a list of words.

Django's own `has_key` family finds keys of objects on every database, but elements of lists on PostgreSQL
only.
"""

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import JSONField, Lookup
from django.db.models.sql.compiler import SQLCompiler

type Sql = tuple[str, list[Any]]


class _TagLookup(Lookup[Any]):
    prepare_rhs = False
    postgres_operator: str

    def words(self) -> list[str]:
        return list(dict.fromkeys(self.rhs))

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **_: Any) -> Sql:
        column, params = self.process_lhs(compiler, connection)
        words = self.words()
        marks = ", ".join(["%s"] * len(words))
        found = f"SELECT count(DISTINCT value) FROM json_each({column}) WHERE value IN ({marks})"  # noqa: S608
        return f"({found}) >= %s", [*params, *words, self.needed(words)]

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **_: Any) -> Sql:
        column, params = self.process_lhs(compiler, connection)
        return f"{column} {self.postgres_operator} %s", [*params, self.words()]

    def needed(self, words: list[str]) -> int:
        """How many of the words have to be among the tags."""
        raise NotImplementedError


@JSONField.register_lookup
class HasAnyTag(_TagLookup):
    lookup_name = "has_any"
    postgres_operator = "?|"

    def needed(self, words: list[str]) -> int:
        return 1


@JSONField.register_lookup
class HasAllTags(_TagLookup):
    lookup_name = "has_all"
    postgres_operator = "?&"

    def needed(self, words: list[str]) -> int:
        return len(words)
