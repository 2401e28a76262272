"""Plans answer as graphql-core does, whatever is asked and whatever the rows hold."""

import copy
import json
import re
import uuid
from datetime import UTC, datetime, timedelta, timezone
from unittest import mock

import pytest
from django.test import RequestFactory
from graphql import GraphQLScalarType, Undefined
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strawberry import relay
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from accounts.models import User
from accounts.viewer import Viewer
from files.models import File
from graph import completion, paging
from graph.context import Context
from graph.schema import schema

# What clients see of a file without arguments: leaves, lists, objects, and what only a resolver knows.
LEAVES = [
    *("__typename", "id", "name", "title", "description", "tags", "metadata", "profile", "kind"),
    *("contentType", "size", "md5", "sha256", "visibility", "createdAt", "updatedAt"),
]
OBJECTS = [
    "url { url }",
    "owner { username id }",
    "storage { backend objectKey }",
    "viewerCanChange",
    "image { width format }",
    "image { __typename }",
]
ID = uuid.UUID("0192f5d0-7b9c-7000-8000-000000000000")
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SOUND = {
    "id": ID,
    "name": "holiday.png",
    "title": None,
    "description": "By the sea",
    "tags": ["sea", "sun"],
    "metadata": {"year": 2026},
    "profile": "image",
    "kind": "image",
    "content_type": "image/png",
    "size": 2**40,
    "md5": "0" * 32,
    "sha256": "1" * 64,
    "visibility": "public",
    "storage": "default",
    "key": "image/2026/01/31/x.png",
    "width": 640,
    "height": 480,
    "image_format": "PNG",
    "created_at": NOW,
    "updated_at": NOW,
}
# Columns hold what the service wrote there; anything else has to end as it would without plans.
ODD = [
    *(None, "", "odd", 7, 7.5, float("nan"), True, object(), Undefined),
    *([], [None], ["a", None], [1], {"a": 1}),
    *(NOW, NOW.replace(tzinfo=None), NOW.replace(tzinfo=timezone(timedelta(hours=5, seconds=7)))),
]


class GraphQLCore(StrawberryGraphQLCoreExecutionContext):
    """Without plans."""


