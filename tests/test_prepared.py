"""A query that was compiled once answers what Django's own would."""

import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from accounts import tokens
from accounts.models import User
from database import prepared
from database.prepared import PreparedQuery, Slot, insert, instance
from files.models import File
from tests.api import record

NAME = User._meta.get_field("username")
JOINED = User._meta.get_field("date_joined")
FIELDS = ("id", "username", "date_joined", "is_staff", "quota")


def by_name() -> PreparedQuery:
    return PreparedQuery(
        lambda name: User.objects.filter(username=name).values_list(*FIELDS), Slot(NAME, "a name")
    )


def test_rows_are_those_of_the_query(alice: User, bob: User) -> None:
    query = by_name()
    for name in ("alice", "bob", "nobody", "a name"):
        assert query.rows(name) == list(User.objects.filter(username=name).values_list(*FIELDS))


def test_the_query_is_made_once(alice: User, bob: User) -> None:
    made = []

    def query(name: str):
        made.append(name)
        return User.objects.filter(username=name).values_list("username")

    prepared = PreparedQuery(query, Slot(NAME, "a name"))
    assert [prepared.rows(name) for name in ("alice", "bob", "alice")] == [
        [("alice",)],
        [("bob",)],
        [("alice",)],
    ]
    assert made == ["a name"]


def test_a_value_may_stand_at_several_places(alice: User, bob: User) -> None:
    alice.email = "bob"
    alice.save()
    prepared = PreparedQuery(
        lambda text: (
            User.objects.filter(Q(username=text) | Q(email=text)).order_by("pk").values_list("username")
        ),
        Slot(NAME, "a name"),
    )
    assert prepared.rows("bob") == [("alice",), ("bob",)]


def test_values_are_prepared_as_those_of_their_fields(alice: User) -> None:
    moment = datetime(2026, 1, 31, 12, 30, 15, 123456, tzinfo=UTC)
    User.objects.update(date_joined=moment)
    prepared = PreparedQuery(
        lambda time: User.objects.filter(date_joined=time).values_list("date_joined"),
        Slot(JOINED, datetime(1, 1, 1, tzinfo=UTC)),
    )
    assert prepared.rows(moment) == [(moment,)]


# Of JSON: what orjson makes something else of than json does, or nothing, stands beside lists of texts.
JSON_VALUES = [
    *([[]], [["a", "é", '"']], [["a"], []], [{}], [["a"], {"a": "b"}], [["a", None]]),
    *([["a"], [2**64]], [[1.0, 1]], ["text"], [7], [True]),
]


@pytest.mark.parametrize("values", JSON_VALUES, ids=str)
def test_values_are_converted_as_django_does(alice: User, values: list[object]) -> None:
    times = [datetime(2026, 1, 31, 12, 30, 15, number, tzinfo=UTC) for number in range(len(values))]
    files = [
        record(alice, metadata=value, created_at=made) for value, made in zip(values, times, strict=True)
    ]
    query = File.objects.order_by("id").values_list("id", "metadata", "created_at", "width", "owner_id")
    rows = PreparedQuery(lambda: query).rows()
    assert repr(rows) == repr(list(query))  # by ==, 1 is 1.0
    assert [row[0] for row in rows] == [file.id for file in files]
    assert {row[0] for row in rows} == {file.id for file in files}  # by their hashes
    assert pickle.loads(pickle.dumps(rows)) == rows


@given(
    st.lists(
        st.one_of(
            st.lists(st.text()).map(json.dumps),
            st.lists(st.text()).map(lambda texts: json.dumps(texts, ensure_ascii=False)),
            st.lists(st.one_of(st.none(), st.floats(), st.integers(), st.text())).map(json.dumps),
            st.sampled_from(['["\\ud800"]', "[NaN]", "[1e999]", '{"a": 1}', '"a"', "null", "[", "", " []"]),
        ),
        min_size=1,
    )
)
def test_lists_of_texts_are_what_json_makes_of_them(texts: list[str]) -> None:
    found = prepared._lists_of_texts(texts)
    assert found is None or repr(found) == repr(list(map(json.loads, texts)))


@given(st.lists(st.lists(st.text()), min_size=1))
def test_lists_of_texts_are_known_for_such(lists: list[list[str]]) -> None:
    assert prepared._lists_of_texts(list(map(json.dumps, lists))) == lists


@pytest.mark.parametrize("text", ["x" * 32, "0x" + "1" * 30, "-" + "1" * 31, "{" + "1" * 30 + "}", "", "1_1"])
def test_ids_that_were_not_written_by_django_end_as_they_do_with_it(alice: User, text: str) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("A column of PostgreSQL has nothing but UUIDs.")
    record(alice)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE files_file SET id = %s", [text])
    query = File.objects.values_list("id")

    def outcome(rows: Callable[[], list[tuple[object, ...]]]) -> object:
        try:
            return rows()
        except ValueError as error:
            return str(error)

    assert outcome(PreparedQuery(lambda: query).rows) == outcome(lambda: list(query))


def test_a_sample_that_the_query_does_not_use_is_a_mistake(db) -> None:
    prepared = PreparedQuery(lambda _: User.objects.values_list("username"), Slot(NAME, "a name"))
    with pytest.raises(ValueError, match="'a name' does not come into the query"):
        prepared.rows("alice")


def test_a_row_is_made_as_django_makes_it(alice: User) -> None:
    names = tuple(field.attname for field in User._meta.concrete_fields)
    (row,) = User.objects.values_list(*names)
    made = instance(User, names, row, db="default")
    read = User.objects.get()
    assert made == read
    assert {key: value for key, value in vars(made).items() if key != "_state"} == {
        key: value for key, value in vars(read).items() if key != "_state"
    }
    assert (made._state.adding, made._state.db) == (read._state.adding, read._state.db)
    made.first_name = "Alice"
    made.save()
    assert User.objects.get().first_name == "Alice"


def test_what_was_left_out_is_fetched_when_it_is_read(
    alice: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    made = instance(User, ("id",), (alice.pk,), db="default")
    with django_assert_num_queries(1):
        assert made.username == "alice"


def test_a_token_is_found_by_one_query(
    alice: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    _, secret = tokens.issue(user=alice, name="tests")
    tokens.authenticate(secret)  # notes the use
    with django_assert_num_queries(1) as captured:
        token = tokens.authenticate(secret)
        assert isinstance(captured, CaptureQueriesContext)
        assert (token.user.username, token.user.is_active, token.user.is_staff) == ("alice", True, False)
        assert token.user.quota is None
        assert token.scopes == ["read", "write"]


def test_a_row_is_added_as_by_save(alice: User) -> None:
    made = User(pk=77, username="carol", quota=2**40, date_joined=datetime(2026, 1, 31, tzinfo=UTC))
    insert(made)
    assert (made._state.adding, made._state.db) == (False, "default")
    read = User.objects.get(pk=77)
    assert {name: value for name, value in vars(read).items() if name != "_state"} == {
        name: value for name, value in vars(made).items() if name != "_state"
    }
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(User(pk=77, username="dave"))


def test_the_database_chooses_a_key_that_is_not_given(db) -> None:
    for name in ("carol", "dave"):
        insert(User(username=name))
    carol, dave = User.objects.order_by("pk")
    assert (carol.username, dave.username) == ("carol", "dave")
