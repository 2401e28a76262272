"""The wire of running services as production has them: what is refused, when, and at what cost."""

import contextlib
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api import UPLOAD
from tests.e2e import server
from tests.e2e.conftest import Start
from tests.e2e.server import Form, Service, many_files, one_file, read_answer, wait_for

pytestmark = pytest.mark.e2e

KIB = 1024
MIB = 1024 * KIB
SMALL, LARGE, REQUEST = 1 * MIB, 6 * MIB, 8 * MIB
UNDER_WAY = 1 * MIB  # bytes that may be read beyond a limit before it is noticed

PROFILES = """
[default]
description = "Any file."
max_size = "6 MiB"
types = ["*/*"]
visibility = "private"

[small]
description = "Any small file."
max_size = "1 MiB"
types = ["*/*"]
visibility = "private"
"""


@contextlib.contextmanager
def strict(start: Start, name: str, folder: Path, *, asgi: bool = False) -> Iterator[Service]:
    """The service as in production, with small limits and a folder for temporary files of its own."""
    temporary = folder / "temporary"
    temporary.mkdir()
    profiles = folder / "profiles.toml"
    profiles.write_text(PROFILES)
    settings = {
        "MAX_REQUEST_SIZE": "8 MiB",
        "MAX_BATCH": "3",
        "COFFER_PROFILES": str(profiles),
        "TMPDIR": str(temporary),
    }
    with start(name, asgi=asgi, settings=settings) as service:
        yield service


