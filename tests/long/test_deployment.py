"""The settings of production: what `check --deploy` says of them, and what browsers are told."""

import re
import secrets
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from http.cookies import SimpleCookie
from pathlib import Path

import pytest

from tests.e2e.server import environment, free_port, python

PRODUCTION = {
    "SECRET_KEY": secrets.token_urlsafe(50),
    "HTTPS": "True",
    "TRUSTED_PROXIES": "127.0.0.1",
    "ALLOWED_HOSTS": "coffer.example",
}

type Ended = subprocess.CompletedProcess[str]
type Run = Callable[..., Ended]


def run(data_dir: Path, *arguments: str, given: Mapping[str, str] = PRODUCTION) -> Ended:
    """Python, with an environment of its own and no `.env`."""
    environ = environment(data_dir, free_port(), {"ENV_FILE": "/dev/null", **given})
    return python(*arguments, environ=environ, seconds=60)


@pytest.fixture
def manage(tmp_path: Path) -> Run:
    return partial(run, tmp_path / "data")


def test_the_deployment_check_has_nothing_to_say_of_production(manage):
    checked = manage("manage.py", "check", "--deploy", "--fail-level", "DEBUG")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "no issues (2 silenced)" in checked.stdout


def test_and_warns_of_cookies_and_redirects_without_https(manage):
    checked = manage("manage.py", "check", "--deploy", given=PRODUCTION | {"HTTPS": "False"})
    assert set(re.findall(r"security\.(W\d+)", checked.stderr)) == {"W004", "W008", "W012", "W016"}


# What a browser gets of each page, over TLS behind a proxy: status, headers and cookies, a line each.
ASK = """
import django; django.setup()
from django.test import Client
from django.core.management import call_command
from accounts.models import User
call_command("migrate", verbosity=0)
user = User.objects.create_superuser("admin", password="admin")
secure = {"Host": "coffer.example", "X-Forwarded-Proto": "https"}
def show(path, client, headers=secure, method="get"):
    answer = getattr(client, method)(path, headers=headers)
    print(path, answer.status_code)
    for name, value in answer.headers.items():
        print(" ", name + ":", value)
    for cookie in answer.cookies.values():
        print("  Set-Cookie:", cookie.OutputString())
anonymous, signed_in = Client(raise_request_exception=False), Client(raise_request_exception=False)
signed_in.login(username="admin", password="admin")
signed_in.cookies["__Host-sessionid"] = signed_in.cookies["__Host-sessionid"].value
for path in ("/login/", "/admin/login/", "/nothing", "/login/nothing", "/files/x", "/graphql"):
    show(path, anonymous)
for path in ("/", "/password/", "/admin/", "/admin/files/file/", "/admin/nothing"):
    show(path, signed_in)
strict = Client(enforce_csrf_checks=True)
for path in ("/login/", "/admin/login/"):
    show(path, strict, method="post")
show("/http", anonymous, headers={"Host": "coffer.example"})
show("/health/live", anonymous, headers={"Host": "coffer.example"})
show("/host", anonymous, headers=secure | {"Host": "evil.example"})
def broken(*_): raise RuntimeError
from django.contrib.admin.sites import AdminSite
AdminSite.each_context = broken
show("/admin/", signed_in)
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict[str, list[tuple[str, str]]]:
    """By path and status: the headers, cookies among them."""
    data_dir = tmp_path_factory.mktemp("deployment") / "data"
    given = {"DJANGO_SETTINGS_MODULE": "config.settings", **PRODUCTION}
    asked = run(data_dir, "-c", ASK, given=given)
    assert asked.returncode == 0, asked.stderr
    found: dict[str, list[tuple[str, str]]] = {}
    for block in re.split(r"^(?=/)", asked.stdout, flags=re.MULTILINE)[1:]:
        path, *lines = block.splitlines()
        found[path] = [re.findall(r"^  (\S+): (.*)", line)[0] for line in lines]
    return found


def test_each_page_says_what_browsers_have_to_know(answers):
    statuses = {int(path.split()[1]) for path in answers}
    assert {200, 301, 400, 403, 404, 405, 500} <= statuses
    for path, headers in answers.items():
        given = dict(headers)
        assert given["X-Content-Type-Options"] == "nosniff", path
        assert given["Referrer-Policy"] == "same-origin", path
        assert given["Cross-Origin-Opener-Policy"] == "same-origin", path
        if not path.startswith(("/http ", "/health")):
            assert given["Strict-Transport-Security"] == "max-age=3600", path
            policy = given["Content-Security-Policy"]
            assert "default-src 'self'" in policy, path
            assert "script-src" not in policy, path
            assert "frame-ancestors 'none'" in policy, path


def test_what_comes_without_tls_is_sent_to_it_but_questions_of_health(answers):
    assert ("Location", "https://coffer.example/http") in answers["/http 301"]
    assert any(path.startswith("/health/live") and not path.endswith(" 301") for path in answers)


def test_cookies_are_of_this_host_over_tls_alone(answers):
    cookies = [value for headers in answers.values() for name, value in headers if name == "Set-Cookie"]
    assert cookies
    for text in cookies:
        ((name, cookie),) = SimpleCookie(text).items()
        assert name.startswith("__Host-")
        assert (cookie["secure"], cookie["path"], cookie["domain"]) == (True, "/", "")
        assert cookie["samesite"] == "Lax"


def test_so_is_the_cookie_of_messages(manage):
    told = manage("-c", MESSAGE, given=PRODUCTION | {"DJANGO_SETTINGS_MODULE": "config.settings"})
    assert told.returncode == 0, told.stderr
    ((name, cookie),) = SimpleCookie(told.stdout).items()
    assert (name, cookie["secure"], cookie["path"], cookie["domain"]) == ("__Host-messages", True, "/", "")


MESSAGE = """
import django; django.setup()
from django.contrib.messages.storage import default_storage
from django.http import HttpResponse
from django.test import RequestFactory
messages, answer = default_storage(RequestFactory().get("/")), HttpResponse()
messages.add(20, "a token")
messages.update(answer)
print(answer.cookies.output(header=""))
"""


def test_pages_may_load_files_from_their_own_origin(manage):
    given = PRODUCTION | {
        "MEDIA_ORIGIN": "https://files.example",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    program = (
        "import django; django.setup(); from django.conf import settings as s; from graph import view; "
        "print(*(p[k] for p in (s.SECURE_CSP, view._PAGE_POLICY) for k in ('img-src', 'connect-src', "
        "'media-src')), sep='\\n'); print(s.ALLOWED_HOSTS)"
    )
    told = manage("-c", program, given=given)
    assert told.returncode == 0, told.stderr
    *policies, hosts = told.stdout.splitlines()
    assert len(policies) == 6
    assert all("https://files.example" in policy for policy in policies)
    assert hosts == "['coffer.example', 'files.example']"
