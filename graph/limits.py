"""How much one document may ask for, found in one pass before it is validated or run; pure.

A fragment is measured once, however often it is spread, so that thirty levels of fragments that each spread
the next one twice cost thirty steps here and not a thousand million. Strawberry's own limiters follow each
spread anew, and nothing in graphql-core stops repeated directives. Validation comes after this pass, because
some of its rules compare each field with each other.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DefinitionNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    Node,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The first four count what is sent, the others what runs: a fragment counts wherever it is spread.

    The introspection query that clients send for their tools has to pass: it is 15 deep, and of 300 tokens.
    """

    characters: int = 100_000
    lines: int = 2_000  # to say where an error is, all line ends before it are counted: once for each error
    tokens: int = 2_000
    values: int = 10_000  # in the variables; a list is read to its end before a resolver can refuse it
    depth: int = 16
    fields: int = 500
    aliases: int = 50
    directives: int = 50
    root_fields: int = 20
    cost: int = 10_800  # a page of 100 files, with all that they have and a rendition of each, costs 10,701


LIMITS = Limits()


@dataclass(slots=True)
class Spent:
    """What the operations of one request have come to: those of a batch share the limits of one document."""

    tokens: int = 0
    cost: int = 0


# A variable that says how large a page is; or with a path, how long the list is that lies there in it.
type _Sizing = tuple[str, tuple[str, ...] | None]
_KNOWN = 64  # of one document; a client asks for pages of a few sizes


@dataclass(slots=True, eq=False)
class Known:
    """What one document costs that was found within the limits, for the sizes that variables gave it."""

    sizings: tuple[_Sizing, ...] = ()
    costs: dict[tuple[int | None, ...], int] = field(default_factory=dict)

    def cost(self, variables: Mapping[str, Any]) -> int | None:
        return self.costs.get(self._sizes(variables)) if self.costs else None

    def keep(self, sizings: tuple[_Sizing, ...], variables: Mapping[str, Any], cost: int) -> None:
        if len(self.costs) == _KNOWN:
            self.costs = {}
        self.sizings = sizings  # always the same: no variable decides which others are looked at
        self.costs[self._sizes(variables)] = cost

    def _sizes(self, variables: Mapping[str, Any]) -> tuple[int | None, ...]:
        return tuple(
            _NOT_GIVEN
            if name not in variables
            else _page_size(variables[name])
            if path is None
            else _list_length(variables[name], path)
            for name, path in self.sizings
        )


_NOT_GIVEN = -1


# What a field costs beside its selections. What is not here costs 1.
_COSTS: Mapping[str, int] = {"uploadFile": 100, "updateFile": 20, "totalCount": 50, "storageUsage": 50}
# The same where the field is an object: an address is signed for each. The text in it is called `url` too.
_SIGNED: Mapping[str, int] = {"url": 3, "rendition": 4}
# What one item of a list in a field's arguments costs beside its selections.
_ITEM_COSTS: Mapping[str, int] = {"uploadFiles": 100, "deleteFiles": 20, "srcset": 5}
_LISTS: Mapping[str, tuple[str, ...]] = {
    "uploadFiles": ("input", "files"),
    "deleteFiles": ("ids",),
    "srcset": ("widths",),
}
# The lists of introspection: about as many items as cost what one field of ours does.
_INTROSPECTED: Mapping[str, int] = {"types": 22, "fields": 3, "possibleTypes": 3}
DEFAULT_PAGE = 50
MAX_PAGE = 100


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


def problem_of_text(query: str, *, limits: Limits = LIMITS) -> str | None:
    """Why a document is not even read; None if it may be."""
    for name, found in (
        ("characters", len(query)),
        ("lines", 1 + query.count("\n") + query.count("\r")),
    ):
        if found > getattr(limits, name):
            limit = getattr(limits, name)
            return f"The document is too large: it has {found} {name}, the limit is {limit}."
    return None


def check(
    document: DocumentNode,
    *,
    variables: Mapping[str, Any] | None = None,
    limits: Limits = LIMITS,
    spent: Spent | None = None,
    known: Known | None = None,
) -> list[GraphQLError]:
    """An error for each limit that is exceeded by the first definition that exceeds any; none if all may run.

    `spent` is what the operations before this one in the same request came to; this one is added to it.
    `known` is what earlier calls found of the same document, by the same limits.
    """
    variables = variables or {}
    spent = spent or Spent()
    subject = "batch" if spent.tokens else "operation"
    spent.tokens += document.token_count
    if spent.tokens > limits.tokens:
        return [_too_large(subject, "tokens", spent.tokens, limits.tokens)]
    if (values := _count(variables, limits.values)) > limits.values:
        return [_too_large("operation", "values", values, limits.values)]
    if known is not None:
        before = known.cost(variables)
        if before is not None and spent.cost + before <= limits.cost:
            spent.cost += before
            return []
    meter = _Meter(document, variables)
    costs = [0]
    for definition in document.definitions:
        try:
            measure = meter.definition(definition)
        except RecursionError:
            return [GraphQLError("The operation is too large: it is nested too deeply.", definition)]
        errors = [
            _too_large("operation", name, getattr(measure, name), getattr(limits, name), definition)
            for name in ("depth", "fields", "aliases", "directives", "root_fields")
            if getattr(measure, name) > getattr(limits, name)
        ]
        if (cost := spent.cost + measure.cost) > limits.cost:
            errors.append(_too_large(subject, "cost", cost, limits.cost, definition))
        if errors:
            return errors
        costs.append(measure.cost)
    spent.cost += max(costs)
    if known is not None:
        known.keep(tuple(meter.sizings), variables, max(costs))
    return []


