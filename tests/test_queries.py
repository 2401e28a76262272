"""What can be asked, by whom, and at what cost in queries of the database."""

import base64
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import tokens
from accounts.models import Scope, User
from files.models import FileKind, Visibility
from tests.api import FILE_FIELDS, Api, global_id, record

FILE = "query($id: ID!) { file(id: $id) { id } }"
NODE = "query($id: ID!) { node(id: $id) { __typename id } }"
USAGE = "{ storageUsage { files size quota byKind { kind files size } } }"


def file_of(api: Api, id: str) -> str | None:
    """The id of what `file` and `node` find; they have to agree."""
    by_field, by_node = api.run(FILE, id=id)["file"], api.run(NODE, id=id)["node"]
    if by_field is None:
        assert by_node is None
        return None
    assert by_node == {"__typename": "File", **by_field}
    return by_field["id"]


# --- one file --------------------------------------------------------------------------------------


def test_a_file_is_found_by_its_owner_and_by_staff_only(api, bob_api, staff_api, public_api, alice):
    id = global_id("File", record(alice).pk)
    assert file_of(api, id) == file_of(staff_api, id) == id
    assert file_of(bob_api, id) is None
    assert file_of(public_api, id) is None


def test_a_public_file_is_found_by_everybody(api, bob_api, staff_api, public_api, alice):
    id = global_id("File", record(alice, visibility=Visibility.PUBLIC).pk)
    assert {file_of(each, id) for each in (api, bob_api, staff_api, public_api)} == {id}


@pytest.mark.parametrize("query", [FILE, NODE])
def test_a_file_of_somebody_else_is_answered_like_none(api, bob, query):
    theirs, missing = record(bob).pk, uuid.uuid4()
    answers = {api.post(query, id=global_id("File", id)).content for id in (theirs, missing)}
    assert len(answers) == 1


def spellings(file_id: uuid.UUID) -> dict[str, str]:
    canonical = global_id("File", file_id)
    raw = f"File:{file_id}".encode()
    last = canonical.rstrip("=")[-1]
    return {
        "empty": "",
        "no base64": "not base64!",
        "not ASCII": "ünï",
        "a NUL": canonical + "\x00",
        "base64 of nothing": base64.b64encode(b":").decode(),
        "base64 of bytes that are no text": base64.b64encode(b"\xff\xfe:\xfd").decode(),
        "only the type": base64.b64encode(b"File:").decode(),
        "no UUID": global_id("File", "1"),
        "a huge one": base64.b64encode(b"File:" + b"9" * 100_000).decode(),
        "another type": global_id("User", file_id),
        "no type": global_id("", file_id),
        "the type in other case": global_id("file", file_id),
        "an unknown type": global_id("Nope", file_id),
        "the UUID alone": str(file_id),
        "a UUID in capitals": global_id("File", str(file_id).upper()),
        "a UUID without dashes": global_id("File", file_id.hex),
        "a UUID in braces": global_id("File", f"{{{file_id}}}"),
        "a UUID as a URN": global_id("File", f"urn:uuid:{file_id}"),
        "a space before": " " + canonical,
        "a line break after": canonical + "\n",
        "no padding": canonical.rstrip("="),
        "more padding": canonical + "=",
        "other unused bits": canonical.rstrip("=")[:-1] + chr(ord(last) + 1) + "=",
        "encoded twice": base64.b64encode(base64.b64encode(raw)).decode(),
    }


@pytest.mark.parametrize("spelling", spellings(uuid.uuid4()))
def test_an_id_has_one_spelling(api, alice, spelling):
    file = record(alice)
    assert file_of(api, global_id("File", file.pk)) is not None
    other = spellings(file.pk)[spelling]
    assert other != global_id("File", file.pk)
    assert file_of(api, other) is None


@pytest.mark.parametrize("id", [5, "5"])
def test_an_id_may_be_written_as_a_number_and_names_nothing(api, id):
    assert file_of(api, id) is None