@pytest.fixture(scope="module")
def strict_wsgi(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with strict(start, "strict-wsgi", tmp_path_factory.mktemp("strict")) as service:
        yield service


@pytest.fixture(scope="module")
def strict_asgi(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with strict(start, "strict-asgi", tmp_path_factory.mktemp("strict"), asgi=True) as service:
        yield service


@pytest.fixture(params=["wsgi", "asgi"])
def service(request: pytest.FixtureRequest) -> Service:
    chosen: Service = request.getfixturevalue(f"strict_{request.param}")
    return chosen


@pytest.fixture(autouse=True)
def nothing_staged(service: Service) -> Iterator[None]:
    yield
    wait_for("staged bytes to go", lambda: not service.staged())


def head(content_type: str | bytes, *headers: str, method: str = "POST", path: str = "/graphql") -> bytes:
    raw = content_type if isinstance(content_type, bytes) else content_type.encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    return "\r\n".join(lines).encode() + b"\r\nContent-Type: " + raw + b"\r\n\r\n"


def bearer(service: Service) -> str:
    return f"Authorization: Bearer {service.token}"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def exchange(service: Service, sent: bytes, *, half_close: bool = False) -> tuple[int, dict[str, Any]]:
    """Status and JSON of the answer to these bytes, which may be fewer than were promised."""
    with service.connect() as connection:
        connection.sendall(sent)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        status, headers, body = read_answer(connection)
    assert headers["content-type"].startswith("application/json"), (status, body)
    return status, json.loads(body)


def code(answer: dict[str, Any]) -> str:
    assert list(answer) == ["errors"]
    found: str = answer["errors"][0]["extensions"]["code"]
    return found


# --- what production does not tell -----------------------------------------------------------------


def ask(service: Service, query: str, variables: dict[str, Any] | None = None) -> httpx.Response:
    return service.client.post(
        "/graphql",
        json={"query": query, "variables": variables},
        headers={"Accept": "application/graphql-response+json"},
    )


def test_introspection_is_off_and_names_of_types_are_not(service: Service) -> None:
    for query in ("{ __schema { queryType { name } } }", '{ __type(name: "File") { name } }'):
        refused = ask(service, query)
        assert refused.status_code == 400
        assert "introspection has been disabled" in refused.text
        assert list(refused.json()) == ["errors"]
    assert ask(service, "{ __typename }").json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize(
    "query, variables",
    [
        ("{ viewr { username } }", None),
        ("{ viewer { usernam } }", None),
        ("{ file(ide: 1) { id } }", None),
        ("{ viewer { id ... on Usr { id } } }", None),
        ("query ($f: FileFiltr) { files(filters: $f) { totalCount } }", None),
        ("{ files(order: {field: NAM}) { totalCount } }", None),
        ("{ files(filters: {nameContain: 1}) { totalCount } }", None),
        ("{ viewer @skp(if: true) { id } }", None),
        ("{ viewer { ...Fiel } } fragment Field on User { id }", None),
        ("query ($o: FileOrder) { files(order: $o) { totalCount } }", {"o": {"field": "NAM"}}),
        ("query ($f: FileFilter) { files(filters: $f) { totalCount } }", {"f": {"nameContain": "x"}}),
    ],
)
def test_nothing_is_suggested(service: Service, query: str, variables: dict[str, Any] | None) -> None:
    """What is suggested tells the schema piece by piece."""
    refused = ask(service, query, variables)
    assert refused.status_code == 400
    assert list(refused.json()) == ["errors"]
    assert "Did you mean" not in refused.text


@pytest.mark.parametrize(
    "query", ["", "?query={__typename}", "?query=mutation{deleteFiles(ids:[1]){__typename}}", "?query={"]
)
def test_nothing_is_asked_by_get(service: Service, query: str) -> None:
    for accept in ("application/json", "text/html", "*/*"):
        refused = service.client.get(f"/graphql{query}", headers={"Accept": accept})
        assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")
        assert code(refused.json()) == "METHOD_NOT_ALLOWED"


def test_a_batch_is_capped_and_shares_one_budget(service: Service) -> None:
    name = {"query": "{ viewer { username } }"}
    answers = service.client.post("/graphql", json=[name] * 3).json()
    assert answers == [{"data": {"viewer": {"username": "alice"}}}] * 3
    refused = service.client.post("/graphql", json=[name] * 4)
    assert (refused.status_code, code(refused.json())) == (400, "BAD_REQUEST")
    aliases = " ".join(f"a{number}: id" for number in range(40))
    page = {"query": f"{{ files(first: 100) {{ edges {{ cursor node {{ {aliases} }} }} }} }}"}
    answers = service.client.post("/graphql", json=[page] * 3).json()
    assert ["data" in answer for answer in answers] == [True, True, False]
    assert code(answers[2]) == "QUERY_TOO_LARGE"


# --- who may, before the body ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type, header, status, expected",
    [
        ("application/json", "Authorization: Bearer coffer_wrong", 401, "UNAUTHENTICATED"),
        ("application/json", "Authorization: Basic YWxpY2U6eA==", 401, "UNAUTHENTICATED"),
        ("application/json", "Authorization: Token x", 401, "UNAUTHENTICATED"),
        ("multipart/form-data; boundary=x", "Authorization: Basic YWxpY2U6eA==", 401, "UNAUTHENTICATED"),
        ("multipart/form-data; boundary=x", "X-Requested-With: x", 401, "UNAUTHENTICATED"),
        ("multipart/form-data; boundary=x", "Origin: https://evil.example", 401, "UNAUTHENTICATED"),
        ("text/plain", "Origin: https://evil.example", 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("application/x-www-form-urlencoded", "Origin: null", 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("text/plain", "Authorization: Bearer coffer_wrong", 401, "UNAUTHENTICATED"),
    ],
)
def test_who_may_not_is_told_so_before_the_body_is_sent(
    service: Service, content_type: str, header: str, status: int, expected: str
) -> None:
    found, answer = exchange(service, head(content_type, header, "Content-Length: 1000000"))
    assert (found, code(answer)) == (status, expected)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset*=nope''x",
        "multipart/form-data; boundary*=nope''x",
        "application/json; charset=utf-16",
        "application/json" + "; a=b" * 1_500,
        b"application/json; charset=\xff",
        "multipart/form-data",
    ],
    ids=["charset", "boundary", "UTF-16", "long", "not ASCII", "no boundary"],
)
def test_a_content_type_that_cannot_be_read_is_the_clients_mistake(
    service: Service, content_type: str | bytes
) -> None:
    status, answer = exchange(service, head(content_type, bearer(service), "Content-Length: 2") + b"{}")
    assert status in {400, 415}
    assert code(answer) in {"BAD_REQUEST", "UNSUPPORTED_MEDIA_TYPE"}


# --- limits before work ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type, length", [("application/json", MIB + 1), ("multipart/form-data; boundary=x", REQUEST + 1)]
)
def test_an_honest_length_past_the_limit_is_refused_before_the_body_is_sent(
    service: Service, content_type: str, length: int
) -> None:
    status, answer = exchange(service, head(content_type, bearer(service), f"Content-Length: {length}"))
    assert (status, code(answer)) == (413, "REQUEST_TOO_LARGE")


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("length", ["9" * 30, "-1", "1e3", "0x10", "1, 2"])
def test_a_length_that_is_none_is_the_clients_mistake(
    service: Service, content_type: str, length: str
) -> None:
    with service.connect() as connection:
        connection.sendall(head(content_type, bearer(service), f"Content-Length: {length}") + b"{}")
        status, _, body = read_answer(connection)
    assert 400 <= status < 500
    assert b"Traceback" not in body


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_length_that_is_too_short_makes_a_body_that_breaks_off(service: Service, cut: int) -> None:
    before = service.kept()
    sent = one_file(b"hello")
    assert_broken(service, sent.head(service.token, length=len(sent.body) - cut - 2) + sent.body)
    body = b'{"query": "{ __typename }"}'
    short = head("application/json", bearer(service), f"Content-Length: {len(body) - 1}")
    assert_broken(service, short + body)
    assert service.kept() == before


