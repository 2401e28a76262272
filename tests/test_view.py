"""HTTP: what is taken for a request, what every refusal looks like, and what is said of errors of ours."""

import json
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.db import OperationalError, connection
from django.test import Client

from files import services
from graph import body, view
from tests.api import UPLOAD_MANY, Api

JSON = "application/json"
MULTIPART = "multipart/form-data; boundary=limit"
VIEWER = b'{"query": "{ viewer { username } }"}'
USAGE = "{ storageUsage { files } }"
SECRET = "postgres://admin:hunter2@10.0.0.1/coffer"


def refusal(answer: Any) -> str:
    """The code of a 4xx whose body every GraphQL client can read."""
    assert 400 <= answer.status_code < 500, answer.content
    assert answer.headers["Content-Type"].startswith("application/json")
    body = answer.json()
    assert list(body) == ["errors"]
    assert all(error["message"] for error in body["errors"])
    assert "Traceback" not in str(body)
    return body["errors"][0]["extensions"]["code"]


def parts(*fields: tuple[str, bytes]) -> bytes:
    """A multipart body; each field is (what follows `form-data; `, content)."""
    body = b"".join(
        b"--limit\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (head.encode(), content)
        for head, content in fields
    )
    return body + b"--limit--\r\n"


# --- requests --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/graphql", "/graphql/"])
def test_both_spellings_of_the_address_answer(api, path):
    answer = api.client.post(path, VIEWER, content_type=JSON)
    assert answer.status_code == 200
    assert answer.json() == {"data": {"viewer": {"username": "alice"}}}


def test_a_query_by_get_is_answered(api):
    answer = api.client.get(
        "/graphql",
        {
            "query": "query A($id: ID!) { file(id: $id) { id } } query B { __typename }",
            "variables": '{"id": "x"}',
            "operationName": "A",
        },
    )
    assert answer.json() == {"data": {"file": None}}


def test_a_mutation_by_get_is_refused(api):
    answer = api.client.get("/graphql", {"query": 'mutation { deleteFiles(ids: ["x"]) { __typename } }'})
    refusal(answer)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"query": ""},
        {"query": "{ __typename }", "variables": "x"},
        {"query": "{ __typename }", "variables": "5"},
        {"query": "{ __typename }", "variables": "[" * 100_000},
        {"query": "{ __typename }", "operationName": "Nope"},
    ],
)
def test_a_get_that_asks_nothing_is_refused(api, arguments):
    refusal(api.client.get("/graphql", arguments))


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_refused_with_those_that_are_not(api, method):
    answer = api.client.generic(method, "/graphql", VIEWER, content_type=JSON)
    assert answer.status_code == 405
    assert refusal(answer) == "METHOD_NOT_ALLOWED"
    assert {each.strip() for each in answer.headers["Allow"].split(",")} == {"GET", "POST"}


