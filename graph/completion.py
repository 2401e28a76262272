"""Objects whose fields are plain attributes, answered by a plan instead of field by field; never otherwise
than graphql-core would.

graphql-core asks a dozen questions about each field of each object: for fifty files of twelve fields that is
most of what a page costs, and the answers are the same for every file. A plan asks them once for each
selection, and completes a field of all files at once: a column. Whatever it does not foresee, a null where
there may be none, a value that a scalar refuses, it leaves to graphql-core, which then says what is wrong.
"""

from binascii import b2a_base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, lru_cache
from itertools import chain, islice, repeat
from operator import attrgetter
from types import NoneType
from typing import Any, override
from uuid import UUID

import orjson
from graphql import (
    GraphQLEnumType,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
)
from graphql.execution.collect_fields import CollectedFields, FieldDetailsList, GroupedFieldSet
from graphql.pyutils import Path, UndefinedType
from strawberry import relay
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField
from strawberry_django.fields.field import StrawberryDjangoField

# What several objects have under an attribute, in their order.
type _Read = Callable[[list[Any]], list[Any]]
# Values of one field of several objects as they are in the answer. Raises _Unforeseen, or whatever reading or
# coercing a value raises, for a column that graphql-core has to complete value by value.
type _Complete = Callable[[list[Any]], list[Any]]


@dataclass(frozen=True, slots=True)
class _Plain:
    """A field that is read from an attribute."""

    name: str
    read: _Read
    complete: _Complete


_KNOWN = 1024  # fields and leaf types of which it is kept how they are read: more than the schema has

# The field's name in the answer, the field as graphql-core takes it, and its plan if it has one.
type _Planned = tuple[str, FieldDetailsList, _Plain | None]

# Of these scalars graphql-core makes what it was given, if it was given one of this type.
_AS_IS: Mapping[str, type] = {"String": str, "ID": str, "Boolean": bool, "BigInt": int}


class _Unforeseen(Exception):
    """The plan does not know how to complete this value; graphql-core does."""


@dataclass(frozen=True, slots=True, eq=False)
class Plans:
    """What was found out about the selections of one document, by the identity of what graphql-core has made
    of them. That is kept here too, so that nothing else can take its place."""

    roots: dict[int, GroupedFieldSet] = field(default_factory=dict)
    collected: dict[tuple[GraphQLObjectType, int], tuple[FieldDetailsList, CollectedFields]] = field(
        default_factory=dict
    )
    planned: dict[int, tuple[GroupedFieldSet, list[_Planned]]] = field(default_factory=dict)


class PlanningExecutor(StrawberryGraphQLCoreExecutionContext):
    """Executes as graphql-core does, plain fields by plans; `context_value.plans` are those that requests
    with the same document have in common, if they may have any."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._plans: Plans = self.context_value.plans or Plans()

    @override
    def execute_root_grouped_field_set(
        self,
        root_type: GraphQLObjectType,
        root_value: Any,
        grouped_field_set: GroupedFieldSet,
        serially: bool,
        position_context: Any,
    ) -> Awaitable[dict[str, Any]] | dict[str, Any]:
        known = self._plans.roots.setdefault(id(self.operation), grouped_field_set)
        return super().execute_root_grouped_field_set(
            root_type, root_value, known, serially, position_context
        )

    @override
    def collect_subfields(
        self, return_type: GraphQLObjectType, field_details_list: FieldDetailsList
    ) -> CollectedFields:
        key = return_type, id(field_details_list)
        known = self._plans.collected.get(key)
        if known is None:
            known = field_details_list, super().collect_subfields(return_type, field_details_list)
            self._plans.collected[key] = known
        return known[1]

    @override
    def execute_fields(
        self,
        parent_type: GraphQLObjectType,
        source_value: Any,
        path: Path | None,
        grouped_field_set: GroupedFieldSet,
        position_context: Any,
    ) -> Awaitable[dict[str, Any]] | dict[str, Any]:
        results: dict[str, Any] = {}
        left: GroupedFieldSet = {}
        for name, details, plain in self._plan(parent_type, grouped_field_set):
            if plain is not None:
                try:
                    (results[name],) = plain.complete(plain.read([source_value]))
                    continue
                except Exception:  # noqa: S110  graphql-core meets it again, and reports it
                    pass
            results[name] = None  # keeps its place in the order
            left[name] = details
        if not left:
            return results
        others = super().execute_fields(parent_type, source_value, path, left, position_context)
        if isinstance(others, dict):
            return results | others
        return _merged(results, others)

    def _plan(self, parent_type: GraphQLObjectType, field_set: GroupedFieldSet) -> list[_Planned]:
        known = self._plans.planned.get(id(field_set))
        if known is None:
            planned = [
                (name, details, self._field(parent_type, name, details))
                for name, details in field_set.items()
            ]
            self._plans.planned[id(field_set)] = known = field_set, planned
        return known[1]

    def _field(self, parent_type: GraphQLObjectType, alias: str, details: FieldDetailsList) -> _Plain | None:
        """The plan for one field of that type; None if it is not plain."""
        name = details[0].node.name.value
        if name == "__typename":
            return _Plain(alias, lambda sources: [parent_type.name] * len(sources), lambda names: names)
        if self.middleware_manager and self.middleware_manager.middlewares:
            return None
        field = parent_type.fields.get(name)
        if field is None or field.args:
            return None
        read = _reader(parent_type, name)
        if read is None:
            return None
        complete = self._value(field.type, details)
        return _Plain(alias, read, complete) if complete else None

    def _value(self, type_: GraphQLOutputType, details: FieldDetailsList) -> _Complete | None:
        if isinstance(type_, GraphQLNonNull):
            return self._required(type_.of_type, details)
        complete = self._required(type_, details)
        return complete and _optional(complete)

    def _required(self, type_: GraphQLOutputType, details: FieldDetailsList) -> _Complete | None:
        """Of a column in which None is unforeseen."""
        if isinstance(type_, GraphQLLeafType):
            return _leaf(type_)
        if isinstance(type_, GraphQLList):
            complete = self._value(type_.of_type, details)
            return complete and _list(complete)
        if isinstance(type_, GraphQLObjectType):
            return self._object(type_, details)
        return None

    def _object(self, type_: GraphQLObjectType, details: FieldDetailsList) -> _Complete | None:
        field_set, new_defer_usages, _ = self.collect_subfields(type_, details)
        planned = [self._field(type_, name, each) for name, each in field_set.items()]
        fields = [each for each in planned if each is not None]
        if new_defer_usages or len(fields) < len(planned):
            return None
        return _objects(type_, fields)


@lru_cache(_KNOWN)
def _reader(parent_type: GraphQLObjectType, name: str) -> _Read | None:
    """What the field's resolver does with the object, if that is no more than reading an attribute."""
    field = parent_type.fields[name].extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    if not isinstance(field, StrawberryField) or field.permission_classes:
        return None
    if field.base_resolver is not None:
        resolver = getattr(field.base_resolver.wrapped_func, "__func__", None)
        return _global_id(parent_type.name) if resolver is _NODE_ID else None
    if isinstance(field, StrawberryDjangoField):
        return _attribute(field.django_name or field.python_name)
    return _attribute(field.python_name) if field.is_basic_field else None


