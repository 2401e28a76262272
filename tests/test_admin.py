"""The admin: finding files, changing them under the rules of clients, deleting their bytes too; tokens."""

import hashlib
import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone
from PIL import Image

from accounts import tokens
from accounts.models import ApiToken, User
from files.disk import DiskStorage
from files.models import File, FileKind, Visibility
from tests.api import Api, address, keep, picture, record
from tests.conftest import stored_files

LIST = "/admin/files/file/"
IMAGE: dict[str, Any] = {
    "kind": FileKind.IMAGE,
    "content_type": "image/png",
    "image_format": "PNG",
    "width": 400,
    "height": 200,
    "frames": 1,
}


@pytest.fixture
def office(staff: User) -> Client:
    """The browser of somebody who is signed in to the admin."""
    client = Client()
    client.force_login(staff)
    return client


def html(client: Client, path: str, **query: str) -> str:
    answer = client.get(path, query)
    assert answer.status_code == 200
    return answer.content.decode()


def names(client: Client, **query: str) -> list[str]:
    """The names of the files that the list shows, in its order."""
    return re.findall(r'field-name"><a href="[^"]*">([^<]*)</a>', html(client, LIST, **query))


def page_of(file: File) -> str:
    return f"{LIST}{file.pk}/change/"


def form(file: File, **changes: object) -> dict[str, object]:
    """What the page of a file sends when it is saved with these fields changed."""
    given = {
        "name": file.name,
        "title": file.title or "",
        "description": file.description or "",
        "tags": json.dumps(file.tags),
        "initial-tags": json.dumps(file.tags),
        "metadata": json.dumps(file.metadata),
        "initial-metadata": json.dumps(file.metadata),
        "visibility": file.visibility,
    }
    return given | changes


# --- who may ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [LIST, "/admin/accounts/user/", "/admin/accounts/apitoken/", "/admin/"])
def test_only_staff_come_in(client, alice, path):
    for signed_in in (False, True):
        if signed_in:
            client.force_login(alice)
        answer = client.get(path)
        assert answer.status_code == 302
        assert answer.headers["Location"] == f"/admin/login/?next={path}"


def test_an_api_token_does_not_open_the_admin(staff):
    client = Api(tokens.issue(user=staff, name="tests")[1]).client
    assert client.get(LIST).status_code == 302


def test_staff_without_the_permission_see_no_files(client, alice):
    User.objects.filter(pk=alice.pk).update(is_staff=True)
    client.force_login(alice)
    file = record(alice)
    assert client.get(LIST).status_code == 403
    assert client.post(page_of(file), form(file, name="new.txt")).status_code == 403
    file.refresh_from_db()
    assert file.name == "file.bin"


# --- finding files ---------------------------------------------------------------------------------


@pytest.fixture
def shelf(alice: User, bob: User) -> list[File]:
    first = datetime(2026, 1, 1, 12, tzinfo=UTC)
    return [
        record(alice, name="cat.png", size=2048, created_at=first, title="Felix", **IMAGE),
        record(
            bob,
            name="cat.pdf",
            kind=FileKind.DOCUMENT,
            content_type="application/pdf",
            profile="document",
            visibility=Visibility.PUBLIC,
            created_at=first + timedelta(days=1),
        ),
        record(None, name="dog.bin", created_at=first + timedelta(days=40)),
    ]


def test_all_files_are_listed_newest_first(office, shelf):
    assert names(office) == ["dog.bin", "cat.pdf", "cat.png"]
    page = html(office, LIST)
    for said in ("2.0\xa0KB", "application/pdf", "alice", "bob"):
        assert said in page


@pytest.mark.parametrize(
    "query, found",
    [
        ({"q": "cat"}, ["cat.pdf", "cat.png"]),
        ({"q": "felix"}, ["cat.png"]),
        ({"q": "bob"}, ["cat.pdf"]),
        ({"q": "nothing"}, []),
        ({"q": "cat", "kind__exact": "image"}, ["cat.png"]),
        ({"kind__exact": "document"}, ["cat.pdf"]),
        ({"visibility__exact": "public"}, ["cat.pdf"]),
        ({"profile": "default"}, ["dog.bin", "cat.png"]),
        ({"content_type": "image/png"}, ["cat.png"]),
        ({"created_at__year": "2026", "created_at__month": "1"}, ["cat.pdf", "cat.png"]),
        ({"o": "5"}, ["dog.bin", "cat.pdf", "cat.png"]),
        ({"o": "-5"}, ["cat.png", "dog.bin", "cat.pdf"]),
    ],
)
def test_files_are_searched_filtered_and_sorted(office, shelf, query, found):
    shown = names(office, **query)
    assert sorted(shown) == sorted(found) if "o" in query else shown == found
    if "o" in query:
        assert (shown[0] == "cat.png") is query["o"].startswith("-")


