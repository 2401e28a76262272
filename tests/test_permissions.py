"""On whose behalf a request runs, and what it may do: tokens, scopes, sessions and CSRF."""

import re
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import tokens
from accounts.models import ApiToken, Scope, User
from files.models import File, Visibility
from tests.api import UPLOAD, Api, global_id, record

VIEWER = '{"query": "{ viewer { username } }"}'
JSON = "application/json"
MULTIPART = "multipart/form-data; boundary=limit"


class Unreadable:
    """A body that must not be read."""

    def read(self, *_: object) -> bytes:
        raise AssertionError("The body was read.")

    readline = readlines = read

    def __iter__(self) -> Iterator[bytes]:
        raise AssertionError("The body was read.")


def post_unreadable(client: Client, content_type: str = JSON, **extra: Any) -> Any:
    """The response to a POST of 1,000 bytes that fails the test if one of them is read."""
    environ = {
        "wsgi.input": Unreadable(),
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": "1000",
        **extra,
    }
    return client.generic("POST", "/graphql", **environ)


def code(answer: Any) -> str:
    """The code of an answer that is only an error, as every GraphQL client can read it."""
    assert answer.headers["Content-Type"].startswith("application/json")
    body = answer.json()
    assert list(body) == ["errors"]
    (error,) = body["errors"]
    assert error["message"]
    return error["extensions"]["code"]


def bearer(secret: str) -> Client:
    return Client(headers={"Authorization": f"Bearer {secret}"})


def of_scopes(user: User, *scopes: Scope) -> Api:
    return Api(tokens.issue(user=user, name="some", scopes=scopes)[1])


# --- credentials that open nothing -----------------------------------------------------------------


def no_such_token(user: User) -> str:
    return "Bearer coffer_nonsense"


def part_of_a_token(user: User) -> str:
    return f"Bearer {tokens.issue(user=user, name='tests')[1][:-1]}"


def digest_of_a_token(user: User) -> str:
    return f"Bearer {tokens.issue(user=user, name='tests')[0].digest}"


def expired_token(user: User) -> str:
    past = timezone.now() - timedelta(seconds=1)
    return f"Bearer {tokens.issue(user=user, name='tests', expires_at=past)[1]}"


def revoked_token(user: User) -> str:
    token, secret = tokens.issue(user=user, name="tests")
    tokens.revoke(token)
    return f"Bearer {secret}"


def token_of_a_locked_out_user(user: User) -> str:
    User.objects.filter(pk=user.pk).update(is_active=False)
    return f"Bearer {tokens.issue(user=user, name='tests')[1]}"


def token_of_another_scheme(user: User) -> str:
    return f"Token {tokens.issue(user=user, name='tests')[1]}"


def basic_auth(user: User) -> str:
    return "Basic YWxpY2U6c2VjcmV0"


def no_token(user: User) -> str:
    return "Bearer"


def empty_header(user: User) -> str:
    return ""


def not_ascii(user: User) -> str:
    return "Bearer caf\xe9\xff"


BAD_CREDENTIALS = pytest.mark.parametrize(
    "header",
    [
        no_such_token,
        part_of_a_token,
        digest_of_a_token,
        expired_token,
        revoked_token,
        token_of_a_locked_out_user,
        token_of_another_scheme,
        basic_auth,
        no_token,
        empty_header,
        not_ascii,
    ],
)


@BAD_CREDENTIALS
@pytest.mark.parametrize("content_type", [JSON, MULTIPART])
def test_bad_credentials_are_refused_before_the_body_is_read(alice, header, content_type):
    answer = post_unreadable(Client(), content_type, HTTP_AUTHORIZATION=header(alice))
    assert answer.status_code == 401
    assert code(answer) == "UNAUTHENTICATED"
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="coffer"')


@BAD_CREDENTIALS
def test_bad_credentials_are_never_nobodys(alice, header):
    """Also where nobody could read: the client has to learn that its token is of no use."""
    answer = Client().get("/graphql", {"query": "{ __typename }"}, HTTP_AUTHORIZATION=header(alice))
    assert answer.status_code == 401


