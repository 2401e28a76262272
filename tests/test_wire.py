"""Whose rights a request has that another site made a browser send, and what production switches off."""

import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.middleware.csrf import get_token
from django.test import Client, RequestFactory

from accounts.models import User
from files import services
from files.models import File
from graph.schema import schema
from tests.api import Api, global_id, record
from tests.test_body import GOOD, HELLO, MULTIPART, PLACE, form

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"
VIEWER = '{"query": "{ viewer { username } }"}'
SITE, OTHER_SITE = "http://testserver", "https://evil.example"
PREFLIGHT = ["X-Requested-With", "Apollo-Require-Preflight", "GraphQL-Preflight"]


@pytest.fixture(autouse=True)
def no_rate_limit(settings):
    settings.RATE_LIMIT_USER = settings.RATE_LIMIT_ADDRESS = 0


def code(answer: Any) -> str:
    """The code of an answer that is only an error, as every GraphQL client can read it."""
    assert 400 <= answer.status_code < 500, answer.content
    assert answer.headers["Content-Type"] == JSON
    body = answer.json()
    assert list(body) == ["errors"]
    (error,) = body["errors"]
    assert error["message"]
    return error["extensions"]["code"]


# --- requests that other sites make a browser send -------------------------------------------------


@pytest.fixture
def browser(alice: User) -> Client:
    """Alice's, signed in, with the cookie that belongs to the token of our pages."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    request = RequestFactory().get("/")
    client.defaults["csrf_token"] = get_token(request)
    client.cookies["csrftoken"] = request.META["CSRF_COOKIE"]
    return client


def with_token(browser: Client) -> dict[str, str]:
    return {"X-CSRFToken": browser.defaults["csrf_token"]}


def deletion(file: File) -> str:
    return f'mutation {{ deleteFiles(ids: ["{global_id("File", file.pk)}"]) {{ __typename }} }}'


def as_json(query: str) -> str:
    return json.dumps({"query": query})


def as_text_of_a_form(query: str) -> str:
    """What a form of plain text sends for a field whose name is the start of the JSON."""
    return as_json(query)[:-1] + ', "extensions": {"x": "=\r\n"}}'


def as_fields(query: str) -> str:
    return urlencode({"query": query, "operations": as_json(query), "map": "{}"})


def as_parts(query: str) -> bytes:
    body = form(GOOD, PLACE, HELLO)
    return body.replace(
        b"--limit--", b'--limit\r\nContent-Disposition: form-data; name="query"\r\n\r\nx\r\n--limit--'
    )


FORMS = pytest.mark.parametrize(
    "content_type, body",
    [
        ("text/plain", as_json),
        ("text/plain", as_text_of_a_form),
        ("text/plain; charset=utf-8", as_json),
        ("application/x-www-form-urlencoded", as_fields),
        ("application/x-www-form-urlencoded", as_json),
        (MULTIPART, as_parts),
        ("", as_json),
    ],
    ids=["text", "text of a form", "text with a charset", "fields", "JSON as fields", "parts", "no type"],
)


@FORMS
@pytest.mark.parametrize("origin", [OTHER_SITE, "null", SITE, None])
@pytest.mark.parametrize("signed_in", [True, False])
def test_a_form_is_never_run(browser, alice, content_type, body, origin, signed_in):
    file = record(alice)
    client = browser if signed_in else Client(enforce_csrf_checks=True)
    headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"} if origin else {}
    answer = client.generic(
        "POST", "/graphql", body(deletion(file)), content_type=content_type, headers=headers
    )
    assert code(answer) in {"CSRF_FAILED", "UNAUTHENTICATED", "UNSUPPORTED_MEDIA_TYPE"}
    assert list(File.objects.all()) == [file]


@FORMS
def test_a_form_is_not_even_run_with_the_token_of_our_pages(browser, alice, content_type, body):
    """Anything else than JSON needs a header that no form can send, should the token ever leak."""
    file = record(alice)
    answer = browser.generic(
        "POST", "/graphql", body(deletion(file)), content_type=content_type, headers=with_token(browser)
    )
    assert code(answer) in {"PREFLIGHT_REQUIRED", "UNSUPPORTED_MEDIA_TYPE"}
    assert list(File.objects.all()) == [file]


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": OTHER_SITE}, {"X-CSRFToken": "x" * 64}, {"X-Requested-With": "x"}]
)
def test_json_with_a_cookie_needs_the_token_of_our_pages(browser, alice, headers):
    file = record(alice)
    answer = browser.post("/graphql", as_json(deletion(file)), JSON, headers=headers)
    assert (answer.status_code, code(answer)) == (403, "CSRF_FAILED")
    assert list(File.objects.all()) == [file]


def test_json_with_a_cookie_and_the_token_of_our_pages_runs(browser, alice):
    file = record(alice)
    answer = browser.post("/graphql", as_json(deletion(file)), JSON, headers=with_token(browser))
    assert answer.json() == {"data": {"deleteFiles": [{"__typename": "DeletedFile"}]}}


def test_a_page_of_another_site_is_refused_also_with_the_token(browser):
    headers = with_token(browser) | {"Origin": OTHER_SITE}
    assert code(browser.post("/graphql", VIEWER, JSON, headers=headers)) == "CSRF_FAILED"
    headers["Origin"] = SITE
    assert browser.post("/graphql", VIEWER, JSON, headers=headers).status_code == 200


@pytest.mark.parametrize("header", PREFLIGHT)
def test_an_upload_with_a_cookie_needs_a_header_that_no_form_can_send(browser, header):
    body = form(GOOD, PLACE, HELLO)
    headers = with_token(browser)
    answer = browser.generic("POST", "/graphql", body, content_type=MULTIPART, headers=headers)
    assert (answer.status_code, code(answer)) == (403, "PREFLIGHT_REQUIRED")
    assert header in answer.json()["errors"][0]["message"]
    headers[header] = ""
    answer = browser.generic("POST", "/graphql", body, content_type=MULTIPART, headers=headers)
    assert answer.json()["data"]["uploadFile"]["__typename"] == "File"


@pytest.mark.parametrize("header", PREFLIGHT)
def test_that_header_alone_is_no_right(browser, header):
    for client in (browser, Client()):
        answer = client.generic(
            "POST", "/graphql", form(GOOD, PLACE, HELLO), content_type=MULTIPART, headers={header: "1"}
        )
        assert code(answer) in {"CSRF_FAILED", "UNAUTHENTICATED"}
    assert File.objects.count() == 0


@pytest.mark.parametrize("origin", [OTHER_SITE, "null", None])
def test_a_bearer_of_a_token_needs_no_other_header(api, origin):
    client = Client(
        enforce_csrf_checks=True, headers={"Authorization": api.client.defaults["HTTP_AUTHORIZATION"]}
    )
    headers = {"Origin": origin} if origin else {}
    assert client.post("/graphql", VIEWER, JSON, headers=headers).status_code == 200
    answer = client.generic(
        "POST", "/graphql", form(GOOD, PLACE, HELLO), content_type=MULTIPART, headers=headers
    )
    assert answer.json()["data"]["uploadFile"]["__typename"] == "File"


def test_a_token_takes_nothing_from_the_cookies_beside_it(browser, bob_api):
    headers = {"Authorization": bob_api.client.defaults["HTTP_AUTHORIZATION"]}
    answer = browser.post("/graphql", VIEWER, JSON, headers=headers)
    assert answer.json() == {"data": {"viewer": {"username": "bob"}}}
    answer = browser.generic(
        "POST", "/graphql", form(GOOD, PLACE, HELLO), content_type=MULTIPART, headers=headers
    )
    assert answer.status_code == 200
    assert [file.owner.username for file in File.objects.all() if file.owner] == ["bob"]


@pytest.mark.parametrize(
    "header",
    ["Basic YWxpY2U6c2VjcmV0", "Digest x", "Token x", "Bearer", "Bearer ", "Bearer x y", "coffer_x", "", " "],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_any_other_authorization_is_refused_and_not_passed_over(browser, header, method):
    headers = with_token(browser) | {"Authorization": header}
    if method == "GET":
        answer = browser.get("/graphql", {"query": "{ viewer { username } }"}, headers=headers)
    else:
        answer = browser.post("/graphql", VIEWER, JSON, headers=headers)
    assert (answer.status_code, code(answer)) == (401, "UNAUTHENTICATED")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "HEAD"])
def test_other_methods_are_not_for_cookies_either(browser, alice, method):
    file = record(alice)
    answer = browser.generic(method, "/graphql", as_json(deletion(file)), content_type=JSON)
    assert answer.status_code == 405
    assert list(File.objects.all()) == [file]


def test_a_mutation_by_get_is_never_run(browser, api, alice):
    file = record(alice)
    several = f"query A {{ __typename }} {deletion(file).replace('mutation', 'mutation B')}"
    for client in (browser, api.client):
        for arguments in ({"query": deletion(file)}, {"query": several, "operationName": "B"}):
            answer = client.get("/graphql", arguments)
            assert (answer.status_code, code(answer)) == (405, "METHOD_NOT_ALLOWED")
            assert answer.headers["Allow"] == "POST"
    assert list(File.objects.all()) == [file]


def test_answers_are_for_no_other_site(api):
    answer = api.client.post("/graphql", VIEWER, JSON, headers={"Origin": OTHER_SITE})
    assert not [name for name in answer.headers if name.startswith("Access-Control-")]
    asked = api.client.options(
        "/graphql", headers={"Origin": OTHER_SITE, "Access-Control-Request-Method": "POST"}
    )
    assert not [name for name in asked.headers if name.startswith("Access-Control-")]
    assert asked.status_code == 405


# --- what production switches off ------------------------------------------------------------------


def ask(api: Api, query: str, **variables: Any) -> Any:
    body = json.dumps({"query": query, "variables": variables})
    return api.client.post("/graphql", body, JSON, headers={"Accept": GRAPHQL_RESPONSE})


INTROSPECTING = [
    "{ __schema { queryType { name } } }",
    '{ __type(name: "File") { name } }',
    "{ x: __schema { __typename } }",
    "{ ... on Query { __schema { __typename } } }",
    "{ ...F } fragment F on Query { __schema { __typename } }",
    "{ viewer { username } __schema { __typename } }",
]


@pytest.mark.parametrize("query", INTROSPECTING)
def test_introspection_can_be_switched_off(api, settings, query):
    settings.INTROSPECTION = False
    answer = ask(api, query)
    assert answer.status_code == 400
    body = answer.json()
    assert list(body) == ["errors"]
    assert "introspection has been disabled" in body["errors"][0]["message"]


@pytest.mark.parametrize("query", INTROSPECTING)
def test_introspection_can_be_switched_on(api, settings, query):
    settings.INTROSPECTION = True
    assert ask(api, query).status_code == 200


def test_the_names_of_types_are_no_introspection(api, alice, settings):
    settings.INTROSPECTION = False
    id = global_id("File", record(alice).pk)
    answer = ask(
        api, "query ($id: ID!) { __typename viewer { __typename } node(id: $id) { __typename } }", id=id
    )
    assert answer.json()["data"] == {
        "__typename": "Query",
        "viewer": {"__typename": "User"},
        "node": {"__typename": "File"},
    }


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_queries_by_get_can_be_switched_off(api, settings, method):
    settings.QUERIES_BY_GET = False
    for arguments in ({"query": "{ __typename }"}, {}, {"query": "{"}):
        answer = api.client.generic(method, "/graphql", QUERY_STRING=urlencode(arguments))
        assert answer.status_code == 405
        assert answer.headers["Allow"] == "POST"
        if method == "GET":
            assert code(answer) == "METHOD_NOT_ALLOWED"


def test_the_page_is_there_without_queries_by_get(db, settings):
    settings.QUERIES_BY_GET = False
    settings.GRAPHIQL = True
    answer = Client().get("/graphql", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    settings.GRAPHIQL = False
    assert code(Client().get("/graphql", headers={"Accept": "text/html"})) == "METHOD_NOT_ALLOWED"


# --- which operation -------------------------------------------------------------------------------

TWO = "query A { a: __typename } query B { b: __typename }"


@pytest.mark.parametrize("name", ["A", "B"])
def test_of_several_operations_the_named_one_runs(api, name):
    answer = api.client.post("/graphql", json.dumps({"query": TWO, "operationName": name}), JSON)
    assert answer.json() == {"data": {name.lower(): "Query"}}


@pytest.mark.parametrize("name", [None, "", "C", "a"])
@pytest.mark.parametrize("query", [TWO, "{ a: __typename } query B { b: __typename }"])
def test_of_several_operations_none_runs_that_is_not_named(api, query, name):
    """As the specification has it; the first of them may be another than the client means."""
    answer = api.client.post(
        "/graphql",
        json.dumps({"query": query, "operationName": name}),
        JSON,
        headers={"Accept": GRAPHQL_RESPONSE},
    )
    assert answer.status_code == 400
    assert list(answer.json()) == ["errors"]


# --- batches ---------------------------------------------------------------------------------------


@pytest.fixture
def batching(monkeypatch, settings) -> None:
    settings.MAX_BATCH = 3
    monkeypatch.setattr(schema.config, "batching_config", {"max_operations": 3})


def ask_all(api: Api, *queries: Any, accept: str = JSON) -> Any:
    batch = [each if isinstance(each, dict) else {"query": each} for each in queries]
    return api.client.post("/graphql", json.dumps(batch), JSON, headers={"Accept": accept})


NAME = "{ viewer { username } }"


@pytest.mark.usefixtures("batching")
def test_the_operations_of_a_batch_are_answered_in_order(api):
    answer = ask_all(api, NAME, "{ __typename }", NAME)
    assert answer.status_code == 200
    assert answer.json() == [
        {"data": {"viewer": {"username": "alice"}}},
        {"data": {"__typename": "Query"}},
        {"data": {"viewer": {"username": "alice"}}},
    ]


@pytest.mark.usefixtures("batching")
@pytest.mark.parametrize("accept", [JSON, GRAPHQL_RESPONSE])
def test_an_operation_that_cannot_run_leaves_the_others_of_its_batch(api, accept):
    answer = ask_all(api, NAME, "{ nope }", NAME, accept=accept)
    assert answer.status_code == 200, answer.content
    first, second, third = answer.json()
    assert first == third == {"data": {"viewer": {"username": "alice"}}}
    assert list(second) == ["errors"]


@pytest.mark.usefixtures("batching")
@pytest.mark.parametrize(
    "wrong",
    [
        {"query": None},
        {"query": ""},
        {},
        {"query": 5},
        {"query": "{ __typename }", "variables": []},
        {"query": "{ __typename }", "operationName": "Nope"},
        {"query": "query A { __typename } query B { __typename }"},
    ],
)
def test_a_batch_is_refused_as_a_whole_or_each_operation_has_its_answer(api, alice, wrong):
    """A client that is told nothing of what was done would do it again."""
    file = record(alice)
    answer = ask_all(api, deletion(file), wrong)
    if answer.status_code == 200:
        first, second = answer.json()
        assert first == {"data": {"deleteFiles": [{"__typename": "DeletedFile"}]}}
        assert list(second) == ["errors"]
    else:
        assert code(answer) == "BAD_REQUEST"
        assert list(File.objects.all()) == [file]


@pytest.mark.usefixtures("batching")
def test_a_batch_of_more_than_is_allowed_is_refused(api):
    assert code(ask_all(api, *[NAME] * 4)) == "BAD_REQUEST"


@pytest.mark.usefixtures("batching")
@pytest.mark.parametrize("wrong", [1, None, [], "query"])
def test_a_batch_is_of_operations(api, wrong):
    answer = api.client.post("/graphql", json.dumps([{"query": NAME}, wrong]), JSON)
    assert code(answer) == "BAD_REQUEST"


class Broken(Exception):
    pass


@pytest.fixture
def broken(monkeypatch) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise Broken("hunter2")

    monkeypatch.setattr(services, "usage", fail)
    monkeypatch.setattr("graph.queries._find_file", fail)
    return fail


@pytest.mark.usefixtures("batching", "broken")
def test_unforeseen_errors_of_a_batch_are_masked_under_the_id_of_the_request(api, caplog):
    with caplog.at_level(logging.ERROR):
        answer = ask_all(api, "{ storageUsage { files } }", NAME, '{ file(id: "x") { id } }')
    assert answer.status_code == 200
    first, second, third = answer.json()
    assert second == {"data": {"viewer": {"username": "alice"}}}
    ids = []
    for each in (first, third):
        (error,) = each["errors"]
        assert error["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
        ids.append(error["extensions"]["correlationId"])
    assert set(ids) == {answer.headers["X-Request-ID"]}
    logged = [line.getMessage() for line in caplog.records]
    assert sum(ids[0] in line for line in logged) == 2
    assert "hunter2" not in answer.content.decode()
    assert "Broken" not in answer.content.decode()
