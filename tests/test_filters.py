"""Filters of `files`: each alone, together, and given what no database should see."""

from datetime import UTC, datetime
from typing import Any

import pytest

from accounts.models import User
from files.models import FileKind, Visibility
from tests.api import Api, global_id, record

FILES = "query($filters: FileFilter) { files(filters: $filters) { totalCount edges { node { name } } } }"

SHA = "ab" * 32


def found(api: Api, filters: dict[str, Any] | None) -> list[str]:
    """The names of the files that the filter lets through, A to Z."""
    files = api.run(FILES, filters=filters)["files"]
    assert files["totalCount"] == len(files["edges"])
    return sorted(edge["node"]["name"] for edge in files["edges"])


@pytest.fixture
def shelf(alice: User, bob: User) -> None:
    """Four files that differ in everything, and one that Alice cannot see."""

    def day(number: int) -> datetime:
        return datetime(2026, 1, number, 12, tzinfo=UTC)

    record(
        alice,
        name="apple.png",
        kind=FileKind.IMAGE,
        content_type="image/png",
        profile="image",
        size=100,
        sha256=SHA,
        tags=["red", "round"],
        created_at=day(1),
        updated_at=day(11),
    )
    record(
        alice,
        name="Banana.PNG",
        kind=FileKind.IMAGE,
        content_type="image/jpeg",
        profile="avatar",
        size=200,
        visibility=Visibility.PUBLIC,
        tags=["yellow"],
        created_at=day(2),
        updated_at=day(12),
    )
    record(
        alice,
        name="100%_true.pdf",
        kind=FileKind.DOCUMENT,
        content_type="application/pdf",
        profile="document",
        size=300,
        tags=["red", "yellow", "round"],
        created_at=day(3),
        updated_at=day(13),
    )
    record(
        bob,
        name="Ärger.txt",
        kind=FileKind.DOCUMENT,
        content_type="text/plain",
        size=400,
        visibility=Visibility.PUBLIC,
        tags=[],
        created_at=day(4),
        updated_at=day(14),
    )
    record(bob, name="hidden.png", sha256=SHA, tags=["red"], created_at=day(5))


APPLE, BANANA, TRUE, TROUBLE = "apple.png", "Banana.PNG", "100%_true.pdf", "Ärger.txt"
ALL = sorted([APPLE, BANANA, TRUE, TROUBLE])


