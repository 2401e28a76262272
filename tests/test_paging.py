"""Pages of `files`: every file once, in order, whichever way one goes, at the cost of the first page."""

import base64
import json
import uuid
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from files.models import File, Visibility
from tests.api import Api, global_id, record

FILES = """
    query($order: FileOrder, $first: Int, $after: String, $last: Int, $before: String) {
        files(order: $order, first: $first, after: $after, last: $last, before: $before) {
            edges { cursor node { id } }
            pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
        }
    }
"""

COLUMNS = {"NAME": "name", "SIZE": "size", "CREATED_AT": "created_at", "UPDATED_AT": "updated_at"}
each_field = pytest.mark.parametrize("field", COLUMNS)
each_direction = pytest.mark.parametrize("direction", ["ASC", "DESC"])
MADE = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


def page(api: Api, field: str, direction: str = "ASC", **arguments: Any) -> dict[str, Any]:
    return api.run(FILES, order={"field": field, "direction": direction}, **arguments)["files"]


def ids(files: dict[str, Any]) -> list[str]:
    return [edge["node"]["id"] for edge in files["edges"]]


def in_order(files: list[File], field: str, direction: str = "ASC") -> list[str]:
    """What the order means: by the field, and by the id where that is equal."""
    ordered = sorted(files, key=lambda file: (getattr(file, COLUMNS[field]), file.pk))
    found = [global_id("File", file.pk) for file in ordered]
    return found if direction == "ASC" else found[::-1]


