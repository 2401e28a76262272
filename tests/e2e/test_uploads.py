"""Uploads over real HTTP: what arrives whole is kept, and of everything else nothing is."""

import hashlib
import secrets
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Large
from tests.e2e.server import Form, Service, many_files, one_file, read_answer, wait_for

pytestmark = pytest.mark.e2e

MIB = 1024 * 1024
STAGED_ON_DISK = 3 * MIB  # bytes; well past what is kept in memory

# What differs between two uploads of the same bytes.
OWN = ("id", "storage", "url", "createdAt", "updatedAt")


@pytest.fixture
def nothing_kept(request: pytest.FixtureRequest) -> Iterator[None]:
    """After the test there is no row, no object and no staged byte more than before."""
    name = "either_service" if "either_service" in request.fixturenames else "service"
    service: Service = request.getfixturevalue(name)
    before = service.kept()
    yield
    wait_for("staged bytes to go", lambda: not service.staged())
    assert service.kept() == before


# --- what is kept ----------------------------------------------------------------------------------


def test_one_file_is_kept_as_it_came(either_service: Service) -> None:
    content = secrets.token_bytes(100_000)
    kept = either_service.upload(content, "figures.bin", tags=["a", "b"], metadata={"n": 1})
    assert kept["__typename"] == "File"
    assert (kept["name"], kept["size"]) == ("figures.bin", len(content))
    assert kept["sha256"] == hashlib.sha256(content).hexdigest()
    assert kept["md5"] == hashlib.md5(content).hexdigest()
    assert (kept["tags"], kept["metadata"]) == (["a", "b"], {"n": 1})
    assert kept["owner"] == {"username": "alice"}
    path = either_service.data_dir / "files" / kept["storage"]["objectKey"]
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o640


def test_wsgi_and_asgi_give_the_same_answer(wsgi_service: Service, asgi_service: Service) -> None:
    content = secrets.token_bytes(STAGED_ON_DISK)
    answers = [service.upload(content, "same.bin") for service in (wsgi_service, asgi_service)]
    for answer in answers:
        assert all(answer.pop(name) for name in OWN)
    assert answers[0] == answers[1]


def test_a_bad_file_between_good_ones_fails_alone(either_service: Service) -> None:
    rows, objects, _ = either_service.kept()
    sent = many_files(("first.txt", b"one"), ("nothing.txt", b""), ("last.txt", b"three"), title="Three")
    results = either_service.send(sent).json()["data"]["uploadFiles"]
    assert [each["__typename"] for each in results] == ["File", "EmptyFile", "File"]
    assert [results[place]["name"] for place in (0, 2)] == ["first.txt", "last.txt"]
    assert [results[place]["title"] for place in (0, 2)] == ["Three", "Three"]
    assert results[1]["message"] == "The file is empty; send a file with at least one byte."
    now = either_service.kept()
    assert (now[0], len(now[1]), now[2]) == (rows + 2, len(objects) + 2, [])


def test_as_many_files_as_are_allowed_are_kept(service: Service) -> None:
    sent = many_files(*((f"{number}.txt", b"x") for number in range(20)))
    results = service.send(sent).json()["data"]["uploadFiles"]
    assert [each["name"] for each in results] == [f"{number}.txt" for number in range(20)]


def test_one_connection_serves_one_request_after_another(either_service: Service) -> None:
    for size in (10, STAGED_ON_DISK, 10, STAGED_ON_DISK):
        content = secrets.token_bytes(size)
        assert either_service.upload(content)["sha256"] == hashlib.sha256(content).hexdigest()
        assert either_service.run("{ viewer { username } }") == {"viewer": {"username": "alice"}}


def test_files_that_are_sent_at_the_same_time_are_all_kept(either_service: Service) -> None:
    contents = [secrets.token_bytes(STAGED_ON_DISK) for _ in range(6)]
    with ThreadPoolExecutor(len(contents)) as clients:
        results = list(clients.map(either_service.upload, contents))
    for content, kept in zip(contents, results, strict=True):
        path = either_service.data_dir / "files" / kept["storage"]["objectKey"]
        assert path.read_bytes() == content


def test_an_upload_that_stalls_keeps_nobody_waiting(either_service: Service) -> None:
    sent = one_file(b"x" * STAGED_ON_DISK)
    half = len(sent.body) // 2
    with either_service.connect() as connection:
        connection.sendall(sent.head(either_service.token) + sent.body[:half])
        wait_for("the bytes to be staged", lambda: len(either_service.staged()) == 1)
        for _ in range(4):
            assert either_service.upload(b"meanwhile")["__typename"] == "File"
        connection.sendall(sent.body[half:])
        status, _, body = read_answer(connection)
    assert status == 200
    assert b'"__typename":"File"' in body


