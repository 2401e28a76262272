"""The schema: its types and its extensions."""

import strawberry
from django.conf import settings
from graphql import GraphQLError
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from graph import errors
from graph.completion import PlanningExecutor
from graph.extensions import Guard, Hooks, MaskUnforeseen, Traced
from graph.mutations import Mutation
from graph.queries import Query
from graph.scalars import SCALARS


class CofferSchema(strawberry.Schema):
    """Strawberry's schema, which logs what clients did wrong as errors of ours; `MaskUnforeseen` logs those
    that are."""

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        return None

    def create_extensions_runner(
        self, execution_context: ExecutionContext, extensions: list[SchemaExtension]
    ) -> Hooks:
        return Hooks(execution_context, extensions)


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
    extensions=[MaskUnforeseen, Guard, *([Traced] if settings.TRACING else [])],
    execution_context_class=PlanningExecutor,
    exception_handlers=errors.HANDLERS,
)
