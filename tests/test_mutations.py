"""Changing and deleting over GraphQL: by whom, what exactly, and what is answered for each file."""

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

from accounts import tokens
from accounts.models import Scope
from files.disk import DiskStorage
from files.models import File, Visibility
from tests.api import FILE_FIELDS, Api, global_id, keep, record
from tests.conftest import stored_files

UPDATE = """
    mutation($input: UpdateFileInput!) {
        updateFile(input: $input) {
            __typename
            ... on File { id name title description tags metadata visibility createdAt updatedAt }
            ... on FileNotFound { id message }
            ... on InvalidInput { field reason message }
            ... on StorageUnavailable { retryable retryAfter message }
        }
    }
"""
DELETE = """
    mutation($ids: [ID!]!) {
        deleteFiles(ids: $ids) {
            __typename
            ... on DeletedFile { id }
            ... on FileNotFound { id message }
            ... on StorageUnavailable { retryable retryAfter }
        }
    }
"""

SAID: dict[str, Any] = {
    "name": "old.txt",
    "title": "Old",
    "description": "Was here.",
    "tags": ["old"],
    "metadata": {"old": True},
    "visibility": "private",
}


def id_of(file: File) -> str:
    return global_id("File", file.pk)


def update(api: Api, file: File | str, **changes: Any) -> dict[str, Any]:
    id = file if isinstance(file, str) else id_of(file)
    return api.run(UPDATE, input={"id": id, **changes})["updateFile"]


def delete(api: Api, *ids: object) -> list[dict[str, Any]]:
    return api.run(DELETE, ids=ids)["deleteFiles"]


def said(file: File) -> dict[str, Any]:
    """What the row says of the file now."""
    file.refresh_from_db()
    return {field: getattr(file, field) for field in SAID}


# --- change ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, stored",
    [
        ({}, {}),
        ({"name": " new name.txt "}, {"name": "new name.txt"}),
        ({"title": "New"}, {"title": "New"}),
        ({"title": None}, {"title": None}),
        ({"title": "  "}, {"title": None}),
        ({"description": "Two\nlines\tand a tab."}, {"description": "Two\nlines\tand a tab."}),
        ({"description": None}, {"description": None}),
        ({"tags": ["b", "a", "b"]}, {"tags": ["b", "a"]}),
        ({"tags": []}, {"tags": []}),
        ({"tags": None}, {"tags": []}),
        ({"metadata": {"a": [1, None, {}]}}, {"metadata": {"a": [1, None, {}]}}),
        ({"metadata": {}}, {"metadata": {}}),
        ({"metadata": None}, {"metadata": {}}),
        ({"visibility": "PUBLIC"}, {"visibility": "public"}),
        (
            {"name": "n", "title": "t", "description": "d", "tags": ["x"], "metadata": {"m": 1}},
            {"name": "n", "title": "t", "description": "d", "tags": ["x"], "metadata": {"m": 1}},
        ),
    ],
)
def test_what_is_given_changes_and_what_is_left_out_stays(api, alice, changes, stored):
    file = record(alice, **SAID)
    assert update(api, file, **changes)["__typename"] == "File"
    assert said(file) == SAID | stored


def test_a_change_answers_the_file_as_it_is_now(api, alice):
    long_ago = datetime(2026, 1, 31, tzinfo=UTC)
    file = record(alice, **SAID, created_at=long_ago, updated_at=long_ago)
    answer = update(api, file, title="New", visibility="PUBLIC")
    file.refresh_from_db()
    assert file.updated_at > long_ago
    assert answer == {
        "__typename": "File",
        "id": id_of(file),
        "name": "old.txt",
        "title": "New",
        "description": "Was here.",
        "tags": ["old"],
        "metadata": {"old": True},
        "visibility": "PUBLIC",
        "createdAt": long_ago.isoformat(),
        "updatedAt": file.updated_at.isoformat(),
    }


def test_a_change_can_be_answered_with_every_field(api, alice):
    file = keep(alice, b"hello")
    query = f"""
        mutation($input: UpdateFileInput!) {{
            updateFile(input: $input) {{ ... on File {{ {FILE_FIELDS} }} }}
        }}
    """
    answer = api.run(query, input={"id": id_of(file), "title": "New"})["updateFile"]
    assert (answer["owner"], answer["storage"]["objectKey"]) == ({"username": "alice"}, file.key)


