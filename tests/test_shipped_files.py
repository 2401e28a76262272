"""What docker/ and systemd/ ship agrees with the code, with itself, and with what it promises.

Nothing is started here: tests/deploy does that."""

import fnmatch
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands
from django.urls import resolve

from config import asgi, env
from files import storage
from files.profiles import parse_size

ROOT = Path(settings.BASE_DIR)
DOCKER = ROOT / "docker"
SYSTEMD = ROOT / "systemd"

COMPOSE: Mapping[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: Mapping[str, Mapping[str, Any]] = COMPOSE["services"]
OURS = [name for name, each in SERVICES.items() if each["image"].startswith("coffer:")]
OTHERS = [name for name in SERVICES if name not in OURS]
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
NGINX = (DOCKER / "nginx" / "nginx.conf").read_text()
STORE = (DOCKER / "nginx" / "store.conf").read_text()


# --- settings --------------------------------------------------------------------------------------


class Asked(dict[str, str]):
    """An environment that remembers what was asked for."""

    def __init__(self, given: Mapping[str, str]) -> None:
        super().__init__(given)
        self.names: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.names.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> str:
        self.names.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.names.add(str(key))
        return super().__contains__(key)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Every variable that the settings read, by whichever storage."""
    names: set[str] = set()
    kinds = {
        "local": {},
        "s3": {"AWS_STORAGE_BUCKET_NAME": "bucket", "AWS_S3_CUSTOM_DOMAIN": "files.example"},
        "gcs": {"GS_BUCKET_NAME": "bucket"},
        "azure": {"AZURE_CONTAINER": "files", "AZURE_CONNECTION_STRING": "a=b"},
    }
    static = {"STATIC_STORAGE": "s3", "STATIC_AWS_S3_CUSTOM_DOMAIN": "static.example"}
    static["STATIC_AWS_STORAGE_BUCKET_NAME"] = "static"
    for kind, given in kinds.items():
        folder = str(tmp_path_factory.mktemp("data"))
        base = {"DATA_DIR": folder, "ENV_FILE": os.devnull, "STORAGE": kind, "PATH": os.environ["PATH"]}
        with mock.patch("os.environ", Asked(base | given | static)) as asked:
            env.read()
            names |= asked.names
    return {name for name in names if name.isupper()}


def test_every_setting_is_explained_in_the_example_and_every_explained_one_is_read(known: set[str]) -> None:
    explained = set(re.findall(r"^# ?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    of_tests = {"COFFER_FAILPOINT", "COFFER_CRASH_TESTS"}
    of_further_storages = {name for name in explained | known if name.startswith(("PUBLIC_", "STATIC_"))}
    not_in_a_file = {"ENV_FILE"}
    expected = {name for name in known if not name.startswith(("LC_", "PYTHON", "XDG_"))}
    expected -= of_tests | of_further_storages | not_in_a_file | {"PATH", "HOME", "TMPDIR", "TEMP", "TMP"}
    assert explained - of_further_storages == expected


def interpolated(text: str) -> set[str]:
    return set(re.findall(r"(?<!\$)\$\{([A-Z0-9_]+)", text))


def test_compose_asks_for_what_its_example_explains() -> None:
    example = (DOCKER / ".env.example").read_text()
    assigned = re.findall(r"^([A-Z0-9_]+)=", example, re.MULTILINE)
    assert sorted(assigned) == sorted(interpolated((DOCKER / "compose.yaml").read_text()))
    blocks = example.split("\n\n")
    for name in assigned:
        (block,) = [each for each in blocks if re.search(rf"^{name}=", each, re.MULTILINE)]
        assert block.startswith("# ") or name == "REDIS_PASSWORD"


def test_compose_tells_the_service_nothing_that_it_does_not_know(known: set[str]) -> None:
    assert OURS == ["app", "worker", "migrate", "static", "bucket"]
    for name in OURS:
        assert set(SERVICES[name]["environment"]) <= known
    assert set(re.findall(r"^\s+([A-Z_]+)=\S", DOCKERFILE, re.MULTILINE)) <= known | {
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONUNBUFFERED",
    }


def test_no_secret_has_a_value_in_the_repository() -> None:
    text = (DOCKER / "compose.yaml").read_text()
    example = (DOCKER / ".env.example").read_text()
    secret = re.compile(r"SECRET|PASSWORD|KEY")
    names = {name for name in interpolated(text) if secret.search(name)}
    assert len(names) == 5
    for name in names:
        uses = re.findall(rf"\$\{{{name}(.*?)\}}", text)
        assert uses
        assert {use[:2] for use in uses} == {":?"}, f"compose starts without {name}"
        assert f"\n{name}=\n" in example
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {".env", "/docker/tls/*", "!/docker/tls/tls.conf.example"} <= set(ignored)


# --- compose ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_do_no_more_than_it_has_to(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "/tmp" in service["tmpfs"]
    assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"}
    assert name in OURS or service["user"] not in {"root", "0", "0:0"}
    assert not [each for each in service["volumes"] if "docker.sock" in str(each)]
    one_off = service["restart"] == "no"
    assert one_off or {"mem_limit", "pids_limit"} <= service.keys()
    assert ("ports" in service) == (name == "nginx")


@pytest.mark.parametrize("name", OTHERS)
def test_an_image_of_others_is_pinned_by_a_whole_version(name: str) -> None:
    assert re.fullmatch(r"[a-z/-]+:\d+\.\d+(\.\d+)?(-[a-z0-9.]+)?", SERVICES[name]["image"])


def test_what_waits_for_another_waits_until_it_can_be_used() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_completed_successfully":
                assert SERVICES[other]["restart"] == "no", (name, other)
            else:
                assert how["condition"] == "service_healthy"
                # The service's own check is that of the image.
                assert other == "app" or "test" in SERVICES[other]["healthcheck"], (name, other)


def test_volumes_and_networks_are_all_there_and_the_inner_ones_lead_nowhere() -> None:
    used = {str(each).partition(":")[0] for service in SERVICES.values() for each in service["volumes"]}
    assert {name for name in used if not name.startswith(".")} == set(COMPOSE["volumes"])
    for path in (name for name in used if name.startswith(".")):
        assert (DOCKER / path).exists()
    networks = {each for service in SERVICES.values() for each in service["networks"]}
    assert networks == set(COMPOSE["networks"])
    assert {name for name, each in COMPOSE["networks"].items() if not each.get("internal")} == {"front"}
    # What comes from there is believed: nobody but nginx may be in it with the service.
    (subnet,) = COMPOSE["networks"]["front"]["ipam"]["config"]
    assert SERVICES["app"]["environment"]["TRUSTED_PROXIES"] == subnet["subnet"]
    assert set(SERVICES["nginx"]["networks"]) & set(SERVICES["app"]["networks"]) == {"front"}
    assert [name for name in OTHERS if "front" in SERVICES[name]["networks"]] == ["nginx"]


def test_the_commands_of_the_containers_are_commands() -> None:
    entrypoint = re.search(r"^ENTRYPOINT (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert entrypoint is not None
    assert yaml.safe_load(entrypoint[1]) == ["python", "manage.py"]
    for name in OURS:
        if "entrypoint" in SERVICES[name]:
            assert (ROOT / SERVICES[name]["entrypoint"][1]).is_file()
        else:
            assert SERVICES[name]["command"][0] in get_commands()


def test_whoever_is_stopped_has_longer_than_the_service_takes() -> None:
    grace = settings.ENV.grace
    for name in ("app", "worker"):
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > grace + 5
    for unit in ("coffer-serve.service", "coffer-worker.service"):
        stop = re.search(r"^TimeoutStopSec=(\d+)$", (SYSTEMD / unit).read_text(), re.MULTILINE)
        assert stop is not None
        assert int(stop[1]) > grace + 5


# --- the image -------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile, without comments and with continued lines joined."""
    lines = "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", "", lines)
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def last_stage() -> list[tuple[str, str]]:
    all_of_them = instructions()
    start = max(number for number, (name, _) in enumerate(all_of_them) if name == "FROM")
    return all_of_them[start:]


