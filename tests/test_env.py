"""The environment: what holds when nothing is set, and that everything wrong is said at once."""

import ast
import ipaddress
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from unittest import mock

import pytest

from config import env
from config.env import InvalidEnvironment

ROOT = PROJECT = env.ROOT
A_KEY = "0123456789-0123456789-0123456789-x"
PROXIES = (ipaddress.ip_network("127.0.0.1"), ipaddress.ip_network("fd00::/8"))

# What a process of Python needs and no setting of Coffer is named like.
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")


def _bare() -> dict[str, str]:
    return {name: os.environ[name] for name in _KEPT if name in os.environ}


@pytest.fixture(autouse=True)
def bare_environment(tmp_path: Path, monkeypatch) -> Iterator[None]:
    """An environment with no setting in it but the folder for data, and no `.env` to complete it."""
    monkeypatch.setattr(env, "ROOT", tmp_path / "project")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path)  # a relative folder has to stay in here too
    # The dictionary is put back as a whole, because reading `.env` adds to it.
    with mock.patch.dict(os.environ, clear=True):
        os.environ.update(_bare() | {"DATA_DIR": str(tmp_path / "data")})
        yield


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


def problems() -> dict[str, list[str]]:
    """What is wrong with the environment, by variable; something has to be."""
    with pytest.raises(InvalidEnvironment) as refused:
        env.read()
    return refused.value.problems


# --- defaults --------------------------------------------------------------------------------------


def test_with_nothing_set_coffer_keeps_all_in_one_folder_of_the_project(monkeypatch, tmp_path):
    monkeypatch.delenv("DATA_DIR")
    found = env.read()

    data_dir = tmp_path / "project" / "var"
    assert found.data_dir == data_dir
    assert found.secret_key == (data_dir / "secret_key").read_text()
    assert found.database["ENGINE"] == "django.db.backends.sqlite3"
    assert found.database["NAME"] == str(data_dir / "coffer.sqlite3")
    assert found.storages["default"] == {
        "BACKEND": "files.disk.DiskStorage",
        "OPTIONS": {"location": data_dir / "files"},
    }
    assert set(found.storages) == {"default", "staticfiles"}
    assert found.profiles_path == tmp_path / "project" / "config" / "profiles.toml"


@pytest.mark.parametrize(
    "field, value",
    [
        ("debug", False),
        ("allowed_hosts", ("localhost", "127.0.0.1", "[::1]")),
        ("csrf_trusted_origins", ()),
        ("host", "127.0.0.1"),
        ("port", 8000),
        ("threads", 128),
        ("grace", 30),
        ("has_own_secret_key", False),
        ("https", None),
        ("hsts_seconds", 3600),
        ("hsts_subdomains", False),
        ("hsts_preload", False),
        ("trusted_proxies", ()),
        ("proxy_headers", "x-forwarded"),
        ("media_origin", None),
        ("user_quota", None),
        ("url_lifetime", 3600),
        ("max_request_size", 1024**3),
        ("max_files", 20),
        ("max_batch", 0),
        ("queries_by_get", False),
        ("graphiql", False),
        ("introspection", False),
        ("log_level", "INFO"),
        ("log_format", "json"),
        ("metrics_token", None),
        ("metrics_allow", ()),
        ("tracing", False),
    ],
)
def test_a_setting_has_a_careful_default(field, value):
    assert getattr(env.read(), field) == value


def test_the_settings_cannot_be_changed_once_read():
    with pytest.raises(AttributeError):
        env.read().port = 1  # type: ignore[misc]


def test_the_data_folder_is_made_for_its_owner_and_group(monkeypatch, tmp_path):
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "a" / "b"))

    assert env.read().data_dir == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").stat().st_mode & 0o027 == 0