@pytest.mark.parametrize(
    "filters, names",
    [
        (None, ALL),
        ({}, ALL),
        ({"nameContains": "png"}, [BANANA, APPLE]),
        ({"nameContains": "BANANA"}, [BANANA]),
        ({"nameContains": "ärger"}, [TROUBLE]),
        ({"nameContains": "ÄRGER"}, [TROUBLE]),
        ({"nameContains": "%"}, [TRUE]),
        ({"nameContains": "_"}, [TRUE]),
        ({"nameContains": "\\"}, []),
        ({"nameContains": "0%_t"}, [TRUE]),
        ({"nameContains": ""}, ALL),
        ({"nameContains": "'; DROP TABLE files_file; --"}, []),
        ({"nameContains": "hidden"}, []),
        ({"nameContains": None}, ALL),
        ({"kind": ["IMAGE"]}, [BANANA, APPLE]),
        ({"kind": ["IMAGE", "DOCUMENT"]}, ALL),
        ({"kind": ["VIDEO"]}, []),
        ({"kind": []}, []),
        ({"kind": None}, ALL),
        ({"contentType": ["image/png"]}, [APPLE]),
        ({"contentType": ["image/png", "text/plain"]}, [APPLE, TROUBLE]),
        ({"contentType": ["image/*"]}, []),
        ({"contentType": []}, []),
        ({"profile": ["default", "avatar"]}, [BANANA, TROUBLE]),
        ({"profile": ["nope"]}, []),
        ({"visibility": "PUBLIC"}, [BANANA, TROUBLE]),
        ({"visibility": "PRIVATE"}, [TRUE, APPLE]),
        ({"tags": {"any": ["red"]}}, [TRUE, APPLE]),
        ({"tags": {"any": ["red", "yellow"]}}, [TRUE, BANANA, APPLE]),
        ({"tags": {"any": ["Red"]}}, []),
        ({"tags": {"any": ["re"]}}, []),
        ({"tags": {"any": ['red"]']}}, []),
        ({"tags": {"any": []}}, []),
        ({"tags": {"all": ["red", "yellow"]}}, [TRUE]),
        ({"tags": {"all": ["red", "red"]}}, [TRUE, APPLE]),
        ({"tags": {"all": ["red", "nope"]}}, []),
        ({"tags": {"all": []}}, ALL),
        ({"tags": {"any": ["yellow"], "all": ["round"]}}, [TRUE]),
        ({"tags": {"any": None, "all": None}}, ALL),
        ({"tags": {}}, ALL),
        ({"tags": None}, ALL),
        ({"size": {"gte": 200}}, [TRUE, BANANA, TROUBLE]),
        ({"size": {"lte": 200}}, [BANANA, APPLE]),
        ({"size": {"gte": 200, "lte": 300}}, [TRUE, BANANA]),
        ({"size": {"gte": 300, "lte": 200}}, []),
        ({"size": {"lte": 0}}, []),
        ({"size": {"gte": 0}}, ALL),
        ({"size": {"gte": -(2**53) + 1, "lte": 2**53 - 1}}, ALL),
        ({"size": {}}, ALL),
        ({"size": {"gte": None}}, ALL),
        ({"createdAt": {"gte": "2026-01-02T12:00:00Z"}}, [TRUE, BANANA, TROUBLE]),
        ({"createdAt": {"lte": "2026-01-02T12:00:00+00:00"}}, [BANANA, APPLE]),
        ({"createdAt": {"gte": "2026-01-02T13:00:00+01:00", "lte": "2026-01-02T12:00:00Z"}}, [BANANA]),
        ({"createdAt": {"gte": "2026-01-02T12:00:00.000001Z"}}, [TRUE, TROUBLE]),
        ({"createdAt": {"gte": None, "lte": None}}, ALL),
        ({"updatedAt": {"gte": "2026-01-13T00:00:00Z"}}, [TRUE, TROUBLE]),
        ({"updatedAt": {"lte": "2026-01-11T12:00:00Z"}}, [APPLE]),
        ({"sha256": SHA}, [APPLE]),
        ({"sha256": SHA.upper()}, [APPLE]),
        ({"sha256": SHA[:-1]}, []),
        ({"sha256": ""}, []),
        ({"sha256": "not hex"}, []),
        ({"owner": None}, ALL),
        (
            {
                "nameContains": "e",
                "kind": ["IMAGE", "DOCUMENT"],
                "visibility": "PRIVATE",
                "tags": {"any": ["red"]},
                "size": {"gte": 100},
                "createdAt": {"lte": "2026-01-02T00:00:00Z"},
            },
            [APPLE],
        ),
        ({"kind": ["IMAGE"], "visibility": "PUBLIC", "size": {"lte": 100}}, []),
    ],
)
def test_a_filter_lets_through_what_all_of_it_holds_for(api, shelf, filters, names):
    assert found(api, filters) == sorted(names)


def test_staff_filter_by_owner(staff_api, shelf, alice, bob):
    assert found(staff_api, {"owner": global_id("User", bob.pk)}) == ["hidden.png", TROUBLE]
    assert found(staff_api, {"owner": global_id("User", bob.pk), "visibility": "PRIVATE"}) == ["hidden.png"]
    assert found(staff_api, {"owner": global_id("User", 10**17)}) == []


@pytest.mark.parametrize("owner", ["", "nonsense", global_id("File", 1), global_id("User", "x"), "1"])
def test_an_owner_is_named_by_the_id_of_a_user(staff_api, owner):
    (error,) = staff_api.errors(FILES, filters={"owner": owner})
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert "filters.owner" in error["message"]


def test_everybody_can_ask_for_their_own_files_or_those_of_others(
    api, bob_api, staff_api, public_api, shelf, bob
):
    mine, others = {"ownedByViewer": True}, {"ownedByViewer": False}
    assert found(api, mine) == sorted([APPLE, BANANA, TRUE])
    assert found(api, others) == [TROUBLE]
    assert found(bob_api, mine) == ["hidden.png", TROUBLE]
    assert found(staff_api, mine) == found(public_api, mine) == []
    assert found(public_api, others) == sorted([BANANA, TROUBLE])
    assert found(api, {"ownedByViewer": None}) == ALL
    record(None, name="orphan.txt", visibility=Visibility.PUBLIC)
    assert found(api, others) == found(api, {"visibility": "PUBLIC", **others}) == ["orphan.txt", TROUBLE]


