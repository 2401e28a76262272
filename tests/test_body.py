"""Multipart bodies over HTTP, in every order and shape: an upload or a 4xx, of which nothing is left."""

import base64
import copy
import hashlib
import io
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from strawberry.types import ExecutionResult

from files import receive, services
from files.models import File
from files.profiles import UploadProfile
from files.receive import Received
from graph import multipart
from graph.schema import schema
from graph.view import CofferGraphQLView
from tests.api import Api
from tests.conftest import stored_files

MULTIPART = "multipart/form-data; boundary=limit"
RESULT = "{ __typename ... on File { name size sha256 } ... on FileTooLarge { size limit } }"
ONE = "mutation ($input: UploadFileInput!) { uploadFile(input: $input) %s }" % RESULT  # noqa: UP031
MANY = "mutation ($input: UploadFilesInput!) { uploadFiles(input: $input) %s }" % RESULT  # noqa: UP031

type Part = bytes


def part(head: str | bytes, content: bytes | str) -> Part:
    """One part; `head` is what follows `form-data; `, further headers included."""
    head, content = (each.encode() if isinstance(each, str) else each for each in (head, content))
    return b"--limit\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (head, content)


def file(name: str, content: bytes, sent_as: str = "a.txt", more: str = "") -> Part:
    return part(f'name="{name}"; filename="{sent_as}"{more}', content)


def operations(query: object, variables: Any, **more: Any) -> Part:
    return part('name="operations"', json.dumps({"query": query, "variables": variables, **more}))


def batch(*variables: Any) -> Part:
    return part('name="operations"', json.dumps([{"query": ONE, "variables": each} for each in variables]))


def places(**paths: Any) -> Part:
    """A map: the names of parts, with an `f` before them -> paths."""
    return part('name="map"', json.dumps({name.removeprefix("f"): each for name, each in paths.items()}))


def form(*parts: Part) -> bytes:
    return b"".join(parts) + b"--limit--\r\n"


def send(api: Api, body: bytes, content_type: str = MULTIPART, **more: Any) -> Any:
    length = str(len(body))  # which the test client leaves out where there is nothing
    return api.client.generic(
        "POST", "/graphql", body, CONTENT_TYPE=content_type, CONTENT_LENGTH=length, **more
    )


class Sent(io.BytesIO):
    """A body that knows how much of it was read, and may claim another length."""

    def post(self, api: Api, *, length: object = None) -> Any:
        extra: dict[str, Any] = {
            "wsgi.input": self,
            "CONTENT_TYPE": MULTIPART,
            "CONTENT_LENGTH": str(length or len(self.getvalue())),
        }
        return api.client.generic("POST", "/graphql", **extra)


def refusal(answer: Any) -> str:
    """The message of a 4xx that every GraphQL client can read."""
    assert 400 <= answer.status_code < 500, answer.content
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert list(body) == ["errors"]
    (error,) = body["errors"]
    assert error["extensions"]["code"]
    assert "Traceback" not in str(body)
    return error["message"]


@pytest.fixture(autouse=True)
def staged_at_once(monkeypatch, settings) -> None:
    """Files of any size wait on disk, where those that are left behind can be seen."""
    monkeypatch.setattr(receive, "_MEMORY_SIZE", -1)
    settings.RATE_LIMIT_USER = settings.RATE_LIMIT_ADDRESS = 0


@pytest.fixture
def leftovers(settings, storage_root: Path) -> Callable[[], list[str]]:
    """All that lies in the storage and in the folder for staging."""
    return lambda: stored_files(storage_root) + stored_files(Path(settings.STAGING_DIR))


def small_profiles(**sizes: int) -> dict[str, UploadProfile]:
    given: dict[str, Any] = {
        "description": "",
        "types": ("*/*",),
        "visibility": "private",
        "max_pixels": 1,
        "fit": None,
    }
    return {name: UploadProfile(name=name, max_size=size, **given) for name, size in sizes.items()}


# --- the order of the parts ------------------------------------------------------------------------

EMPTY = {"input": {"file": None}}
GOOD = operations(ONE, EMPTY)
PLACE = places(f0=["variables.input.file"])
HELLO = file("0", b"hello")
TWO = operations(MANY, {"input": {"files": [None, None]}})
TWO_PLACES = places(fa=["variables.input.files.0"], fb=["variables.input.files.1"])
TWO_PARTS = (TWO, TWO_PLACES, file("a", b"first", "1.txt"), file("b", b"second", "2.txt"))