@pytest.mark.parametrize(
    "variable, value, field, expected",
    [
        ("DEBUG", "true", "debug", True),
        ("HOST", "0.0.0.0", "host", "0.0.0.0"),
        ("PORT", "65535", "port", 65535),
        ("THREADS", "1", "threads", 1),
        ("USER_QUOTA", "5 GiB", "user_quota", 5 * 1024**3),
        ("MAX_REQUEST_SIZE", "10 MB", "max_request_size", 10_000_000),
        ("MAX_FILES", "200", "max_files", 200),
        ("URL_LIFETIME", "604800", "url_lifetime", 604_800),
        ("LOG_LEVEL", "WARNING", "log_level", "WARNING"),
        ("LOG_FORMAT", "line", "log_format", "line"),
        ("DEBUG", "True", "log_format", "line"),
        ("METRICS_TOKEN", A_KEY, "metrics_token", A_KEY),
        ("METRICS_ALLOW", "10.0.0.0/8, ::1", "metrics_allow", (ip_network("10.0.0.0/8"), ip_network("::1"))),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318", "tracing", True),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "", "tracing", False),
        ("GRAPHIQL", "1", "graphiql", True),
        ("INTROSPECTION", "yes", "introspection", True),
        ("QUERIES_BY_GET", "true", "queries_by_get", True),
        ("MAX_BATCH", "100", "max_batch", 100),
        ("COFFER_PROFILES", "/etc/coffer/profiles.toml", "profiles_path", Path("/etc/coffer/profiles.toml")),
        ("SENDFILE", "nginx", "sendfile", "nginx"),
        ("SECRET_KEY", A_KEY, "secret_key", A_KEY),
        ("SECRET_KEY", A_KEY, "has_own_secret_key", True),
        ("WORKERS", "5", "workers", 5),
        ("GRACE", "7", "grace", 7),
        ("HTTPS", "True", "https", True),
        ("HTTPS", "False", "https", False),
        ("HSTS_SECONDS", "31536000", "hsts_seconds", 31_536_000),
        ("HSTS_SUBDOMAINS", "True", "hsts_subdomains", True),
        ("HSTS_PRELOAD", "True", "hsts_preload", True),
        ("TRUSTED_PROXIES", "127.0.0.1, fd00::/8", "trusted_proxies", PROXIES),
        ("PROXY_HEADERS", "forwarded", "proxy_headers", "forwarded"),
        ("MEDIA_ORIGIN", "https://m.example:8443", "media_origin", "https://m.example:8443"),
        ("CSRF_TRUSTED_ORIGINS", "https://a.example", "csrf_trusted_origins", ("https://a.example",)),
    ],
)
def test_a_variable_changes_its_setting(monkeypatch, variable, value, field, expected):
    monkeypatch.setenv(variable, value)

    assert getattr(env.read(), field) == (value if expected is None else expected)


@pytest.mark.parametrize("field", ["graphiql", "introspection", "queries_by_get"])
def test_debugging_opens_what_explorers_need_unless_it_is_closed(monkeypatch, field):
    monkeypatch.setenv("DEBUG", "true")
    assert getattr(env.read(), field) is True

    monkeypatch.setenv(field.upper(), "false")
    assert getattr(env.read(), field) is False


@pytest.mark.parametrize(
    "url, engine, name",
    [
        ("sqlite:////srv/coffer.sqlite3", "django.db.backends.sqlite3", "/srv/coffer.sqlite3"),
        ("postgres://u:p@db.example:5433/coffer", "django.db.backends.postgresql", "coffer"),
        ("postgresql://u:p@db.example/coffer", "django.db.backends.postgresql", "coffer"),
    ],
)
def test_the_database_is_read_from_its_address(monkeypatch, url, engine, name):
    monkeypatch.setenv("DATABASE_URL", url)

    database = env.read().database
    assert (database["ENGINE"], database["NAME"]) == (engine, name)


def test_a_file_completes_the_environment_and_does_not_replace_it(monkeypatch, tmp_path):
    (tmp_path / "project" / ".env").write_text("PORT=8001\nTHREADS=3\n", encoding="utf-8")
    monkeypatch.setenv("PORT", "9000")

    found = env.read()
    assert (found.port, found.threads) == (9000, 3)


# --- names that the service answers to -------------------------------------------------------------


