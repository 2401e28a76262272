"""What is done around each operation: refused before it can cost much, and masked where nobody foresaw it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any, override

from django.conf import settings
from graphql import (
    DocumentNode,
    GraphQLError,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    get_operation_ast,
)
from strawberry.extensions import MaskErrors, SchemaExtension
from strawberry.extensions.runner import SchemaExtensionsRunner

from files import tracing
from files.errors import RETRY_AFTER, FileError
from files.outages import is_outage
from graph import documents, limits, rate_limit, request_info
from graph.context import Context
from graph.errors import as_graphql_error

logger = logging.getLogger(__name__)


def _is_unforeseen(error: GraphQLError) -> bool:
    """Raised by code of ours and not meant for clients. What is found wrong with a request before anything
    runs has no path, and says what to mend."""
    cause = error.original_error
    return cause is not None and error.path is not None and not isinstance(cause, GraphQLError)


class MaskUnforeseen(MaskErrors):
    """Clients get the id of the request, and the log has the error under that id."""

    def __init__(self) -> None:
        super().__init__(should_mask_error=_is_unforeseen)

    def anonymise_error(self, error: GraphQLError) -> GraphQLError:
        if isinstance(error.original_error, FileError):
            return as_graphql_error(error.original_error, error)
        correlation_id = request_info.current_id()
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
    """What is refused of a document before it is validated, and so before it can cost much. What was found
    valid once is not validated again."""

    _document: documents.Document

    def on_parse(self) -> Iterator[None]:
        context = self.execution_context
        if context.query:  # Strawberry refuses requests without
            self._document = documents.read(context.query)
            context.graphql_document = self._document.node
            context.context.plans = self._document.plans
        yield

    def on_validate(self) -> Iterator[None]:
        context = self.execution_context
        if not settings.INTROSPECTION:
            context.validation_rules = (*context.validation_rules, NoSchemaIntrospectionCustomRule)
        rules = tuple(context.validation_rules)
        context.pre_execution_errors = self._refusals(self._document.node) or None
        if context.pre_execution_errors is None and rules in self._document.valid_by:
            context.pre_execution_errors = []  # for Strawberry: validated, and nothing found
        yield
        if context.pre_execution_errors == []:
            self._document.valid_by.add(rules)

    def _refusals(self, document: DocumentNode) -> list[GraphQLError]:
        # Not `operation_name`: where the client says none, that is the first one's.
        operation = get_operation_ast(document, self.execution_context._provided_operation_name)
        if operation is None:
            return [GraphQLError("The document has several operations: say which by operationName.")]
        if info := request_info.CURRENT.get():
            info.runs(operation.operation.value, operation.name.value if operation.name else None)
        context: Context = self.execution_context.context
        errors = limits.check(
            document,
            variables=self.execution_context.variables,
            spent=context.spent,
            known=self._document.costs,
        )
        return errors or self._rate_limited(document, operation)

    def _rate_limited(self, document: DocumentNode, operation: OperationDefinitionNode) -> list[GraphQLError]:
        """A query counts once; of mutations each counts, whatever aliases they have."""
        is_mutation = operation.operation is OperationType.MUTATION
        count = limits.root_fields(document, operation) if is_mutation else 1
        context: Context = self.execution_context.context
        try:
            rate_limit.count(context.request, context.viewer, count)
        except rate_limit.RateLimited as error:
            return [error]
        return []


class Traced(SchemaExtension):
    """A span for each operation that is run."""

    def on_execute(self) -> Iterator[None]:
        info = request_info.CURRENT.get()
        kind, name = (info.kind, info.operation) if info else ("other", "")
        with tracing.span(
            f"graphql {kind}", {"graphql.operation.type": kind, "graphql.operation.name": name}
        ):
            yield


class Hooks(SchemaExtensionsRunner):
    """Strawberry's runner looks through the extensions at each step of each operation. This one does so once
    for each kind; the service runs operations synchronously, and its hooks are generators."""

    @override
    def operation(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return self._around("on_operation") or super().operation()

    @override
    def parsing(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return self._around("on_parse") or super().parsing()

    @override
    def validation(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return self._around("on_validate") or super().validation()

    @override
    def executing(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return self._around("on_execute") or super().executing()

    def _around(self, name: str) -> AbstractContextManager[None] | None:
        """None where several extensions have a hook of that name."""
        hooks = _hooks(tuple(map(type, self.extensions)), name)
        if not hooks:
            return _NOTHING
        if len(hooks) > 1:
            return None
        place, hook = hooks[0]
        return hook(self.extensions[place])


_NOTHING = nullcontext()


@cache
def _hooks(
    extensions: tuple[type[SchemaExtension], ...], name: str
) -> list[tuple[int, Callable[[Any], AbstractContextManager[None]]]]:
    """Of each extension that has one, with its place among them."""
    default = getattr(SchemaExtension, name)
    found = [(place, getattr(each, name)) for place, each in enumerate(extensions)]
    return [(place, contextmanager(hook)) for place, hook in found if hook is not default]