def test_files_are_searched_by_their_hash(office, shelf):
    assert names(office, q=shelf[1].sha256) == ["cat.pdf"]


@pytest.mark.parametrize("query", ["\x00", "%", "'\"\\", "x" * 3000, "☃"])
def test_an_odd_search_finds_nothing_and_breaks_nothing(office, shelf, query):
    assert office.get(LIST, {"q": query}).status_code == 200


def test_a_long_list_costs_a_constant_number_of_queries(office, alice, bob, django_assert_max_num_queries):
    for number in range(30):
        record(alice if number % 2 else bob, name=f"{number}.png", **IMAGE)
    with django_assert_max_num_queries(12):
        assert len(names(office)) == 30


def test_images_have_a_preview_and_other_files_have_none(office, alice):
    content = picture(size=(400, 200))
    image, other = keep(alice, content, name="a.png", **IMAGE), keep(alice, b"<script>", name="b.png")
    page = html(office, LIST)
    (source,) = re.findall(r'<img src="(/renditions/[^"]*)"[^>]* width="240" height="120">', page)
    answer = Client().get(source.replace("&amp;", "&"), headers={"Accept": "image/webp,*/*"})
    with Image.open(io.BytesIO(answer.getvalue())) as shown:
        assert (shown.format, shown.size) == ("WEBP", (240, 120))
    assert answer.headers["Content-Disposition"].startswith("inline")
    assert str(image.pk) in source
    assert str(other.pk) not in "".join(re.findall(r'<img src="([^"]*)"', page))


def test_names_are_text_and_not_markup(office, alice):
    file = record(alice, name="<script>alert(1)</script>.png", title="<b>", **IMAGE)
    for path in (LIST, page_of(file), f"{LIST}{file.pk}/delete/"):
        assert "<script>alert" not in html(office, path)


# --- changing files --------------------------------------------------------------------------------


def test_a_page_shows_what_cannot_be_changed_as_text(office, alice):
    content = picture(size=(400, 200))
    file = keep(alice, content, name="cat.png", **IMAGE)
    page = html(office, page_of(file))
    for said in (file.sha256, file.md5, file.key, "image/png", "alice"):
        assert said in page
    assert set(re.findall(r'name="([a-z0-9_]+)"', page)) & {field.name for field in File._meta.fields} == {
        "name",
        "title",
        "description",
        "tags",
        "metadata",
        "visibility",
    }
    (link,) = re.findall(r'field-link.*?<a href="(/files/[^"]*)"', page, re.DOTALL)
    assert Client().get(link.replace("&amp;", "&")).getvalue() == content


def test_staff_change_what_is_said_of_a_file(office, alice):
    long_ago = datetime(2026, 1, 31, tzinfo=UTC)
    file = record(alice, updated_at=long_ago)
    changes = {
        "name": " new.txt ",
        "title": "New",
        "description": "Two\nlines",
        "tags": '["a", "b", "a"]',
        "metadata": '{"a": {"b": [1]}}',
        "visibility": "public",
    }
    assert office.post(page_of(file), form(file, **changes)).status_code == 302
    file.refresh_from_db()
    assert (file.name, file.title, file.description) == ("new.txt", "New", "Two\nlines")
    assert (file.tags, file.metadata, file.visibility) == (["a", "b"], {"a": {"b": [1]}}, "public")
    assert file.updated_at > long_ago
    assert file.owner == alice


def test_what_is_emptied_is_none(office, alice):
    file = record(alice, title="Old", description="Old", tags=["old"], metadata={"old": 1})
    emptied = {"title": "", "description": "", "tags": "", "metadata": ""}
    assert office.post(page_of(file), form(file, **emptied)).status_code == 302
    file.refresh_from_db()
    assert (file.title, file.description, file.tags, file.metadata) == (None, None, [], {})


