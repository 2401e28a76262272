"""The schema: its types, its extensions, and what becomes of errors that nobody foresaw."""

import logging
import uuid
from collections.abc import Iterator

import strawberry
from django.conf import settings
from graphql import DocumentNode, GraphQLError, NoSchemaIntrospectionCustomRule, OperationDefinitionNode
from strawberry.extensions import MaskErrors, SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from files.outages import is_outage
from graph import errors, limits
from graph.mutations import Mutation
from graph.problems import RETRY_AFTER
from graph.queries import Query
from graph.scalars import SCALARS

logger = logging.getLogger(__name__)


def _is_unforeseen(error: GraphQLError) -> bool:
    """Raised by code of ours and not meant for clients. What is found wrong with a request before anything
    runs has no path, and says what to mend."""
    cause = error.original_error
    return cause is not None and error.path is not None and not isinstance(cause, GraphQLError)


class MaskUnforeseen(MaskErrors):
    """Clients get an id, and the log has the error under that id."""

    def __init__(self) -> None:
        super().__init__(should_mask_error=_is_unforeseen)

    def anonymise_error(self, error: GraphQLError) -> GraphQLError:
        correlation_id = uuid.uuid4().hex
        logger.error("Unforeseen error %s at %s", correlation_id, error.path, exc_info=error.original_error)
        message = f"Something went wrong; it was logged as {correlation_id}."
        extensions: dict[str, object] = {"code": "INTERNAL_SERVER_ERROR", "correlationId": correlation_id}
        if is_outage(error.original_error):
            message = "The service cannot answer just now; nothing was changed. Try again later."
            extensions |= {"code": "SERVICE_UNAVAILABLE", "retryable": True, "retryAfter": RETRY_AFTER}
        return GraphQLError(
            message,
            nodes=error.nodes,
            source=error.source,
            positions=error.positions,
            path=error.path,
            extensions=extensions,
        )


class Guard(SchemaExtension):
    """What is refused of a document before it is validated, and so before it can cost much."""

    def on_operation(self) -> Iterator[None]:
        self.execution_context.parse_options["max_tokens"] = limits.LIMITS.tokens
        yield

    def on_validate(self) -> Iterator[None]:
        context = self.execution_context
        document = context.graphql_document
        if document is not None:
            errors = limits.check(document, variables=context.variables)
            if context.operation_name is None and _operations(document) > 1:
                errors = [GraphQLError("The document has several operations: say which by operationName.")]
            if not settings.INTROSPECTION:
                context.validation_rules = (*context.validation_rules, NoSchemaIntrospectionCustomRule)
            if errors:
                context.pre_execution_errors = errors
        yield


def _operations(document: DocumentNode) -> int:
    return sum(isinstance(each, OperationDefinitionNode) for each in document.definitions)


class CofferSchema(strawberry.Schema):
    """Strawberry's schema, which logs what clients did wrong as errors of ours; `MaskUnforeseen` logs those
    that are."""

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        return None


schema = CofferSchema(
    query=Query,
    mutation=Mutation,
    types=list(errors.TYPES.values()),
    config=StrawberryConfig(
        scalar_map=SCALARS,
        # Suggestions tell what introspection would.
        disable_field_suggestions=not settings.INTROSPECTION,
        batching_config={"max_operations": settings.MAX_BATCH} if settings.MAX_BATCH else None,
    ),
    extensions=[MaskUnforeseen, Guard],
    exception_handlers=errors.HANDLERS,
)
