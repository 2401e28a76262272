"""A query or an insert that is always the same but for its values, compiled once.

Django writes the SQL of a query anew each time it is asked. For one that finds a row by an index that takes
ten times as long as the database does.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import cache
from itertools import chain
from operator import attrgetter
from threading import Lock
from typing import Any
from uuid import UUID, SafeUUID

import orjson
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    BigIntegerField,
    CharField,
    DateTimeField,
    FloatField,
    IntegerField,
    JSONField,
    Model,
    PositiveIntegerField,
    QuerySet,
    TextField,
    UUIDField,
)
from django.db.models.base import ModelState


def instance[M: Model](model: type[M], names: Iterable[str], values: Iterable[Any], *, db: str | None) -> M:
    """What the database has in these columns, as `Model.from_db` makes it; a column that is left out is
    fetched when it is read.

    That way leads through `__init__`, which asks of each column what matters only for values that come from
    elsewhere, and tells receivers of signals, of which these models have none.
    """
    made = model.__new__(model)
    state = ModelState()
    state.adding, state.db = False, db
    made.__dict__.update(zip(names, values, strict=True))
    made._state = state
    return made


@dataclass(frozen=True, slots=True)
class Slot:
    """One value of the query: of which field, and a sample that no other value in the query is equal to."""

    field: Any
    sample: Any


type Row = tuple[Any, ...]
# All values of one column, as the driver has them and as fields of models have them.
type _Convert = Callable[[Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class _Compiled:
    sql: str
    params: tuple[Any, ...]
    places: tuple[tuple[int, ...], ...]  # of each slot among the params
    converters: tuple[tuple[int, _Convert], ...]  # of the columns that need any


class PreparedQuery:
    """Answers the rows that `values_list` of the same query would."""

    def __init__(self, query: Callable[..., QuerySet[Any, tuple[Any, ...]]], *slots: Slot) -> None:
        """`query` makes the query of the slots' samples; it is asked once, and compiled at first use."""
        self._query = query
        self._slots = slots
        self._compiled: _Compiled | None = None
        self._lock = Lock()

    def rows(self, *values: Any) -> list[Row]:
        return self.converted(self.fetched(*values))

    def fetched(self, *values: Any) -> list[Row]:
        """The rows as the driver has them."""
        compiled = self._compiled or self._compile()
        connection = connections[DEFAULT_DB_ALIAS]
        params = list(compiled.params)
        for places, slot, value in zip(compiled.places, self._slots, values, strict=True):
            for place in places:
                params[place] = slot.field.get_db_prep_value(value, connection)
        with connection.cursor() as cursor:
            cursor.execute(compiled.sql, params)
            found: list[Row] = cursor.fetchall()
        return found

    def converted(self, fetched: Sequence[Row]) -> list[Row]:
        """The same rows, or some of them, with the values that fields have."""
        if not fetched:
            return []
        compiled = self._compiled or self._compile()
        columns: list[Sequence[Any]] = list(zip(*fetched, strict=True))
        for place, convert in compiled.converters:
            columns[place] = convert(columns[place])
        return list(zip(*columns, strict=True))

    def _compile(self) -> _Compiled:
        """By a connection of its own that is never opened: this one outlives those of all threads."""
        with self._lock:
            connection = connections[DEFAULT_DB_ALIAS].copy()
            query = self._query(*(slot.sample for slot in self._slots)).query
            compiler = query.get_compiler(connection=connection)
            sql, params = compiler.as_sql()
            samples = [slot.field.get_db_prep_value(slot.sample, connection) for slot in self._slots]
            places = tuple(_places(params, sample) for sample in samples)
            converters = compiler.get_converters([expression for expression, _, _ in compiler.select])
            columns = tuple((place, _column(each, connection)) for place, each in converters.items())
            self._compiled = _Compiled(sql, tuple(params), places, columns)
            return self._compiled


def _places(params: Sequence[Any], sample: object) -> tuple[int, ...]:
    places = tuple(number for number, param in enumerate(params) if param == sample)
    if not places:
        raise ValueError(f"{sample!r} does not come into the query.")
    return places


# --- from the driver's values to those of fields ---------------------------------------------------


