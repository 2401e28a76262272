"""One GraphQL type and one line for each domain error, and the errors that concern a whole request.

A service raises; the schema's exception handlers turn the exception into the type of the same name, field
by field. No resolver has a try.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import strawberry
from graphql import GraphQLError
from strawberry import relay
from strawberry.types.field import StrawberryField
from strawberry.utils.str_converters import to_camel_case

from files import errors as domain
from graph.scalars import BigInt


@strawberry.interface(description="What every error of a file says.")
class Error:
    message: str = strawberry.field(description="One sentence for the person who sent the file.")


@strawberry.type(description="The file has more bytes than its profile lets in.")
class FileTooLarge(Error):
    size: BigInt = strawberry.field(description="In bytes; at least this many were sent.")
    limit: BigInt = strawberry.field(description="In bytes.")


@strawberry.type(description="The file has no bytes.")
class EmptyFile(Error):
    pass


@strawberry.type(description="The profile does not accept what the bytes are.")
class UnsupportedType(Error):
    detected: str = strawberry.field(description="The content type by the bytes.")
    claimed: str | None = strawberry.field(description="The content type that the client sent.")
    allowed: list[str] = strawberry.field(description="The content types that the profile accepts.")


@strawberry.type(description="The bytes are not an image that can be decoded.")
class InvalidImage(Error):
    reason: str


@strawberry.type(description="The image has more pixels than its profile lets in.")
class ImageTooLarge(Error):
    width: int
    height: int
    pixels: BigInt = strawberry.field(description="Of all frames together.")
    limit: BigInt = strawberry.field(description="In pixels, of all frames together.")


@strawberry.type(description="The owner's files would take more bytes than they may.")
class QuotaExceeded(Error):
    size: BigInt = strawberry.field(description="Of this file, in bytes.")
    used: BigInt = strawberry.field(description="By the owner's files, in bytes.")
    quota: BigInt = strawberry.field(description="In bytes.")


@strawberry.type(description="There is no upload profile of that name.")
class UnknownProfile(Error):
    profile: str
    known: list[str] = strawberry.field(description="The names of the profiles that there are.")


@strawberry.type(description="A field of the input cannot be used.")
class InvalidInput(Error):
    field: str
    reason: str


@strawberry.type(description="A rendition cannot be made like this.")
class InvalidRendition(Error):
    field: str
    allowed: str


@strawberry.type(description="There is no such file, or it is not the viewer's.")
class FileNotFound(Error):
    id: strawberry.ID


@strawberry.type(description="The file could not be stored or read now; nothing was changed.")
class StorageUnavailable(Error):
    retryable: bool
    retry_after: int = strawberry.field(description="In seconds.")


TYPES: Mapping[type[domain.FileError], type[Error]] = {
    domain.FileTooLarge: FileTooLarge,
    domain.EmptyFile: EmptyFile,
    domain.UnsupportedType: UnsupportedType,
    domain.InvalidImage: InvalidImage,
    domain.ImageTooLarge: ImageTooLarge,
    domain.QuotaExceeded: QuotaExceeded,
    domain.UnknownProfile: UnknownProfile,
    domain.InvalidInput: InvalidInput,
    domain.InvalidRendition: InvalidRendition,
    domain.FileNotFound: FileNotFound,
    domain.StorageUnavailable: StorageUnavailable,
}


def present(error: domain.FileError) -> Error:
    """The GraphQL object that says what the exception says."""
    fields = {field.name: getattr(error, field.name) for field in dataclasses.fields(error)}  # type: ignore[arg-type]
    if isinstance(fields.get("id"), UUID):
        fields["id"] = relay.to_base64("File", fields["id"])
    return TYPES[type(error)](message=str(error), **fields)


def as_graphql_error(error: domain.FileError, located: GraphQLError) -> GraphQLError:
    """The exception where it came out of a field that has no union to present it in."""
    presented = vars(present(error))
    code = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).upper()
    fields = {to_camel_case(name): value for name, value in presented.items() if name != "message"}
    return GraphQLError(
        str(error), nodes=located.nodes, path=located.path, extensions={"code": code, **fields}
    )


class _Handler:
    """Presents one class of exceptions where a field's union has its type."""

    def __init__(self, exception_type: type[domain.FileError], error_type: type[Error]) -> None:
        self.exception_type = exception_type
        self.error_type = error_type

    def handle(self, exception: domain.FileError, *, field: StrawberryField, info: strawberry.Info) -> Error:
        return present(exception)


HANDLERS = tuple(_Handler(exception_type, error_type) for exception_type, error_type in TYPES.items())


class RequestError(GraphQLError):
    """A request that cannot be answered as a whole; `code` is for programs, the message for people."""

    def __init__(self, code: str, message: str, **extensions: Any) -> None:
        super().__init__(message, extensions={"code": code, **extensions})


class Unauthenticated(RequestError):
    def __init__(self) -> None:
        super().__init__(
            "UNAUTHENTICATED", "Sign in, or send an API token as `Authorization: Bearer <token>`."
        )


class Forbidden(RequestError):
    def __init__(self, message: str) -> None:
        super().__init__("FORBIDDEN", message)


class BadUserInput(RequestError):
    def __init__(self, message: str) -> None:
        super().__init__("BAD_USER_INPUT", message)