@pytest.mark.parametrize(
    "field, value",
    [
        ("name", None),
        ("name", ""),
        ("name", "a/b"),
        ("name", ".."),
        ("name", "exe.\u202egpj"),
        ("name", "a\x00b"),
        ("name", "x" * 256),
        ("title", "x" * 256),
        ("title", "\x07"),
        ("description", "x" * 5001),
        ("tags", [" "]),
        ("tags", ["x" * 65]),
        ("tags", [f"{number}" for number in range(33)]),
        ("metadata", []),
        ("metadata", "text"),
        ("metadata", {"a": "x" * 17_000}),
        ("visibility", None),
    ],
)
def test_a_bad_change_is_refused_whole(api, alice, field, value):
    file = record(alice, **SAID)
    answer = update(api, file, **{"title": "New", "description": "New", field: value})
    assert (answer["__typename"], answer["field"]) == ("InvalidInput", field)
    assert said(file) == SAID


@pytest.mark.parametrize("literal", ["{a: 1e999}", "{a: 1" + "0" * 25 + "}"])
def test_metadata_that_no_answer_could_carry_is_refused(api, alice, literal):
    file = record(alice, **SAID)
    query = f"""mutation($id: ID!) {{
        updateFile(input: {{id: $id, metadata: {literal}}}) {{ __typename ... on InvalidInput {{ field }} }}
    }}"""
    answer = api.post(query, id=id_of(file))
    assert answer.status_code == 200
    assert answer.json()["data"]["updateFile"] == {"__typename": "InvalidInput", "field": "metadata"}
    assert said(file) == SAID


def test_a_bad_change_of_a_file_that_is_not_there_tells_nothing(api, bob):
    theirs, missing = id_of(record(bob)), global_id("File", uuid.uuid4())
    answers = [update(api, id, name="a/b") for id in (theirs, missing)]
    assert answers[0]["__typename"] == answers[1]["__typename"]
    assert answers[0].get("field") == answers[1].get("field")


@pytest.mark.parametrize("visibility", Visibility)
def test_only_the_owner_and_staff_change_a_file(api, bob_api, staff_api, alice, visibility):
    file = record(alice, **SAID | {"visibility": visibility})
    refused = update(bob_api, file, title="Bob's")
    assert refused == {
        "__typename": "FileNotFound",
        "id": id_of(file),
        "message": "There is no such file, or you may not change it.",
    }
    assert said(file)["title"] == "Old"
    assert update(staff_api, file, title="Of staff")["title"] == "Of staff"
    assert update(api, file, title="Alice's")["title"] == "Alice's"


def test_staff_do_not_become_the_owner_of_what_they_change(staff_api, alice):
    file = record(alice)
    update(staff_api, file, title="New")
    file.refresh_from_db()
    assert file.owner == alice


def odd_ids(user_id: int, file_id: uuid.UUID) -> list[str]:
    return [
        "",
        "nonsense",
        "ünï",
        "\x00",
        str(file_id),
        global_id("File", "1"),
        global_id("User", user_id),
        global_id("File", str(file_id).upper()),
        global_id("File", uuid.uuid4()),
        "x" * 100_000,
    ]


@pytest.mark.parametrize("number", range(len(odd_ids(0, uuid.uuid4()))))
def test_an_id_of_nothing_finds_nothing_to_change_or_delete(api, alice, number):
    file = record(alice, **SAID)
    id = odd_ids(alice.pk, file.pk)[number]
    changed, (deleted,) = update(api, id, title="New"), delete(api, id)
    assert (changed["__typename"], changed["id"]) == ("FileNotFound", id)
    assert (deleted["__typename"], deleted["id"]) == ("FileNotFound", id)
    assert said(file) == SAID