def assert_broken(service: Service, sent: bytes) -> None:
    """Refused by us, or by the server: to uvicorn's parser the rest is a request of its own, and none."""
    with service.connect() as connection:
        connection.sendall(sent)
        status, headers, body = read_answer(connection)
    assert status == 400
    if headers["content-type"].startswith("application/json"):
        assert code(json.loads(body)) == "BAD_REQUEST"
    else:
        assert body == b"Invalid HTTP request received."


@pytest.mark.parametrize("service", ["asgi"], indirect=True)
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data"])
def test_a_body_without_a_length_is_cut_off_at_the_limit(service: Service, kind: str) -> None:
    files = many_files(("first.bin", b"x" * 5 * MIB), ("second.bin", b"x" * 5 * MIB))
    body = b'{"query": "' + b" " * (MIB + UNDER_WAY)
    if kind == "multipart/form-data":
        kind, body = files.content_type, files.body[: REQUEST + UNDER_WAY]
    start = head(kind, bearer(service), "Transfer-Encoding: chunked")
    before = service.kept()
    status, answer = exchange(service, start + chunk(body))
    assert (status, code(answer)) == (413, "REQUEST_TOO_LARGE")
    assert service.kept() == before


@pytest.mark.parametrize("service", ["wsgi"], indirect=True)
@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=x"])
def test_a_body_without_a_length_is_refused_where_its_end_cannot_be_told(
    service: Service, content_type: str
) -> None:
    start = head(content_type, bearer(service), "Transfer-Encoding: chunked")
    status, answer = exchange(service, start + chunk(b"{}") + chunk(b""))
    assert (status, code(answer)) == (411, "LENGTH_REQUIRED")


@pytest.mark.parametrize("profile, limit", [("small", SMALL), ("default", LARGE), ("nope", 0)])
def test_a_file_past_the_limit_of_its_profile_is_answered_while_it_is_sent(
    service: Service, profile: str, limit: int
) -> None:
    sent = one_file(b"x" * (limit + 2 * UNDER_WAY), profile=profile)
    assert len(sent.body) <= REQUEST + 2 * KIB
    length = min(len(sent.body), REQUEST)
    before = service.kept()
    with service.connect() as connection:
        connection.sendall(sent.head(service.token, length=length) + sent.body[: limit + UNDER_WAY])
        status, _, body = read_answer(connection)
    result = json.loads(body)["data"]["uploadFile"]
    assert status == 200
    if profile == "nope":
        assert result["__typename"] == "UnknownProfile"
    else:
        assert (result["__typename"], result["limit"]) == ("FileTooLarge", limit)
    assert service.kept() == before


def test_files_around_one_that_is_too_large_are_kept(service: Service) -> None:
    sent = many_files(
        ("first.txt", b"fits"), ("large.bin", b"x" * (2 * SMALL)), ("last.txt", b"fits"), profile="small"
    )
    results = service.send(sent).json()["data"]["uploadFiles"]
    assert [each["__typename"] for each in results] == ["File", "FileTooLarge", "File"]


def test_files_before_one_that_is_too_large_are_kept_while_it_is_still_sent(service: Service) -> None:
    sent = many_files(("first.txt", b"fits"), ("large.bin", b"x" * (4 * SMALL)), profile="small")
    with service.connect() as connection:
        connection.sendall(sent.head(service.token) + sent.body[: SMALL + UNDER_WAY])
        _, _, body = read_answer(connection)
    results = json.loads(body)["data"]["uploadFiles"]
    assert [each["__typename"] for each in results] == ["File", "FileTooLarge"]


def test_a_connection_serves_on_after_a_file_that_was_too_large(service: Service) -> None:
    """The client has the rest of the body on its way when the answer comes."""
    for _ in range(3):
        result = service.upload(b"x" * (2 * SMALL), profile="small")
        assert result["__typename"] == "FileTooLarge"
        assert service.run("{ viewer { username } }") == {"viewer": {"username": "alice"}}