@pytest.mark.parametrize(
    "order", list(itertools.permutations(range(4))), ids=lambda order: "".join(map(str, order))
)
def test_operations_map_and_files_come_in_any_order(api, order):
    answer = send(api, form(*(TWO_PARTS[number] for number in order))).json()
    assert [(each["name"], each["size"]) for each in answer["data"]["uploadFiles"]] == [
        ("1.txt", 5),
        ("2.txt", 6),
    ]


def test_a_file_is_found_by_its_name_and_not_by_its_order(api):
    crosswise = places(fa=["variables.input.files.1"], fb=["variables.input.files.0"])
    answer = send(api, form(TWO, crosswise, *TWO_PARTS[2:])).json()
    assert [each["name"] for each in answer["data"]["uploadFiles"]] == ["2.txt", "1.txt"]


@pytest.mark.parametrize("name", ["0", "operation", "файл", "a b", "a.b.c", "__proto__", "-1", "x" * 200])
def test_a_file_may_have_any_name_as_a_part(api, name):
    file_map = part('name="map"', json.dumps({name: ["variables.input.file"]}))
    answer = send(api, form(operations(ONE, {"input": {"file": None}}), file_map, file(name, b"x"))).json()
    assert answer["data"]["uploadFile"]["__typename"] == "File"


def test_one_file_at_many_places_is_kept_at_each(api, storage_root):
    query = "mutation ($a: Upload!, $b: Upload!, $c: [Upload!]!) {%s}" % " ".join(  # noqa: UP031
        [
            "one: uploadFile(input: {file: $a}) " + RESULT,
            "two: uploadFile(input: {file: $b}) " + RESULT,
            "three: uploadFiles(input: {files: $c}) " + RESULT,
        ]
    )
    body = form(
        operations(query, {"a": None, "b": None, "c": [None, None]}),
        places(f0=["variables.a", "variables.c.0", "variables.b", "variables.c.1"]),
        file("0", b"again and again"),
    )
    data = send(api, body).json()["data"]
    kept = [data["one"], data["two"], *data["three"]]
    assert {each["sha256"] for each in kept} == {hashlib.sha256(b"again and again").hexdigest()}
    assert File.objects.count() == len(kept) == 4
    contents = [(storage_root / key).read_bytes() for key in stored_files(storage_root)]
    assert contents == [b"again and again"] * 4


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("sent_as", ["first.txt", ""])
def test_a_file_that_the_map_does_not_name_is_left_out(api, leftovers, at, sent_as):
    parts = [GOOD, PLACE, HELLO]
    parts.insert(at, file("other", b"nobody asked for this", sent_as))
    answer = send(api, form(*parts))
    assert answer.status_code == 200, answer.content
    assert answer.json()["data"]["uploadFile"]["name"] == "a.txt"
    assert len(leftovers()) == 1


def test_fields_that_nobody_asked_for_are_left_out(api):
    body = form(part('name="csrf"', "x"), *TWO_PARTS, part('name="csrf"', "x"))
    assert [each["name"] for each in send(api, body).json()["data"]["uploadFiles"]] == ["1.txt", "2.txt"]


# --- wrong shapes ----------------------------------------------------------------------------------

NESTED = "[" * 100_000