# --- memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_memory_does_not_grow_with_the_size_of_an_upload(kind: str, request: pytest.FixtureRequest) -> None:
    large: Large = request.getfixturevalue(f"{kind}_large")
    assert large.result["size"] == len(large.content) == 60 * MIB
    assert large.result["sha256"] == large.sha256
    assert large.growth < 32 * MIB


# --- straight into S3 ------------------------------------------------------------------------------


# --- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent, shown",
    [
        ("naïve 文件 😀.txt", "naïve 文件 😀.txt"),
        ("e\u0301te\u0301.txt", "été.txt"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/", "file"),
        ("..", "file"),
        ("nul\x00byte.txt", "nulbyte.txt"),
        ("invoice\u202egpj.exe", "invoicegpj.exe"),
        ("x" * 300 + ".txt", "x" * 251 + ".txt"),
        ("文" * 300 + ".txt", "文" * 251 + ".txt"),
        ("&lt;b&gt;.txt", "&lt;b&gt;.txt"),
        ("100%.txt", "100%.txt"),
        ("na%C3%AFve%20%E6%96%87%E4%BB%B6.txt", "naïve 文件.txt"),  # RFC 7578, section 2
        ("%2E%2E%2F%2E%2E%2Fetc%2Fpasswd%00", "passwd"),
    ],
)
def test_a_name_is_made_safe_to_show(service: Service, sent: str, shown: str) -> None:
    kept = service.upload(b"named", sent)
    assert kept["name"] == shown
    assert kept["storage"]["objectKey"].startswith("default/2")
    assert (service.data_dir / "files" / kept["storage"]["objectKey"]).read_bytes() == b"named"


@pytest.mark.parametrize(
    "sent",
    [b"caf\xe9.txt", "half\ud800.txt", "x" * 5_000, ""],
    ids=["latin-1", "half a surrogate pair", "longer than a head may be", "none"],
)
@pytest.mark.usefixtures("nothing_kept")
def test_a_name_that_cannot_be_read_is_the_clients_mistake(service: Service, sent: str | bytes) -> None:
    assert_refused(service.send(one_file(b"named", sent)), 400, "BAD_REQUEST")


# --- refusals --------------------------------------------------------------------------------------