@pytest.mark.parametrize(
    "field, value",
    [
        ("name", ""),
        ("name", "../../etc/passwd"),
        ("name", ".."),
        ("name", "exe.\u202egpj"),
        ("name", "a\x00b"),
        ("name", "x" * 256),
        ("title", "x" * 256),
        ("description", "x" * 5001),
        ("tags", "nonsense"),
        ("tags", '[""]'),
        ("tags", json.dumps(["x" * 65])),
        ("tags", "5"),
        ("tags", "[1, 2]"),
        ("tags", "[null]"),
        ("tags", '[["a"]]'),
        ("tags", '{"a": 1}'),
        ("tags", '"word"'),
        ("metadata", "nonsense"),
        ("metadata", "[]"),
        ("metadata", '"text"'),
        ("metadata", "5"),
        ("metadata", '{"a": NaN}'),
        ("metadata", '{"a": "\\ud800"}'),
        ("metadata", '{"a": "\\u0000"}'),
        ("metadata", json.dumps({"a": "x" * 17_000})),
        ("metadata", '{"a": ' + "9" * 5000 + "}"),
        ("metadata", '{"a": 1e999}'),
        ("metadata", '{"a":' * 30 + "1" + "}" * 30),
        ("metadata", "[" * 100_000),
        ("visibility", "everybody"),
        ("visibility", ""),
    ],
)
def test_what_clients_may_not_say_the_form_refuses(office, alice, field, value):
    file = record(alice, name="old.txt", tags=["old"], metadata={"old": 1})
    answer = office.post(page_of(file), form(file, **{field: value}))
    assert answer.status_code == 200
    assert list(answer.context["adminform"].form.errors) == [field]
    file.refresh_from_db()
    assert (file.name, file.tags, file.metadata, file.visibility) == (
        "old.txt",
        ["old"],
        {"old": 1},
        "private",
    )


def test_what_the_form_takes_can_be_answered(office, api, alice):
    """Python reads larger numbers from JSON than can be written into an answer."""
    file = record(alice)
    office.post(page_of(file), form(file, metadata='{"a": 1' + "0" * 25 + "}"))
    assert api.run("{ files { edges { node { metadata } } } }")["files"]["edges"]


def test_what_cannot_be_changed_is_not_changed_by_sending_it(office, alice, bob):
    file = record(alice, name="old.txt", size=5)
    sent = {"size": 1, "key": "x", "owner": bob.pk, "sha256": "0" * 64, "content_type": "text/html"}
    assert office.post(page_of(file), form(file, title="New", **sent)).status_code == 302
    changed = File.objects.get()
    assert (changed.title, changed.size, changed.key, changed.owner) == ("New", 5, file.key, alice)
    assert (changed.sha256, changed.content_type) == (file.sha256, file.content_type)


def test_files_are_not_made_in_the_admin(office):
    assert office.get(f"{LIST}add/").status_code == 403


# --- deleting files --------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_deleting_a_file_deletes_its_bytes(office, alice, storage_root: Path):
    file, other = keep(alice, b"one"), keep(alice, b"two")
    path = f"{LIST}{file.pk}/delete/"
    assert file.name in html(office, path)
    assert stored_files(storage_root) == sorted([file.key, other.key])
    assert office.post(path, {"post": "yes"}).status_code == 302
    assert list(File.objects.all()) == [other]
    assert stored_files(storage_root) == [other.key]
    assert Client().get(address(file)).status_code == 404


@pytest.mark.django_db(transaction=True)
def test_deleting_selected_files_deletes_their_bytes(office, alice, bob, storage_root: Path):
    files = [keep(alice, b"one"), keep(bob, b"two"), keep(None, b"three")]
    chosen = {"action": "delete_selected", "_selected_action": [str(file.pk) for file in files[:2]]}
    asked = office.post(LIST, chosen)
    assert asked.status_code == 200
    assert len(stored_files(storage_root)) == 3
    assert office.post(LIST, {**chosen, "post": "yes"}).status_code == 302
    assert list(File.objects.all()) == [files[2]]
    assert stored_files(storage_root) == [files[2].key]


