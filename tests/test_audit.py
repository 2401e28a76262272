"""The audit log: what is recorded of whom, with the change or not at all, and never changed again."""

import io
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import tokens
from accounts.models import ApiToken, Scope, User
from audit import log
from audit.log import Origin
from audit.models import Action, AppendOnly, Entry, Via
from database import prepared
from files import services
from files.demo import shelf
from files.errors import FileError, StorageUnavailable
from files.management.commands import demo
from files.models import File, Visibility
from files.receive import Received
from tests.api import Api, global_id, keep, picture, record
from tests.plans import assert_served_by

TEXT = b"Hello, Coffer.\n"
SHA256 = "47a826e3e5b3f44061e95ef7a55be5b3c27272b6b37e64d0486953ac35e8ed2b"
LIST = "/admin/audit/entry/"
UPDATE = "mutation ($input: UpdateFileInput!) { updateFile(input: $input) { __typename } }"
DELETE = "mutation ($ids: [ID!]!) { deleteFiles(ids: $ids) { __typename } }"


@pytest.fixture
def office(staff: User) -> Client:
    """The browser of somebody who is signed in to the admin."""
    client = Client()
    client.force_login(staff)
    return client


def entries(*actions: Action) -> list[Entry]:
    """What was recorded of these actions, oldest first; the tokens of fixtures are not asked for."""
    return list(Entry.objects.filter(action__in=actions).order_by("id"))


def only(action: Action) -> Entry:
    (entry,) = entries(action)
    return entry


def said(entry: Entry, *fields: str) -> tuple[object, ...]:
    return tuple(getattr(entry, field) for field in fields)


def id_of(file: File) -> str:
    return global_id("File", file.pk)


# --- files -----------------------------------------------------------------------------------------


def test_an_upload_is_recorded_with_who_what_and_from_where(api: Api, alice: User) -> None:
    uploaded = api.upload(TEXT, "hello.txt", title="A greeting", visibility="PUBLIC")
    entry = only(Action.UPLOAD)
    file = File.objects.get()
    assert said(entry, "user_id", "username", "owner", "as_staff") == (alice.pk, "alice", "alice", False)
    assert said(entry, "via", "token_id", "address") == (Via.TOKEN, ApiToken.objects.get().pk, "127.0.0.1")
    assert said(entry, "file_id", "name", "size", "profile") == (file.pk, "hello.txt", 15, "default")
    assert said(entry, "md5", "sha256") == (uploaded["md5"], SHA256)
    assert said(entry, "code", "details") == ("", {"visibility": "public"})


@pytest.mark.parametrize(
    "content, given, code, hashed",
    [
        (b"", {}, "EmptyFile", True),
        (TEXT, {"profile": "image"}, "UnsupportedType", True),
        (TEXT, {"profile": "none"}, "UnknownProfile", False),
        (TEXT, {"title": "x" * 300}, "InvalidInput", True),
        (picture()[:60], {"profile": "image"}, "InvalidImage", True),
    ],
)
def test_a_refused_upload_is_recorded_with_the_type_of_its_error(api, alice, content, given, code, hashed):
    assert api.upload(content, **given)["__typename"] == code
    entry = only(Action.REFUSAL)
    assert said(entry, "code", "username", "via", "address") == (code, "alice", Via.TOKEN, "127.0.0.1")
    assert said(entry, "size", "file_id") == (len(content), None)
    assert bool(entry.sha256) is bool(entry.md5) is hashed
    assert entry.profile == given.get("profile", "default")
    assert not entries(Action.UPLOAD)


def test_what_was_cut_off_has_no_hashes_of_a_part(api: Api) -> None:
    content = b"\x00" * (6 * 1024 * 1024)
    assert api.upload(content, "large.jpg", profile="avatar")["__typename"] == "FileTooLarge"
    entry = only(Action.REFUSAL)
    assert (entry.code, entry.md5, entry.sha256) == ("FileTooLarge", "", "")
    assert entry.size is not None
    assert entry.size > 5_000_000