WRONG: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "closing boundary is missing"),
    "no parts": (form(), "exactly one field `operations`"),
    "no operations": (form(PLACE, HELLO), "exactly one field `operations`"),
    "no map": (form(GOOD, HELLO), "exactly one field `map`"),
    "operations twice": (form(GOOD, GOOD, PLACE, HELLO), "exactly one field `operations`"),
    "operations twice, around": (form(GOOD, PLACE, HELLO, GOOD), "exactly one field `operations`"),
    "map twice": (form(GOOD, PLACE, PLACE, HELLO), "exactly one field `map`"),
    "a file for operations": (form(file("operations", b"{}"), PLACE), "exactly one field `operations`"),
    "a file for map": (form(GOOD, file("map", b"{}"), HELLO), "exactly one field `map`"),
    "a field for a file": (form(GOOD, PLACE, part('name="0"', "hello")), "map.0: there is no such file"),
    "no file": (form(GOOD, PLACE), "map.0: there is no such file"),
    "another file": (form(GOOD, PLACE, file("1", b"x")), "map.0: there is no such file"),
    "a file without a name": (form(GOOD, PLACE, file("0", b"x", "")), "map.0: there is no such file"),
    "a file twice": (form(GOOD, PLACE, HELLO, HELLO), "two files called '0'"),
    "a file twice, first": (form(HELLO, HELLO, GOOD, PLACE), "two files called '0'"),
    "operations of a number": (form(part('name="operations"', "1"), PLACE, HELLO), "operations: has to be"),
    "operations of null": (form(part('name="operations"', "null"), PLACE, HELLO), "operations: has to be"),
    "operations of nonsense": (form(part('name="operations"', "{"), PLACE, HELLO), "not JSON"),
    "operations with NaN": (form(part('name="operations"', '{"query": NaN}'), PLACE, HELLO), "not JSON"),
    "operations in UTF-16": (form(part('name="operations"', '{"a": 1}'.encode("utf-16")), PLACE), "not JSON"),
    "operations without end": (form(part('name="operations"', NESTED), PLACE, HELLO), "not JSON"),
    "operations as a form": (form(part('name="operations"', "query=x"), PLACE, HELLO), "not JSON"),
    "a map of a list": (form(GOOD, part('name="map"', "[]"), HELLO), "map: has to be a JSON object"),
    "a map of nothing": (form(GOOD, part('name="map"', "{}"), HELLO), "map: has to be a JSON object"),
    "a map of null": (form(GOOD, part('name="map"', "null"), HELLO), "map: has to be a JSON object"),
    "a map of nonsense": (form(GOOD, part('name="map"', "{0: 1}"), HELLO), "not JSON"),
    "a map without end": (form(GOOD, part('name="map"', NESTED), HELLO), "not JSON"),
    "a map of a string": (form(GOOD, places(f0="variables.input.file"), HELLO), "map.0: has to be a list"),
    "a map of no places": (form(GOOD, places(f0=[]), HELLO), "map.0: has to be a list"),
    "a map of a number": (form(GOOD, places(f0=[1]), HELLO), "map.0: has to be a list"),
    "a map to the query": (form(GOOD, places(f0=["query"]), HELLO), "'query' does not lead into variables"),
    "a map to nowhere": (
        form(GOOD, places(f0=["variables.input.nope"]), HELLO),
        "'variables.input.nope' leads to nothing at 'nope'",
    ),
    "a map to a value": (
        form(operations(ONE, {"input": {"file": "x"}}), PLACE, HELLO),
        "at 'variables.input.file' there has to be null",
    ),
    "a map to one place twice": (
        form(GOOD, places(f0=["variables.input.file"] * 2), HELLO),
        "at 'variables.input.file' there has to be null",
    ),
    "a map to 201 places": (
        form(operations(MANY, {"input": {"files": [None] * 201}}), places(f0=["variables.x"] * 201), HELLO),
        "more than 200 places",
    ),
    "a map through a long path": (
        form(GOOD, places(f0=["variables" + ".x" * 100_000]), HELLO),
        "leads to nothing at 'x'",
    ),
    "a query of a number": (form(operations(5, EMPTY), PLACE, HELLO), "`query` has to be"),
    "no query": (form(operations("", EMPTY), PLACE, HELLO), "has a `query`"),
    "a name of a number": (
        form(operations(ONE, EMPTY, operationName=5), PLACE, HELLO),
        "`operationName` has to be",
    ),
    "extensions of a list": (
        form(operations(ONE, EMPTY, extensions=[]), PLACE, HELLO),
        "`extensions` has to be",
    ),
    "a document without end": (form(operations("\n" * 5_000, EMPTY), PLACE, HELLO), "the limit is 2000"),
    "a batch": (form(batch(EMPTY), places(f0=["0.variables.input.file"]), HELLO), "batch"),
    "bad base64": (
        form(GOOD, PLACE, file("0", b"&&&&", more="\r\nContent-Transfer-Encoding: base64")),
        "base64",
    ),
    "cut base64": (
        form(GOOD, PLACE, file("0", b"aGVsbG8", more="\r\nContent-Transfer-Encoding: base64")),
        "base64",
    ),
    "a head of 64 KiB": (
        form(GOOD, PLACE, file("0", b"x", more="\r\nX: " + "x" * 65_536)),
        "header size exceeded",
    ),
    "a head in an unknown charset": (
        form(GOOD, PLACE, part("name=\"0\"; filename*=nope''a.txt", b"x")),
        "map.0: there is no such file",
    ),
    "a head that is not UTF-8": (
        form(GOOD, PLACE, part(b'name="0"; filename="\xff"', b"x")),
        "map.0: there is no such file",
    ),
    "no head": (form(GOOD, PLACE, b"--limit\r\n\r\nhello\r\n"), "map.0: there is no such file"),
    "another boundary": (form(*TWO_PARTS).replace(b"--limit", b"--other"), "closing boundary is missing"),
    "no end": (b"".join(TWO_PARTS), "closing boundary is missing"),
    "an end that is not one": (b"".join(TWO_PARTS) + b"--limit-\r\n", "closing boundary is missing"),
    "3,000 fields": (form(GOOD, PLACE, *[part('name="x"', "")] * 3_000), "too large"),
    "3,000 files": (form(*[file("x", b"x")] * 3_000), "too large"),
    "3,000 files without names": (form(GOOD, PLACE, *[file("x", b"x", "")] * 3_000), "too large"),
    "3,000 parts without heads": (form(GOOD, PLACE, *[b"--limit\r\n\r\n\r\n"] * 3_000), "too large"),
    "100,000 boundaries": (b"--limit\r\n" * 100_000 + b"--limit--", "too large"),
    "nothing but hyphens": (b"-" * 1_000_000, "header size exceeded"),
}