@pytest.mark.django_db(transaction=True)
def test_bytes_stay_when_the_deletion_is_rolled_back(office, alice, storage_root: Path, monkeypatch):
    files = [keep(alice, b"one"), keep(alice, b"two")]
    delete = File.delete
    calls: list[File] = []

    def second_fails(file: File) -> Any:
        calls.append(file)
        if len(calls) == 2:
            raise RuntimeError("in the middle")
        return delete(file)

    monkeypatch.setattr(File, "delete", second_fails)
    chosen = {
        "action": "delete_selected",
        "_selected_action": [str(file.pk) for file in files],
        "post": "yes",
    }
    office.raise_request_exception = False
    assert office.post(LIST, chosen).status_code == 500
    assert File.objects.count() == 2
    assert stored_files(storage_root) == sorted(file.key for file in files)


@pytest.mark.django_db(transaction=True)
def test_a_storage_that_is_down_does_not_bring_back_the_row(office, alice, monkeypatch):
    file = keep(alice, b"one")

    def down(*_: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(DiskStorage, "delete", down)
    assert office.post(f"{LIST}{file.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not File.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_deleting_a_user_keeps_the_files(office, alice, storage_root: Path):
    file = keep(alice, b"one")
    assert office.post(f"/admin/accounts/user/{alice.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not User.objects.filter(username="alice").exists()
    assert File.objects.get().owner is None
    assert stored_files(storage_root) == [file.key]


# --- users and tokens ------------------------------------------------------------------------------


def test_the_page_of_a_user_shows_and_changes_the_quota(office, alice):
    path = f"/admin/accounts/user/{alice.pk}/change/"
    page = html(office, path)
    assert 'name="quota"' in page
    answer = office.get(path)
    sent = {
        name: value for name, value in answer.context["adminform"].form.initial.items() if value is not None
    }
    sent |= {
        "quota": "5000000000",
        "date_joined_0": "2026-01-31",
        "date_joined_1": "12:00:00",
        "groups": [],
        "user_permissions": [],
    }
    del sent["date_joined"]
    assert office.post(path, sent).status_code == 302
    alice.refresh_from_db()
    assert alice.quota == 5_000_000_000


ADD_TOKEN = "/admin/accounts/apitoken/add/"
SECRET = re.compile(r"coffer_[\w-]{20,}")


def make_token(client: Client, user: User, /, **given: object) -> Any:
    sent = {"user": user.pk, "name": "a program", "scopes": ["read"], "expires_at_0": "", "expires_at_1": ""}
    return client.post(ADD_TOKEN, sent | given, follow=True)


def test_a_new_token_is_shown_once_and_only_its_hash_is_stored(office, alice):
    page = make_token(office, alice).content.decode()
    secrets = SECRET.findall(page)
    assert len(secrets) == 1
    secret = secrets[0]

    token = ApiToken.objects.get()
    assert token.digest == hashlib.sha256(secret.encode()).hexdigest()
    assert (token.user, token.name, token.scopes, token.expires_at) == (alice, "a program", ["read"], None)
    assert all(secret not in str(getattr(token, field.name)) for field in ApiToken._meta.fields)
    assert Api(secret).run("{ viewer { username } }") == {"viewer": {"username": "alice"}}

    for path in ("/admin/accounts/apitoken/", f"/admin/accounts/apitoken/{token.pk}/change/", "/admin/"):
        later = html(office, path)
        assert secret not in later
        assert token.digest not in later


def test_a_new_token_is_in_no_log_and_no_session(office, alice, caplog):
    secret = SECRET.findall(make_token(office, alice).content.decode())[0]
    assert secret not in caplog.text
    assert all(secret not in f"{entry.change_message}{entry.object_repr}" for entry in LogEntry.objects.all())
    assert LogEntry.objects.exists()
    assert all(secret not in str(session.get_decoded()) for session in Session.objects.all())


def test_a_token_can_expire(office, alice):
    make_token(office, alice, expires_at_0="2020-01-31", expires_at_1="12:00:00")
    token = ApiToken.objects.get()
    assert token.expires_at == datetime(2020, 1, 31, 12, tzinfo=UTC)
    assert not token.is_usable


@pytest.mark.parametrize("field, value", [("scopes", []), ("scopes", ["admin"]), ("name", ""), ("user", 0)])
def test_a_token_needs_a_user_a_name_and_scopes(office, alice, field, value):
    answer = make_token(office, alice, **{field: value})
    assert list(answer.context["adminform"].form.errors) == [field]
    assert not ApiToken.objects.exists()


def test_who_may_only_look_at_tokens_revokes_none(alice, bob):
    token, _ = tokens.issue(user=alice, name="in use")
    bob.is_staff = True
    bob.save()
    bob.user_permissions.add(Permission.objects.get(codename="view_apitoken"))
    client = Client()
    client.force_login(bob)
    chosen = {"action": "revoke_selected", "_selected_action": [str(token.pk)]}
    client.post("/admin/accounts/apitoken/", chosen)
    token.refresh_from_db()
    assert token.revoked_at is None
    assert client.get("/admin/accounts/apitoken/").status_code == 200


def test_revoking_ends_the_selected_tokens_alone(office, alice):
    (first, first_secret), (_, second_secret) = (tokens.issue(user=alice, name=name) for name in "ab")
    path = "/admin/accounts/apitoken/"
    answer = office.post(
        path, {"action": "revoke_selected", "_selected_action": [str(first.pk)]}, follow=True
    )
    assert "open nothing" in answer.content.decode()
    first.refresh_from_db()
    assert first.revoked_at is not None
    assert first.revoked_at <= timezone.now()
    assert Api(first_secret).post("{ viewer { id } }").status_code == 401
    assert Api(second_secret).post("{ viewer { id } }").status_code == 200


def test_a_token_keeps_its_user_and_its_secret_when_it_is_changed(office, alice, bob):
    token, secret = tokens.issue(user=alice, name="old")
    answer = office.post(
        f"/admin/accounts/apitoken/{token.pk}/change/",
        {
            "name": "new",
            "scopes": ["read", "write"],
            "user": bob.pk,
            "digest": "0" * 64,
            "expires_at_0": "",
            "expires_at_1": "",
        },
        follow=True,
    )
    assert SECRET.search(answer.content.decode()) is None
    token.refresh_from_db()
    assert (token.name, token.user) == ("new", alice)
    assert Api(secret).run("{ viewer { username } }") == {"viewer": {"username": "alice"}}


def test_tokens_are_found_by_name_and_user(office, alice, bob):
    for user, name in ((alice, "backup"), (bob, "website")):
        tokens.issue(user=user, name=name)
    path = "/admin/accounts/apitoken/"
    assert "website" not in html(office, path, q="alice")
    assert "website" in html(office, path, q="web")


# --- users -----------------------------------------------------------------------------------------


def user_form(user: User, **changes: object) -> dict[str, object]:
    """What the page of a user sends when it is saved with these fields changed."""
    joined = user.date_joined
    given = {"username": user.username, "is_active": "on", "quota": ""}
    return given | {"date_joined_0": f"{joined:%Y-%m-%d}", "date_joined_1": f"{joined:%H:%M:%S}"} | changes


def test_staff_say_who_has_to_change_their_password(office: Client, alice: User) -> None:
    path = f"/admin/accounts/user/{alice.pk}/change/"
    assert "The library opens once they have chosen another one" in html(office, path)
    for given, expected in (({"must_change_password": "on"}, True), ({}, False)):
        assert office.post(path, user_form(alice, **given)).status_code == 302
        alice.refresh_from_db()
        assert alice.must_change_password is expected


def test_whoever_has_to_change_their_password_does_so_before_the_library_opens(office, alice):
    page = f"/admin/accounts/user/{alice.pk}"
    given, own = "given-by-staff-7", "of-their-own-7"
    office.post(f"{page}/password/", {"usable_password": "true", "password1": given, "password2": given})
    office.post(f"{page}/change/", user_form(alice, must_change_password="on"))
    browser = Client()
    assert browser.login(username="alice", password=given)
    assert browser.get("/").headers["Location"] == "/password/"
    browser.post("/password/", {"old_password": given, "new_password1": own, "new_password2": own})
    assert browser.get("/").status_code == 200


# --- pages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/admin/", LIST, "/admin/accounts/user/", ADD_TOKEN])
def test_pages_of_the_admin_load_nothing_from_elsewhere(office, path):
    answer = office.get(path)
    sources = re.findall(r'(?:src|href)="([^"]*)"', answer.content.decode())
    assert sources
    assert all(source.startswith(("/", "?", "#", "javascript:")) or source == "" for source in sources)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
