"""What an operation selects, read from its syntax."""

from collections.abc import Mapping

from graphql import FieldNode, FragmentDefinitionNode, FragmentSpreadNode, SelectionSetNode

from graph.context import Info


def selects(info: Info, name: str) -> bool:
    """Whether a field of that name stands anywhere below the one that is being resolved; @skip and @include
    are not looked at."""
    raw = info._raw_info
    seen: set[str] = set()
    return any(_below(node.selection_set, name, raw.fragments, seen) for node in raw.field_nodes)


def _below(
    selection_set: SelectionSetNode | None,
    name: str,
    fragments: Mapping[str, FragmentDefinitionNode],
    seen: set[str],
) -> bool:
    for node in selection_set.selections if selection_set else ():
        if isinstance(node, FieldNode) and node.name.value == name:
            return True
        if isinstance(node, FragmentSpreadNode):
            if node.name.value in seen:
                continue
            seen.add(node.name.value)
            below = fragments[node.name.value].selection_set
        else:
            below = node.selection_set  # type: ignore[attr-defined]
        if _below(below, name, fragments, seen):
            return True
    return False
