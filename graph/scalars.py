"""Scalars of the schema: `Upload`, which is a file of this request and nothing else, and `BigInt`."""

from typing import Any, NewType

import strawberry
from graphql import GraphQLError, IntValueNode, ValueNode
from graphql.pyutils import inspect
from strawberry.types.scalar import ScalarDefinition

from files.receive import Received

Upload = NewType("Upload", Received)
BigInt = NewType("BigInt", int)

_SPECIFICATION = "https://github.com/jaydenseric/graphql-multipart-request-spec"

# Above this, JSON numbers lose digits in JavaScript (Number.MAX_SAFE_INTEGER).
_MAX_SAFE = 2**53 - 1


def _parse_upload(value: object) -> Received:
    if not isinstance(value, Received):
        raise GraphQLError(
            f"Upload takes a file of a multipart request ({_SPECIFICATION}), not {inspect(value)}."
        )
    return value


def _no_literal(node: ValueNode, variables: object = None) -> Any:
    raise GraphQLError("Upload takes a file by a variable; it cannot be written in the document.", node)


def _parse_big_int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MAX_SAFE:
        raise GraphQLError(f"BigInt takes a whole number of at most 2^53 - 1, not {inspect(value)}.")
    return value


def _parse_big_int_literal(node: ValueNode, variables: object = None) -> int:
    if not isinstance(node, IntValueNode) or len(node.value) > 17:
        raise GraphQLError("BigInt takes a whole number of at most 2^53 - 1.", node)
    return _parse_big_int(int(node.value))


SCALARS: dict[object, ScalarDefinition] = {
    Upload: strawberry.scalar(
        name="Upload",
        description="A file, sent by the GraphQL multipart request specification.",
        specified_by_url=_SPECIFICATION,
        parse_value=_parse_upload,
        parse_literal=_no_literal,
        serialize=lambda value: value,
    ),
    BigInt: strawberry.scalar(
        name="BigInt",
        description="A whole number of up to 2^53 - 1, as a JSON number; sizes in bytes.",
        serialize=int,
        parse_value=_parse_big_int,
        parse_literal=_parse_big_int_literal,
    ),
}