def _column(converters: tuple[list[Callable[..., Any]], Any], connection: BaseDatabaseWrapper) -> _Convert:
    """Django converts value by value, and some of that takes longer than to fetch the row: these kinds of
    fields are converted here where a value is as the service writes it."""
    by_value, expression = converters

    def by_django(value: Any) -> Any:
        for convert in by_value:
            value = convert(value, expression, connection)
        return value

    def uuids(values: Sequence[Any]) -> list[Any]:
        return [_uuid(each) if _is_hex(each) else by_django(each) for each in values]

    def times(values: Sequence[Any]) -> list[Any]:
        return _times(values, zone) or list(map(by_django, values))

    def lists(values: Sequence[Any]) -> list[Any]:
        return _lists_of_texts(values) or list(map(by_django, values))

    field, zone, is_sqlite = expression.output_field, connection.timezone, connection.vendor == "sqlite"
    if type(field) is JSONField and field.decoder is None:
        return lists
    if type(field) is UUIDField and is_sqlite:
        return uuids
    if type(field) is DateTimeField and is_sqlite:
        return times
    return lambda values: list(map(by_django, values))


def _is_hex(value: object) -> bool:
    return type(value) is str and len(value) == 32 and value.isalnum()


_set_number = UUID.__dict__["int"].__set__
_set_safety = UUID.__dict__["is_safe"].__set__


def _uuid(digits: str) -> UUID:
    """`UUID(digits)` without what finds out which of its arguments were given."""
    made = UUID.__new__(UUID)
    _set_number(made, int(digits, 16))
    _set_safety(made, SafeUUID.unknown)
    return made


def _times(values: Sequence[Any], zone: tzinfo | None) -> list[datetime] | None:
    """None if not all are texts of moments as the service writes them, which bear no zone."""
    if not {str}.issuperset(map(type, values)):
        return None
    try:
        found = list(map(datetime.fromisoformat, values))
    except ValueError:
        return None
    if any(map(_zone_of, found)):
        return None
    return [each.replace(tzinfo=zone) for each in found]


_zone_of = attrgetter("tzinfo")


def _lists_of_texts(values: Sequence[Any]) -> list[list[str]] | None:
    """What json.loads makes of them, if that is lists of texts. Of other values orjson makes something else:
    floats of large numbers, nothing of NaN."""
    try:
        found = list(map(orjson.loads, values))
    except orjson.JSONDecodeError:
        return None
    if not {list}.issuperset(map(type, found)) or not {str}.issuperset(map(type, chain.from_iterable(found))):
        return None
    return found


# --- rows that are added ---------------------------------------------------------------------------


def insert(row: Model) -> None:
    """Add the row as `save(force_insert=True)` does for a model without parents and receivers of signals. A
    primary key that it has not got is the database's to choose, and is not asked for."""
    plan = _insert(type(row), with_key=row.pk is not None)
    connection = connections[DEFAULT_DB_ALIAS]
    values = []
    for field, as_is in plan.fields:
        value = field.pre_save(row, add=True)
        if type(value) is not as_is:
            value = field.get_db_prep_save(value, connection=connection)
        values.append(value)
    with connection.cursor() as cursor:
        cursor.execute(plan.sql, values)
    row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS


# Values of these types are what these fields have the database store; Django finds that out in five calls.
_AS_IS: Mapping[type, type] = {
    CharField: str,
    TextField: str,
    IntegerField: int,
    BigIntegerField: int,
    PositiveIntegerField: int,
    FloatField: float,
}


@dataclass(frozen=True, slots=True)
class _Insert:
    sql: str
    fields: list[tuple[Any, type | None]]


@cache
def _insert(model: type[Model], *, with_key: bool) -> _Insert:
    connection = connections[DEFAULT_DB_ALIAS]
    fields = [field for field in model._meta.concrete_fields if with_key or not field.primary_key]
    columns = ", ".join(connection.ops.quote_name(str(field.column)) for field in fields)
    places = ", ".join("%s" for _ in fields)
    table = connection.ops.quote_name(model._meta.db_table)
    sql = " ".join(["INSERT INTO", table, f"({columns})", f"VALUES ({places})"])
    return _Insert(sql, [(field, _AS_IS.get(type(field))) for field in fields])