@pytest.mark.parametrize(
    "variables, expected",
    [
        ({}, ("localhost", "127.0.0.1", "[::1]")),
        ({"HOST": "0.0.0.0"}, ("localhost", "127.0.0.1", "[::1]")),
        ({"HOST": "::"}, ("localhost", "127.0.0.1", "[::1]")),
        ({"HOST": "192.0.2.7"}, ("localhost", "127.0.0.1", "[::1]", "192.0.2.7")),
        ({"HOST": "2001:db8::7"}, ("localhost", "127.0.0.1", "[::1]", "[2001:db8::7]")),
        ({"ALLOWED_HOSTS": "files.example"}, ("files.example",)),
        ({"ALLOWED_HOSTS": "a.example,.b.example", "HOST": "192.0.2.7"}, ("a.example", ".b.example")),
        ({"ALLOWED_HOSTS": "a.example, b.example"}, ("a.example", "b.example")),
    ],
)
def test_the_service_answers_to_its_own_names(monkeypatch, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert env.read().allowed_hosts == expected


# --- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "variable, value",
    [
        ("DEBUG", "maybe"),
        ("PORT", "http"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", ""),
        ("WORKERS", "0"),
        ("GRACE", "0"),
        ("HTTPS", "maybe"),
        ("HSTS_SECONDS", "-1"),
        ("TRUSTED_PROXIES", "everybody"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("PROXY_HEADERS", "both"),
        ("MEDIA_ORIGIN", "files.example"),
        ("MEDIA_ORIGIN", "https://files.example/"),
        ("MEDIA_ORIGIN", "https://a@files.example"),
        ("MEDIA_ORIGIN", "http://localhost:9000"),
        ("THREADS", "0"),
        ("THREADS", "1025"),
        ("USER_QUOTA", "lots"),
        ("MAX_REQUEST_SIZE", "1 gigabyte"),
        ("MAX_REQUEST_SIZE", ""),
        ("MAX_FILES", "0"),
        ("MAX_FILES", "201"),
        ("MAX_BATCH", "-1"),
        ("MAX_BATCH", "101"),
        ("URL_LIFETIME", "0"),
        ("URL_LIFETIME", "604801"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("METRICS_TOKEN", "short"),
        ("METRICS_ALLOW", "localhost"),
        ("METRICS_ALLOW", "10.1.2.3/8"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("GRAPHIQL", "2"),
        ("INTROSPECTION", "perhaps"),
        ("SECRET_KEY", "short"),
        ("SECRET_KEY", ""),
        ("STORAGE", "ftp"),
        ("STORAGE", ""),
        ("STORAGE", "a.b-c"),
        ("STORAGE", ".."),
        ("SENDFILE", "apache"),
        ("USE_S3_STORAGE", "s3"),
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "coffer.sqlite3"),
        ("DATABASE_URL", "mysql://db.example/coffer"),
        ("DATABASE_URL", "oracle://db.example/coffer"),
        ("DATABASE_URL", "postgres://db.example:port/coffer"),
        ("DATABASE_URL", "postgres://[db.example/coffer"),
        ("DATA_DIR", ""),
        ("DATA_DIR", "~no-such-user-of-this-machine/data"),
    ],
)
def test_a_wrong_variable_is_named_and_nothing_else_is(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)

    assert list(problems()) == [variable]


def test_files_of_a_service_with_https_need_it_too(monkeypatch):
    monkeypatch.setenv("MEDIA_ORIGIN", "http://files.example")
    assert env.read().media_origin == "http://files.example"
    monkeypatch.setenv("HTTPS", "True")
    assert list(problems()) == ["MEDIA_ORIGIN"]


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_data_folder_that_cannot_be_is_refused(monkeypatch, tmp_path, below):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "file" / below))

    (reason,) = problems()["DATA_DIR"]
    assert reason.startswith("cannot be written to")
    assert str(tmp_path / "file") in reason


def test_all_wrong_variables_come_in_one_message_each_on_its_line(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    wrong = {
        "DATABASE_URL": "mysql://db.example/coffer",
        "DATA_DIR": str(tmp_path / "file"),
        "DEBUG": "maybe",
        "LOG_LEVEL": "loud",
        "MAX_REQUEST_SIZE": "huge",
        "PORT": "http",
        "SECRET_KEY": "short",
        "STORAGE": "ftp",
        "USER_QUOTA": "lots",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(InvalidEnvironment) as refused:
        env.read()

    first, *lines = str(refused.value).splitlines()
    assert first == "Coffer cannot start: these settings are wrong."
    assert [line.strip().partition(": ")[0] for line in lines] == list(wrong)
    assert all(line.strip().partition(": ")[2] for line in lines)


def test_a_message_never_repeats_a_secret(monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "hush-key")
    monkeypatch.setenv("DATABASE_URL", "mysql://user:hush-password@db.example/coffer")

    with pytest.raises(InvalidEnvironment) as refused:
        env.read()

    assert "hush" not in str(refused.value)


def test_a_start_that_is_refused_leaves_no_key_behind(monkeypatch, data_dir):
    monkeypatch.setenv("PORT", "http")

    problems()
    assert list(data_dir.iterdir()) == []


def test_a_command_ends_with_the_message_and_no_traceback(data_dir):
    wrong = {"PORT": "http", "USER_QUOTA": "lots", "SECRET_KEY": "short"}
    command = [sys.executable, "manage.py", "check"]
    environment = _bare() | {"DATA_DIR": str(data_dir)} | wrong

    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1
    assert done.stdout == ""
    first, *lines = done.stderr.splitlines()
    assert first == "Coffer cannot start: these settings are wrong."
    assert [line.strip().partition(": ")[0] for line in lines] == ["PORT", "SECRET_KEY", "USER_QUOTA"]


# --- the key that is made once ---------------------------------------------------------------------


def test_a_key_is_made_once_and_kept_for_the_owner_alone(data_dir):
    first = env.read().secret_key

    assert len(first) >= 50
    assert (data_dir / "secret_key").read_text() == first
    assert (data_dir / "secret_key").stat().st_mode & 0o777 == 0o600
    assert env.read().secret_key == first


def test_another_folder_has_another_key(monkeypatch, tmp_path):
    first = env.read().secret_key
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "other"))

    assert env.read().secret_key != first


def test_a_key_that_is_given_is_used_and_not_kept(monkeypatch, data_dir):
    monkeypatch.setenv("SECRET_KEY", A_KEY)

    assert env.read().secret_key == A_KEY
    assert list(data_dir.iterdir()) == []


def test_processes_that_start_at_once_agree_on_the_key(data_dir):
    # Each waits, ready, for a line of its input, so that all of them look for the key together.
    program = (
        "import pathlib, sys; from config import env; env.ROOT = pathlib.Path(sys.argv[1]); "
        "sys.stdin.readline(); print(env.read().secret_key)"
    )
    environment = _bare() | {"DATA_DIR": str(data_dir)}
    starting = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(env.ROOT)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        for process in starting:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        keys = {process.communicate(timeout=60)[0].strip() for process in starting}
    finally:
        for process in starting:
            process.kill()
            process.wait()

    assert keys == {(data_dir / "secret_key").read_text()}
    assert [path.name for path in data_dir.iterdir()] == ["secret_key"]


# --- crash tests -----------------------------------------------------------------------------------


def test_a_point_at_which_the_service_is_killed_is_refused_outside_of_tests(monkeypatch):
    monkeypatch.setenv("COFFER_FAILPOINT", "upload.stored")
    assert problems() == {"COFFER_FAILPOINT": ["is for tests of crashes: it kills the service. Unset it."]}
    monkeypatch.setenv("COFFER_CRASH_TESTS", "True")
    assert env.read().failpoint == "upload.stored"


def test_nobody_is_killed_unless_it_is_said():
    assert env.read().failpoint == ""


# --- what is written of them -----------------------------------------------------------------------

# Of tests of crashes alone, and of where the rest is read from.
_UNEXPLAINED = {"COFFER_CRASH_TESTS", "COFFER_FAILPOINT", "ENV_FILE"}


def _read_variables() -> set[str]:
    """What the two modules ask by: `env.int("PORT", ...)` and `_words(env, "ALLOWED_HOSTS", ...)`."""
    names = set()
    for module in ("env.py", "storages.py"):
        for node in ast.walk(ast.parse((PROJECT / "config" / module).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") != "get":
                asked = node.args[1:2] if isinstance(node.func, ast.Name) else node.args[:1]
                names |= {str(each.value) for each in asked if isinstance(each, ast.Constant)}
    return {name for name in names if re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*", name)} - _UNEXPLAINED


def test_the_example_explains_each_variable_and_no_other():
    text = (PROJECT / ".env.example").read_text(encoding="utf-8")
    named = re.findall(r"^# ([A-Z][A-Z0-9_]*)=", text, re.MULTILINE)
    assert len(named) == len(set(named))
    of_one_storage = {name for name in named if name.startswith(("PUBLIC_", "STATIC_AWS_"))}
    assert set(named) - of_one_storage == _read_variables()


def test_the_readme_names_each_variable_but_those_of_one_kind_of_storage():
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    named = {name for row in re.findall(r"^\| (`[A-Z].*?) \|", text, re.MULTILINE) for name in row.split("`")}
    of_storages = {name for name in _read_variables() if re.match(r"(AWS|GS|AZURE|STATIC|USE_S3)_", name)}
    assert _read_variables() - of_storages - named == {"SENDFILE"}