@pytest.mark.parametrize("value", [True, 1.5, [], {}, None])
def test_what_is_no_id_at_all_is_refused(api, value):
    (error,) = api.errors(FILE, id=value)
    assert "$id" in error["message"]
    assert "INTERNAL_SERVER_ERROR" not in str(error)


def test_a_user_is_a_node_to_themselves_and_to_staff(api, staff_api, public_api, alice, bob):
    mine, theirs = global_id("User", alice.pk), global_id("User", bob.pk)
    assert api.run(NODE, id=mine)["node"] == {"__typename": "User", "id": mine}
    assert api.run(NODE, id=theirs)["node"] is None
    assert staff_api.run(NODE, id=theirs)["node"] == {"__typename": "User", "id": theirs}
    assert public_api.run(NODE, id=mine)["node"] is None
    assert api.run(FILE, id=mine)["file"] is None


@pytest.mark.parametrize(
    "value", ["0{}", " {}", "+{}", "{}.0", "-{}", "{}\n", "1" * 19, "9" * 5000, "", "٣", "²"]
)
def test_a_user_has_one_id(staff_api, bob, value):
    assert staff_api.run(NODE, id=global_id("User", value.format(bob.pk)))["node"] is None


# --- the viewer ------------------------------------------------------------------------------------


def test_the_viewer_is_the_one_who_asks(api, public_api, alice):
    query = "{ viewer { id username } }"
    assert api.run(query)["viewer"] == {"id": global_id("User", alice.pk), "username": "alice"}
    assert public_api.run(query)["viewer"] is None


def test_usage_is_of_the_viewers_own_files(staff_api, api, alice, staff, bob):
    record(alice, kind=FileKind.IMAGE, size=100)
    record(alice, kind=FileKind.IMAGE, size=20)
    record(alice, kind=FileKind.VIDEO, size=2**40)
    record(bob, size=7, visibility=Visibility.PUBLIC)
    assert api.run(USAGE)["storageUsage"] == {
        "files": 3,
        "size": 2**40 + 120,
        "quota": None,
        "byKind": [
            {"kind": "IMAGE", "files": 2, "size": 120},
            {"kind": "VIDEO", "files": 1, "size": 2**40},
        ],
    }
    assert staff_api.run(USAGE)["storageUsage"] == {"files": 0, "size": 0, "quota": None, "byKind": []}


@pytest.mark.parametrize(
    "deployment, own, quota",
    [(None, None, None), (500, None, 500), (500, 700, 700), (500, 0, 0), (None, 9, 9)],
)
def test_the_quota_is_the_users_own_or_the_deployments(api, alice, settings, deployment, own, quota):
    settings.USER_QUOTA = deployment
    User.objects.filter(pk=alice.pk).update(quota=own)
    assert api.run(USAGE)["storageUsage"]["quota"] == quota


def test_nobody_has_no_usage(public_api):
    (error,) = public_api.errors(USAGE)
    assert error["extensions"]["code"] == "UNAUTHENTICATED"


def test_upload_profiles_are_published_to_everybody(public_api):
    query = """{ uploadProfiles {
        name description maxSize types visibility maxPixels maxWidth maxHeight strip
    } }"""
    profiles = {profile.pop("name"): profile for profile in public_api.run(query)["uploadProfiles"]}
    assert list(profiles) == ["default", "image", "avatar", "document"]
    images = ["image/jpeg", "image/png", "image/gif", "image/webp", "image/avif"]
    assert all(profile.pop("description") for profile in profiles.values())
    assert profiles["default"] == {
        "maxSize": 100 * 1024**2,
        "types": ["*/*"],
        "visibility": "PRIVATE",
        "maxPixels": None,
        "maxWidth": None,
        "maxHeight": None,
        "strip": False,
    }
    assert profiles["avatar"] == {
        "maxSize": 5_000_000,
        "types": images,
        "visibility": "PRIVATE",
        "maxPixels": 50_000_000,
        "maxWidth": 300,
        "maxHeight": 300,
        "strip": True,
    }
    assert (profiles["image"]["types"], profiles["image"]["maxWidth"]) == (images, None)
    assert "application/pdf" in profiles["document"]["types"]
    assert profiles["document"]["maxPixels"] is None


