"""How the databases find a page of files: by an index for each shipped filter and order, whoever asks."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import pytest
from django.db import connection
from graphql import GraphQLEnumType, GraphQLInputObjectType, build_schema, get_named_type

from accounts.models import User
from graph.filters import FileOrderField, OrderDirection
from graph.schema import schema
from tests.api import Api, global_id, record

FILES = """
    query($filters: FileFilter, $order: FileOrder, $first: Int, $after: String, $last: Int, $before: String) {
        files(filters: $filters, order: $order, first: $first, after: $after, last: $last, before: $before) {
            edges { cursor node { id owner { username } } }
        }
    }
"""
PAGE = 50
# Rows of `files_file` that may be met for a page: of two parts its rows and one more, then their ids once
# more, and in the end all of them.
MET_FOR_A_PAGE = 6 * (PAGE + 1)

# For each filter of the schema, by its path: values that few rows have, and some that many have.
EXAMPLES: dict[str, list[Any]] = {
    "nameContains": ["needle", "NEEDLE 2", ".png"],
    "kind": [["ARCHIVE"], ["ARCHIVE", "AUDIO"], ["IMAGE"]],
    "contentType": [["application/x-rare"], ["image/png"]],
    "profile": [["rare"], ["default"]],
    "visibility": ["PUBLIC", "PRIVATE"],
    "tags.any": [["rare"], ["red"]],
    "tags.all": [["rare", "red"], ["red", "blue"]],
    "size.gte": [10_000_000, 1],
    "size.lte": [10, 10_000_000],
    "createdAt.gte": ["2026-01-03T07:33:00Z", "2026-01-01T00:00:00Z"],
    "createdAt.lte": ["2026-01-01T00:00:30Z", "2026-01-03T07:33:00Z"],
    "updatedAt.gte": ["2026-02-03T07:33:00Z", "2026-02-01T00:00:00Z"],
    "updatedAt.lte": ["2026-02-01T00:00:30Z", "2026-02-03T07:33:00Z"],
    "sha256": ["0" * 63 + "7"],
    "owner": ["alice"],
    "ownedByViewer": [True, False],
}
ORDERS = [
    {"field": field.name, "direction": direction.name}
    for field, direction in product(FileOrderField, OrderDirection)
]


def filters_of_the_schema() -> Iterator[str]:
    built = build_schema(schema.as_str())
    whole = built.type_map["FileFilter"]
    assert isinstance(whole, GraphQLInputObjectType)
    for name, argument in whole.fields.items():
        inner = get_named_type(argument.type)
        if isinstance(inner, GraphQLInputObjectType):
            yield from (f"{name}.{part}" for part in inner.fields)
        else:
            yield name


def as_filter(path: str, value: Any) -> dict[str, Any]:
    if path == "owner":
        value = global_id("User", User.objects.get(username=value).pk)
    name, _, part = path.partition(".")
    return {name: {part: value}} if part else {name: value}


def test_each_filter_and_order_of_the_schema_is_looked_at():
    built = build_schema(schema.as_str())
    orders = built.type_map["FileOrderField"]
    assert isinstance(orders, GraphQLEnumType)
    assert set(filters_of_the_schema()) == set(EXAMPLES)
    assert {order["field"] for order in ORDERS} == set(orders.values)


@pytest.fixture
def viewers(alice: User, bob: User, staff: User, api: Api, bob_api: Api, staff_api: Api) -> dict[str, Api]:
    """Alice has few files, Bob has most."""
    return {"few": api, "many": bob_api, "staff": staff_api, "anonymous": Api(None)}


@contextmanager
def asked() -> Iterator[list[tuple[str, Any]]]:
    """The statements about files that the block runs, with their parameters."""
    found: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if 'FROM "files_file"' in sql:
            found.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield found


def explained(api: Api, how: str, **arguments: Any) -> list[tuple[Any, ...]]:
    """What the database says of the one statement that a page takes."""
    with asked() as statements:
        api.run(FILES, **arguments)
    ((sql, params),) = statements
    with connection.cursor() as cursor:
        cursor.execute(f"{how} {sql}", params)
        return cursor.fetchall()


def cases() -> Iterator[tuple[str, str, dict[str, str], Any]]:
    for viewer, order in product(["few", "many", "staff", "anonymous"], ORDERS):
        yield viewer, "", order, None
        for path, examples in EXAMPLES.items():
            if path != "owner" or viewer == "staff":
                yield from ((viewer, path, order, example) for example in examples)


# --- PostgreSQL ------------------------------------------------------------------------------------

ROWS = 200_000
_FILL = """
INSERT INTO files_file (
    id, owner_id, name, tags, metadata,
    profile, visibility, kind, content_type, size, md5, sha256, storage, key,
    image_format, thumbhash, dominant_color, taken_at, camera, lens, focal_x, focal_y, created_at, updated_at
) SELECT
    (lpad(to_hex(n), 12, '0') || '7000a000' || substr(md5(n::text), 1, 12))::uuid,
    CASE WHEN n %% 5000 = 7 THEN %(alice)s WHEN n %% 10 = 0 THEN NULL ELSE %(bob)s END,
    substr(md5(n::text), 1, 10) || CASE WHEN n %% 20000 = 3 THEN ' needle ' || n %% 7 ELSE '' END || '.png',
    CASE WHEN n %% 10000 = 9 THEN '["rare", "red"]'::jsonb WHEN n %% 3 = 0 THEN '["red", "blue"]'
        ELSE '[]' END,
    '{}',
    CASE WHEN n %% 10000 = 1 THEN 'rare' ELSE 'default' END,
    CASE WHEN n %% 40 = 7 THEN 'public' ELSE 'private' END,
    CASE WHEN n %% 10000 = 2 THEN 'archive' WHEN n %% 10000 = 5 THEN 'audio' WHEN n %% 4 = 0 THEN 'document'
        ELSE 'image' END,
    CASE WHEN n %% 10000 = 4 THEN 'application/x-rare' ELSE 'image/png' END,
    (n * 7919) %% 10000019, md5(n::text), lpad(n::text, 64, '0'), 'default', 'default/' || n,
    '', '', '', '', '', '', 0.5, 0.5,
    '2026-01-01T00:00:00Z'::timestamptz + n * interval '1 second',
    '2026-02-01T00:00:00Z'::timestamptz + ((n * 7919) %% %(rows)s) * interval '1 second'
