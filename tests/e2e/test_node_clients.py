"""The clients of JavaScript that people use, each against the real service.

Each tells the same story (tests/clients/story.mjs) once to each kind of server; the tests read its answers.
"""

import hashlib
import json
from itertools import product
from typing import Any

import pytest

from tests.e2e.conftest import Node
from tests.e2e.server import Service

pytestmark = pytest.mark.e2e

NAME = "naïve 文件 🎉.txt"
EMPTY = {"__typename": "EmptyFile", "message": "The file is empty; send a file with at least one byte."}

type Answers = dict[str, Any]

STORIES = list(product(["apollo", "fetch", "relay", "urql"], ["wsgi", "asgi"]))


@pytest.fixture(scope="module", params=STORIES, ids="-".join)
def answers(request: pytest.FixtureRequest, node: Node) -> Answers:
    client, kind = request.param
    service: Service = request.getfixturevalue(f"{kind}_service")
    story: Answers = json.loads(node("story.mjs", client, service.graphql_url, service.token))
    return story


def content(name: str) -> bytes:
    """What the story writes into a file of that name."""
    return f"This is {name}.\n".encode()


def kept(result: Answers) -> tuple[str, str, int, str]:
    """The kind of a result, and what it says of the bytes."""
    return result["__typename"], result["name"], result["size"], result["sha256"]


def as_sent(name: str) -> tuple[str, str, int, str]:
    return "File", name, len(content(name)), hashlib.sha256(content(name)).hexdigest()


def test_one_file_and_its_name_come_back_as_they_went(answers: Answers) -> None:
    assert kept(answers["one"]) == as_sent(NAME)


def test_many_files_come_back_in_their_order_though_one_is_sent_twice(answers: Answers) -> None:
    names = ["b.txt", "a.txt", "b.txt"]
    assert [kept(result) for result in answers["many"]] == [as_sent(name) for name in names]
    assert len({result["id"] for result in answers["many"]}) == 3


def test_a_nested_input_arrives_whole_beside_its_file(answers: Answers) -> None:
    nested = answers["nested"]
    assert kept(nested) == as_sent("nested.txt")
    assert (nested["title"], nested["description"]) == ("Grüße", "Zwei\nZeilen")
    assert nested["tags"][1:] == ["naïve", "文件"]
    assert nested["metadata"] == {"camera": {"lens": ["35 mm", None], "flash": False}, "größe": 2.5}
    assert nested["visibility"] == "PUBLIC"


def test_an_error_of_a_file_comes_with_its_type_and_its_sentence(answers: Answers) -> None:
    assert answers["empty"] == EMPTY


def test_a_file_of_many_fails_alone(answers: Answers) -> None:
    good, bad = answers["someEmpty"]
    assert (kept(good), bad) == (as_sent("z.txt"), EMPTY)


def test_a_query_with_variables_is_answered_page_by_page(answers: Answers) -> None:
    first, second = answers["pages"]
    assert [edge["node"]["name"] for edge in first["edges"]] == ["a.txt", "b.txt", "b.txt", NAME]
    assert [edge["node"]["name"] for edge in second["edges"]] == ["nested.txt", "z.txt"]
    assert (first["totalCount"], second["totalCount"]) == (6, 6)


def test_a_mutation_without_files_changes_one(answers: Answers) -> None:
    one, changed = answers["one"], answers["changed"]
    assert changed == {**one, "name": "новое имя.txt", "title": "Später"}


def test_what_is_deleted_is_gone(answers: Answers) -> None:
    listed = [edge["node"]["id"] for page in answers["pages"] for edge in page["edges"]]
    gone = [{"__typename": "DeletedFile", "id": each} for each in listed]
    assert answers["deleted"] == [*gone, {"__typename": "FileNotFound", "id": answers["one"]["id"]}]
    assert [page["edges"] for page in answers["left"]] == [[]]


@pytest.mark.parametrize(
    "what, sentence",
    [
        ("argument", "first: give a number from 0 to 100."),
        ("document", "Cannot query field 'nothing' on type 'Query'."),
        ("upload", "Upload takes a file of a multipart request"),
    ],
)
def test_a_client_is_told_what_was_wrong_with_its_request(answers: Answers, what: str, sentence: str) -> None:
    assert sentence in answers["failures"][what]["message"]


def test_a_client_with_a_wrong_token_sees_status_401(answers: Answers) -> None:
    assert answers["failures"]["token"]["status"] == 401