def test_each_file_of_a_request_has_its_own_entry(api: Api) -> None:
    files = [("a.png", picture(), "image/png"), ("b.txt", TEXT, "text/plain")]
    api.upload_many(files, profile="image")
    found = entries(Action.UPLOAD, Action.REFUSAL)
    assert [(entry.action, entry.name) for entry in found] == [("upload", "a.png"), ("refusal", "b.txt")]


def test_names_are_recorded_as_they_may_be_shown(alice: User) -> None:
    hostile = "../\x1b[31mred\r\nroot\u202egpj.exe"
    file = Received.of_bytes(b"", name=hostile)
    with pytest.raises(FileError):
        services.upload(owner=alice, received=file, profile="x\x1b[2J\n" * 20, description={})
    entry = only(Action.REFUSAL)
    assert entry.name == "[31mredrootgpj.exe"
    assert entry.profile.isprintable()
    assert len(entry.profile) <= 32


def test_an_update_says_which_fields_changed_and_of_texts_nothing(api: Api, alice: User) -> None:
    file = keep(alice, TEXT, name="old.txt", title="kept")
    given = {"title": "kept", "description": "secret plans", "tags": ["a"], "name": "new.txt"}
    api.run(UPDATE, input={"id": id_of(file), "visibility": "PUBLIC", **given})
    entry = only(Action.UPDATE)
    assert entry.details == {
        "changed": ["description", "name", "tags", "visibility"],
        "name": ["old.txt", "new.txt"],
        "visibility": ["private", "public"],
    }
    assert said(entry, "file_id", "name", "sha256") == (file.pk, "new.txt", SHA256)
    assert said(entry, "username", "owner", "as_staff") == ("alice", "alice", False)


def test_a_deletion_says_what_was_deleted(api: Api, alice: User) -> None:
    file = keep(alice, TEXT, name="hello.txt", profile="document")
    api.run(DELETE, ids=[id_of(file)])
    entry = only(Action.DELETE)
    assert said(entry, "file_id", "name", "size", "sha256") == (file.pk, "hello.txt", 15, SHA256)
    assert said(entry, "profile", "username", "via") == ("document", "alice", Via.TOKEN)


def test_what_was_not_deleted_is_not_recorded(api: Api, alice: User, bob: User) -> None:
    mine, theirs = keep(alice, b"1"), keep(bob, b"2")
    api.run(DELETE, ids=[id_of(mine), id_of(theirs), id_of(mine), global_id("File", uuid.uuid4())])
    assert only(Action.DELETE).file_id == mine.pk


def test_a_row_that_somebody_else_has_deleted_is_recorded_once(alice: User, staff: User) -> None:
    file = keep(alice, TEXT)
    stale = File.objects.get(pk=file.pk)
    services.delete_row(file, by=alice)
    services.delete_row(stale, by=staff)
    assert only(Action.DELETE).username == "alice"


def test_staff_at_work_on_files_of_others_stand_out(staff_api: Api, staff: User, alice: User) -> None:
    theirs, own = keep(alice, b"1"), keep(staff, b"2")
    staff_api.run(UPDATE, input={"id": id_of(theirs), "title": "seen"})
    staff_api.run(DELETE, ids=[id_of(theirs), id_of(own)])
    staff_token = staff.api_tokens.get().pk
    found = entries(Action.UPDATE, Action.DELETE)
    assert [said(entry, "username", "owner", "as_staff", "via", "token_id") for entry in found] == [
        ("staff", "alice", True, Via.TOKEN, staff_token),
        ("staff", "alice", True, Via.TOKEN, staff_token),
        ("staff", "staff", False, Via.TOKEN, staff_token),
    ]