FROM generate_series(1, %(rows)s) AS n
"""


@pytest.fixture
def large(viewers: dict[str, Api], alice: User, bob: User) -> dict[str, Api]:
    """200,000 rows. The indices are made anew behind them, which takes a tenth of the time."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname, indexdef FROM pg_indexes WHERE indexname LIKE 'file\\_%'")
        indices = cursor.fetchall()
        for name, _ in indices:
            cursor.execute(f"DROP INDEX {name}")
        cursor.execute(_FILL, {"alice": alice.pk, "bob": bob.pk, "rows": ROWS})
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # else an index cannot be made before the commit
        for _, definition in indices:
            cursor.execute(definition)
        cursor.execute("ANALYZE files_file")
    return viewers


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def postgres_plan(api: Api, *, options: str = "", **arguments: Any) -> list[dict[str, Any]]:
    ((found,),) = explained(api, f"EXPLAIN (FORMAT JSON{options})", **arguments)
    (whole,) = json.loads(found) if isinstance(found, str) else found
    return list(nodes(whole["Plan"]))


def rows_met(plan: list[dict[str, Any]]) -> float:
    return sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in plan
        if node.get("Relation Name") == "files_file"
    )


@pytest.mark.postgres("reads its plans")
def test_no_filter_and_no_order_reads_the_whole_table_and_no_page_meets_many_rows(large):
    whole, many = [], []
    for viewer, path, order, example in cases():
        filters = as_filter(path, example) if path else None
        plan = postgres_plan(large[viewer], filters=filters, order=order, first=PAGE)
        if any(node["Node Type"] == "Seq Scan" and node["Relation Name"] == "files_file" for node in plan):
            whole.append((viewer, path, example, order))
    for viewer, order in product(large, ORDERS):
        after = None
        for _ in range(2):
            met = rows_met(
                postgres_plan(large[viewer], options=", ANALYZE", order=order, first=PAGE, after=after)
            )
            if met > MET_FOR_A_PAGE:
                many.append((viewer, order, after, met))
            edges = large[viewer].run(FILES, order=order, first=100)["files"]["edges"]
            after = edges[-1]["cursor"]
    assert (whole, many) == ([], [])


