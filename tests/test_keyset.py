"""A page reads no more than is asked for, and what it answers does not depend on how it was read."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from files.models import File, Visibility
from graph import keyset
from graph.filters import FileOrderField
from graph.keyset import Position, Slice
from tests.api import Api, record

PLAIN = frozenset({"edges", "node", "id", "name", "size", "createdAt", "updatedAt", "tags"})
LEAVES = [
    *("id", "name", "title", "description", "tags", "metadata", "profile", "kind", "contentType"),
    *("size", "md5", "sha256", "visibility", "createdAt", "updatedAt"),
]
# A user's own files and public ones are read apart where that is faster than to have the database unite them.
FRONTS = 2 if connection.vendor == "sqlite" else 1
MADE = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def shelf(alice: User, bob: User) -> list[File]:
    """Of two owners, some public, in no order."""
    numbers = list(range(24))
    random.Random(7).shuffle(numbers)
    return [
        record(
            bob if number % 3 else alice,
            name=f"{'aZzé😀ﬀ'[number % 6]} file {number // 4}",  # sorted by code, UTF-16, or language
            size=number // 3,
            visibility=Visibility.PUBLIC if number % 4 == 0 else Visibility.PRIVATE,
            tags=[f"tag {number}"],
            created_at=MADE + timedelta(seconds=number // 2),
            updated_at=MADE - timedelta(microseconds=number // 3),
        )
        for number in numbers
    ]


def slices(field: FileOrderField, files: list[File]) -> list[Slice]:
    """Of each kind, between positions that are somewhere in the list and not always where rows are."""
    somewhere = [None, *(Position(field, getattr(file, field.value), file.id) for file in files[3:20:6])]
    return [
        Slice(
            field=field,
            descending=descending,
            backwards=backwards,
            limit=limit,
            after=after,
            before=before,
        )
        for descending, backwards, limit in product([False, True], [False, True], [1, 7])
        for after, before in product(somewhere, [None, somewhere[1]])
    ]


@pytest.mark.parametrize("field", FileOrderField)
@pytest.mark.parametrize("who", ["alice", "bob", "staff", None])
def test_prepared_pages_are_those_of_the_query(
    shelf: list[File], alice: User, bob: User, staff: User, who: str | None, field: FileOrderField
) -> None:
    user = {"alice": alice, "bob": bob, "staff": staff}.get(who or "")
    visible = File.objects.visible_to(user)
    found = 0
    for asked in slices(field, shelf):
        everything = replace(asked, limit=100, backwards=False)
        whole = list(everything.of(visible, viewer=staff, narrowed=None))
        expected = whole[::-1][: asked.limit] if asked.backwards else whole[: asked.limit]
        files = File.objects.all()
        read = keyset.read(asked, files, PLAIN, viewer=user, narrowed=None)
        assert read == expected
        for ours, theirs in zip(read, expected, strict=True):
            for name in ("id", "name", "size", "created_at", "updated_at", "tags"):
                assert vars(ours)[name] == getattr(theirs, name)
        assert keyset.read(asked, files, PLAIN, viewer=user, narrowed=lambda rows: rows) == expected
        found += len(read)
    assert found > 50


def page(api: Api, fields: str, filters: str = "") -> tuple[list[dict], list[str]]:
    """What is answered, and the SQL that found it."""
    with CaptureQueriesContext(
        connection,
    ) as queries:
        answer = api.run(f"{{ files{filters} {{ edges {{ cursor node {{ {fields} }} }} }} }}")
    _token, *rows = (each["sql"] for each in queries.captured_queries if each["sql"].startswith("SELECT"))
    return [edge["node"] for edge in answer["files"]["edges"]], rows


@pytest.mark.parametrize("filters", ["", '(filters: {nameContains: "file"})'])
@pytest.mark.parametrize("field", LEAVES)
def test_a_page_is_read_once_whatever_fields_are_asked_for(
    api: Api, shelf: list[File], field: str, filters: str
) -> None:
    nodes, rows = page(api, field, filters)
    whole, _ = page(api, f"{field} viewerCanChange", filters)
    assert len(rows) == (1 if filters else FRONTS)
    assert nodes
    assert nodes == [{field: each[field]} for each in whole]


@pytest.mark.parametrize("filters", ["", '(filters: {nameContains: "file"})'])
def test_columns_that_nobody_asks_for_are_not_read(api: Api, shelf: list[File], filters: str) -> None:
    _, rows = page(api, "id name", filters)
    assert all('"files_file"."name"' in sql for sql in rows)
    for column in ("metadata", "tags", "description", "sha256", "key"):
        assert not any(f'"{column}"' in sql for sql in rows)


def test_a_fragment_is_looked_into(api: Api, shelf: list[File]) -> None:
    with CaptureQueriesContext(connection) as queries:
        api.run(
            "{ files { edges { node { ...Part ... on File { title } } } } } "
            "fragment Part on File { ...Inner size } fragment Inner on File { sha256 ...Part2 } "
            "fragment Part2 on File { md5 }"
        )
    assert len([each for each in queries.captured_queries if "files_file" in each["sql"]]) == FRONTS


def test_what_needs_more_than_columns_gets_whole_rows(api: Api, shelf: list[File]) -> None:
    fields = "id owner { username } url { url } storage { objectKey } image { width } viewerCanChange"
    nodes, (sql,) = page(api, fields)
    assert '"files_file"."metadata"' in sql
    assert {node["owner"]["username"] for node in nodes} == {"alice", "bob"}


def test_another_users_page_is_not_taken_for_ones_own(
    api: Api, bob_api: Api, staff_api: Api, shelf: list[File]
) -> None:
    counts = [len(page(each, "id")[0]) for each in (api, bob_api, staff_api, api)]
    assert counts == [12, 18, 24, 12]
