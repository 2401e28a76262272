"""Documents, parsed, validated, measured and planned once: clients send the same few texts over and over."""

from dataclasses import dataclass, field
from functools import lru_cache

from graphql import ASTValidationRule, DocumentNode, parse

from graph.completion import Plans
from graph.limits import LIMITS, Known

# A document takes about 600 bytes a token, and its plans 800 a field, so 1.6 MB at most: 102 MB for all,
# should somebody send nothing but the largest ones.
_CACHED = 64
_CACHED_LENGTH = 8_000  # characters; tokens may be long texts


@dataclass(slots=True, eq=False)
class Document:
    """`valid_by` has the rules that it was found to keep, `costs` what it came to; `plans` is None where a
    directive may make another selection of it each time."""

    node: DocumentNode
    plans: Plans | None
    valid_by: set[tuple[type[ASTValidationRule], ...]] = field(default_factory=set)
    costs: Known = field(default_factory=Known)


def read(text: str) -> Document:
    """Raises GraphQLError where the text is no document, or has too many tokens."""
    return _cached(text) if len(text) <= _CACHED_LENGTH else _parsed(text)


def _parsed(text: str) -> Document:
    return Document(parse(text, max_tokens=LIMITS.tokens), None if "@" in text else Plans())


_cached = lru_cache(maxsize=_CACHED)(_parsed)
