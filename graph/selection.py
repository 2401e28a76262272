"""What an operation selects, read from its syntax."""

from collections.abc import Mapping

from graphql import FieldNode, FragmentDefinitionNode, FragmentSpreadNode, SelectionSetNode

from graph.context import Info


def selected(info: Info) -> frozenset[str]:
    """The names of all fields that stand anywhere below the one that is being resolved, by the schema and not
    by alias; @skip and @include are not looked at."""
    raw = info._raw_info
    names: set[str] = set()
    spread: set[str] = set()
    for node in raw.field_nodes:
        _collect(node.selection_set, raw.fragments, names, spread)
    return frozenset(names)


def _collect(
    selection_set: SelectionSetNode | None,
    fragments: Mapping[str, FragmentDefinitionNode],
    names: set[str],
    spread: set[str],
) -> None:
    for node in selection_set.selections if selection_set else ():
        if isinstance(node, FragmentSpreadNode):
            if node.name.value in spread:
                continue
            spread.add(node.name.value)
            below = fragments[node.name.value].selection_set
        else:
            if isinstance(node, FieldNode):
                names.add(node.name.value)
            below = node.selection_set  # type: ignore[attr-defined]
        _collect(below, fragments, names, spread)
