"""Documents are parsed and validated once, and no answer is another one for it."""

from typing import Any
from unittest import mock

import pytest
from graphql import GraphQLError

from accounts.models import User
from graph import documents
from graph.completion import PlanningExecutor
from graph.schema import schema
from tests.api import Api, global_id, record


@pytest.fixture(autouse=True)
def nothing_cached():
    documents._cached.cache_clear()
    yield
    documents._cached.cache_clear()


def test_the_same_text_is_parsed_once() -> None:
    first = documents.read("{ viewer { id } }")
    assert documents.read("{ viewer { id } }") is first
    assert documents.read("{ viewer { username } }") is not first


def test_long_texts_are_not_kept() -> None:
    text = "{ viewer { id } } #" + "x" * documents._CACHED_LENGTH
    assert documents.read(text) is not documents.read(text)


def test_what_is_no_document_is_refused_each_time() -> None:
    for _ in range(2):
        with pytest.raises(GraphQLError, match="Syntax Error"):
            documents.read("{ viewer")


def test_no_more_are_kept_than_there_is_room_for() -> None:
    for number in range(documents._CACHED + 10):
        documents.read(f"{{ a{number} }}")
    assert documents._cached.cache_info().currsize == documents._CACHED


@pytest.mark.django_db
def test_a_document_is_validated_once(api: Api) -> None:
    with mock.patch("strawberry.schema.schema.validate_document", return_value=[]) as validate:
        for _ in range(3):
            assert api.run("{ viewer { username } }") == {"viewer": {"username": "alice"}}
    assert validate.call_count == 1


@pytest.mark.django_db
def test_a_document_is_planned_once(api: Api, alice: User) -> None:
    record(alice, name="a.txt")
    text = "query A { files { edges { node { ...Part } } } } query B { viewer { id } } "
    text += "fragment Part on File { name }"

    def run(name: str) -> dict[str, Any]:
        body = {"query": text, "operationName": name}
        answer: dict[str, Any] = api.client.post("/graphql", body, content_type="application/json").json()
        return answer["data"]

    def both() -> None:
        assert run("A") == {"files": {"edges": [{"node": {"name": "a.txt"}}]}}
        assert run("B") == {"viewer": {"id": global_id("User", alice.pk)}}

    both()
    plans = documents.read(text).plans
    assert plans is not None
    before = [dict(each) for each in (plans.roots, plans.collected, plans.planned)]
    assert all(before)
    with mock.patch.object(PlanningExecutor, "_field", autospec=True) as planning:
        both()
    assert not planning.called
    assert [dict(each) for each in (plans.roots, plans.collected, plans.planned)] == before


@pytest.mark.django_db
def test_what_directives_leave_out_is_decided_each_time(api: Api) -> None:
    text = "query ($no: Boolean!) { viewer { id @skip(if: $no) username } }"
    for no in (True, False, True):
        assert ("id" in api.run(text, no=no)["viewer"]) is not no
    assert documents.read(text).plans is None


@pytest.mark.django_db
def test_what_is_wrong_with_a_document_is_said_each_time(api: Api) -> None:
    answers = [api.post("{ viewer { shoeSize } }").json() for _ in range(3)]
    assert "shoeSize" in answers[0]["errors"][0]["message"]
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.django_db
def test_found_valid_with_introspection_is_not_valid_without(api: Api, settings) -> None:
    settings.INTROSPECTION = True
    assert "errors" not in api.post("{ __schema { queryType { name } } }").json()
    settings.INTROSPECTION = False
    assert "errors" in api.post("{ __schema { queryType { name } } }").json()


@pytest.mark.django_db
def test_limits_hold_for_each_request_of_a_known_document(api: Api) -> None:
    query = "query ($first: Int) { files(first: $first) { edges { node { url { url } id name size } } } }"
    query = query.replace("id name", " ".join(f"x{n}: url {{ url }}" for n in range(40)))
    assert "errors" not in api.post(query, first=1).json()
    assert api.post(query, first=100).json()["errors"][0]["extensions"]["measure"] == "cost"


def test_the_schema_has_one_executor_for_all() -> None:
    assert schema.execution_context_class.__name__ == "PlanningExecutor"