@pytest.mark.parametrize("body, message", WRONG.values(), ids=WRONG)
def test_a_wrong_shape_is_refused_by_what_is_wrong_and_where(api, leftovers, body, message):
    answer = send(api, body)
    assert message in refusal(answer)
    assert answer.status_code == (413 if message == "too large" else 400)
    assert leftovers() == []
    assert File.objects.count() == 0


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        "multipart/form-data; boundary=" + "x" * 300,
        "multipart/form-data; boundary=h\xe9",
        "multipart/form-data; boundary=other",
        "multipart/form-data; charset=utf-16; boundary=limit",
        "multipart/form-data; charset=nope; boundary=limit",
        "multipart/form-data; charset=; boundary=limit",
        "multipart/form-data, multipart/form-data; boundary=limit",
        "multipart/mixed; boundary=limit",
        "multipart/; boundary=limit",
        "form-data; boundary=limit",
        "application/x-www-form-urlencoded; boundary=limit",
        "application/json; boundary=limit",
    ],
)
def test_a_content_type_that_says_something_else_is_refused(api, leftovers, content_type):
    refusal(send(api, form(*TWO_PARTS), content_type))
    assert leftovers() == []


@pytest.mark.parametrize(
    "content_type",
    [
        "Multipart/Form-Data; Boundary=limit",
        "MULTIPART/FORM-DATA; BOUNDARY=limit",
        'multipart/form-data; boundary="limit"',
        "multipart/form-data;boundary=limit",
        "multipart/form-data ; boundary=limit",
        " multipart/form-data; boundary=limit",
        "multipart/form-data; boundary=limit;",
        "multipart/form-data; ; boundary=limit",
        "multipart/form-data; charset=UTF-8; boundary=limit",
        "multipart/form-data; boundary=limit; charset=utf-8",
        "multipart/form-data; x=y; boundary=limit",
    ],
)
def test_a_content_type_may_be_written_in_many_ways(api, content_type):
    answer = send(api, form(*TWO_PARTS), content_type)
    assert [each["size"] for each in answer.json()["data"]["uploadFiles"]] == [5, 6]


@pytest.mark.parametrize(
    "more",
    [
        "\r\nContent-Type: TEXT/PLAIN; charset=nope",
        "\r\nContent-Type: ;;;",
        "\r\nContent-Type: " + "x" * 500,
        "\r\nContent-Type:",
        "\r\nContent-Type: \xe9\xff",
        "\r\nContent-Length: nonsense",
        "\r\nContent-Length: -1",
        "\r\nContent-Length: " + "9" * 400,
        "\r\nContent-Transfer-Encoding: binary",
        "\r\nContent-Transfer-Encoding: 8bit",
        "\r\nContent-Transfer-Encoding: nope",
        "\r\nContent-Encoding: gzip",
        "\r\nNonsense",
        "\r\n: nothing",
        "; size=5",
        "; filename=b.txt",
    ],
)
def test_what_else_a_head_says_changes_nothing(api, more):
    answer = send(api, form(GOOD, PLACE, file("0", b"hello", more=more)))
    assert answer.status_code == 200, answer.content
    assert answer.json()["data"]["uploadFile"]["size"] == 5


def test_parts_in_base64_are_decoded(api):
    def encoded(name: str, content: bytes, more: str = "") -> Part:
        head = f'name="{name}"{more}\r\nContent-Transfer-Encoding: base64'
        return part(head, base64.encodebytes(content) if more else base64.b64encode(content))

    content = bytes(range(256)) * 20
    body = form(
        encoded("operations", json.dumps({"query": ONE, "variables": {"input": {"file": None}}}).encode()),
        encoded("map", b'{"0": ["variables.input.file"]}'),
        encoded("0", content, '; filename="a.bin"'),
    )
    kept = send(api, body).json()["data"]["uploadFile"]
    assert kept["sha256"] == hashlib.sha256(content).hexdigest()


def test_what_stands_around_the_parts_is_no_part(api):
    body = b"a word before\r\n" * 20 + form(*TWO_PARTS) + b"and one after\r\n" * 20
    assert [each["size"] for each in send(api, body).json()["data"]["uploadFiles"]] == [5, 6]


