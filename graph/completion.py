"""Objects whose fields are plain attributes, answered by a plan instead of field by field; never otherwise
than graphql-core would.

graphql-core asks a dozen questions about each field of each object: for fifty files of twelve fields that is
most of what a page costs, and the answers are the same for every file. A plan asks them once for each
selection. Whatever it does not foresee, a null where there may be none, a value that a scalar refuses, it
leaves to graphql-core, which then says what is wrong.
"""

import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, override

from graphql import (
    GraphQLEnumType,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    Undefined,
)
from graphql.execution.collect_fields import FieldDetailsList, GroupedFieldSet
from graphql.pyutils import Path
from strawberry import relay
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField
from strawberry_django.fields.field import StrawberryDjangoField

type _Read = Callable[[Any], Any]
type _Complete = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Plain:
    """A field that is read from an attribute. Values of the type `as_is` are in the answer as they are."""

    name: str
    read: _Read
    as_is: type | None
    complete: _Complete


_KNOWN = 1024  # fields and leaf types of which it is kept how they are read: more than the schema has

# The field's name in the answer, the field as graphql-core takes it, and its plan if it has one.
type _Planned = tuple[str, FieldDetailsList, _Plain | None]

# Of these scalars graphql-core makes what it was given, if it was given one of this type.
_AS_IS: Mapping[str, type] = {"String": str, "ID": str, "Boolean": bool, "BigInt": int}


class _Unforeseen(Exception):
    """The plan does not know how to complete this value; graphql-core does."""


class PlanningExecutor(StrawberryGraphQLCoreExecutionContext):
    """Executes as graphql-core does, plain fields by plans."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # By the identity of the field set, which is kept here so that no other can take its place.
        self._planned: dict[int, tuple[GroupedFieldSet, list[_Planned]]] = {}

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
                    results[name] = plain.complete(plain.read(source_value))
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
        known = self._planned.get(id(field_set))
        if known is None:
            planned = [
                (name, details, self._field(parent_type, name, details))
                for name, details in field_set.items()
            ]
            self._planned[id(field_set)] = known = field_set, planned
        return known[1]

    def _field(self, parent_type: GraphQLObjectType, alias: str, details: FieldDetailsList) -> _Plain | None:
        """The plan for one field of that type; None if it is not plain."""
        name = details[0].node.name.value
        if name == "__typename":
            return _Plain(alias, lambda _: parent_type.name, str, lambda value: value)
        if self.middleware_manager and self.middleware_manager.middlewares:
            return None
        field = parent_type.fields.get(name)
        if field is None or field.args:
            return None
        read = _reader(parent_type, name)
        if read is None:
            return None
        complete = self._value(field.type, details)
        return _Plain(alias, read, _AS_IS.get(str(field.type).rstrip("!")), complete) if complete else None

    def _value(self, type_: GraphQLOutputType, details: FieldDetailsList) -> _Complete | None:
        if isinstance(type_, GraphQLNonNull):
            return _required(self._nullable(type_.of_type, details))
        return _optional(self._nullable(type_, details))

    def _nullable(self, type_: GraphQLOutputType, details: FieldDetailsList) -> _Complete | None:
        """Of a value that is not None."""
        if isinstance(type_, GraphQLLeafType):
            return _leaf(type_)
        if isinstance(type_, GraphQLList):
            return _list(self._value(type_.of_type, details))
        if isinstance(type_, GraphQLObjectType):
            return self._object(type_, details)
        return None

    def _object(self, type_: GraphQLObjectType, details: FieldDetailsList) -> _Complete | None:
        field_set, new_defer_usages, _ = self.collect_subfields(type_, details)
        planned = [self._field(type_, name, each) for name, each in field_set.items()]
        fields = [(each.name, each.read, each.as_is, each.complete) for each in planned if each is not None]
        if new_defer_usages or len(fields) < len(planned):
            return None
        is_type_of = type_.is_type_of

        def complete_object(source: Any) -> dict[str, Any]:
            if is_type_of is not None and is_type_of(source, None) is not True:  # type: ignore[arg-type]
                raise _Unforeseen
            answer: dict[str, Any] = {}
            for name, read, as_is, complete in fields:
                value = read(source)
                answer[name] = value if type(value) is as_is else complete(value)
            return answer

        return complete_object


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
        return attrgetter(field.django_name or field.python_name)
    return attrgetter(field.python_name) if field.is_basic_field else None


_NODE_ID = relay.Node._id.__func__


def _global_id(type_name: str) -> _Read:
    def read(source: Any) -> str:
        return base64.b64encode(f"{type_name}:{source.pk}".encode()).decode()

    return read


@lru_cache(_KNOWN)
def _leaf(type_: GraphQLLeafType) -> _Complete:
    coerce = type_.coerce_output_value
    if isinstance(type_, GraphQLEnumType):
        coerce = cache(coerce)

    def complete(value: Any) -> Any:
        coerced = coerce(value)
        if coerced is None or coerced is Undefined:
            raise _Unforeseen
        return coerced

    return complete


def _list(complete: _Complete | None) -> _Complete | None:
    if complete is None:
        return None

    def complete_list(values: Any) -> list[Any]:
        if not isinstance(values, list):
            raise _Unforeseen
        return [complete(value) for value in values]

    return complete_list


def _required(complete: _Complete | None) -> _Complete | None:
    if complete is None:
        return None

    def complete_required(value: Any) -> Any:
        if value is None:
            raise _Unforeseen
        return complete(value)

    return complete_required


def _optional(complete: _Complete | None) -> _Complete | None:
    if complete is None:
        return None
    return lambda value: None if value is None else complete(value)


async def _merged(results: dict[str, Any], others: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    return results | await others