# --- many files ------------------------------------------------------------------------------------


def names(api: Api) -> list[str]:
    edges = api.run("{ files { edges { node { name } } } }")["files"]["edges"]
    return sorted(edge["node"]["name"] for edge in edges)


def test_a_list_shows_own_and_public_files(api, bob_api, staff_api, public_api, alice, bob):
    for owner in (alice, bob, None):
        for visibility in Visibility:
            record(owner, name=f"{owner or 'nobody'} {visibility}", visibility=visibility)
    public = ["alice public", "bob public", "nobody public"]
    assert names(public_api) == public
    assert names(api) == sorted([*public, "alice private"])
    assert names(bob_api) == sorted([*public, "bob private"])
    assert names(staff_api) == sorted([*public, "alice private", "bob private", "nobody private"])


def test_the_newest_files_come_first(api, alice):
    made = datetime(2026, 1, 31, 12, tzinfo=UTC)
    for number in (2, 3, 1):
        record(alice, name=str(number), created_at=made + timedelta(seconds=number))
    edges = api.run("{ files { edges { node { name } } } }")["files"]["edges"]
    assert [edge["node"]["name"] for edge in edges] == ["3", "2", "1"]


def test_whether_a_file_can_be_changed_is_known_before_it_is_tried(
    api, bob_api, staff_api, public_api, alice, staff
):
    file = record(alice, visibility=Visibility.PUBLIC)
    reader = Api(tokens.issue(user=alice, name="reader", scopes=[Scope.READ])[1])
    staff_reader = Api(tokens.issue(user=staff, name="reader", scopes=[Scope.READ])[1])
    change = 'mutation($id: ID!) { updateFile(input: {id: $id, title: "x"}) { __typename } }'
    query = "query($id: ID!) { file(id: $id) { viewerCanChange } }"
    id = global_id("File", file.pk)
    everybody = (api, staff_api, reader, staff_reader, bob_api, public_api)
    said = [each.run(query, id=id)["file"]["viewerCanChange"] for each in everybody]
    assert said == [True, True, False, False, False, False]
    outcomes = [each.post(change, id=id).json() for each in everybody]
    assert [each.get("data") == {"updateFile": {"__typename": "File"}} for each in outcomes] == said


@pytest.mark.parametrize("visibility", Visibility)
def test_where_the_bytes_lie_is_for_the_owner_and_staff(
    api, bob_api, staff_api, public_api, alice, visibility
):
    file = record(alice, visibility=visibility)
    query = "query($id: ID!) { file(id: $id) { storage { backend bucket objectKey } } }"
    place = {"backend": "disk", "bucket": None, "objectKey": file.key}
    nothing = dict.fromkeys(place)
    answers = [
        each.run(query, id=global_id("File", file.pk))["file"]
        for each in (api, staff_api, bob_api, public_api)
    ]
    others = {"storage": nothing} if visibility == Visibility.PUBLIC else None
    assert answers == [{"storage": place}, {"storage": place}, others, others]


def test_the_owner_of_a_public_file_is_not_shown_to_the_public(public_api, bob_api, alice):
    id = global_id("File", record(alice, visibility=Visibility.PUBLIC).pk)
    query = "query($id: ID!) { file(id: $id) { owner { username } } }"
    assert bob_api.run(query, id=id)["file"]["owner"] == {"username": "alice"}
    assert public_api.run(query, id=id)["file"]["owner"] is None


def test_a_file_outlives_its_owner_in_the_schema(staff_api, staff):
    id = global_id("File", record(None, visibility=Visibility.PUBLIC).pk)
    assert staff_api.run("query($id: ID!) { file(id: $id) { owner { id } } }", id=id)["file"]["owner"] is None


# --- addresses -------------------------------------------------------------------------------------

ADDRESS = """
    query($id: ID!, $seconds: Int, $download: Boolean! = false) {
        file(id: $id) { url(expiresIn: $seconds, download: $download) { url expiresAt } }
    }
"""