def assert_refused(answer: httpx.Response, status: int, code: str) -> None:
    """An answer in JSON that says what is wrong, and nothing of how the service works."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/json")
    (error,) = answer.json()["errors"]
    assert error["extensions"]["code"] == code
    assert "Traceback" not in answer.text


@pytest.mark.usefixtures("nothing_kept")
def test_an_empty_file_is_refused(service: Service) -> None:
    assert service.upload(b"")["__typename"] == "EmptyFile"


@pytest.mark.usefixtures("nothing_kept")
def test_a_file_over_the_limit_of_its_profile_is_refused(service: Service) -> None:
    refused = service.upload(b"x" * (6 * 1000 * 1000), profile="avatar")
    assert refused["__typename"] == "FileTooLarge"
    assert refused["limit"] == 5_000_000 < refused["size"] <= 6_000_000


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize(
    "given, kind",
    [
        ({"profile": "nope"}, "UnknownProfile"),
        ({"profile": "image"}, "UnsupportedType"),
        ({"name": "../up.txt"}, "InvalidInput"),
        ({"name": "x" * 300}, "InvalidInput"),
        ({"metadata": [1]}, "InvalidInput"),
        ({"metadata": {"x": "y" * 20_000}}, "InvalidInput"),
        ({"tags": ["a\x00b"]}, "InvalidInput"),
    ],
)
def test_bad_input_is_a_typed_error(service: Service, given: dict[str, Any], kind: str) -> None:
    assert service.upload(b"x" * STAGED_ON_DISK, **given)["__typename"] == kind


@pytest.mark.usefixtures("nothing_kept")
def test_a_file_more_than_is_allowed_refuses_the_whole_request(either_service: Service) -> None:
    sent = many_files(*((f"{number}.txt", b"x" * 1000) for number in range(21)))
    assert_refused(either_service.send(sent), 413, "REQUEST_TOO_LARGE")


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize(
    "sent",
    [
        Form(body=b"", boundary="x"),
        Form(body=b"no form at all", boundary="x"),
        Form(body=b"--x--\r\n", boundary="x"),
        many_files(),
    ],
    ids=["no body", "no parts", "an empty form", "no files"],
)
def test_a_body_that_is_no_upload_is_refused(either_service: Service, sent: Form) -> None:
    assert_refused(either_service.send(sent), 400, "BAD_REQUEST")


@pytest.mark.usefixtures("nothing_kept")
def test_a_body_of_unknown_length_is_refused_under_wsgi_by_its_right_name(service: Service) -> None:
    assert_refused(send_in_chunks(service, one_file(b"x")), 411, "LENGTH_REQUIRED")


def test_a_body_of_unknown_length_is_kept_under_asgi(asgi_service: Service) -> None:
    content = secrets.token_bytes(STAGED_ON_DISK)
    kept = send_in_chunks(asgi_service, one_file(content)).json()["data"]["uploadFile"]
    assert kept["sha256"] == hashlib.sha256(content).hexdigest()


def send_in_chunks(service: Service, sent: Form) -> httpx.Response:
    pieces = (sent.body[at : at + 100_000] for at in range(0, len(sent.body), 100_000))
    return service.client.post("/graphql", content=pieces, headers={"Content-Type": sent.content_type})


@pytest.mark.parametrize("token", [None, "coffer_wrong"])
@pytest.mark.parametrize("sent_already", [0, 10_000], ids=["nothing of the body", "a part of the body"])
@pytest.mark.usefixtures("nothing_kept")
def test_a_stranger_is_refused_when_the_head_has_come(
    either_service: Service, token: str | None, sent_already: int
) -> None:
    sent = one_file(b"x" * STAGED_ON_DISK)
    with either_service.connect() as connection:
        connection.sendall(sent.head(token) + sent.body[:sent_already])
        status, headers, body = read_answer(connection)
    assert status == 401
    assert headers["content-type"] == "application/json"
    assert headers["www-authenticate"].startswith('Bearer realm="coffer"')
    assert b'"code":"UNAUTHENTICATED"' in body


@pytest.mark.usefixtures("nothing_kept")
def test_a_request_over_the_limit_is_refused_when_the_head_has_come(either_service: Service) -> None:
    sent = one_file(b"x")
    with either_service.connect() as connection:
        connection.sendall(sent.head(either_service.token, length=2 * 1024**3))
        status, headers, body = read_answer(connection)
    assert (status, headers["content-type"]) == (413, "application/json")
    assert b'"code":"REQUEST_TOO_LARGE"' in body


@pytest.mark.parametrize("token", ["", "coffer_wrong"])
@pytest.mark.usefixtures("nothing_kept")
def test_a_stranger_who_sends_the_whole_body_is_refused_all_the_same(
    either_service: Service, token: str
) -> None:
    answer = either_service.send(one_file(b"x" * STAGED_ON_DISK), token=token)
    assert_refused(answer, 401, "UNAUTHENTICATED")


def test_a_refused_upload_does_not_disturb_the_next_request_of_its_client(either_service: Service) -> None:
    # The rest of the body is still under way when the answer comes; a connection that is said to be kept
    # has to serve the next request all the same.
    for _ in range(5):
        refused = either_service.send(one_file(b"x" * 300_000), token="coffer_wrong")
        assert refused.status_code == 401
        assert either_service.run("{ viewer { username } }") == {"viewer": {"username": "alice"}}


# --- bodies that break off -------------------------------------------------------------------------


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize("missing", [STAGED_ON_DISK // 2, 40], ids=["half of the file", "the last boundary"])
def test_a_body_that_breaks_off_leaves_nothing(service: Service, missing: int) -> None:
    sent = one_file(b"x" * STAGED_ON_DISK)
    with service.connect() as connection:
        connection.sendall(sent.head(service.token) + sent.body[:-missing])
        wait_for("the bytes to be staged", lambda: len(service.staged()) == 1)
        connection.shutdown(socket.SHUT_WR)
        status, headers, body = read_answer(connection)
    assert (status, headers["content-type"]) == (400, "application/json")
    assert b'"code":"BAD_REQUEST"' in body


@pytest.mark.usefixtures("nothing_kept")
def test_a_client_that_goes_away_in_the_middle_leaves_nothing(either_service: Service) -> None:
    sent = one_file(b"x" * STAGED_ON_DISK)
    with either_service.connect() as connection:
        connection.sendall(sent.head(either_service.token) + sent.body[: STAGED_ON_DISK // 2])
        wait_for("the bytes to be staged", lambda: len(either_service.staged()) == 1)
