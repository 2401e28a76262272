"""The examples of docs/clients.md: each is run, and prints what stands below it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from graphql import GraphQLInterfaceType, build_schema

from tests.e2e import server
from tests.e2e.conftest import CLIENTS
from tests.e2e.server import ROOT, Service

pytestmark = pytest.mark.e2e

PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(
    r"^```(sh|js|python)\n(.*?)^```\n\n```(?:json|text)\n(.*?)^```\n", re.MULTILINE | re.DOTALL
)

# What the page says of the service and of the file.
ADDRESS = "http://127.0.0.1:8000"
NAME, CONTENT = "naïve 文件 🎉.txt", "Hello, Coffer.\n"
EXAMPLES = [
    pytest.param(*example, id=section.partition("\n")[0])
    for section in PAGE.split("\n## ")
    for example in EXAMPLE.findall(section)
]

# Each language's file, and what runs it.
RUN_BY = {
    "sh": ("example.sh", ["bash", "-eu"]),
    "js": ("example.mjs", ["node"]),
    "python": ("example.py", [sys.executable]),
}
RUNS_FOR = 60  # seconds, at the longest


@pytest.fixture(scope="module")
def session(wsgi_service: Service) -> dict[str, str]:
    """The cookies of somebody who has signed in."""
    who = {"DJANGO_SUPERUSER_USERNAME": "carol", "DJANGO_SUPERUSER_PASSWORD": "carol's own"}
    environ = wsgi_service.environ | who | {"DJANGO_SUPERUSER_EMAIL": "carol@example.com"}
    made = server.manage("createsuperuser", "--noinput", environ=environ)
    assert made.returncode == 0, made.stderr
    with httpx.Client(base_url=wsgi_service.url, trust_env=False) as browser:
        browser.get("/admin/login/")
        form = {
            "username": "carol",
            "password": "carol's own",
            "csrfmiddlewaretoken": browser.cookies["csrftoken"],
        }
        assert browser.post("/admin/login/", data=form).status_code == 302
        return {"SESSION": browser.cookies["sessionid"], "CSRF_TOKEN": browser.cookies["csrftoken"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where somebody tries an example: the file is there, and the clients are installed."""
    (tmp_path / NAME).write_text(CONTENT, encoding="utf-8")
    (tmp_path / "node_modules").symlink_to(CLIENTS / "node_modules")
    return tmp_path


@pytest.mark.parametrize("language, code, printed", EXAMPLES)
def test_an_example_prints_what_stands_below_it(
    language: str, code: str, printed: str, service: Service, folder: Path, request: pytest.FixtureRequest
) -> None:
    name, command = RUN_BY[language]
    environ = {"PATH": os.environ["PATH"], "TOKEN": service.token}
    if language == "js":
        request.getfixturevalue("node")
    elif language == "sh" and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    if "document.cookie" in code:
        command = [*command, "--import", str(CLIENTS / "page.mjs")]
        environ |= {"ORIGIN": service.url, **request.getfixturevalue("session")}
    (folder / name).write_text(code.replace(ADDRESS, service.url), encoding="utf-8")
    ran = subprocess.run(
        [*command, name],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=RUNS_FOR,
        check=False,
    )
    assert (ran.stdout.strip(), ran.returncode) == (printed.strip(), 0), ran.stderr


def test_every_block_of_code_is_an_example() -> None:
    blocks = re.findall(r"^```(\w+)", PAGE, re.MULTILINE)
    assert len([block for block in blocks if block in RUN_BY]) == len(EXAMPLES) >= 10


def test_the_page_names_every_type_that_is_an_error() -> None:
    schema = build_schema((ROOT / "schema.graphql").read_text(encoding="utf-8"))
    error = schema.type_map["Error"]
    assert isinstance(error, GraphQLInterfaceType)
    named = re.search(r"const errors = \[(.*?)\]", PAGE, re.DOTALL)
    assert named is not None
    assert re.findall(r"\w+", named[1]) == sorted(each.name for each in schema.get_possible_types(error))