def test_the_image_is_small_and_has_nobody_to_be_root() -> None:
    names = [name for name, _ in instructions()]
    assert names.count("FROM") == 2
    python = dict(each.split("=", 1) for name, each in instructions() if name == "ARG" and "=" in each)
    assert re.fullmatch(r"3\.13\.\d+-slim-[a-z]+", python["PYTHON"])
    final = last_stage()
    assert ("USER", "${UID}:${UID}") in final
    assert [f"{python['UID']}"] == SERVICES["nginx"]["group_add"]
    assert not [
        rest for name, rest in final if re.search(r"apt-get|pip install|curl|gcc|build-essential", rest)
    ]
    assert not [name for name in names if name == "ADD"]
    for name in ("CMD", "ENTRYPOINT"):
        assert [rest[0] for each, rest in final if each == name] == ["["], f"{name} is not in the exec form"
    (check,) = [rest for name, rest in final if name == "HEALTHCHECK"]
    assert check.endswith('CMD ["python", "docker/healthcheck.py"]')
    assert ("STOPSIGNAL", "SIGTERM") in final


def test_packages_come_by_their_hashes() -> None:
    (install,) = [rest for name, rest in instructions() if "pip --python" in rest]
    assert "--require-hashes" in install
    assert "--only-binary :all:" in install
    extras = re.search(r'EXTRAS="([a-z ]+)"', DOCKERFILE)
    assert extras is not None
    on_disk = {path.stem.removeprefix("requirements-") for path in ROOT.glob("requirements-*.txt")}
    assert set(extras[1].split()) == on_disk - {"dev", "bench"}