def test_a_file_may_hold_almost_a_boundary(api):
    content = b"--limi\r\n--LIMIT--\r\n\r\n--\r\n-" * 1_000
    kept = send(api, form(GOOD, PLACE, file("0", content))).json()["data"]["uploadFile"]
    assert kept["sha256"] == hashlib.sha256(content).hexdigest()


# --- what stands where a file should ---------------------------------------------------------------


@pytest.fixture
def entered(monkeypatch) -> list[str]:
    """The services that were called."""
    called: list[str] = []
    monkeypatch.setattr(services, "upload", lambda **_: called.append("upload"))
    monkeypatch.setattr(services, "upload_many", lambda **_: called.append("upload_many"))
    return called


NO_FILES: list[Any] = [
    "a string",
    "",
    "0",
    0,
    1.5,
    True,
    {},
    {"name": "a.txt"},
    [],
    ["a.txt"],
    [[]],
    [{}],
    None,
    [None],
]


@pytest.mark.parametrize("value", NO_FILES, ids=repr)
@pytest.mark.parametrize("query", [ONE, MANY], ids=["one", "many"])
@pytest.mark.parametrize("beside_a_file", [False, True])
def test_where_no_file_stands_nothing_is_run(api, entered, leftovers, query, value, beside_a_file):
    if query == MANY and value == []:
        return  # a list without files is a list; the resolver says that it is too short
    variables = {"input": {"file" if query == ONE else "files": value}, "other": None}
    if beside_a_file:
        body = form(operations(query, variables), places(f0=["variables.other"]), HELLO)
        answer = send(api, body, HTTP_ACCEPT="application/graphql-response+json")
    else:
        answer = api.client.post(
            "/graphql",
            json.dumps({"query": query, "variables": variables}),
            content_type="application/json",
            headers={"Accept": "application/graphql-response+json"},
        )
    assert answer.status_code == 400
    assert "data" not in answer.json()
    assert entered == []
    assert leftovers() == []


@pytest.mark.parametrize(
    "literal", ['"a string"', "5", "true", "{}", '{name: "a"}', "[]", '["a"]', "A", "null"]
)
@pytest.mark.parametrize("field", ["uploadFile(input: {file: %s})", "uploadFiles(input: {files: [%s]})"])
def test_a_file_cannot_be_written_as_text(api, entered, field, literal):
    assert api.errors("mutation { " + field % literal + " { __typename } }")
    assert entered == []


@pytest.mark.parametrize(
    "variable, argument",
    [("String", "name"), ("[String!]", "tags"), ("Visibility", "visibility")],
)
def test_a_file_is_nothing_else(api, entered, leftovers, variable, argument):
    takes = f"uploadFile(input: {{file: $f, {argument}: $x}})"
    query = f"mutation ($f: Upload!, $x: {variable}) {{ {takes} {RESULT} }}"
    body = form(operations(query, {"f": None, "x": None}), places(f0=["variables.f", "variables.x"]), HELLO)
    answer = send(api, body)
    assert answer.status_code < 500
    assert answer.json()["errors"]
    assert "INTERNAL_SERVER_ERROR" not in answer.content.decode()
    assert entered == []
    assert leftovers() == []


@pytest.mark.parametrize("metadata, path", [(None, "x"), ({"a": [None]}, "x.a.0")])
def test_a_file_is_no_json(api, leftovers, metadata, path):
    query = f"mutation ($f: Upload!, $x: JSON) {{ uploadFile(input: {{file: $f, metadata: $x}}) {RESULT} }}"
    file_map = places(f0=["variables.f", f"variables.{path}"])
    data = send(api, form(operations(query, {"f": None, "x": metadata}), file_map, HELLO)).json()["data"]
    assert data == {"uploadFile": {"__typename": "InvalidInput"}}
    assert leftovers() == []


# --- bodies that break off -------------------------------------------------------------------------


def test_a_body_that_is_cut_anywhere_is_refused_and_leaves_nothing(api, leftovers):
    query = "mutation ($a: Upload!, $b: Upload!) { x: uploadFiles(input: {files: [$a, $b]}) { __typename } }"
    body = form(
        operations(query, {"a": None, "b": None}),
        places(fa=["variables.a"], fb=["variables.b"]),
        file("a", b"first"),
        file("b", b"second\r\n--lim"),
    )
    whole = len(body) - len(b"\r\n")  # nothing has to follow the boundary that ends it
    for length in range(whole):
        answer = send(api, body[:length])
        assert answer.status_code == 400, (length, answer.content)
        assert leftovers() == [], length
    assert send(api, body[:whole]).json() == {"data": {"x": [{"__typename": "File"}] * 2}}
    assert len(leftovers()) == File.objects.count() == 2


