"""What each file of a request is for, read from its operation before its bytes come; pure.

With it a file is measured against its own profile while it comes in, and not after all of it has, and can go
straight to where it is kept.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    OperationDefinitionNode,
    SelectionSetNode,
    value_from_ast_untyped,
)

from graph import documents

_FIELDS = {"uploadFile": "file", "uploadFiles": "files"}


@dataclass(frozen=True, slots=True)
class Use:
    """One upload of a file: by which profile, and with which visibility, by its name in the schema, if the
    client gave one."""

    profile: str
    visibility: str | None


class _Slot:
    """Stands in the variables where a file will."""

    def __init__(self, name: str) -> None:
        self.name = name


def slots(names: Mapping[str, Any]) -> dict[str, _Slot]:
    """Something to put in the place of each file of a map."""
    return {name: _Slot(name) for name in names}


def uses(operations: object, *, default: str) -> dict[str, list[Use]] | None:
    """All uploads that take each file; `slots` stand in the places of the files.

    None where that cannot be told: in a batch, or in a document that will not run.
    """
    if not isinstance(operations, dict) or not isinstance(operations.get("query"), str):
        return None
    variables = operations.get("variables")
    try:
        document = documents.read(operations["query"]).node
    except GraphQLError:
        return None
    fragments = {
        each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)
    }
    found: dict[str, list[Use]] = {}
    for operation in document.definitions:
        if not isinstance(operation, OperationDefinitionNode):
            continue
        values = _defaults(operation) | (variables if isinstance(variables, dict) else {})
        for field in _root_fields(operation.selection_set, fragments, set()):
            for name, use in _uploads(field, values, default):
                found.setdefault(name, []).append(use)
    return found


def _defaults(operation: OperationDefinitionNode) -> dict[str, Any]:
    return {
        each.variable.name.value: value_from_ast_untyped(each.default_value)
        for each in operation.variable_definitions or ()
        if each.default_value is not None
    }


def _root_fields(
    selection_set: SelectionSetNode | None, fragments: Mapping[str, FragmentDefinitionNode], seen: set[str]
) -> Iterator[FieldNode]:
    """The fields of the root, those of fragments included, each fragment once."""
    for node in selection_set.selections if selection_set else ():
        if isinstance(node, FieldNode):
            yield node
            continue
        name = getattr(getattr(node, "name", None), "value", None)
        if name is None:
            yield from _root_fields(node.selection_set, fragments, seen)  # type: ignore[attr-defined]
        elif name in fragments and name not in seen:
            seen.add(name)
            yield from _root_fields(fragments[name].selection_set, fragments, seen)


def _uploads(field: FieldNode, variables: dict[str, Any], default: str) -> Iterator[tuple[str, Use]]:
    """The name of each file that the field takes, with what stands beside it."""
    key = _FIELDS.get(field.name.value)
    for argument in field.arguments or () if key else ():
        given = value_from_ast_untyped(argument.value, variables)
        if not isinstance(given, dict):
            continue
        profile, visibility = (_text(given.get(each)) for each in ("profile", "visibility"))
        files = given.get(key)
        for each in files if isinstance(files, list) else [files]:
            if isinstance(each, _Slot):
                yield each.name, Use(default if profile is None else profile, visibility)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