_NODE_ID = relay.Node._id.__func__


def _attribute(name: str) -> _Read:
    get = attrgetter(name)
    return lambda sources: list(map(get, sources))


def _global_id(type_name: str) -> _Read:
    def read(sources: list[Any]) -> list[str]:
        ids = [source.pk for source in sources]
        if _UUIDS.issuperset(map(type, ids)):
            ids = _as_json(ids)
        return [b2a_base64(f"{type_name}:{each}".encode(), newline=False).decode() for each in ids]

    return read


_UUIDS = frozenset({UUID})


def _as_json(values: list[Any]) -> list[str]:
    """What `str` makes of UUIDs and `isoformat` of times in UTC, in a tenth of the time."""
    texts: list[str] = orjson.loads(orjson.dumps(values))
    return texts


_NOTHING = frozenset({NoneType, UndefinedType})


@lru_cache(_KNOWN)
def _leaf(type_: GraphQLLeafType) -> _Complete:
    coerce = type_.coerce_output_value
    if isinstance(type_, GraphQLEnumType):
        coerce = cache(coerce)
    as_is = frozenset({_AS_IS[type_.name]} if type_.name in _AS_IS else ())
    has_times = type_.name == "DateTime"

    def complete(values: list[Any]) -> list[Any]:
        if as_is.issuperset(map(type, values)):
            return values
        if has_times and all(type(value) is datetime and value.tzinfo is UTC for value in values):
            return _as_json(values)
        _refuse_nothing(values)
        coerced = list(map(coerce, values))
        _refuse_nothing(coerced)
        return coerced

    return complete


def _refuse_nothing(values: list[Any]) -> None:
    if not _NOTHING.isdisjoint(map(type, values)):
        raise _Unforeseen


def _list(complete: _Complete) -> _Complete:
    """Of lists, whose items are completed as one column."""

    def complete_lists(values: list[Any]) -> list[Any]:
        if not _LISTS.issuperset(map(type, values)):
            raise _Unforeseen
        items = list(chain.from_iterable(values))
        completed = complete(items)
        if completed is items:
            return values
        rest = iter(completed)
        return [list(islice(rest, len(value))) for value in values]

    return complete_lists


_LISTS = frozenset({list})


def _objects(type_: GraphQLObjectType, fields: Sequence[_Plain]) -> _Complete:
    is_type_of = type_.is_type_of
    names = [field.name for field in fields]

    def complete(sources: list[Any]) -> list[Any]:
        _refuse_nothing(sources)
        if is_type_of is not None:
            # It asks for the class, unless an object was cast to a type of the schema; here none is.
            for source in dict(zip(map(type, sources), sources, strict=True)).values():
                if is_type_of(source, None) is not True:  # type: ignore[arg-type]
                    raise _Unforeseen
        columns = [field.complete(field.read(sources)) for field in fields]
        if not columns:  # all are skipped; zip would make no rows
            return [{} for _ in sources]
        return list(map(dict, map(zip, repeat(names), zip(*columns, strict=True))))

    return complete


def _optional(complete: _Complete) -> _Complete:
    def complete_present(values: list[Any]) -> list[Any]:
        present = [value for value in values if value is not None]
        if len(present) == len(values):
            return complete(values)
        rest = iter(complete(present))
        return [None if value is None else next(rest) for value in values]

    return complete_present


async def _merged(results: dict[str, Any], others: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    return results | await others