def test_a_page_is_told_from_a_program(alice: User) -> None:
    client = Client()
    client.force_login(alice)
    file = keep(alice, TEXT)
    client.post(
        "/graphql",
        {"query": DELETE, "variables": {"ids": [id_of(file)]}},
        content_type="application/json",
        REMOTE_ADDR="2001:db8::7",
    )
    assert said(only(Action.DELETE), "via", "token_id", "address") == (Via.BROWSER, None, "2001:db8::7")


def test_outside_of_requests_it_is_the_service_that_acts(alice: User) -> None:
    services.delete_row(keep(alice, TEXT), by=None)
    entry = only(Action.DELETE)
    assert said(entry, "user_id", "username", "via", "address") == (None, "", Via.SYSTEM, "")
    assert said(entry, "owner", "as_staff") == ("alice", False)


def test_what_is_a_command_s_is_the_service_s(alice, storage_root, django_capture_on_commit_callbacks):
    lost = record(alice, name="lost.bin")
    with django_capture_on_commit_callbacks(execute=True):
        call_command(
            *("reconcile", "--apply", "--delete-rows", "--grace", "0s", "--max-deletions", "9"),
            stdout=io.StringIO(),
            stderr=io.StringIO(),
        )
    call_command("create_token", "alice", stdout=io.StringIO())
    deleted, issued = entries(Action.DELETE, Action.TOKEN_ISSUE)
    assert said(deleted, "file_id", "name", "owner") == (lost.pk, "lost.bin", "alice")
    for entry in (deleted, issued):
        assert said(entry, "username", "via", "owner", "as_staff") == ("", Via.SYSTEM, "alice", False)


def test_files_of_the_demo_are_their_owner_s(alice: User, monkeypatch) -> None:
    monkeypatch.setattr(demo, "FILES", shelf.FILES[-1:])
    call_command("demo", stdout=io.StringIO())
    assert said(only(Action.UPLOAD), "username", "owner", "via") == ("alice", "alice", Via.SYSTEM)


def test_an_origin_ends_with_its_request(api: Api, alice: User) -> None:
    with log.coming_from(Origin(via=Via.ADMIN, address="192.0.2.1")):
        api.upload(TEXT)
        tokens.issue(user=alice, name="after the request")
    assert only(Action.UPLOAD).address == "127.0.0.1"
    issued = entries(Action.TOKEN_ISSUE)[-1]
    assert said(issued, "via", "address") == (Via.ADMIN, "192.0.2.1")


def test_the_log_outlives_files_users_and_tokens(api: Api, alice: User) -> None:
    api.upload(TEXT)
    before = Entry.objects.order_by("id").values()
    kept = list(before.all())
    File.objects.all().delete()
    alice.delete()
    assert list(before.all()) == kept
    assert kept[-1]["username"] == "alice"


# --- together with the change, or not at all -------------------------------------------------------


