"""`manage.py run`, which is all that `make run` calls: how it starts, what it says, and how it ends."""

import contextlib
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.e2e import databases, server
from tests.e2e.conftest import DEVELOPER, Start
from tests.e2e.server import ROOT, Service, running

pytestmark = pytest.mark.e2e

PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}  # as a browser asks


def printed(service: Service, label: str) -> str:
    """What the service says of itself on the line of that label."""
    found = re.search(rf"^ *{label} +(\S.*)$", service.log(), re.MULTILINE)
    assert found is not None, service.log()
    return found[1].strip()


def applied_migrations(service: Service) -> list[tuple[object, ...]]:
    return databases.ask(service.data_dir, "SELECT app, name, applied FROM django_migrations ORDER BY id")


def submit(browser: httpx.Client, path: str, **given: str) -> httpx.Response:
    """What comes of the form there, filled in like this."""
    page = browser.get(path)
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert token is not None
    return browser.post(path, data={"csrfmiddlewaretoken": token[1], **given})


# --- starting and ending ---------------------------------------------------------------------------


def test_a_first_start_needs_nothing_and_says_all_that_a_newcomer_needs(tmp_path: Path) -> None:
    data_dir = tmp_path / "made by the service"
    with running(data_dir, settings=DEVELOPER) as service:
        page = httpx.get(printed(service, "GraphiQL"), headers=PAGE, trust_env=False)
        assert page.status_code == 200
        assert "<title>Coffer" in page.text
        library = httpx.get(printed(service, "Library"), headers=PAGE, trust_env=False, follow_redirects=True)
        assert "Sign in" in library.text

        # In another terminal nothing is known of what this one was started with.
        command = printed(service, "A token")
        assert f"DATA_DIR={shlex.quote(str(data_dir))}" in command
        plain = {name: value for name, value in service.environ.items() if name not in {"DATA_DIR", "PORT"}}
        made = subprocess.run(
            command, shell=True, cwd=ROOT, env=plain, capture_output=True, text=True, check=True, timeout=30
        )
        service.client.headers["Authorization"] = f"Bearer {made.stdout.strip()}"
        assert service.run("{ viewer { username } }") == {"viewer": {"username": "alice"}}
        service.upload(b"The first bytes.")
        assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [data_dir.name]
        assert len(service.objects()) == 1

        assert service.stop(signal.SIGINT) == 0
        assert "Traceback" not in service.log()