def test_a_change_while_the_database_is_down_says_to_try_again(api, alice, monkeypatch):
    file = record(alice, **SAID)

    def down(*_: object, **__: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(File, "save", down)
    answer = update(api, file, title="New")
    assert (answer["__typename"], answer["retryable"]) == ("StorageUnavailable", True)
    assert answer["retryAfter"] > 0
    assert "locked" not in str(answer)
    monkeypatch.undo()
    assert said(file) == SAID


# --- delete ----------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_deleting_removes_row_and_bytes(api, alice, storage_root: Path):
    file, other = keep(alice, b"one"), keep(alice, b"two")
    assert delete(api, id_of(file)) == [{"__typename": "DeletedFile", "id": id_of(file)}]
    assert list(File.objects.all()) == [other]
    assert stored_files(storage_root) == [other.key]


@pytest.mark.django_db(transaction=True)
def test_each_id_has_its_own_result_in_order(api, alice, bob, storage_root: Path):
    first, second = keep(alice, b"1"), keep(alice, b"2")
    theirs, shared = keep(bob, b"3"), keep(bob, b"4", visibility=Visibility.PUBLIC)
    missing = global_id("File", uuid.uuid4())
    ids = [
        id_of(first),
        "nonsense",
        id_of(theirs),
        id_of(second),
        missing,
        id_of(shared),
        global_id("User", alice.pk),
    ]

    results = delete(api, *ids)

    assert [result["__typename"] for result in results] == [
        "DeletedFile",
        "FileNotFound",
        "FileNotFound",
        "DeletedFile",
        "FileNotFound",
        "FileNotFound",
        "FileNotFound",
    ]
    assert [result["id"] for result in results] == ids
    assert len({result["message"] for result in results if "message" in result}) == 1
    assert stored_files(storage_root) == sorted([theirs.key, shared.key])


def test_delete_finds_a_file_once(api, alice):
    id = id_of(record(alice))
    assert [result["__typename"] for result in delete(api, id, id, id)] == [
        "DeletedFile",
        "FileNotFound",
        "FileNotFound",
    ]
    assert [result["__typename"] for result in delete(api, id)] == ["FileNotFound"]


@pytest.mark.django_db(transaction=True)
def test_a_file_whose_bytes_are_gone_can_be_deleted(api, alice):
    file = record(alice)
    assert delete(api, id_of(file))[0]["__typename"] == "DeletedFile"
    assert not File.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_bytes_that_cannot_be_deleted_do_not_bring_back_the_row(api, alice, monkeypatch, storage_root: Path):
    file, other = keep(alice, b"one"), keep(alice, b"two")

    def down(*_: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(DiskStorage, "delete", down)
    results = delete(api, id_of(file), id_of(other))
    assert [result["__typename"] for result in results] == ["DeletedFile", "DeletedFile"]
    assert not File.objects.exists()
    assert stored_files(storage_root) == sorted([file.key, other.key])  # orphans, which is the safe side


def test_a_database_that_is_down_keeps_row_and_bytes(api, alice, monkeypatch, storage_root: Path):
    file = keep(alice, b"one")

    def down(*_: object, **__: object) -> None:
        raise OperationalError("disk I/O error")

    monkeypatch.setattr(File, "delete", down)
    (result,) = delete(api, id_of(file))
    assert result == {"__typename": "StorageUnavailable", "retryable": True, "retryAfter": 5}
    assert File.objects.filter(pk=file.pk).exists()
    assert stored_files(storage_root) == [file.key]


def test_staff_delete_files_of_others(staff_api, alice):
    assert delete(staff_api, id_of(record(alice)))[0]["__typename"] == "DeletedFile"
    assert not File.objects.exists()


@pytest.mark.parametrize("count, allowed", [(0, False), (1, True), (100, True), (101, False)])
def test_from_one_to_a_hundred_files_are_deleted_at_once(api, alice, count, allowed):
    file = record(alice)
    ids = [id_of(file), *["nonsense"] * (count - 1)] if count else []
    body = api.post(DELETE, ids=ids).json()
    if allowed:
        assert len(body["data"]["deleteFiles"]) == count
    else:
        assert [error["extensions"]["code"] for error in body["errors"]] == ["BAD_USER_INPUT"]
    assert File.objects.exists() is not allowed


# --- who may ---------------------------------------------------------------------------------------


def mutations(file: File) -> list[tuple[str, dict[str, Any]]]:
    return [
        (UPDATE, {"input": {"id": id_of(file), "title": "New"}}),
        (DELETE, {"ids": [id_of(file)]}),
    ]


def test_nobody_changes_nothing(public_api, alice):
    file = record(alice, **SAID | {"visibility": "public"})
    for query, variables in mutations(file):
        (error,) = public_api.errors(query, **variables)
        assert error["extensions"]["code"] == "UNAUTHENTICATED"
    assert said(file)["title"] == "Old"


def test_a_token_for_reading_changes_nothing(alice):
    file = record(alice, **SAID)
    reader = Api(tokens.issue(user=alice, name="reader", scopes=[Scope.READ])[1])
    for query, variables in mutations(file):
        (error,) = reader.errors(query, **variables)
        assert error["extensions"]["code"] == "FORBIDDEN"
        assert "`write`" in error["message"]
    assert said(file) == SAID


def test_a_token_for_writing_is_enough_to_change_and_delete(alice):
    file = record(alice, **SAID)
    writer = Api(tokens.issue(user=alice, name="writer", scopes=[Scope.WRITE])[1])
    assert update(writer, file, title="New")["title"] == "New"
    assert delete(writer, id_of(file))[0]["__typename"] == "DeletedFile"