def cursor_of(*values: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


@pytest.fixture
def shelf(alice: User) -> list[File]:
    """Nine files, several of them equal in each order; their ids say nothing of when they were made."""
    rows = [
        ("b", 5, 0, 3),
        ("a", 5, 1, 3),
        ("b", 1, 0, 3),
        ("c", 2**50, 2, 0),
        ("a", 5, 0, 3),
        ("Ünïcödé ☃'\"\\%", 0, 1, 9),
        ("b", 7, 2, 3),
        ("C", 5, 0, 1),
        ("", 1, 5, 2),
    ]
    return [
        record(
            alice,
            id=uuid.uuid4(),
            name=name,
            size=size,
            created_at=MADE + timedelta(microseconds=created),
            updated_at=MADE + timedelta(microseconds=updated),
        )
        for name, size, created, updated in rows
    ]


# --- walking ---------------------------------------------------------------------------------------


@each_field
@each_direction
@pytest.mark.parametrize("size", [1, 2, 9])
def test_walking_forward_meets_every_file_once_in_order(api, shelf, field, direction, size):
    met: list[str] = []
    after = None
    for _ in range(len(shelf)):
        files = page(api, field, direction, first=size, after=after)
        met += ids(files)
        assert files["pageInfo"]["hasPreviousPage"] is (after is not None)
        if not files["pageInfo"]["hasNextPage"]:
            break
        assert len(files["edges"]) == size
        after = files["pageInfo"]["endCursor"]
    assert met == in_order(shelf, field, direction)


@each_field
@each_direction
@pytest.mark.parametrize("size", [1, 2, 9])
def test_walking_backward_meets_every_file_once_in_the_same_order(api, shelf, field, direction, size):
    met: list[str] = []
    before = None
    for _ in range(len(shelf)):
        files = page(api, field, direction, last=size, before=before)
        met = ids(files) + met
        assert files["pageInfo"]["hasNextPage"] is (before is not None)
        if not files["pageInfo"]["hasPreviousPage"]:
            break
        assert len(files["edges"]) == size
        before = files["pageInfo"]["startCursor"]
    assert met == in_order(shelf, field, direction)


@each_field
@each_direction
def test_what_lies_between_two_cursors_can_be_asked_for(api, shelf, field, direction):
    edges = page(api, field, direction)["edges"]
    between = {"after": edges[1]["cursor"], "before": edges[6]["cursor"]}
    wanted = in_order(shelf, field, direction)[2:6]
    assert ids(page(api, field, direction, **between)) == wanted
    assert ids(page(api, field, direction, first=2, **between)) == wanted[:2]
    assert ids(page(api, field, direction, last=2, **between)) == wanted[-2:]


def test_each_edge_bears_the_cursor_behind_which_the_next_begins(api, shelf):
    edges = page(api, "NAME")["edges"]
    for edge, following in pairwise(edges):
        (found,) = page(api, "NAME", first=1, after=edge["cursor"])["edges"]
        assert found == following


def test_a_cursor_stays_good_when_its_file_is_gone(api, shelf):
    wanted = in_order(shelf, "SIZE")
    edge = page(api, "SIZE")["edges"][3]
    for file in shelf:
        if global_id("File", file.pk) == edge["node"]["id"]:
            file.delete()
    assert ids(page(api, "SIZE", after=edge["cursor"])) == wanted[4:]


def test_files_that_come_in_meanwhile_are_met_where_they_belong(api, shelf, alice):
    files = page(api, "NAME", first=3)
    before, behind = record(alice, name=" "), record(alice, name="zz")
    rest = ids(page(api, "NAME", after=files["pageInfo"]["endCursor"]))
    assert rest == in_order([*shelf, behind], "NAME")[3:]
    assert global_id("File", before.pk) not in rest


@each_field
@each_direction
@pytest.mark.parametrize("size", [1, 2, 100])
def test_own_files_and_public_ones_are_one_list(api, shelf, alice, bob, field, direction, size):
    public = [
        record(owner, name="b", size=5, created_at=MADE, updated_at=MADE, visibility=Visibility.PUBLIC)
        for owner in (alice, bob, None)
    ]
    record(bob, name="b", size=5, created_at=MADE, updated_at=MADE)
    wanted = in_order([*shelf, *public], field, direction)
    forwards: list[str] = []
    backwards: list[str] = []
    after = before = None
    for _ in range(0, len(wanted), size):
        files = page(api, field, direction, first=size, after=after)
        forwards += ids(files)
        after = files["pageInfo"]["endCursor"]
    for _ in range(0, len(wanted), size):
        files = page(api, field, direction, last=size, before=before)
        backwards = ids(files) + backwards
        before = files["pageInfo"]["startCursor"]
    assert (forwards, backwards) == (wanted, wanted)
    assert api.run("{ files { totalCount } }")["files"]["totalCount"] == len(wanted)


def test_without_an_order_the_newest_come_first(api, shelf):
    files = api.run(FILES, first=4)["files"]
    assert ids(files) == in_order(shelf, "CREATED_AT", "DESC")[:4]
    following = api.run(FILES, after=files["pageInfo"]["endCursor"])["files"]
    assert ids(following) == in_order(shelf, "CREATED_AT", "DESC")[4:]


def test_pages_keep_to_the_filter_and_count_all_of_it(api, alice):
    shelf = [record(alice, name=f"{number}", size=number % 2) for number in range(7)]
    query = """
        query($after: String) {
            files(filters: {size: {gte: 1}}, order: {field: NAME}, first: 2, after: $after) {
                totalCount edges { node { id } } pageInfo { hasNextPage endCursor }
            }
        }
    """
    first = api.run(query)["files"]
    second = api.run(query, after=first["pageInfo"]["endCursor"])["files"]
    assert ids(first) + ids(second) == in_order([file for file in shelf if file.size], "NAME")
    assert (first["totalCount"], second["totalCount"]) == (3, 3)
    assert (first["pageInfo"]["hasNextPage"], second["pageInfo"]["hasNextPage"]) == (True, False)


# --- how much of it --------------------------------------------------------------------------------


@pytest.fixture
def many(alice: User) -> None:
    for _ in range(101):
        record(alice)


@pytest.mark.parametrize(
    "arguments, count",
    [
        ({}, 50),
        ({"first": None, "last": None}, 50),
        ({"first": 1}, 1),
        ({"last": 1}, 1),
        ({"first": 99}, 99),
        ({"first": 100}, 100),
        ({"last": 100}, 100),
    ],
)
def test_a_page_has_as_many_files_as_were_asked_for(api, many, arguments, count):
    files = api.run(FILES, **arguments)["files"]
    assert len(files["edges"]) == count
    backwards = arguments.get("last") is not None
    assert files["pageInfo"]["hasNextPage"] is not backwards
    assert files["pageInfo"]["hasPreviousPage"] is backwards


@pytest.mark.parametrize("argument", ["first", "last"])
def test_a_page_of_no_files_says_whether_there_are_some(api, shelf, argument):
    files = api.run(FILES, **{argument: 0})["files"]
    assert files["edges"] == []
    assert (files["pageInfo"]["startCursor"], files["pageInfo"]["endCursor"]) == (None, None)
    assert (files["pageInfo"]["hasNextPage"], files["pageInfo"]["hasPreviousPage"]) == (
        argument == "first",
        argument == "last",
    )


def test_no_files_are_a_page_too(api):
    assert api.run(FILES)["files"] == {
        "edges": [],
        "pageInfo": {"hasNextPage": False, "hasPreviousPage": False, "startCursor": None, "endCursor": None},
    }


@pytest.mark.parametrize(
    "arguments",
    [
        {"first": 101},
        {"last": 101},
        {"first": -1},
        {"last": -1},
        {"first": 2**31 - 1},
        {"first": -(2**31)},
        {"first": 1, "last": 1},
        {"first": 0, "last": 0},
    ],
)
def test_a_page_has_from_none_to_a_hundred_files(api, arguments):
    (error,) = api.errors(FILES, **arguments)
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize("value", [2**31, 10**30, 1.5, "1", True, [1]])
def test_what_is_no_number_of_files_never_runs(api, value):
    body = api.post(FILES, first=value).json()
    assert "data" not in body
    assert body["errors"][0]["message"].startswith("Variable '$first'")


# --- cursors ---------------------------------------------------------------------------------------

ID = str(uuid.UUID(int=0))


@pytest.mark.parametrize("argument", ["after", "before"])
@pytest.mark.parametrize(
    "field, cursor",
    [
        pytest.param("NAME", "", id="empty"),
        pytest.param("NAME", "garbage", id="garbage"),
        pytest.param("NAME", "ünï\x00", id="not ASCII"),
        pytest.param("NAME", "=" * 10, id="padding alone"),
        pytest.param("NAME", "A" * 500_000, id="huge garbage"),
        pytest.param("NAME", base64.b64encode(b"\xff\xfe").decode(), id="not text"),
        pytest.param("NAME", base64.b64encode(b"arrayconnection:5").decode(), id="an offset"),
        pytest.param("NAME", base64.b64encode(b"[" * 100_000).decode(), id="nested without end"),
        pytest.param(
            "NAME", base64.b64encode(b'["name", "\\ud800", 1]').decode(), id="half a surrogate pair"
        ),
        pytest.param("NAME", base64.b64encode(b'["name", NaN, 1]').decode(), id="not JSON"),
        pytest.param("NAME", cursor_of(), id="nothing in it"),
        pytest.param("NAME", cursor_of("name", "a"), id="no id"),
        pytest.param("NAME", cursor_of("name", "a", ID, 1), id="too much in it"),
        pytest.param("NAME", cursor_of("name", "a", 5), id="id of another type"),
        pytest.param("NAME", cursor_of("name", "a", None), id="null for an id"),
        pytest.param("NAME", cursor_of("name", "a", "nonsense"), id="no UUID"),
        pytest.param("NAME", cursor_of("name", "a\x00", ID), id="a NUL"),
        pytest.param("NAME", cursor_of("name", 5, ID), id="name of another type"),
        pytest.param("NAME", cursor_of("name", None, ID), id="null for a name"),
        pytest.param("NAME", cursor_of("name", ["a"], ID), id="a list for a name"),
        pytest.param("NAME", cursor_of("size", 5, ID), id="of another order"),
        pytest.param("NAME", cursor_of("owner__password", "a", ID), id="of a column that is no order"),
        pytest.param("NAME", cursor_of(["name"], "a", ID), id="a list for an order"),
        pytest.param("SIZE", cursor_of("size", "5", ID), id="text for a size"),
        pytest.param("SIZE", cursor_of("size", 1.5, ID), id="a fraction"),
        pytest.param("SIZE", cursor_of("size", True, ID), id="a truth value"),
        pytest.param("SIZE", cursor_of("size", -1, ID), id="a negative size"),
        pytest.param("SIZE", cursor_of("size", 2**63, ID), id="past what a column holds"),
        pytest.param("SIZE", cursor_of("size", 10**40, ID), id="a huge number"),
        pytest.param("CREATED_AT", cursor_of("created_at", 5, ID), id="a number for a time"),
        pytest.param("CREATED_AT", cursor_of("created_at", "yesterday", ID), id="no time"),
        pytest.param("CREATED_AT", cursor_of("created_at", "2026-01-31T12:00:00", ID), id="no time zone"),
        pytest.param(
            "CREATED_AT",
            cursor_of("created_at", "0001-01-01T00:00:00+14:00", ID),
            id="before all times in UTC",
        ),
        pytest.param(
            "UPDATED_AT",
            cursor_of("updated_at", "9999-12-31T23:59:59-14:00", ID),
            id="after all times in UTC",
        ),
    ],
)
def test_only_a_cursor_of_this_order_is_one(api, shelf, field, cursor, argument):
    (error,) = api.errors(FILES, order={"field": field}, **{argument: cursor})
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert "cursor" in error["message"]


@each_field
def test_a_cursor_of_one_order_is_none_of_another(api, shelf, field):
    cursor = page(api, field)["pageInfo"]["startCursor"]
    for other in set(COLUMNS) - {field}:
        (error,) = api.errors(FILES, order={"field": other}, after=cursor)
        assert error["extensions"]["code"] == "BAD_USER_INPUT"


@each_field
def test_a_cursor_opens_nothing_that_is_not_the_viewers(bob_api, shelf, field):
    """A cursor is not signed: whoever makes one up sees their own files from there on, and no others."""
    value = MADE.isoformat() if field.endswith("_AT") else getattr(shelf[0], COLUMNS[field])
    theirs = cursor_of(COLUMNS[field], value, str(shelf[0].pk))
    assert page(bob_api, field, after=theirs)["edges"] == []
    assert page(bob_api, field, last=5, before=theirs)["edges"] == []


# --- costs -----------------------------------------------------------------------------------------


def plan(api: Api, **arguments: Any) -> list[str]:
    """How SQLite would find the page."""
    with CaptureQueriesContext(connection) as captured:
        api.run(FILES, **arguments)
    (query,) = [each["sql"] for each in captured if 'FROM "files_file"' in each["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {query}")
        return [step for *_, step in cursor.fetchall()]


INDEXES = {
    "NAME": "file_name",
    "SIZE": "file_size",
    "CREATED_AT": "file_created",
    "UPDATED_AT": "file_updated",
}


@pytest.mark.sqlite("reads its plans")
@each_field
@pytest.mark.parametrize(
    "direction, number, cursor, comparison",
    [
        ("ASC", "first", "after", ">"),
        ("DESC", "first", "after", "<"),
        ("ASC", "last", "before", "<"),
        ("DESC", "last", "before", ">"),
    ],
)
def test_a_deep_page_is_sought_in_the_index(staff_api, shelf, field, direction, number, cursor, comparison):
    order = {"field": field, "direction": direction}
    deep = {cursor: page(staff_api, field, direction)["edges"][4]["cursor"]}
    index, column = INDEXES[field], COLUMNS[field]

    front_steps = plan(staff_api, order=order, **{number: 2})
    deep_steps = plan(staff_api, order=order, **{number: 2}, **deep)

    assert front_steps[0] == f"SCAN files_file USING COVERING INDEX {index}"
    assert deep_steps[0] == f"SEARCH files_file USING COVERING INDEX {index} (({column},id){comparison}(?,?))"
    assert not any("TEMP B-TREE" in step for step in front_steps + deep_steps)