@pytest.mark.parametrize("length", [1, 100, 400])
def test_a_body_shorter_than_its_length_is_refused(api, leftovers, length):
    body = form(*TWO_PARTS)
    answer = Sent(body[:length]).post(api, length=len(body))
    assert answer.status_code == 400
    refusal(answer)
    assert leftovers() == []


@pytest.mark.parametrize("content_type", [MULTIPART, "application/json"])
def test_a_client_that_goes_away_is_refused(api, leftovers, content_type):
    class Gone(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise ConnectionResetError

    extra = {"wsgi.input": Gone(), "CONTENT_TYPE": content_type, "CONTENT_LENGTH": "1000"}
    assert "broke off" in refusal(api.client.generic("POST", "/graphql", **extra))
    assert leftovers() == []


def test_a_body_is_read_no_further_than_its_length(api):
    body = form(*TWO_PARTS)
    sent = Sent(body + b"POST /graphql HTTP/1.1\r\n")
    assert sent.post(api, length=len(body)).status_code == 200
    assert sent.read() == b"POST /graphql HTTP/1.1\r\n"


# --- sizes -----------------------------------------------------------------------------------------

KIB = 1024


@pytest.fixture
def sizes(settings) -> None:
    settings.UPLOAD_PROFILES = small_profiles(small=100 * KIB, default=1000 * KIB, large=3000 * KIB)


MIB = b"x" * KIB * KIB
UP_TO = 1024 * KIB  # bytes that may be on their way when a limit is passed


def one_of(profile: str | None) -> bytes:
    return form(operations(ONE, {"input": {"file": None, "profile": profile}}), PLACE, file("0", MIB * 5))


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize(
    "profile, limit",
    [("small", 100 * KIB), (None, 1000 * KIB), ("default", 1000 * KIB), ("large", 3000 * KIB)],
)
def test_a_file_past_the_limit_of_its_profile_is_not_read_to_its_end(api, leftovers, profile, limit):
    sent = Sent(one_of(profile))
    result = sent.post(api).json()["data"]["uploadFile"]
    assert (result["__typename"], result["limit"]) == ("FileTooLarge", limit)
    assert limit < result["size"] <= sent.tell() <= limit + UP_TO
    assert leftovers() == []


@pytest.mark.usefixtures("sizes")
def test_of_a_file_for_an_unknown_profile_hardly_anything_is_read(api, leftovers):
    sent = Sent(one_of("nope"))
    assert sent.post(api).json()["data"]["uploadFile"]["__typename"] == "UnknownProfile"
    assert sent.tell() <= UP_TO
    assert leftovers() == []


@pytest.mark.usefixtures("sizes")
def test_files_behind_one_that_is_too_large_are_kept(api, leftovers):
    large = [file("a", MIB * 2), file("b", b"fits", "b.txt"), file("c", MIB * 5)]
    sent = Sent(
        form(
            operations(MANY, {"input": {"files": [None] * 3}}),
            places(**{f"f{name}": [f"variables.input.files.{at}"] for at, name in enumerate("abc")}),
            *large,
        )
    )
    results = sent.post(api).json()["data"]["uploadFiles"]
    assert [each["__typename"] for each in results] == ["FileTooLarge", "File", "FileTooLarge"]
    assert (
        len(MIB) * 2 < sent.tell() < len(MIB) * 2 + 1000 * KIB + UP_TO
    )  # the last one is not read to its end
    assert len(leftovers()) == 1


@pytest.mark.usefixtures("sizes")
def test_a_file_at_two_places_may_be_as_large_as_the_larger_lets_it(api, leftovers):
    query = """
        mutation ($a: Upload!, $b: Upload!) {
            small: uploadFile(input: {file: $a, profile: "small"}) { __typename }
            large: uploadFile(input: {file: $b, profile: "large"}) { __typename }
        }
    """
    body = form(
        operations(query, {"a": None, "b": None}),
        places(f0=["variables.a", "variables.b"]),
        file("0", MIB * 2),
    )
    data = send(api, body).json()["data"]
    assert data == {"small": {"__typename": "FileTooLarge"}, "large": {"__typename": "File"}}
    assert len(leftovers()) == 1


@pytest.mark.usefixtures("sizes")
def test_files_that_come_first_may_be_as_large_as_any_profile_lets_them(api, leftovers):
    """Nobody knows yet what they are for; of what no profile takes nothing is kept."""
    small = operations(ONE, {"input": {"file": None, "profile": "small"}})
    for content, stays in ((MIB * 2, 2 * len(MIB)), (MIB * 5, 5 * len(MIB))):
        result = send(api, form(file("0", content), small, PLACE)).json()["data"]["uploadFile"]
        assert (result["__typename"], result["size"]) == ("FileTooLarge", stays)
        assert leftovers() == []


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize(
    "sent_operations, file_map",
    [
        (GOOD, places(f0=["variables.nope"])),
        (GOOD, part('name="map"', "[]")),
        (part('name="operations"', "[]"), PLACE),
        (part('name="operations"', "{"), PLACE),
        (
            part('name="operations"', '[{"query": "{a}", "variables": {"f": null}}]'),
            places(f0=["0.variables.f"]),
        ),
        (operations(5, EMPTY), PLACE),
    ],
)
def test_what_is_known_to_be_wrong_is_refused_before_the_files_are_read(api, sent_operations, file_map):
    sent = Sent(form(sent_operations, file_map, file("0", MIB * 5)))
    answer = sent.post(api)
    assert answer.status_code == 400
    refusal(answer)
    assert sent.tell() <= UP_TO


def test_a_request_past_the_limit_is_cut_there_whatever_length_it_claims(api, settings, leftovers):
    settings.MAX_REQUEST_SIZE = 1000 * KIB
    body = form(GOOD, PLACE, file("0", MIB * 2))
    for length in (len(body), "9" * 30):
        answer = Sent(body).post(api, length=length)
        assert answer.status_code == 413
        assert "1024000 bytes" in refusal(answer)
    assert leftovers() == []


def test_a_large_number_of_operations_is_no_way_around_the_limit_of_json(api, settings, leftovers):
    for head in ('name="operations"', 'name="map"', 'name="other"'):
        body = form(part(head, b" " * 2_000_000), GOOD, PLACE, HELLO)
        answer = send(api, body)
        assert answer.status_code == 413
        refusal(answer)
    assert leftovers() == []


# --- batches ---------------------------------------------------------------------------------------


@pytest.fixture
def batching(monkeypatch, settings) -> None:
    settings.MAX_BATCH = 2
    monkeypatch.setattr(schema.config, "batching_config", {"max_operations": 2})


BOTH = places(fa=["0.variables.input.file"], fb=["1.variables.input.file"])


@pytest.mark.usefixtures("batching")
def test_each_operation_of_a_batch_gets_its_file(api):
    body = form(batch(EMPTY, EMPTY), BOTH, file("a", b"first", "1.txt"), file("b", b"second", "2.txt"))
    answers = send(api, body).json()
    assert [each["data"]["uploadFile"]["name"] for each in answers] == ["1.txt", "2.txt"]


@pytest.mark.usefixtures("batching")
def test_a_batch_may_come_after_its_files(api):
    body = form(file("a", b"first", "1.txt"), file("b", b"second", "2.txt"), BOTH, batch(EMPTY, EMPTY))
    assert [each["data"]["uploadFile"]["name"] for each in send(api, body).json()] == ["1.txt", "2.txt"]


@pytest.mark.usefixtures("batching")
def test_one_file_may_be_for_two_operations_of_a_batch(api):
    both = places(f0=["0.variables.input.file", "1.variables.input.file"])
    answers = send(api, form(batch(EMPTY, EMPTY), both, HELLO)).json()
    assert len({each["data"]["uploadFile"]["sha256"] for each in answers}) == 1
    assert File.objects.count() == 2


@pytest.mark.usefixtures("batching")
@pytest.mark.parametrize("files_first", [False, True])
def test_a_batch_of_too_many_operations_is_refused_as_a_whole(api, leftovers, files_first):
    parts = [batch(EMPTY, EMPTY, EMPTY), BOTH, file("a", b"first"), file("b", b"second")]
    refusal(send(api, form(*(parts[::-1] if files_first else parts))))
    assert leftovers() == []


@pytest.mark.usefixtures("batching")
def test_a_batch_with_something_that_is_no_operation_is_refused_as_a_whole(api, leftovers):
    no_operations: list[Any] = [1, None, [], {}, {"query": 5}, {"query": None}]
    for wrong in no_operations:
        good = {"query": ONE, "variables": EMPTY}
        body = form(
            part('name="operations"', json.dumps([good, wrong])), places(f0=["0.variables.input.file"]), HELLO
        )
        refusal(send(api, body))
        assert leftovers() == []
        assert File.objects.count() == 0


@pytest.mark.parametrize("files_first", [False, True])
def test_batches_are_off_unless_they_are_switched_on(api, leftovers, files_first):
    parts = [batch(EMPTY, EMPTY), BOTH, file("a", b"first"), file("b", b"second")]
    assert "batch" in refusal(send(api, form(*(parts[::-1] if files_first else parts)))).lower()
    answer = api.client.post("/graphql", '[{"query": "{ __typename }"}]', content_type="application/json")
    assert answer.status_code == 400
    assert "batch" in refusal(answer).lower()
    assert leftovers() == []


# --- whatever comes --------------------------------------------------------------------------------

thorough = examples(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

_keys = st.sampled_from(["variables", "a", "b", "0", "1", "", "query"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=8,
)
_objects = st.dictionaries(_keys, _values, max_size=3)
_requests = st.fixed_dictionaries({"query": st.just("{ __typename }"), "variables": _objects})
_operations = _requests | st.lists(_requests, max_size=2) | _objects | _values
_steps = _keys | st.sampled_from(["2", "-1", "+0", "００", "00", "x"])
_paths = st.lists(_steps, max_size=3).map(lambda steps: ".".join(["variables", *steps])) | st.lists(
    _steps, max_size=4
).map(".".join)
_maps = st.dictionaries(
    st.sampled_from(["a", "b", "c"]), st.lists(_paths, min_size=1, max_size=2), max_size=2
)


@pytest.fixture
def ran(monkeypatch) -> list[Any]:
    """The variables of the operations that would have been run, with names for files; nothing is run."""
    given: list[Any] = []

    def record(*_: object, request_data: Any, **__: object) -> ExecutionResult:
        given.append(named(request_data.variables))
        return ExecutionResult(data={}, errors=None)

    monkeypatch.setattr(CofferGraphQLView, "execute_single", record)
    return given


def named(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: named(each) for key, each in value.items()}
    if isinstance(value, list):
        return [named(each) for each in value]
    return f"file {value.name}" if isinstance(value, Received) else value


def right(operations: Any, file_map: Any) -> list[Any] | None:
    """The variables of the operations of a good request; None for one that is none."""
    try:
        placed = multipart.place(copy.deepcopy(operations), file_map, {"a": "file a", "b": "file b"})
    except multipart.MultipartError:
        return None
    requests = placed if isinstance(placed, list) else [placed]
    if not all(isinstance(each, dict) and each.get("query") == "{ __typename }" for each in requests):
        return None
    return [each["variables"] for each in requests]


@thorough
@given(_operations, _maps | _values, st.permutations(range(4)))
@example([], {"a": ["0.variables.a"]}, [0, 1, 2, 3])
@example({"query": "{ __typename }", "variables": {"a": [None]}}, {"a": ["variables.a.0"]}, [0, 1, 2, 3])
@example({"query": "{ __typename }", "variables": {"a": None}}, {"b": ["variables.a"]}, [0, 1, 2, 3])
@pytest.mark.usefixtures("batching")
def test_whatever_comes_it_is_refused_or_files_stand_where_they_belong(
    api, ran, leftovers, operations, file_map, order
):
    parts = [
        part('name="operations"', json.dumps(operations)),
        part('name="map"', json.dumps(file_map)),
        file("a", b"x", "a"),
        file("b", b"x", "b"),
    ]
    ran.clear()
    answer = send(api, form(*(parts[number] for number in order)))
    assert leftovers() == []
    placed = right(operations, file_map)
    if placed is None:
        assert answer.status_code == 400
        refusal(answer)
        assert ran == []
    else:
        assert answer.status_code == 200
        assert ran == placed


PIECES = [
    b"",
    b"\r\n",
    b"--limit",
    b"--limit--",
    b"--limit\r\n",
    b'"',
    b";",
    b"\x00",
    b"\xff",
    b"{",
    b"]",
    b'name="map"',
    b"; name*0=ma; name*1=p",
    b'; filename="x"',
    b"; filename*=utf-8''%ff",
    b"; filename*=nope''x",
    b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Disposition: form-data; name=",
]


@st.composite
def _bent(draw: st.DrawFn) -> bytes:
    """A good body in which a few things were changed."""
    body = form(*(TWO_PARTS[number] for number in draw(st.permutations(range(4)))))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 60)))
        piece = draw(st.binary(max_size=8) | st.sampled_from(PIECES) | st.just(body[start:end] * 2))
        body = body[:start] + piece + body[end:]
    return body


@thorough
@given(_bent())
def test_a_body_that_was_bent_is_an_upload_or_a_refusal_and_leaves_no_more_than_its_files(
    api, leftovers, settings, body
):
    answer = send(api, body)
    assert answer.status_code < 500, answer.content
    assert answer.headers["Content-Type"].startswith("application/json")
    assert "INTERNAL_SERVER_ERROR" not in answer.content.decode()
    assert stored_files(Path(settings.STAGING_DIR)) == []
    assert len(leftovers()) == File.objects.count()
    if answer.status_code != 200:
        refusal(answer)


@thorough
@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda data: b"--limit" + data + b"--limit--"))
def test_any_bytes_are_refused(api, leftovers, body):
    refusal(send(api, body))
    assert leftovers() == []