# --- what a body costs -----------------------------------------------------------------------------

linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"),
    reason="memory and open files are told by /proc, which only Linux has",
)


def temporary_files(service: Service) -> list[str]:
    """Those in the service's folder for them, and those that it has open there and that have no name."""
    folder = Path(service.environ["TMPDIR"])
    found = [str(path) for path in folder.rglob("*") if path.is_file()]
    for pid in service.processes():
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed in between
                found.append(str(descriptor.readlink()))
    return sorted(path for path in found if path.startswith(str(folder)))


@linux
def test_a_body_is_written_nowhere_but_where_files_wait(service: Service) -> None:
    sent = one_file(b"x" * 4 * MIB)
    before = temporary_files(service)
    with service.connect() as connection:
        connection.sendall(sent.head(service.token) + sent.body[:-1000])
        wait_for("the bytes to be staged", lambda: len(service.staged()) == 1)
        assert temporary_files(service) == before
        connection.sendall(sent.body[-1000:])
        status, _, body = read_answer(connection)
    assert status == 200
    assert b'"__typename":"File"' in body
    assert temporary_files(service) == before


@linux
@pytest.mark.parametrize("claim", ["Content-Length: 209715200", "Transfer-Encoding: chunked"])
def test_a_body_that_nobody_wants_fills_no_memory(service: Service, claim: str) -> None:
    piece = chunk(b"x" * MIB) if "chunked" in claim else b"x" * MIB
    start = head("multipart/form-data; boundary=x", "Authorization: Bearer coffer_wrong", claim)
    with server.measured(service) as memory, service.connect() as connection:
        connection.sendall(start)
        connection.settimeout(0.5)
        with contextlib.suppress(OSError):  # the service ends the connection, or does not read on
            for _ in range(200):
                connection.sendall(piece)
    assert memory.growth < 32 * MIB
    assert service.run("{ __typename }") == {"__typename": "Query"}


# --- bodies that are none --------------------------------------------------------------------------

PART = b"--x\r\nContent-Disposition: form-data; name=%s\r\n\r\n%s\r\n"
OPERATIONS = json.dumps({"query": UPLOAD, "variables": {"input": {"file": None}}}).encode()
GOOD = PART % (b'"operations"', OPERATIONS) + PART % (b'"map"', b'{"0": ["variables.input.file"]}')


@pytest.mark.parametrize(
    "body, status",
    [
        (b"--x--", 400),
        (b"nonsense", 400),
        (GOOD + b"--x--", 400),
        (GOOD + PART % (b'"0"', b"a field") + b"--x--", 400),
        (GOOD + PART % (b'"0"; filename="a"\r\nContent-Transfer-Encoding: base64', b"&") + b"--x--", 400),
        (GOOD + PART % (b'"0"; filename="a"\r\nX: ' + b"x" * 65_536, b"") + b"--x--", 400),
        (PART % (b'"operations"', b"[" * 500_000) + PART % (b'"map"', b"{}") + b"--x--", 400),
        (GOOD + PART % (b'"x"', b"") * 3_000 + b"--x--", 413),
        (PART % (b'"operations"', b" " * (MIB + 1)) + b"--x--", 413),
    ],
    ids=["end", "nonsense", "no file", "field", "base64", "64 KiB of head", "depth", "3,000 parts", "size"],
)
def test_a_body_that_is_no_upload_is_the_clients_mistake(service: Service, body: bytes, status: int) -> None:
    before = service.kept()
    refused = service.send(Form(body=body, boundary="x"))
    assert refused.status_code == status, refused.text
    assert refused.headers["Content-Type"] == "application/json"
    assert code(refused.json()) in {"BAD_REQUEST", "REQUEST_TOO_LARGE"}
    assert service.kept() == before


def test_expensive_documents_are_refused(service: Service) -> None:
    doubling = "{ ...f0 }" + "".join(
        f" fragment f{level} on Query {{ ...f{level + 1} ...f{level + 1} }}" for level in range(30)
    )
    for query in (
        doubling + " fragment f30 on Query { __typename }",
        "\n" * 400_000 + "{ " + "nope " * 100 + "}",
        "{a" * 10_000,
        '{ file(id: "' + "x" * 100_000 + '") { id } }',
    ):
        refused = ask(service, query)
        assert refused.status_code == 400
        assert list(refused.json()) == ["errors"]