@pytest.mark.parametrize("seconds", [1, 60, 7 * 24 * 3600])
def test_an_address_lives_as_long_as_was_asked_for(api, alice, seconds):
    before = datetime.now(UTC)
    address = api.run(ADDRESS, id=global_id("File", record(alice).pk), seconds=seconds)["file"]["url"]
    lifetime = (datetime.fromisoformat(address["expiresAt"]) - before).total_seconds()
    assert seconds - 1 <= lifetime <= seconds + 10


@pytest.mark.parametrize("seconds", [0, -1, 7 * 24 * 3600 + 1, 2**31 - 1])
def test_an_address_cannot_live_for_ever_or_be_dead_already(api, alice, seconds):
    (error,) = api.errors(ADDRESS, id=global_id("File", record(alice).pk), seconds=seconds)
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert "expiresIn" in error["message"]


def test_an_address_says_whether_to_save(api, alice):
    id = global_id("File", record(alice).pk)
    assert "download=1" not in api.run(ADDRESS, id=id)["file"]["url"]["url"]
    assert "download=1" in api.run(ADDRESS, id=id, download=True)["file"]["url"]["url"]


# --- costs -----------------------------------------------------------------------------------------

PAGE = f"{{ files(first: 50) {{ edges {{ cursor node {{ {FILE_FIELDS} }} }} pageInfo {{ hasNextPage }} }} }}"


def queries(api: Api, query: str) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        api.run(query)
    return [each["sql"] for each in captured]


@pytest.mark.parametrize("count", [1, 50])
def test_a_page_with_every_field_costs_two_queries(staff_api, alice, bob, django_assert_num_queries, count):
    for number in range(count):
        record(bob if number % 2 else alice, kind=FileKind.IMAGE, width=4, height=3, frames=1)
    staff_api.run("{ viewer { id } }")  # notes the token's use, once a minute
    with django_assert_num_queries(2):  # who asks, and the page
        edges = staff_api.run(PAGE)["files"]["edges"]
    assert len(edges) == count
    assert all(edge["node"]["owner"] and edge["node"]["image"] and edge["node"]["url"] for edge in edges)


def test_files_are_counted_only_if_that_is_asked_for(api, alice):
    for _ in range(3):
        record(alice)
    api.run("{ viewer { id } }")
    counted = "{ files(first: 2) { totalCount edges { node { id } } } }"
    assert api.run(counted)["files"]["totalCount"] == 3
    assert sum("COUNT(" in sql for sql in queries(api, counted)) == 2  # own files, and public ones of others
    assert not any("COUNT(" in sql for sql in queries(api, PAGE))


def test_one_file_with_every_field_costs_two_queries(api, alice, django_assert_num_queries):
    file = record(alice)
    api.run("{ viewer { id } }")
    with django_assert_num_queries(2):
        api.run(f"query($id: ID!) {{ file(id: $id) {{ {FILE_FIELDS} }} }}", id=global_id("File", file.pk))


def test_usage_costs_two_queries(api, alice, django_assert_num_queries):
    for kind in FileKind:
        record(alice, kind=kind)
    api.run("{ viewer { id } }")
    with django_assert_num_queries(2):
        assert len(api.run(USAGE)["storageUsage"]["byKind"]) == len(FileKind)


def test_owners_are_joined_only_where_they_are_asked_for(api: Api, alice: User) -> None:
    record(alice)
    page = "{ files { edges { node { %s } } } }"
    api.run(page % "name")  # the first use of a token is noted
    with CaptureQueriesContext(connection) as without:
        api.run(page % "name")
    with CaptureQueriesContext(connection) as with_owner:
        api.run(page % "...P" + " fragment P on File { ... on File { owner { username } } }")
    _token, *pages = (each["sql"] for each in without)
    assert pages
    assert not any("JOIN" in sql for sql in pages)
    _token, page_with_owner = (each["sql"] for each in with_owner)
    assert "JOIN" in page_with_owner
