"""SQL that differs between the two databases: words in a JSON list, parts of names, and text in the order of
its bytes.

`tags__has_any` and `tags__has_all`: Django's own `has_key` family finds keys of objects on every database,
but elements of lists on PostgreSQL only.

`name__has_trigrams`, on PostgreSQL only: whatever three letters the text has in a row, the name has too. An
index finds these names; some of them do not have the whole text, so whoever asks also compares.

`key__bytes_gt`, `key__bytes_lt` and `BytesOrder`: the order in which stores list their objects. SQLite has no
other one; PostgreSQL's is that of a language, and its operators `~>~` and `~<~` are served by the second
index that Django makes for unique text.
"""

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import CharField, F, Func, JSONField, Lookup
from django.db.models.expressions import OrderBy
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
        # The column is quoted by Django, the marks are ours, the words go as parameters.
        found = f"FROM json_each({column}) WHERE value IN ({marks})"
        return f"(SELECT count(DISTINCT value) {found}) >= %s", [*params, *words, self.needed(words)]

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


TRIGRAM = 3  # letters; a shorter text has none


class Trigrams(Func):
    """All three letters in a row of a text, in upper case, as an array. The function is made by a migration.

    The extension pg_trgm does this too, with indices that are as large and as fast and are built sooner; but
    not every PostgreSQL has it, and not everybody may switch it on."""

    function = "coffer_trigrams"


@CharField.register_lookup
class HasTrigrams(Lookup[Any]):
    lookup_name = "has_trigrams"

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **_: Any) -> Sql:
        column, params = self.process_lhs(compiler, connection)
        function = Trigrams.function
        return f"{function}({column}) @> {function}(%s)", [*params, self.rhs]


class _BytesLookup(Lookup[Any]):
    operator: str

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[str | int, ...]]:
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        operator = f"~{self.operator}~" if connection.vendor == "postgresql" else self.operator
        return f"{left} {operator} {right}", (*left_params, *right_params)


@CharField.register_lookup
class BytesGreater(_BytesLookup):
    lookup_name = "bytes_gt"
    operator = ">"


@CharField.register_lookup
class BytesLess(_BytesLookup):
    lookup_name = "bytes_lt"
    operator = "<"


class BytesOrder(OrderBy):
    """`order_by(BytesOrder("key"))`: ascending."""

    def __init__(self, field: str) -> None:
        super().__init__(F(field))

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Sql:
        # Django looks for the word ASC in each part of an ORDER BY.
        sql, params = self.as_sql(compiler, connection, template="%(expression)s USING ~<~ /* ASC */")
        return sql, list(params)