def test_an_upload_that_cannot_be_recorded_is_none(api, storage_root, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OperationalError("the disk is full")

    monkeypatch.setattr(log, "write", full)
    assert api.upload(TEXT)["__typename"] == "StorageUnavailable"
    assert not File.objects.exists()
    assert not [each for each in storage_root.rglob("*") if each.is_file()]


@pytest.mark.parametrize("query, given", [(UPDATE, {"input": {"title": "new"}}), (DELETE, {})])
def test_a_change_that_cannot_be_recorded_is_none(api, alice, monkeypatch, query, given):
    def full(*_: object, **__: object) -> None:
        raise OperationalError("the disk is full")

    file = keep(alice, TEXT, title="old")
    monkeypatch.setattr(log, "write", full)
    id = id_of(file)
    variables = {"input": {"id": id, **given["input"]}} if given else {"ids": [id]}
    assert "StorageUnavailable" in api.post(query, **variables).content.decode()
    file.refresh_from_db()
    assert file.title == "old"


def test_a_change_that_fails_is_not_recorded(alice: User, staff: User) -> None:
    file = keep(alice, TEXT)

    def undone(change: Callable[[], object]) -> None:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            raise ZeroDivisionError(change())

    undone(lambda: services.update(viewer=alice, file_id=file.pk, changes={"title": "new"}))
    undone(lambda: services.delete(viewer=alice, file_id=file.pk))
    undone(lambda: tokens.issue(user=alice, name="never"))
    assert not Entry.objects.exists()
    assert File.objects.get().title is None


def test_a_row_that_cannot_be_inserted_is_recorded_as_refused_alone(alice, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise OSError("no route to the storage")

    monkeypatch.setattr("files.disk.DiskStorage.save", broken)
    with pytest.raises(StorageUnavailable):
        services.upload(owner=alice, received=Received.of_bytes(TEXT), profile="default", description={})
    assert only(Action.REFUSAL).code == "StorageUnavailable"
    assert not entries(Action.UPLOAD)


def test_a_refusal_that_cannot_be_recorded_is_answered_all_the_same(api, monkeypatch, caplog):
    def full(*_: object, **__: object) -> None:
        raise OperationalError("the disk is full")

    monkeypatch.setattr(Entry, "save", full)
    assert api.upload(b"")["__typename"] == "EmptyFile"
    assert "This refusal of user" in caplog.text
    caplog.clear()


def test_a_database_that_is_down_is_not_asked_once_more(api, monkeypatch):
    asked: list[object] = []

    def down(*_: object, **__: object) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(prepared, "insert", down)
    monkeypatch.setattr(Entry, "save", lambda *_, **__: asked.append(1))
    assert api.upload(TEXT)["__typename"] == "StorageUnavailable"
    assert not asked


def test_an_upload_costs_one_insert_more(alice: User) -> None:
    with CaptureQueriesContext(connection) as captured:
        services.upload(owner=alice, received=Received.of_bytes(TEXT), profile="default", description={})
    about = [each["sql"] for each in captured if "audit_entry" in each["sql"]]
    assert len(about) == 1
    assert about[0].startswith("INSERT")


# --- tokens and sign-ins ---------------------------------------------------------------------------


def test_a_token_is_recorded_from_its_issue_to_its_end(alice: User, staff: User) -> None:
    token, secret = tokens.issue(user=alice, name="backup", scopes=[Scope.READ], by=staff)
    token.scopes = ["read", "write"]
    tokens.change(token, by=staff)
    tokens.revoke(token, by=alice)
    tokens.revoke(token, by=staff)
    found = list(Entry.objects.order_by("id"))
    assert [said(entry, "action", "username", "owner", "as_staff") for entry in found] == [
        (Action.TOKEN_ISSUE, "staff", "alice", True),
        (Action.TOKEN_CHANGE, "staff", "alice", True),
        (Action.TOKEN_REVOKE, "alice", "alice", False),
    ]
    assert [entry.details["token"] for entry in found] == [token.pk] * 3
    assert [entry.details["scopes"] for entry in found[:2]] == [["read"], ["read", "write"]]
    everything = str(list(Entry.objects.values()))
    assert secret not in everything
    assert token.digest not in everything


def test_two_who_revoke_one_token_are_recorded_once(alice: User) -> None:
    token, _ = tokens.issue(user=alice, name="lost")
    tokens.revoke(ApiToken.objects.get())
    tokens.revoke(token)
    assert len(entries(Action.TOKEN_REVOKE)) == 1


def test_tokens_of_the_admin_are_recorded_as_the_admin_s(office: Client, staff: User, alice: User) -> None:
    given = {"name": "site", "scopes": ["read"], "expires_at_0": "", "expires_at_1": ""}
    office.post("/admin/accounts/apitoken/add/", {"user": alice.pk, **given})
    token = ApiToken.objects.get()
    office.post(f"/admin/accounts/apitoken/{token.pk}/change/", {**given, "name": "web site"})
    other = tokens.issue(user=alice, name="other")[0]
    selected = {"action": "revoke_selected", "_selected_action": [str(other.pk)]}
    office.post("/admin/accounts/apitoken/", selected)
    office.post(f"/admin/accounts/apitoken/{token.pk}/delete/", {"post": "yes"})
    found = [entry for entry in Entry.objects.order_by("id") if entry.via == Via.ADMIN]
    assert [said(entry, "action", "username", "owner") for entry in found] == [
        (Action.TOKEN_ISSUE, "staff", "alice"),
        (Action.TOKEN_CHANGE, "staff", "alice"),
        (Action.TOKEN_REVOKE, "staff", "alice"),
        (Action.TOKEN_REVOKE, "staff", "alice"),
    ]
    assert [entry.details["name"] for entry in found] == ["site", "web site", "other", "web site"]
    assert {entry.address for entry in found} == {"127.0.0.1"}
    assert list(ApiToken.objects.all()) == [other]


def test_selected_tokens_that_are_deleted_are_recorded_each(office: Client, alice: User) -> None:
    made = [tokens.issue(user=alice, name=name)[0].pk for name in "ab"]
    selected = {"action": "delete_selected", "_selected_action": made, "post": "yes"}
    office.post("/admin/accounts/apitoken/", selected)
    assert sorted(entry.details["token"] for entry in entries(Action.TOKEN_REVOKE)) == sorted(made)
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize("path, via", [("/login/", Via.BROWSER), ("/admin/login/", Via.ADMIN)])
def test_a_sign_in_that_fails_is_recorded_without_what_was_typed(client, staff, path, via):
    client.post(path, {"username": "staff", "password": "wr0ng"}, REMOTE_ADDR="192.0.2.9")
    client.post(path, {"username": "my own password", "password": "staff"}, REMOTE_ADDR="192.0.2.9")
    first, second = entries(Action.SIGN_IN_FAILURE)
    assert said(first, "user_id", "username", "via", "address") == (staff.pk, "staff", via, "192.0.2.9")
    assert said(second, "user_id", "username", "via", "address") == (None, "", via, "192.0.2.9")
    everything = str(list(Entry.objects.values()))
    assert "wr0ng" not in everything
    assert "my own password" not in everything


def test_a_sign_in_that_holds_is_not_recorded(client: Client, staff: User) -> None:
    assert client.post("/login/", {"username": "staff", "password": "staff"}).status_code == 302
    assert not Entry.objects.exists()


# --- the admin: files, and the log itself ----------------------------------------------------------


def test_what_the_admin_does_to_files_is_recorded_as_the_admin_s(
    office, alice, django_capture_on_commit_callbacks
):
    one, *others = (keep(alice, content) for content in (b"1", b"2", b"3"))
    with django_capture_on_commit_callbacks(execute=True):
        office.post(f"/admin/files/file/{one.pk}/delete/", {"post": "yes"})
        selected = {"_selected_action": [str(each.pk) for each in others], "post": "yes"}
        office.post("/admin/files/file/", {"action": "delete_selected", **selected})
    found = entries(Action.DELETE)
    assert {entry.file_id for entry in found} == {one.pk, *(each.pk for each in others)}
    assert {said(entry, "username", "owner", "as_staff", "via", "address") for entry in found} == {
        ("staff", "alice", True, Via.ADMIN, "127.0.0.1")
    }
    assert not File.objects.exists()


def test_many_deletions_at_once_are_recorded_by_one_statement(office: Client, alice: User) -> None:
    selected = [str(record(alice).pk) for _ in range(5)]
    with CaptureQueriesContext(connection) as captured:
        given = {"action": "delete_selected", "_selected_action": selected, "post": "yes"}
        office.post("/admin/files/file/", given)
    assert len([each for each in captured if 'INSERT INTO "audit_entry"' in each["sql"]]) == 1
    assert len(entries(Action.DELETE)) == 5


def test_a_change_in_the_admin_is_recorded_once(office: Client, alice: User) -> None:
    file = keep(alice, TEXT, name="a.txt")
    given = {"name": "a.txt", "title": "", "description": "", "tags": "[]", "metadata": "{}"}
    initial = {"initial-tags": "[]", "initial-metadata": "{}"}
    answer = office.post(
        f"/admin/files/file/{file.pk}/change/", {**given, **initial, "visibility": Visibility.PUBLIC}
    )
    assert answer.status_code == 302
    entry = only(Action.UPDATE)
    assert entry.details == {"changed": ["visibility"], "visibility": ["private", "public"]}
    assert said(entry, "username", "via", "as_staff") == ("staff", Via.ADMIN, True)


@pytest.fixture
def entry(alice: User) -> Entry:
    tokens.issue(user=alice, name="first")
    return Entry.objects.get()


def test_superusers_too_may_only_look(office: Client, entry: Entry) -> None:
    page = office.get(f"{LIST}{entry.pk}/change/").content.decode()
    assert "token issued" in page
    assert 'name="_save"' not in page
    assert office.get(f"{LIST}add/").status_code == 403
    assert office.get(f"{LIST}{entry.pk}/delete/").status_code == 403
    assert office.post(f"{LIST}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    assert office.post(f"{LIST}{entry.pk}/change/", {"username": "nobody"}).status_code == 403
    office.post(LIST, {"action": "delete_selected", "_selected_action": [str(entry.pk)], "post": "yes"})
    before = entry.username
    entry.refresh_from_db()
    assert entry.username == before


def test_staff_without_the_permission_see_no_log(alice: User, entry: Entry) -> None:
    alice.is_staff = True
    alice.save()
    client = Client()
    client.force_login(alice)
    assert client.get(LIST).status_code == 403
    alice.user_permissions.add(Permission.objects.get(codename="view_entry"))
    assert client.get(LIST).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.save(),
        lambda entry: entry.delete(),
        lambda entry: Entry.objects.update(username="nobody"),
        lambda entry: Entry.objects.all().delete(),
        lambda entry: Entry.objects.bulk_update([entry], ["username"]),
    ],
)
def test_code_cannot_change_or_delete_entries(entry: Entry, change: Callable[[Entry], Any]) -> None:
    kept = Entry.objects.values().get()
    entry.username = "nobody"
    with pytest.raises(AppendOnly), transaction.atomic():
        change(entry)
    assert Entry.objects.values().get() == kept


def shown(client: Client, **query: str) -> int:
    """How many entries the list has."""
    answer = client.get(LIST, query)
    assert answer.status_code == 200
    count: int = answer.context["cl"].result_count
    return count


def test_the_log_is_filtered_and_searched(office: Client, api: Api, staff_api: Api, alice: User) -> None:
    api.upload(TEXT)
    api.upload(b"")
    file = File.objects.get()
    staff_api.run(DELETE, ids=[id_of(file)])
    assert shown(office) == 5
    assert shown(office, action__exact="refusal") == 1
    assert shown(office, as_staff__exact="1") == 1
    assert shown(office, q="alice") == 2
    assert shown(office, q="alic") == 0
    assert shown(office, q=f" {file.pk} ") == 2


@pytest.mark.parametrize(
    "query, index",
    [
        ({}, "audit_at"),
        ({"action__exact": "refusal"}, "audit_action"),
        ({"as_staff__exact": "1"}, "audit_as_staff"),
        ({"at__gte": "2026-01-01 00:00:00Z", "at__lt": "2027-01-01 00:00:00Z"}, "audit_at"),
        ({"q": "alice"}, "audit_username"),
        ({"q": str(uuid.uuid4())}, "audit_file"),
    ],
)
def test_what_the_admin_offers_is_served_by_an_index(
    office: Client, query: dict[str, str], index: str
) -> None:
    with CaptureQueriesContext(connection) as captured:
        shown(office, **query)
    asked = [each["sql"] for each in captured if 'FROM "audit_entry"' in each["sql"]]
    assert len(asked) >= 2
    for sql in asked:
        assert_served_by(sql, index)