def test_only_staff_filter_by_owner(api, public_api, alice):
    for each in (api, public_api):
        (error,) = each.errors(FILES, filters={"owner": global_id("User", alice.pk)})
        assert error["extensions"]["code"] == "FORBIDDEN"


MANY = [f"value {number}" for number in range(101)]


@pytest.mark.parametrize(
    "filters",
    [
        {"nameContains": "a\x00"},
        {"nameContains": "x" * 60_000},  # SQLite matches no pattern that is longer than 50,000 bytes
        {"contentType": ["text/plain", "\x00"]},
        {"contentType": MANY},
        {"profile": ["\x00"]},
        {"profile": MANY},
        {"kind": ["IMAGE"] * 101},
        {"tags": {"any": ["\x00"]}},
        {"tags": {"all": ["\x00"]}},
        {"tags": {"any": MANY}},
        {"tags": {"all": MANY}},
        {"sha256": "\x00"},
        {"createdAt": {"gte": "2026-01-31T12:00:00"}},
        {"createdAt": {"lte": "2026-01-31"}},
        {"updatedAt": {"gte": "2026-01-31T12:00:00"}},
        # In UTC these lie outside of what a date can be.
        {"createdAt": {"gte": "0001-01-01T00:00:00+14:00"}},
        {"updatedAt": {"lte": "9999-12-31T23:59:59-14:00"}},
    ],
)
def test_what_a_database_would_stumble_over_is_bad_input(api, shelf, filters):
    (error,) = api.errors(FILES, filters=filters)
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    (field,) = filters
    assert f"filters.{field}" in error["message"]


@pytest.mark.parametrize(
    "filters",
    [
        {"nameContains": 5},
        {"nameContains": ["a"]},
        {"kind": ["image"]},
        {"kind": ["NOPE"]},
        {"kind": [None]},
        {"contentType": [None]},
        {"contentType": [5]},
        {"visibility": "public"},
        {"tags": {"any": [None]}},
        {"tags": {"none": ["a"]}},
        {"tags": ["a"]},
        {"size": {"gte": 2**53}},
        {"size": {"gte": -(2**53)}},
        {"size": {"gte": 2**64}},
        {"size": {"gte": 10**30}},
        {"size": {"gte": 1e300}},
        {"size": {"gte": 1.5}},
        {"size": {"gte": "1"}},
        {"size": {"gte": True}},
        {"size": 5},
        {"createdAt": {"gte": 5}},
        {"createdAt": {"gte": "yesterday"}},
        {"createdAt": {"gte": "2026-02-30T00:00:00Z"}},
        {"createdAt": {"gte": "10000-01-01T00:00:00Z"}},
        {"createdAt": {"gte": "2026-01-31T12:00:00+99:00"}},
        {"createdAt": {"gte": "\x00"}},
        {"sha256": 5},
        {"nope": 1},
        [{"nameContains": "a"}, {"nameContains": "b"}],
        "nameContains",
    ],
)
def test_what_the_schema_does_not_know_never_runs(api, shelf, filters):
    answer = api.post(FILES, filters=filters)
    assert answer.status_code in {200, 400}
    body = answer.json()
    assert "data" not in body
    assert [error["message"][:10] for error in body["errors"]] == ["Variable '"]


@pytest.mark.parametrize(
    "literal",
    [
        r'{nameContains: "\ud800"}',
        r'{nameContains: "\u{110000}"}',
        r'{tags: {any: ["\udfff"]}}',
        "{size: {gte: " + "9" * 5000 + "}}",
        "{size: {gte: 9007199254740992}}",
        "{size: {gte: 1.0}}",
        "{createdAt: {gte: 2026}}",
        '{kind: ["IMAGE"]}',
    ],
)
def test_literals_that_cannot_be_are_found_before_anything_runs(api, literal):
    body = api.post(f"{{ files(filters: {literal}) {{ edges {{ node {{ name }} }} }} }}").json()
    assert "data" not in body
    assert body["errors"]
    assert "INTERNAL" not in str(body)


def test_half_a_surrogate_pair_in_json_is_refused_by_http(api):
    body = b'{"query": "{ __typename }", "variables": {"filters": {"nameContains": "\\ud800"}}}'
    answer = api.client.post("/graphql", body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