rows = st.lists(
    st.builds(
        lambda changes: File(**(SOUND | changes)),
        st.dictionaries(
            st.sampled_from([each for each in SOUND if each not in {"width", "height"}]),
            st.sampled_from(ODD),
            max_size=2,
        ),
    ),
    max_size=4,
)
selections = st.lists(
    st.builds(
        lambda alias, field, directive: (
            f"{alias}{field} {directive}"
            if "{" not in field
            else f"{alias}{field.replace(' {', f' {directive} {{', 1)}"
        ),
        st.sampled_from(["", "", "", "a: ", "b: "]),
        st.sampled_from(LEAVES + OBJECTS),
        st.sampled_from(["", "", "", "@skip(if: $yes)", "@include(if: $yes)", "@skip(if: $no)"]),
    ),
    min_size=1,
    max_size=8,
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    direct, spread, inline = draw(selections), draw(selections), draw(selections)
    node = " ".join([*direct, *draw(st.sampled_from([[], ["...Part"], ["...Part", "...Part"]]))])
    if draw(st.booleans()):
        node += f" ... on Node {{ id __typename }} ... on File {{ {' '.join(inline)} }}"
    edge = draw(
        st.sampled_from(["cursor node { %s }", "node { %s } __typename", "... { node { %s } } cursor"])
    )
    page = draw(st.sampled_from(["", "pageInfo { hasNextPage endCursor }", "x: pageInfo { __typename }"]))
    files = f"files {{ {page} edges {{ {edge % node} }} }} __typename"
    text = f"query Q($yes: Boolean!, $no: Boolean!) {{ {files} }}"
    return text + (f" fragment Part on File {{ {' '.join(spread)} }}" if "...Part" in node else "")


def page_of(files: list[File]) -> paging.FileConnection:
    return paging.FileConnection(
        edges=[paging.FileEdge(cursor=f"c{number}", node=file) for number, file in enumerate(files)],  # type: ignore[arg-type]
        page_info=relay.PageInfo(
            has_next_page=True, has_previous_page=False, start_cursor=None, end_cursor="c"
        ),
        count=lambda: 0,
    )


def answer(executor: type[StrawberryGraphQLCoreExecutionContext], query: str, page: paging.FileConnection):
    """What a client would read, the ids of logged errors made alike."""
    own = copy.copy(schema)
    own.execution_context_class = executor
    viewer = Viewer(user=User(id=1, username="ada", is_staff=True), scopes=frozenset({"read", "write"}))  # type: ignore[arg-type]
    context = Context(request=RequestFactory().get("/graphql"), response=None, viewer=viewer)
    with mock.patch("graph.queries.paging.paginate", return_value=page):
        result = own.execute_sync(query, {"yes": True, "no": False}, context_value=context)
    errors = json.dumps([error.formatted for error in result.errors or ()], default=str)
    return repr(result.data), re.sub(r"[0-9a-f]{32}", "<id>", errors)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(query=documents(), files=rows)
def test_a_planned_answer_is_that_of_graphql_core(query: str, files: list[File]) -> None:
    page = page_of(files)
    with mock.patch("files.signing.timezone.now", return_value=NOW):
        expected = answer(GraphQLCore, query, page)
        assert answer(completion.PlanningExecutor, query, page) == expected


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("field", [each for each in LEAVES if each not in {"__typename", "id"}])
def test_what_a_column_should_not_hold_ends_as_without_plans(field: str) -> None:
    column = re.sub("([A-Z])", lambda match: "_" + match[1].lower(), field)
    for value in ODD:
        page = page_of([File(**SOUND), File(**(SOUND | {column: value}))])
        query = f"{{ files {{ edges {{ node {{ id {field} }} }} }} }}"
        assert answer(completion.PlanningExecutor, query, page) == answer(GraphQLCore, query, page), value


@pytest.mark.parametrize("others", [[], [File(**SOUND)]])
@pytest.mark.parametrize("node", [None, object(), User(id=1, username="ada"), "text"])
def test_what_is_no_file_is_not_taken_for_one(node: object, others: list[File]) -> None:
    page = page_of([*others, node, *others])  # type: ignore[list-item]
    query = "{ files { edges { cursor node { __typename } } } }"
    assert answer(completion.PlanningExecutor, query, page) == answer(GraphQLCore, query, page)


def test_a_page_of_plain_fields_is_answered_without_graphql_core() -> None:
    page = page_of([File(**SOUND)] * 3)
    query = f"{{ files {{ pageInfo {{ endCursor }} edges {{ cursor node {{ {' '.join(LEAVES)} }} }} }} }}"
    with mock.patch.object(
        completion.PlanningExecutor, "execute_field", autospec=True, side_effect=GraphQLCore.execute_field
    ) as execute_field:
        answer(completion.PlanningExecutor, query, page)
    assert execute_field.call_count == 1  # of the root


def test_fields_of_arguments_leave_the_others_their_plans() -> None:
    page = page_of([File(**SOUND)] * 3)
    query = "{ files { edges { node { id name url { url } size } } } }"
    with mock.patch.object(
        completion.PlanningExecutor, "execute_field", autospec=True, side_effect=GraphQLCore.execute_field
    ) as execute_field:
        answer(completion.PlanningExecutor, query, page)
    assert execute_field.call_count == 1 + 1 + 3 * (
        1 + 1
    )  # the root, its edges, and of each edge node and url


def test_a_selection_of_which_all_is_skipped_answers_an_empty_object_for_each() -> None:
    page = page_of([File(**SOUND)] * 3)
    query = "{ files { edges { node { id @skip(if: true) } } } }"
    expected = answer(GraphQLCore, query, page)
    assert answer(completion.PlanningExecutor, query, page) == expected
    assert expected[0] == str({"files": {"edges": [{"node": {}}] * 3}})


@given(st.lists(st.datetimes(timezones=st.just(UTC))))
def test_times_are_written_as_isoformat_has_them(times: list[datetime]) -> None:
    assert completion._as_json(times) == [each.isoformat() for each in times]


@given(st.lists(st.uuids()))
def test_uuids_are_written_as_str_has_them(ids: list[uuid.UUID]) -> None:
    assert completion._as_json(ids) == list(map(str, ids))


def test_a_value_that_a_scalar_makes_nothing_of_is_left_to_graphql_core() -> None:
    nothing = GraphQLScalarType("Nothing", coerce_output_value=lambda _: None)
    with pytest.raises(completion._Unforeseen):
        completion._leaf(nothing)(["value"])
