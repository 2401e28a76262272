"""How much one document may ask for, found in one pass before it is validated or run; pure.

A fragment is measured once, however often it is spread, so that thirty levels of fragments that each spread
the next one twice cost thirty steps here and not a thousand million. Strawberry's own limiters follow each
spread anew, and nothing in graphql-core stops repeated directives. Validation comes after this pass, because
some of its rules compare each field with each other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Each counts what runs, so a fragment counts wherever it is spread; only `tokens` counts what is sent.

    The introspection query that clients send for their tools has to pass: it is 15 deep, and of 300 tokens.
    """

    tokens: int = 2_000
    depth: int = 16
    fields: int = 500
    aliases: int = 50
    directives: int = 50
    root_fields: int = 20
    cost: int = 10_000  # a page of 100 files with everything that a file has costs 8,700


LIMITS = Limits()

# What a field costs beside its selections. What is not here costs 1.
_COSTS: Mapping[str, int] = {"uploadFile": 100, "updateFile": 20, "totalCount": 50, "storageUsage": 50}
# What one item of a list in a field's arguments costs beside its selections.
_ITEM_COSTS: Mapping[str, int] = {"uploadFiles": 100, "deleteFiles": 20, "srcset": 5}
_LISTS: Mapping[str, tuple[str, ...]] = {
    "uploadFiles": ("input", "files"),
    "deleteFiles": ("ids",),
    "srcset": ("widths",),
}
_PAGE_DEFAULT = 50
_PAGE_MAX = 100  # what a variable or value that cannot be known may turn out to be


@dataclass(slots=True)
class _Measure:
    depth: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0
    root_fields: int = 0
    cost: int = 0

    def add(self, other: "_Measure", *, deeper: int = 0, times: int = 1) -> None:
        self.depth = max(self.depth, other.depth + deeper)
        self.fields += other.fields
        self.aliases += other.aliases
        self.directives += other.directives
        self.root_fields += 0 if deeper else other.root_fields
        self.cost += other.cost * times


def check(
    document: DocumentNode, *, variables: Mapping[str, Any] | None = None, limits: Limits = LIMITS
) -> list[GraphQLError]:
    """An error for each limit that an operation of the document exceeds; none if all may run."""
    meter = _Meter(document, variables or {})
    errors: list[GraphQLError] = []
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            measure = meter.selections(definition.selection_set)
            measure.directives += len(definition.directives or ())
            errors += _exceeded(measure, limits, definition)
    return errors


def root_fields(document: DocumentNode, operation: OperationDefinitionNode) -> int:
    """How many fields of the root the operation runs, those of fragments included."""
    return _Meter(document, {}).selections(operation.selection_set).root_fields


def _exceeded(measure: _Measure, limits: Limits, node: OperationDefinitionNode) -> Iterable[GraphQLError]:
    for name in ("depth", "fields", "aliases", "directives", "root_fields", "cost"):
        found, limit = getattr(measure, name), getattr(limits, name)
        if found > limit:
            words = name.replace("_", " ")
            shown = found if found < 10**9 else "over 1,000,000,000"
            yield GraphQLError(
                f"The operation is too large: its {words} are {shown}, the limit is {limit}."
                if words.endswith("s")
                else f"The operation is too large: its {words} is {shown}, the limit is {limit}.",
                node,
                extensions={"code": "QUERY_TOO_LARGE", "limit": limit, "measure": name},
            )


class _Meter:
    def __init__(self, document: DocumentNode, variables: Mapping[str, Any]) -> None:
        self._variables = variables
        self._fragments = {
            definition.name.value: definition
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        self._measured: dict[str, _Measure] = {}

    def selections(self, selection_set: SelectionSetNode | None) -> _Measure:
        measure = _Measure()
        for node in selection_set.selections if selection_set else ():
            measure.directives += len(node.directives or ())
            if isinstance(node, FieldNode):
                self._field(node, measure)
            elif isinstance(node, InlineFragmentNode):
                measure.add(self.selections(node.selection_set))
            elif isinstance(node, FragmentSpreadNode):
                measure.add(self._fragment(node.name.value))
        return measure

    def _field(self, node: FieldNode, measure: _Measure) -> None:
        name = node.name.value
        below = self.selections(node.selection_set)
        measure.fields += 1
        measure.root_fields += 1
        measure.aliases += node.alias is not None
        measure.depth = max(measure.depth, 1)
        times = self._times(node)
        measure.cost += _COSTS.get(name, 1) + _ITEM_COSTS.get(name, 0) * times
        measure.add(below, deeper=1, times=times)

    def _fragment(self, name: str) -> _Measure:
        """Of a fragment that is not there, or that is being measured, nothing: validation refuses both."""
        if name not in self._measured:
            self._measured[name] = _Measure()
            if name in self._fragments:
                definition = self._fragments[name]
                self._measured[name] = self.selections(definition.selection_set)
                self._measured[name].directives += len(definition.directives or ())
        return self._measured[name]

    def _times(self, node: FieldNode) -> int:
        """How many objects the field's selections are made for."""
        arguments = {argument.name.value: argument.value for argument in node.arguments or ()}
        name = node.name.value
        if name == "files" and node.selection_set:
            sizes = [self._number(arguments[each]) for each in ("first", "last") if each in arguments]
            return max([size for size in sizes if size is not None], default=_PAGE_DEFAULT)
        if name in _LISTS:
            first, *rest = _LISTS[name]
            return self._length(arguments.get(first), rest)
        return 1

    def _number(self, value: ValueNode) -> int | None:
        """The page size that the value stands for; None for null, which is the default size."""
        if isinstance(value, IntValueNode):
            return min(int(value.value[:6]), _PAGE_MAX)
        if isinstance(value, VariableNode):
            given = self._variables.get(value.name.value)
            if given is None:
                return _PAGE_MAX  # perhaps with a default of its own
            if isinstance(given, int):
                return max(0, min(given, _PAGE_MAX))
        return None

    def _length(self, value: ValueNode | None, path: list[str]) -> int:
        """How long the list is that lies at `path` within the value."""
        if isinstance(value, VariableNode):
            given: Any = self._variables.get(value.name.value)
            for key in path:
                given = given.get(key) if isinstance(given, dict) else None
            return len(given) if isinstance(given, list) else 1
        if isinstance(value, ObjectValueNode) and path:
            fields = {field.name.value: field.value for field in value.fields}
            return self._length(fields.get(path[0]), path[1:])
        return len(value.values) if isinstance(value, ListValueNode) else 1