NESTED = 100_000


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="broken off"),
        pytest.param(b"query", id="no JSON"),
        pytest.param(b"{ viewer { id } }", id="GraphQL alone"),
        pytest.param(b"1", id="a number"),
        pytest.param(b'"{ __typename }"', id="a string"),
        pytest.param(b"null", id="null"),
        pytest.param(b"true", id="a truth value"),
        pytest.param(b"NaN", id="NaN"),
        pytest.param(b"[]", id="an empty list"),
        pytest.param(b"[1]", id="a list of no requests"),
        pytest.param(b"[" + VIEWER + b"]", id="a batch"),
        pytest.param(b"{}", id="no query"),
        pytest.param(b'{"query": null}', id="null for a query"),
        pytest.param(b'{"query": ""}', id="an empty query"),
        pytest.param(b'{"query": 5}', id="a number for a query"),
        pytest.param(b'{"query": ["{ __typename }"]}', id="a list for a query"),
        pytest.param(b'{"query": "{ __typename }", "variables": 5}', id="a number for variables"),
        pytest.param(b'{"query": "{ __typename }", "variables": []}', id="a list for variables"),
        pytest.param(b'{"query": "{ __typename }", "extensions": 5}', id="a number for extensions"),
        pytest.param(b'{"query": "{ __typename }", "operationName": 5}', id="a number for a name"),
        pytest.param(b'{"query": "{ __typename }", "operationName": {}}', id="an object for a name"),
        pytest.param(b'{"query": "{ __typename }", "operationName": ["a"]}', id="a list for a name"),
        pytest.param(b'{"query": "{ __typename }", "operationName": "Nope"}', id="an unknown operation"),
        pytest.param(b'{"query": "\\ud800"}', id="half a surrogate pair"),
        pytest.param(b'\xff\xfe{"query"', id="not UTF-8"),
        pytest.param(VIEWER.decode().encode("utf-16"), id="UTF-16"),
        pytest.param(b"[" * NESTED, id="a bomb of lists"),
        pytest.param(b'{"a":' * NESTED, id="a bomb of objects"),
        pytest.param(b"[" * NESTED + b"]" * NESTED, id="a whole bomb of lists"),
        pytest.param(
            b'{"query": "{ __typename }", "variables": {"a": ' + b"[" * NESTED + b"]" * NESTED + b"}}",
            id="a bomb in the variables",
        ),
        pytest.param(b"\x00" * 1000, id="NULs"),
        pytest.param(b"\x1f\x8b\x08\x00", id="compressed"),
    ],
)
def test_a_body_that_is_no_request_is_refused(api, body):
    refusal(api.client.generic("POST", "/graphql", body, content_type=JSON))


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "text/html",
        "application/x-www-form-urlencoded",
        "application/graphql",
        "application/octet-stream",
        "multipart/mixed; boundary=limit",
        "nonsense",
        "application/json; charset=utf-16",
    ],
)
def test_other_types_of_bodies_are_refused(api, content_type):
    """A page of another origin can send forms and plain text, but no JSON, without being asked first."""
    refusal(
        api.client.generic("POST", "/graphql", VIEWER, content_type=content_type, CONTENT_TYPE=content_type)
    )


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON", "application/json; charset=utf-8"]
)
def test_json_is_known_by_its_media_type(api, content_type):
    answer = api.client.generic("POST", "/graphql", VIEWER, content_type=content_type)
    assert answer.json() == {"data": {"viewer": {"username": "alice"}}}


OPERATIONS = json.dumps({"query": UPLOAD_MANY, "variables": {"input": {"files": [None, None]}}}).encode()
PLACES = b'{"0": ["variables.input.files.0"], "1": ["variables.input.files.1"]}'
FILE_0, FILE_1 = ('name="0"; filename="a.txt"', b"a"), ('name="1"; filename="b.txt"', b"b")


def test_the_multipart_form_of_the_tests_below_is_a_good_one(api):
    body = parts(('name="operations"', OPERATIONS), ('name="map"', PLACES), FILE_0, FILE_1)
    answer = api.client.generic("POST", "/graphql", body, content_type=MULTIPART)
    assert [each["name"] for each in answer.json()["data"]["uploadFiles"]] == ["a.txt", "b.txt"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"--limit--\r\n", id="no fields"),
        pytest.param(b"nonsense", id="no multipart"),
        pytest.param(b"--other\r\n\r\n--other--", id="another boundary"),
        pytest.param(parts(('name="map"', PLACES), FILE_0, FILE_1), id="no operations"),
        pytest.param(parts(('name="operations"', OPERATIONS), FILE_0, FILE_1), id="no map"),
        pytest.param(
            parts(
                ('name="operations"', OPERATIONS), ('name="operations"', OPERATIONS), ('name="map"', PLACES)
            ),
            id="operations twice",
        ),
        pytest.param(
            parts(('name="operations"', OPERATIONS), ('name="map"', PLACES), FILE_0), id="a file is missing"
        ),
        pytest.param(
            parts(('name="operations"', OPERATIONS), ('name="map"', PLACES), FILE_0, FILE_1, FILE_1),
            id="a file twice",
        ),
        *(
            pytest.param(
                parts(('name="operations"', operations), ('name="map"', PLACES), FILE_0, FILE_1), id=id
            )
            for id, operations in {
                "operations of a number": b"1",
                "operations of null": b"null",
                "operations of nonsense": b"{",
                "operations that are not UTF-8": b"\xff",
                "operations with NaN": b'{"query": NaN}',
                "a bomb of operations": b"[" * NESTED,
                "operations in a batch": b"[" + OPERATIONS + b"]",
                "operations without variables": b'{"query": "{ __typename }"}',
                "operations without places": b'{"query": "{ __typename }", "variables": {}}',
                "operations with taken places": OPERATIONS.replace(b"null", b'"taken"'),
            }.items()
        ),
        *(
            pytest.param(
                parts(('name="operations"', OPERATIONS), ('name="map"', places), FILE_0, FILE_1), id=id
            )
            for id, places in {
                "a map of nothing": b"{}",
                "a map of a list": b"[]",
                "a map of null": b"null",
                "a map of nonsense": b"{",
                "a map of strings": b'{"0": "variables.input.files.0"}',
                "a map to nowhere": b'{"0": ["variables.input.nope"]}',
                "a map to the query": b'{"0": ["query"]}',
                "a map deeper than there is": b'{"0": ["variables' + b".x" * 50_000 + b'"]}',
                "a map to too many places": b'{"0": [' + b'"variables.input.files.0",' * 5000 + b'"x"]}',
                "a bomb of a map": b'{"0":' * NESTED,
            }.items()
        ),
    ],
)
def test_a_multipart_body_that_breaks_its_specification_is_refused(api, body):
    refusal(api.client.generic("POST", "/graphql", body, content_type=MULTIPART, CONTENT_TYPE=MULTIPART))


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "x" * 500],
)
def test_a_multipart_body_without_a_usable_boundary_is_refused(api, content_type):
    refusal(api.client.generic("POST", "/graphql", b"x", content_type=content_type))