# --- SQLite ----------------------------------------------------------------------------------------

SCOPES = {
    "few": ["SEARCH U0 USING COVERING INDEX file_owner_{}", "SCAN U0 USING INDEX file_public_{}"],
    "staff": ["SCAN files_file USING INDEX file_{}"],
    "anonymous": ["SCAN files_file USING INDEX file_public_{}"],
}
# Checked on the way through an index of the order, until the page is full: see files/indexes.py.
CHECKED_ON_THE_WAY = {"nameContains", "kind", "contentType", "profile", "tags.any", "tags.all"}


def steps(api: Api, **arguments: Any) -> list[str]:
    """What SQLite does with rows of files; of plain ids it looks up each."""
    found = [step for *_, step in explained(api, "EXPLAIN QUERY PLAN", **arguments)]
    return [step for step in found if ("files_file " in step or " U0 " in step) and "autoindex" not in step]


@pytest.mark.sqlite("reads its plans")
@pytest.mark.parametrize("order", ORDERS, ids=lambda order: " ".join(order.values()))
@pytest.mark.parametrize("viewer", SCOPES)
def test_each_order_is_that_of_an_index_of_what_the_viewer_may_see(viewers, viewer, order):
    column = order["field"].lower().removesuffix("_at")
    found = steps(viewers[viewer], order=order, first=PAGE)
    for expected in SCOPES[viewer]:
        assert any(step.startswith(expected.format(column)) for step in found), found
    assert len(found) == len(SCOPES[viewer])


@pytest.mark.sqlite("reads its plans")
@pytest.mark.parametrize("order", ORDERS, ids=lambda order: " ".join(order.values()))
@pytest.mark.parametrize("viewer", SCOPES)
def test_a_deep_page_is_sought_for_every_viewer(viewers, alice, viewer, order):
    for _ in range(2):
        record(alice, visibility="public")
    (edge,) = viewers[viewer].run(FILES, order=order, first=1)["files"]["edges"]
    found = steps(viewers[viewer], order=order, first=PAGE, after=edge["cursor"])
    assert not any(step.startswith("SCAN") for step in found), found


@pytest.mark.sqlite("reads its plans")
@pytest.mark.parametrize("path", sorted(EXAMPLES.keys() - CHECKED_ON_THE_WAY))
def test_a_filter_by_whose_or_when_or_how_large_is_sought(viewers, path):
    """For staff, who see all files. A range is sought in the order of the same field."""
    ranges = {"size": "SIZE", "createdAt": "CREATED_AT", "updatedAt": "UPDATED_AT"}
    order = {"field": ranges.get(path.partition(".")[0], "NAME")}
    found = steps(viewers["staff"], filters=as_filter(path, EXAMPLES[path][0]), order=order, first=PAGE)
    sought = "SCAN files_file USING INDEX file_public_" if path == "visibility" else "SEARCH files_file"
    assert all(step.startswith(sought) for step in found), found


@pytest.mark.sqlite("reads its plans")
def test_counting_what_a_user_may_see_does_not_read_everybodys(api, alice):
    with asked() as statements:
        api.run("{ files { totalCount } }")
    counts = [each for each in statements if "COUNT" in each[0]]
    for sql, params in counts:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
            ((*_, step),) = cursor.fetchall()
        assert "file_owner_" in step or "file_public_" in step
    assert len(counts) == 2