def test_the_first_start_makes_somebody_who_can_sign_in_and_no_other_does(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with running(data_dir, settings=DEVELOPER) as service:
        said = re.fullmatch(r"as admin with the password ([a-z2-9]{20})", printed(service, "Sign in"))
        assert said is not None
        password, own = said[1], "a password of my own"
        with httpx.Client(
            base_url=service.url, headers=PAGE, trust_env=False, follow_redirects=True
        ) as browser:
            page = submit(browser, "/login/", username="admin", password=password)
            assert page.url.path == "/password/"
            page = submit(browser, "/password/", old_password=password, new_password1=own, new_password2=own)
            assert page.url.path == "/"
            assert browser.get("/admin/").url.path == "/admin/"
        assert service.log().count(password) == 1
    with running(data_dir, settings=DEVELOPER) as service:
        assert "Sign in" not in service.log()
        assert password not in service.log()
    kept = [path for path in data_dir.rglob("*") if path.is_file() and password.encode() in path.read_bytes()]
    assert kept == []


def test_who_has_users_gets_no_other(start: Start) -> None:
    with start("peopled") as service:
        assert "Sign in" not in service.log()
        assert databases.ask(service.data_dir, "SELECT username FROM accounts_user") == [("alice",)]


def test_of_two_that_start_at_once_one_says_the_password(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    migrated = server.manage("migrate", environ=server.environment(data_dir, server.free_port()))
    assert migrated.returncode == 0, migrated.stderr
    with ThreadPoolExecutor(2) as starters, contextlib.ExitStack() as stack:
        services = list(starters.map(lambda _: stack.enter_context(running(data_dir)), range(2)))
        assert sorted("Sign in" in each.log() for each in services) == [False, True]


def test_the_help_says_who_is_made(tmp_path: Path) -> None:
    helped = server.manage("run", "--help", environ=server.environment(tmp_path / "data", server.free_port()))
    assert "the superuser admin" in " ".join(helped.stdout.split())


def test_a_second_start_migrates_nothing_and_listens_where_it_is_told_to(start: Start) -> None:
    other_address = "127.0.0.2"
    with socket.socket() as probe:
        try:
            probe.bind((other_address, 0))
        except OSError:
            pytest.skip("this system has one loopback address only")
    with start("again", settings={"HOST": other_address}) as service:
        before = applied_migrations(service)
        assert service.url == f"http://{other_address}:{service.port}"
        assert f"Coffer is ready at {service.url} " in service.log()
        assert service.run("{ viewer { username } }") == {"viewer": {"username": "alice"}}
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{service.port}/graphql", trust_env=False)
        assert applied_migrations(service) == before

        # Nobody asked for GraphiQL and what it lives on this time.
        answer = service.client.get("/graphql", headers=PAGE)
        assert (answer.status_code, answer.headers["Content-Type"]) == (405, "application/json")
        assert "GraphiQL" not in service.log()
        assert "errors" in service.ask("{ __schema { queryType { name } } }").json()

        assert service.stop(signal.SIGTERM) == 0
        assert "Traceback" not in service.log()


def test_ctrl_c_ends_it_while_requests_keep_coming(start: Start) -> None:
    over = threading.Event()

    def keep_asking(port: int) -> None:
        # Each on a connection of its own, so that the server is never only waiting.
        while not over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                    connection.sendall(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    answered.release()
                    connection.recv(4096)
            except OSError:
                over.wait(0.01)

    answered = threading.Semaphore(0)
    with start("busy") as service, ThreadPoolExecutor(4) as clients:
        try:
            for _ in range(4):
                clients.submit(keep_asking, service.port)
            for _ in range(100):
                assert answered.acquire(timeout=server.ANSWERS_WITHIN)
            assert service.stop(signal.SIGINT) == 0
        finally:
            over.set()
        assert "SIGKILL" not in service.log()
        assert "Traceback" not in service.log()


def test_a_port_that_is_taken_is_one_clear_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = server.manage("run", environ=server.environment(tmp_path / "data", port))
    assert ended.returncode != 0
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert f"Cannot listen on 127.0.0.1:{port}: Address already in use." in ended.stderr


@pytest.mark.parametrize(
    "command", [["manage.py", "run"], ["-m", "uvicorn", "config.asgi:application"]], ids=["run", "asgi"]
)
def test_a_wrong_environment_is_one_message_that_names_every_variable(
    tmp_path: Path, command: list[str]
) -> None:
    wrong = {"PORT": "http", "SECRET_KEY": "short", "STORAGE": "floppy", "USER_QUOTA": "much"}
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=server.environment(tmp_path / "data", 0, wrong),
        capture_output=True,
        text=True,
        timeout=server.STARTS_WITHIN,
        check=False,
    )
    assert ended.returncode != 0
    assert ended.stderr.startswith("Coffer cannot start: these settings are wrong.\n")
    assert re.findall(r"^  (\w+): \S", ended.stderr, re.MULTILINE) == sorted(wrong)
    assert "Traceback" not in ended.stderr


def test_an_empty_host_is_not_taken_for_all_addresses(tmp_path: Path) -> None:
    environ = server.environment(tmp_path / "data", server.free_port(), {"HOST": ""})
    ended = server.manage("check", environ=environ)
    assert ended.returncode != 0
    assert re.findall(r"^  (\w+): \S", ended.stderr, re.MULTILINE) == ["HOST"]


def test_a_database_that_cannot_be_opened_is_one_message(tmp_path: Path) -> None:
    missing = {"DATABASE_URL": f"sqlite:///{tmp_path}/not/there/coffer.sqlite3"}
    environ = server.environment(tmp_path / "data", server.free_port(), missing)
    for command in (["run"], ["create_token", "alice"]):
        ended = server.manage(*command, environ=environ)
        assert ended.returncode != 0
        assert "database" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_token_for_a_service_that_never_ran_is_refused_with_a_hint(tmp_path: Path) -> None:
    environ = server.environment(tmp_path / "data", server.free_port())
    ended = server.manage("create_token", "alice", environ=environ)
    assert ended.returncode != 0
    assert ended.stdout == ""
    assert "migrate" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_wrong_profile_file_is_one_message(tmp_path: Path) -> None:
    profiles = tmp_path / "profiles.toml"
    profiles.write_text('[default]\nmax_size = "many"\ncolour = 1\n')
    environ = server.environment(tmp_path / "data", server.free_port(), {"COFFER_PROFILES": str(profiles)})
    ended = server.manage("run", environ=environ)
    assert ended.returncode != 0
    assert ended.stderr.startswith(f"Coffer cannot start: {profiles} has mistakes.\n")
    for key in ("default.max_size", "default.colour", "default.types"):
        assert f"\n  {key}: " in ended.stderr
    assert "Traceback" not in ended.stderr


# --- the page --------------------------------------------------------------------------------------


@pytest.fixture
def browser(service: Service) -> Iterator[httpx.Client]:
    """A client without a token."""
    with httpx.Client(base_url=service.url, headers=PAGE, trust_env=False, follow_redirects=True) as client:
        yield client


@pytest.mark.parametrize("path", ["/graphql", "/graphql/"])
def test_a_browser_gets_graphiql_and_everything_that_the_page_names(browser: httpx.Client, path: str) -> None:
    page = browser.get(path)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {address.rpartition(".")[2] for address in named} == {"js", "css", "svg"}
    for address in named:
        assert address.startswith("/static/")
        found = browser.get(address)
        assert found.status_code == 200, address
        kind = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
        assert found.headers["Content-Type"].partition(";")[0] == kind[address.rpartition(".")[2]]
        assert found.content


def test_the_admin_asks_who_is_there(browser: httpx.Client) -> None:
    page = browser.get("/admin/")
    assert page.status_code == 200
    assert page.url.path == "/admin/login/"
    for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
        assert browser.get(address).status_code == 200, address


def test_what_is_not_there_is_json_also_for_browsers(browser: httpx.Client) -> None:
    answer = browser.get("/nothing/here")
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["extensions"] == {"code": "NOT_FOUND"}


def test_a_host_that_is_not_ours_is_refused_as_json(browser: httpx.Client) -> None:
    answer = browser.get("/graphql", headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["extensions"] == {"code": "BAD_REQUEST"}