def root_fields(document: DocumentNode, operation: OperationDefinitionNode) -> int:
    """How many fields of the root the operation runs, those of fragments included."""
    return _Meter(document, {}).selections(operation.selection_set).root_fields


def _too_large(subject: str, name: str, found: int, limit: int, node: Node | None = None) -> GraphQLError:
    verb = "are" if name.endswith("s") else "is"
    shown = found if found < 10**9 else "over 1,000,000,000"
    words = name.replace("_", " ")
    return GraphQLError(
        f"The {subject} is too large: its {words} {verb} {shown}, the limit is {limit}.",
        node,
        extensions={"code": "QUERY_TOO_LARGE", "limit": limit, "measure": name},
    )


def _count(values: Mapping[str, Any], limit: int) -> int:
    """How many values there are in variables, lists and objects counted too; past `limit` perhaps not all."""
    count = 0
    unseen: list[Collection[Any]] = [values.values()]
    while unseen and count <= limit:
        for value in unseen.pop():
            count += 1
            if isinstance(value, dict):
                unseen.append(value.values())
            elif isinstance(value, list):
                unseen.append(value)
    return count


class _Meter:
    def __init__(self, document: DocumentNode, variables: Mapping[str, Any]) -> None:
        self._variables = variables
        self.sizings: dict[_Sizing, None] = {}  # those that were looked at, in this order
        self._defaults: dict[str, list[ValueNode]] = {}
        self._fragments: dict[str, FragmentDefinitionNode] = {}
        self._measured: dict[str, _Measure] = {}
        for definition in document.definitions:
            if isinstance(definition, FragmentDefinitionNode):
                self._fragments[definition.name.value] = definition
            elif isinstance(definition, OperationDefinitionNode):
                for each in definition.variable_definitions or ():
                    if each.default_value is not None:
                        self._defaults.setdefault(each.variable.name.value, []).append(each.default_value)

    def definition(self, node: DefinitionNode) -> _Measure:
        """Of an operation; but also of a fragment, since one that is not spread is validated all the same."""
        measure = _Measure()
        if isinstance(node, OperationDefinitionNode):
            measure.add(self.selections(node.selection_set))
            measure.directives += len(node.directives or ())
            measure.directives += sum(len(each.directives or ()) for each in node.variable_definitions or ())
        elif isinstance(node, FragmentDefinitionNode):
            name = node.name.value
            is_named = self._fragments[name] is node  # and not another one of the same name
            measure.add(self._fragment(name) if is_named else self.selections(node.selection_set))
            measure.root_fields = 0
        return measure

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
        own = _SIGNED.get(name, 1) if node.selection_set else 1
        measure.cost += _COSTS.get(name, own) + _ITEM_COSTS.get(name, 0) * times
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
        if name in _INTROSPECTED and node.selection_set:
            return _INTROSPECTED[name]
        if name == "files" and node.selection_set:
            sizes = [self._number(arguments[each]) for each in ("first", "last") if each in arguments]
            return max([size for size in sizes if size is not None], default=DEFAULT_PAGE)
        if name in _LISTS:
            first, *rest = _LISTS[name]
            return self._length(arguments.get(first), rest)
        return 1

    def _number(self, value: ValueNode) -> int | None:
        """The page size that the value stands for; None for null, which is the default size."""
        if isinstance(value, IntValueNode):
            return _page_size(int(value.value[:6]))
        if isinstance(value, VariableNode):
            name = value.name.value
            self.sizings[name, None] = None
            if name in self._variables:
                return _page_size(self._variables[name])
            sizes = [self._number(each) for each in self._defaults.get(name, ())]
            return max([size for size in sizes if size is not None], default=None)
        return None

    def _length(self, value: ValueNode | None, path: list[str]) -> int:
        """How long the list is that lies at `path` within the value."""
        if isinstance(value, VariableNode):
            name = value.name.value
            self.sizings[name, tuple(path)] = None
            if name not in self._variables:
                return max([self._length(each, path) for each in self._defaults.get(name, ())], default=1)
            return _list_length(self._variables[name], path)
        if isinstance(value, ObjectValueNode) and path:
            fields = {field.name.value: field.value for field in value.fields}
            return self._length(fields.get(path[0]), path[1:])
        return len(value.values) if isinstance(value, ListValueNode) else 1


def _list_length(given: Any, path: Sequence[str]) -> int:
    for key in path:
        given = given.get(key) if isinstance(given, dict) else None
    return len(given) if isinstance(given, list) else 1


def _page_size(given: Any) -> int | None:
    """A page of what was asked for; None for null. What is no whole number may be taken for one: 100.0 is."""
    if given is None:
        return None
    return max(0, min(given, MAX_PAGE)) if isinstance(given, int) else MAX_PAGE