def copied() -> list[str]:
    """What the Dockerfile takes from the checkout."""
    return [
        source
        for name, rest in instructions()
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]


def is_sent(path: str) -> bool:
    """Whether .dockerignore lets the builder see it; the last line that matches decides."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    sent = True
    parts = path.split("/")
    above = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    for rule in rules:
        pattern = rule.removeprefix("!").removeprefix("**/")
        candidates = above + (parts if "**/" in rule else [])
        if any(fnmatch.fnmatchcase(each, pattern) for each in candidates):
            sent = rule.startswith("!")
    return sent


def test_the_builder_sees_what_it_copies_and_nothing_else() -> None:
    sources = copied()
    for source in sources:
        assert list(ROOT.glob(source)), source
    assert is_sent("requirements.txt")
    assert is_sent("requirements-redis.txt")
    assert all(is_sent(source) for source in sources if "*" not in source)
    assert is_sent("graph/static/graph/library/library.js")
    for secret in (
        ".env",
        "docker/.env",
        ".git/config",
        "var/secret_key",
        "docker/tls/key.pem",
        "db.sqlite3",
    ):
        assert not is_sent(secret), secret
    for other in ("tests/conftest.py", "requirements-dev.txt", "graph/library/src/api.ts", "docs/a.md"):
        assert not is_sent(other), other


def test_the_image_has_all_that_the_service_imports() -> None:
    ours = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    assert ours <= set(copied())


# --- nginx -----------------------------------------------------------------------------------------


def directives(name: str, text: str = NGINX) -> Iterator[str]:
    for found in re.finditer(rf"^\s*{name}\s+([^;{{]+);", text, re.MULTILINE):
        yield found[1].strip()


def test_limits_of_nginx_are_those_of_the_service() -> None:
    largest, *others = directives("client_max_body_size")
    assert parse_size(f"{largest.removesuffix('m')} MiB") == settings.MAX_REQUEST_SIZE
    assert {parse_size(f"{each.removesuffix('m')} MiB") for each in others} == {
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    }
    assert next(directives("client_body_timeout")) == f"{asgi._IDLE:.0f}s"
    assert next(directives("proxy_request_buffering")) == "on"


def test_nginx_finds_files_and_service_where_they_are() -> None:
    data_dir = SERVICES["app"]["environment"]["DATA_DIR"]
    assert f"location {storage.SENDFILE_PREFIX}files/ {{" in NGINX
    assert list(directives("alias")) == [f"{data_dir}/files/"]
    assert f"data:{data_dir}" in SERVICES["app"]["volumes"]
    assert f"data:{data_dir}:ro" in SERVICES["nginx"]["volumes"]
    (upstream,) = re.findall(r"upstream coffer \{\s+server (\S+);", NGINX)
    assert upstream == f"app:{SERVICES['app']['environment']['PORT']}"
    assert ("EXPOSE", str(SERVICES["app"]["environment"]["PORT"])) in instructions()
    listens = {each.split()[0] for each in directives("listen")}
    assert [each.partition(":")[2].rpartition(":")[2] for each in SERVICES["nginx"]["ports"]] == [
        "8080",
        "8443",
    ]
    assert listens == {"8080"}
    assert next(directives("listen", (DOCKER / "tls" / "tls.conf.example").read_text())) == "8443 ssl"


def test_the_store_is_where_the_service_and_nginx_look_for_it() -> None:
    told = SERVICES["app"]["environment"]
    (upstream,) = re.findall(r"upstream store \{\s+server (\S+);", STORE)
    assert told["AWS_S3_ENDPOINT_URL"] == f"http://{upstream}"
    assert f"-s3.port={upstream.partition(':')[2]}" in SERVICES["s3"]["command"]
    assert told["AWS_S3_CUSTOM_DOMAIN"].endswith(f"/{told['AWS_STORAGE_BUCKET_NAME']}")
    assert list(directives("server_name", STORE)) == ["store.*"]
    for theirs, ours in [
        ("AWS_ACCESS_KEY_ID", "S3_ACCESS_KEY_ID"),
        ("AWS_SECRET_ACCESS_KEY", "S3_SECRET_ACCESS_KEY"),
    ]:
        value = f"${{{ours}:?is missing from docker/.env}}"
        assert told[theirs] == SERVICES["s3"]["environment"][theirs] == value


@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "/login/", "/admin/login/"])
def test_a_page_that_nginx_names_is_there(path: str) -> None:
    exact = re.findall(r"location = (\S+) \{", NGINX)
    patterns = re.findall(r"location ~ (\S+) \{", NGINX)
    assert path in exact or any(re.search(pattern, path) for pattern in patterns)
    assert resolve(path).url_name


# --- systemd ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(SYSTEMD.glob("*.service")), ids=lambda path: path.stem)
def test_a_unit_runs_a_command_and_has_what_all_share(path: Path) -> None:
    (command,) = re.findall(
        r"^ExecStart=/srv/coffer/\.venv/bin/python manage\.py (\S+)", path.read_text(), re.MULTILINE
    )
    assert command in get_commands()
    assert path.name.startswith("coffer-")  # or coffer-.service.d is not for it


def test_every_timer_has_its_service_and_every_job_its_timer() -> None:
    jobs = {path.stem for path in SYSTEMD.glob("*.service") if "Type=oneshot" in path.read_text()}
    assert jobs == {path.stem for path in SYSTEMD.glob("*.timer")}
    assert {"coffer-reconcile", "coffer-verify", "coffer-clearsessions"} <= jobs


def test_the_units_name_settings_that_there_are(known: set[str]) -> None:
    shared = (SYSTEMD / "coffer-.service.d" / "common.conf").read_text()
    (line,) = re.findall(r"^Environment=(.*)$", shared, re.MULTILINE)
    names = {each.partition("=")[0] for each in line.split()}
    assert {"ENV_FILE", "DATA_DIR"} <= names
    assert {name for name in names if not name.startswith("PYTHON")} <= known
    assert "ENV_FILE" in known