def test_one_answer_for_all_bad_credentials_tells_nothing_about_them(alice):
    headers = [no_such_token(alice), expired_token(alice), revoked_token(alice), basic_auth(alice)]
    answers = {post_unreadable(Client(), HTTP_AUTHORIZATION=header).content for header in headers}
    assert len(answers) == 1
    assert not any(header.split()[-1].encode() in answer for header in headers for answer in answers)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_a_good_token_speaks_for_its_user(alice, scheme):
    secret = tokens.issue(user=alice, name="tests")[1]
    answer = Client(headers={"Authorization": f"{scheme} {secret}"}).post("/graphql", VIEWER, JSON)
    assert answer.json() == {"data": {"viewer": {"username": "alice"}}}


def test_a_token_works_until_it_is_revoked(alice):
    token, secret = tokens.issue(user=alice, name="tests", expires_at=timezone.now() + timedelta(minutes=1))
    assert bearer(secret).post("/graphql", VIEWER, JSON).status_code == 200
    tokens.revoke(ApiToken.objects.get(pk=token.pk))
    assert bearer(secret).post("/graphql", VIEWER, JSON).status_code == 401


# --- scopes ----------------------------------------------------------------------------------------

READING = [
    "{ viewer { id } }",
    "{ files { totalCount } }",
    "{ storageUsage { files } }",
    f'{{ file(id: "{global_id("File", uuid.UUID(int=1))}") {{ id }} }}',
    f'{{ node(id: "{global_id("File", uuid.UUID(int=1))}") {{ id }} }}',
    f'{{ node(id: "{global_id("User", 1)}") {{ id }} }}',
]


@pytest.mark.parametrize("query", READING)
def test_reading_needs_the_scope_for_it(alice, query):
    (error,) = of_scopes(alice, Scope.WRITE).errors(query)
    assert error["extensions"]["code"] == "FORBIDDEN"
    assert "`read`" in error["message"]
    of_scopes(alice, Scope.READ).run(query)


def test_a_token_without_scopes_may_do_nothing(alice):
    powerless = of_scopes(alice)
    assert powerless.errors("{ viewer { id } }")[0]["extensions"]["code"] == "FORBIDDEN"
    assert (
        powerless.errors('mutation { deleteFiles(ids: ["x"]) { __typename } }')[0]["extensions"]["code"]
        == "FORBIDDEN"
    )
    assert post_unreadable(powerless.client, MULTIPART).status_code == 403


def test_a_scope_that_is_not_known_any_more_opens_nothing(alice):
    token, secret = tokens.issue(user=alice, name="tests")
    ApiToken.objects.filter(pk=token.pk).update(scopes=["admin", "READ"])
    assert Api(secret).errors("{ viewer { id } }")[0]["extensions"]["code"] == "FORBIDDEN"


def test_uploading_needs_the_scope_for_it_before_the_body_is_read(alice):
    answer = post_unreadable(of_scopes(alice, Scope.READ).client, MULTIPART)
    assert answer.status_code == 403
    assert code(answer) == "FORBIDDEN"


def test_a_token_for_writing_uploads_and_sees_what_it_uploaded(alice):
    file = of_scopes(alice, Scope.WRITE).upload(b"hello")
    assert (file["__typename"], file["owner"]) == ("File", {"username": "alice"})


def test_staffs_token_has_no_more_than_its_scopes(staff, alice):
    reader = of_scopes(staff, Scope.READ)
    file = global_id("File", record(alice).pk)
    assert reader.run("{ files { totalCount } }")["files"]["totalCount"] == 1
    query = "mutation($id: ID!) { deleteFiles(ids: [$id]) { __typename } }"
    assert reader.errors(query, id=file)[0]["extensions"]["code"] == "FORBIDDEN"


# --- nobody ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type", [MULTIPART, "multipart/form-data", "Multipart/Form-Data; boundary=limit"]
)
def test_nobody_uploads_and_the_body_is_not_read(db, content_type):
    answer = post_unreadable(Client(), content_type)
    assert answer.status_code == 401
    assert code(answer) == "UNAUTHENTICATED"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="coffer"'


def test_nobody_reads_what_is_public(public_api, alice):
    record(alice, name="secret")
    record(alice, name="known", visibility=Visibility.PUBLIC)
    edges = public_api.run("{ viewer { id } files { edges { node { name } } } }")["files"]["edges"]
    assert [edge["node"]["name"] for edge in edges] == ["known"]


# --- sessions --------------------------------------------------------------------------------------