def test_a_document_that_is_nested_without_end_is_refused(api):
    body = api.post("{a" * 50_000).json()
    assert "data" not in body
    assert "INTERNAL_SERVER_ERROR" not in str(body)


# --- sizes -----------------------------------------------------------------------------------------


def test_json_past_the_limit_is_refused(api, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    fits = VIEWER.ljust(1000)
    assert api.client.post("/graphql", fits, content_type=JSON).status_code == 200
    answer = api.client.post("/graphql", fits + b" ", content_type=JSON)
    assert (answer.status_code, refusal(answer)) == (413, "REQUEST_TOO_LARGE")


def test_operations_past_the_limit_are_refused(api, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    body = parts(('name="operations"', OPERATIONS.ljust(5000)), ('name="map"', PLACES), FILE_0, FILE_1)
    answer = api.client.generic("POST", "/graphql", body, content_type=MULTIPART)
    assert (answer.status_code, refusal(answer)) == (413, "REQUEST_TOO_LARGE")


@pytest.mark.parametrize("length", ["1001", "9" * 15, "9" * 5000])
@pytest.mark.parametrize("content_type", [JSON, MULTIPART])
def test_a_length_past_the_limit_is_refused_before_the_body_is_read(api, settings, content_type, length):
    class Unreadable:
        def read(self, *_: object) -> bytes:
            raise AssertionError("The body was read.")

        readline = read

    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = settings.MAX_REQUEST_SIZE = 1000
    extra = {"wsgi.input": Unreadable(), "CONTENT_TYPE": content_type, "CONTENT_LENGTH": length}
    answer = api.client.generic("POST", "/graphql", **extra)
    assert (answer.status_code, refusal(answer)) == (413, "REQUEST_TOO_LARGE")


@pytest.mark.parametrize("length", ["", "-1", "nonsense", "1e3"])
def test_a_length_that_is_none_is_no_error_of_ours(api, length):
    for content_type in (JSON, MULTIPART):
        refusal(
            api.client.generic("POST", "/graphql", VIEWER, CONTENT_TYPE=content_type, CONTENT_LENGTH=length)
        )


def test_the_most_bytes_of_a_request_may_be_more_than_those_of_json(api, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 3000
    assert api.upload(b"x" * 10_000)["size"] == 10_000


# --- errors of ours --------------------------------------------------------------------------------


class Broken(Exception):
    pass


def test_an_unforeseen_error_is_masked_under_an_id_that_is_in_the_log(api, monkeypatch, caplog):
    def broken(_: object) -> None:
        raise Broken(SECRET)

    monkeypatch.setattr(services, "usage", broken)
    with caplog.at_level(logging.ERROR):
        answer = api.post(USAGE)
    (error,) = answer.json()["errors"]
    correlation_id = error["extensions"]["correlationId"]
    assert error["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert error["path"] == ["storageUsage"]
    assert correlation_id in error["message"]
    assert len(correlation_id) == 32

    (record,) = [each for each in caplog.records if correlation_id in each.getMessage()]
    assert record.exc_info is not None
    assert record.exc_info[1] is not None
    assert SECRET in "".join(traceback.format_exception(record.exc_info[1]))

    said = answer.content.decode()
    for secret in (SECRET, "hunter2", "Broken", "Traceback", ".py", "site-packages"):
        assert secret not in said


def test_unforeseen_errors_have_the_id_of_their_request(api, monkeypatch):
    def broken(_: object) -> None:
        raise Broken

    monkeypatch.setattr(services, "usage", broken)
    answers = [api.post(USAGE), api.post(USAGE)]
    ids = [answer.json()["errors"][0]["extensions"]["correlationId"] for answer in answers]
    assert ids == [answer.headers["X-Request-ID"] for answer in answers]
    assert ids[0] != ids[1]


def test_an_unforeseen_error_of_one_field_leaves_the_others(api, monkeypatch):
    """`viewer` may be null, so what is beside it is answered all the same."""
    from graph import queries

    def broken(*_: object) -> None:
        raise Broken(SECRET)

    monkeypatch.setattr(queries, "_find_file", broken)
    body = api.post('{ file(id: "x") { id } viewer { username } }').json()
    assert body["data"] == {"file": None, "viewer": {"username": "alice"}}
    assert [error["extensions"]["code"] for error in body["errors"]] == ["INTERNAL_SERVER_ERROR"]


def test_an_error_outside_of_the_schema_is_json_without_details(api, monkeypatch):
    from graph import view

    def broken(_: object) -> None:
        raise Broken(SECRET)

    monkeypatch.setattr(view, "authenticate", broken)
    api.client.raise_request_exception = False
    answer = api.post(USAGE)
    assert answer.status_code == 500
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json()["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    for secret in (SECRET, "Broken", "Traceback", ".py"):
        assert secret not in answer.content.decode()


def test_what_is_wrong_with_a_query_is_not_masked(api):
    for query, message in (("{ nope }", "Cannot query field 'nope'"), ("{", "Syntax Error")):
        body = api.post(query).json()
        assert "data" not in body
        assert message in body["errors"][0]["message"]


@contextmanager
def database_that_is_down() -> Iterator[None]:
    def down(*_: object) -> None:
        raise OperationalError(f"connection to {SECRET} refused")

    with connection.execute_wrapper(down):
        yield


def test_a_database_that_fails_in_a_query_is_an_answer_to_try_again(api, monkeypatch):
    def down(_: object) -> None:
        raise OperationalError(f"connection to {SECRET} refused")

    monkeypatch.setattr(services, "usage", down)
    (error,) = api.errors(USAGE)
    assert error["extensions"]["code"] == "SERVICE_UNAVAILABLE"
    assert error["extensions"]["retryable"] is True
    assert error["extensions"]["retryAfter"] > 0
    assert SECRET not in str(error)


@pytest.mark.parametrize("kind", ["token", "session"])
def test_a_database_that_is_down_is_503_and_the_service_resumes(api, alice, kind):
    client = api.client
    if kind == "session":
        client = Client()
        client.force_login(alice)
    with database_that_is_down():
        answer = client.post("/graphql", VIEWER, content_type=JSON)
    assert answer.status_code == 503
    assert answer.headers["Content-Type"].startswith("application/json")
    assert int(answer.headers["Retry-After"]) > 0
    (error,) = answer.json()["errors"]
    assert error["extensions"]["code"] == "SERVICE_UNAVAILABLE"
    assert error["extensions"]["retryable"] is True
    assert SECRET not in answer.content.decode()
    assert client.post("/graphql", VIEWER, content_type=JSON).json() == {
        "data": {"viewer": {"username": "alice"}}
    }


def test_nobody_is_told_to_try_again_too(public_api):
    with database_that_is_down():
        (error,) = public_api.errors("{ files { edges { node { id } } } }")
    assert error["extensions"]["code"] == "SERVICE_UNAVAILABLE"


# --- the page --------------------------------------------------------------------------------------


class Addresses(HTMLParser):
    """The addresses that a page loads, and whether it brings code of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.found += [given[name] or "" for name in ("src", "href") if name in given]
        self.inline += [name for name in given if name.startswith("on") or name == "style"]
        if tag in {"style", "iframe", "base"} or (tag == "script" and "src" not in given):
            self.inline.append(tag)


def page(client: Client) -> Any:
    return client.get("/graphql", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})


def test_a_browser_gets_a_page_that_loads_everything_from_here(db):
    answer = page(Client())
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    html = answer.content.decode()
    addresses = Addresses()
    addresses.feed(html)
    assert any(address.endswith("graphiql/graphiql.js") for address in addresses.found)
    assert all(address.startswith("/static/") for address in addresses.found)
    assert all(finders.find(address.removeprefix("/static/")) for address in addresses.found)
    assert addresses.inline == []
    assert "//" not in html.replace("<!--", "").replace("-->", "")


def test_the_page_may_run_and_ask_nothing_but_its_own(db):
    header = page(Client()).headers["Content-Security-Policy"]
    policy = {
        name: sources for name, *sources in (each.split() for each in header.split(";") if each.strip())
    }
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == ["'self'"]
    assert policy["connect-src"] == ["'self'"]
    for name in ("base-uri", "form-action", "frame-ancestors"):
        assert policy[name] == ["'none'"]
    assert policy["worker-src"] == ["'self'"]
    for name, sources in policy.items():
        more = {"style-src": {"'unsafe-inline'"}, "img-src": {"data:", "blob:"}}.get(name, set())
        assert set(sources) <= {"'self'", "'none'"} | more
    assert "'unsafe-eval'" not in header


def test_the_page_is_for_browsers_that_have_nothing_to_ask_yet(api):
    asked = api.client.get(
        "/graphql", {"query": "{ viewer { username } }"}, headers={"Accept": "text/html, */*"}
    )
    assert asked.json() == {"data": {"viewer": {"username": "alice"}}}
    posted = api.client.post("/graphql", VIEWER, content_type=JSON, headers={"Accept": "text/html, */*"})
    assert posted.json() == {"data": {"viewer": {"username": "alice"}}}


def test_a_deployment_can_do_without_the_page(db, settings):
    settings.GRAPHIQL = False
    answer = page(Client())
    assert 400 <= answer.status_code < 500
    assert answer.headers["Content-Type"].startswith("application/json")


# --- other addresses -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/nothing", "/graphql/more", "/graphqlx", "/files/", "/files/1/a", "/.env", "/%00", "/ü"]
)
def test_an_address_of_nothing_is_told_so_in_json(db, path):
    answer = Client().get(path, headers={"Accept": "text/html"})
    assert (answer.status_code, refusal(answer)) == (404, "NOT_FOUND")


def test_in_the_admin_it_is_told_in_a_page(staff):
    client = Client()
    client.force_login(staff)
    answer = client.get("/admin/nothing/")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")
    assert b"<h1>" in answer.content


def test_a_name_that_the_service_does_not_go_by_is_refused_in_json(api, settings):
    settings.ALLOWED_HOSTS = ["coffer.example"]
    assert (
        refusal(api.client.post("/graphql", VIEWER, content_type=JSON, headers={"Host": "evil"}))
        == "BAD_REQUEST"
    )


def test_answers_are_not_sniffed(api, public_api):
    assert api.post(USAGE).headers["X-Content-Type-Options"] == "nosniff"
    assert Client().get("/nothing").headers["X-Content-Type-Options"] == "nosniff"


def test_an_answer_is_compact_json(public_api: Api):
    assert public_api.post("{ __typename }").content == b'{"data":{"__typename":"Query"}}'


# --- how many are at work --------------------------------------------------------------------------


def turns() -> int:
    """How many more operations could begin now."""
    taken = 0
    while view._at_work.acquire(blocking=False):
        taken += 1
    for _ in range(taken):
        view._at_work.release()
    return taken


def test_a_request_is_at_work_once_its_body_is_there(api, monkeypatch):
    found: dict[str, int] = {}
    read = body.read
    run = view.CofferGraphQLView.execute_single
    monkeypatch.setattr(body, "read", lambda *args: found.setdefault("reading", turns()) and read(*args))
    monkeypatch.setattr(
        view.CofferGraphQLView,
        "execute_single",
        lambda *args, **kwargs: found.setdefault("running", turns()) and run(*args, **kwargs),
    )
    assert api.run("{ viewer { username } }")
    assert found == {"reading": view.AT_WORK, "running": view.AT_WORK - 1}


def test_its_turn_is_given_back_however_it_ends(api):
    api.run("{ viewer { username } }")
    api.post("{ nothing }")
    api.client.post("/graphql", b"{", content_type="application/json")
    api.client.get("/graphql", {"query": "{ viewer { username } }"})
    assert turns() == view.AT_WORK