@pytest.fixture
def browser(alice) -> Client:
    """Alice, signed in, with the cookies of a page that she has opened."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    page = client.get("/graphql", headers={"Accept": "text/html"}).content.decode()
    match = re.search(r'name="csrf-token" content="(\w+)"', page)
    assert match is not None
    client.defaults["csrf_token"] = match[1]
    return client


def csrf_token(browser: Client) -> str:
    return browser.defaults.pop("csrf_token")


def test_a_session_without_the_pages_token_is_refused_before_the_body_is_read(browser):
    csrf_token(browser)
    for content_type in (JSON, MULTIPART):
        answer = post_unreadable(browser, content_type)
        assert answer.status_code == 403
        assert code(answer) == "CSRF_FAILED"


def test_a_session_with_the_pages_token_asks_and_uploads(browser):
    browser.defaults["HTTP_X_CSRFTOKEN"] = csrf_token(browser)
    assert browser.post("/graphql", VIEWER, JSON).json() == {"data": {"viewer": {"username": "alice"}}}
    api = Api(None)
    api.client = browser
    browser.defaults["HTTP_X_REQUESTED_WITH"] = "tests"
    assert api.upload(b"hello")["owner"] == {"username": "alice"}


@pytest.mark.parametrize("token", ["", "x" * 32, "x" * 64, "\xff"])
def test_a_made_up_token_of_a_page_is_none(browser, token):
    csrf_token(browser)
    assert code(post_unreadable(browser, HTTP_X_CSRFTOKEN=token)) == "CSRF_FAILED"


def test_a_page_of_another_origin_is_refused_even_with_the_token(browser):
    answer = post_unreadable(
        browser, HTTP_X_CSRFTOKEN=csrf_token(browser), HTTP_ORIGIN="https://evil.example"
    )
    assert (answer.status_code, code(answer)) == (403, "CSRF_FAILED")


def test_the_token_is_not_looked_for_in_the_body(browser):
    """Looking there would read an upload before it is known whose it is."""
    form = {"csrfmiddlewaretoken": csrf_token(browser), "operations": "{}", "map": "{}"}
    answer = browser.post("/graphql", form)
    assert (answer.status_code, code(answer)) == (403, "CSRF_FAILED")


def test_a_session_reads_by_get_without_the_token_and_changes_nothing(browser, alice):
    csrf_token(browser)
    answer = browser.get("/graphql", {"query": "{ viewer { username } }"})
    assert answer.json() == {"data": {"viewer": {"username": "alice"}}}
    id = global_id("File", record(alice).pk)
    answer = browser.get("/graphql", {"query": f'mutation {{ deleteFiles(ids: ["{id}"]) {{ __typename }} }}'})
    assert answer.status_code in {400, 405}
    assert File.objects.count() == 1


def test_a_token_stands_for_itself_whoever_is_signed_in(browser, bob):
    csrf_token(browser)
    secret = tokens.issue(user=bob, name="tests")[1]
    answer = browser.post("/graphql", VIEWER, JSON, headers={"Authorization": f"Bearer {secret}"})
    assert answer.json() == {"data": {"viewer": {"username": "bob"}}}


def test_a_bad_token_is_not_made_good_by_a_session(browser):
    answer = post_unreadable(
        browser, HTTP_AUTHORIZATION="Bearer coffer_nonsense", HTTP_X_CSRFTOKEN=csrf_token(browser)
    )
    assert answer.status_code == 401


def test_the_session_of_a_locked_out_user_is_nobodys(browser, alice):
    csrf_token(browser)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert browser.post("/graphql", VIEWER, JSON).json() == {"data": {"viewer": None}}
    assert post_unreadable(browser, MULTIPART).status_code == 401


def test_nobody_needs_no_token_of_a_page(db):
    answer = Client(enforce_csrf_checks=True).post("/graphql", VIEWER, JSON)
    assert answer.json() == {"data": {"viewer": None}}


def test_an_upload_of_a_file_belongs_to_the_token_that_sent_it(api, bob_api):
    for each, owner in ((api, "alice"), (bob_api, "bob")):
        assert each.upload(b"hello")["owner"] == {"username": owner}


def test_a_json_request_cannot_upload(api):
    (error,) = api.errors(UPLOAD, input={"file": "data:text/plain,hello"})
    assert "multipart" in error["message"]
    assert not File.objects.exists()
