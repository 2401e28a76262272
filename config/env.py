"""Environment variables -> one frozen, validated `Env`. Nothing else reads `os.environ`.

A variable that cannot be used stops the start, and all of them are named in one message, so that a
deployment is mended in one go and not variable by variable.
"""

import contextlib
import ipaddress
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environs
from environs import validate

from config import logs, queues, storages
from files.profiles import parse_size

ROOT = Path(__file__).resolve().parent.parent

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Env:
    """What the operator decides. Sizes are in bytes, times in seconds."""

    debug: bool
    secret_key: str
    has_own_secret_key: bool  # given, and not one that was made here
    allowed_hosts: tuple[str, ...]
    csrf_trusted_origins: tuple[str, ...]
    host: str
    port: int
    workers: int
    threads: int
    grace: int
    https: bool | None  # None: nobody has said
    hsts_seconds: int
    hsts_subdomains: bool
    hsts_preload: bool
    trusted_proxies: tuple[Network, ...]
    proxy_headers: str
    media_origin: str | None
    data_dir: Path
    database: dict[str, Any]
    storages: dict[str, dict[str, Any]]
    sendfile: str | None
    profiles_path: Path
    user_quota: int | None
    url_lifetime: int
    max_request_size: int
    max_files: int
    graphiql: bool
    introspection: bool
    queries_by_get: bool
    max_batch: int
    rate_limit_user: int
    rate_limit_address: int
    tasks_backend: str
    redis_url: str | None
    log_level: str
    log_format: str
    metrics_token: str | None
    metrics_allow: tuple[Network, ...]
    tracing: bool
    failpoint: str


class InvalidEnvironment(Exception):
    """One or more variables cannot be used; the message has a line for each."""

    def __init__(self, problems: dict[str, list[str]]) -> None:
        self.problems = problems
        lines = [f"  {name}: {' '.join(reasons)}" for name, reasons in sorted(problems.items())]
        super().__init__("Coffer cannot start: these settings are wrong.\n" + "\n".join(lines))


def read() -> Env:
    """The environment, completed from the file ENV_FILE (`.env` in the project's folder); what is set wins.

    Raises InvalidEnvironment, which names every wrong variable.
    """
    env = environs.Env(eager=False)
    env_file = env.str("ENV_FILE", None)
    env.read_env(Path(env_file) if env_file else ROOT / ".env", recurse=False)
    env.add_parser("size", _size)
    env.add_parser("folder", _folder)
    env.add_parser("database", _database)
    env.add_parser("networks", _networks)
    env.add_parser("origin", _origin)

    data_dir = env.folder("DATA_DIR", str(ROOT / "var")) or ROOT  # ROOT: only until `seal` refuses
    host = env.str("HOST", "127.0.0.1", validate=validate.Length(min=1)) or ""
    entries, wrong_storages = storages.read(env, given=os.environ, data_dir=data_dir)
    debug = env.bool("DEBUG", False)
    values: dict[str, Any] = {
        "debug": debug,
        "allowed_hosts": tuple(
            _words(env, "ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]", *_own_name(host)])
        ),
        "csrf_trusted_origins": tuple(_words(env, "CSRF_TRUSTED_ORIGINS", [])),
        "host": host,
        "port": env.int("PORT", 8000, validate=validate.Range(1, 65535)),
        "workers": env.int("WORKERS", os.cpu_count() or 1, validate=validate.Range(1, 512)),
        "threads": env.int("THREADS", 128, validate=validate.Range(1, 1024)),
        "grace": env.int("GRACE", 30, validate=validate.Range(1, 3600)),
        "https": env.bool("HTTPS", None),
        "hsts_seconds": env.int("HSTS_SECONDS", 3600, validate=validate.Range(min=0)),
        "hsts_subdomains": env.bool("HSTS_SUBDOMAINS", False),
        "hsts_preload": env.bool("HSTS_PRELOAD", False),
        "trusted_proxies": env.networks("TRUSTED_PROXIES", ""),
        "proxy_headers": env.str(
            "PROXY_HEADERS", "x-forwarded", validate=validate.OneOf(["x-forwarded", "forwarded"])
        ),
        "media_origin": env.origin("MEDIA_ORIGIN", None),
        "data_dir": data_dir,
        "database": env.database("DATABASE_URL", f"sqlite:///{data_dir / 'coffer.sqlite3'}"),
        "storages": entries,
        "sendfile": env.str("SENDFILE", None, validate=_sends_files),
        "profiles_path": env.path("COFFER_PROFILES", ROOT / "config" / "profiles.toml"),
        "user_quota": env.size("USER_QUOTA", None),
        "url_lifetime": env.int("URL_LIFETIME", 3600, validate=validate.Range(1, 7 * 24 * 3600)),
        "max_request_size": env.size("MAX_REQUEST_SIZE", "1 GiB"),
        "max_files": env.int("MAX_FILES", 20, validate=validate.Range(1, 200)),
        "graphiql": env.bool("GRAPHIQL", debug),
        "introspection": env.bool("INTROSPECTION", debug),
        "queries_by_get": env.bool("QUERIES_BY_GET", debug),
        "rate_limit_user": env.int("RATE_LIMIT_USER", 0 if debug else 6000, validate=validate.Range(min=0)),
        "rate_limit_address": env.int(
            "RATE_LIMIT_ADDRESS", 0 if debug else 600, validate=validate.Range(min=0)
        ),
        "max_batch": env.int("MAX_BATCH", 0, validate=validate.Range(0, 100)),
        "tasks_backend": env.str("TASKS_BACKEND", "immediate", validate=validate.OneOf(queues.BACKENDS)),
        "redis_url": env.str("REDIS_URL", None, validate=queues.check_redis_url),
        "log_level": env.str(
            "LOG_LEVEL", "INFO", validate=validate.OneOf(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
        ),
        "log_format": env.str(
            "LOG_FORMAT", "line" if debug else "json", validate=validate.OneOf(logs.FORMATS)
        ),
        "metrics_token": env.str("METRICS_TOKEN", None, validate=_strong),
        "metrics_allow": env.networks("METRICS_ALLOW", ""),
        "tracing": bool(env.str("OTEL_EXPORTER_OTLP_ENDPOINT", "", validate=_sends_traces)),
        "failpoint": _failpoint(env),
    }
    wrong = wrong_storages | queues.problems(values["tasks_backend"], values["redis_url"])
    secret_key = env.str("SECRET_KEY", None, validate=_strong)
    if env_file and not Path(env_file).exists():
        raise InvalidEnvironment({"ENV_FILE": [f"there is no file {env_file}."]})
    try:
        env.seal()
    except environs.EnvValidationError as error:
        raise InvalidEnvironment(wrong | _problems(error)) from None
    if wrong:
        raise InvalidEnvironment(wrong)
    if problem := _media_problem(values["media_origin"], values["allowed_hosts"], values["https"]):
        raise InvalidEnvironment({"MEDIA_ORIGIN": [problem]})
    return Env(
        secret_key=secret_key or _kept_secret_key(data_dir),
        has_own_secret_key=secret_key is not None,
        **values,
    )


def read_or_exit() -> Env:
    """`read`, for a process that is starting: a wrong environment ends it with the message alone."""
    try:
        return read()
    except InvalidEnvironment as error:
        sys.exit(str(error))


def _words(env: environs.Env, name: str, default: list[str]) -> list[str]:
    """A list with commas between its words, and spaces wherever a person put them."""
    words = [word.strip() for word in env.list(name, default) or []]
    return [word for word in words if word]


def _sends_traces(value: str) -> None:
    if not value:
        return
    if not value.startswith(("http://", "https://")):
        raise environs.ValidationError(
            "has to begin with http:// or https://, of a collector of OTLP over HTTP."
        )
    if not storages.can_import("opentelemetry.exporter.otlp.proto.http"):
        raise environs.ValidationError(
            "needs packages that are not installed: run .venv/bin/pip install -r requirements-otel.txt."
        )


def _own_name(host: str) -> list[str]:
    """The address listened on is also a name to be called by, unless it stands for all of them."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return [] if host == "localhost" else [host]
    if address.is_unspecified or host in {"127.0.0.1", "::1"}:
        return []
    return [f"[{host}]" if address.version == 6 else host]


def _problems(error: environs.EnvValidationError) -> dict[str, list[str]]:
    messages = error.error_messages
    if not isinstance(messages, dict):
        return {"environment": [str(message) for message in messages]}
    return {
        str(name): [str(each) for each in (reasons if isinstance(reasons, list) else [reasons])]
        for name, reasons in messages.items()
    }


def _folder(value: str) -> Path:
    """A folder that can be written to; made if need be."""
    if not value:
        raise environs.ValidationError("is empty; leave it out or name a folder.")
    try:
        path = Path(value).expanduser().resolve()
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except (OSError, RuntimeError) as error:  # RuntimeError: nobody's home
        raise environs.ValidationError(f"cannot be written to: {error}.") from error


def _size(value: str | None) -> int | None:
    if value is None:
        return None
    try:
        size = parse_size(value)
    except ValueError as error:
        raise environs.ValidationError(str(error)) from error
    if size == 0:
        raise environs.ValidationError("has to be above 0.")
    return size


def _failpoint(env: environs.Env) -> str:
    """Where tests kill the process; refused without a second variable, so that none is set by mistake."""
    if not env.bool("COFFER_CRASH_TESTS", False):
        no_test = validate.OneOf([""], error="is for tests of crashes: it kills the service. Unset it.")
        return env.str("COFFER_FAILPOINT", "", validate=no_test) or ""
    return env.str("COFFER_FAILPOINT", "") or ""


def _database(value: str) -> dict[str, Any]:
    import dj_database_url

    try:
        config = dict(dj_database_url.parse(value))
    except (ValueError, KeyError, dj_database_url.ParseError, dj_database_url.UnknownSchemeError) as error:
        raise environs.ValidationError(
            "is not a database address; write for example sqlite:////var/lib/coffer/coffer.sqlite3 "
            "or postgres://user:password@host:5432/name."
        ) from error
    if config["ENGINE"] not in {"django.db.backends.sqlite3", "django.db.backends.postgresql"}:
        raise environs.ValidationError("names a database that is not supported: use sqlite or postgres.")
    return config


def _networks(value: str) -> tuple[Network, ...]:
    """Addresses and networks, with commas between them."""
    try:
        return tuple(ipaddress.ip_network(word.strip()) for word in value.split(",") if word.strip())
    except ValueError as error:
        raise environs.ValidationError(
            f"has to be addresses or networks such as 127.0.0.1,10.0.0.0/8: {error}."
        ) from error


def _origin(value: str | None) -> str | None:
    """`https://name` or `https://name:port`, as a browser writes the origin of a page."""
    if not value:
        return None
    if not re.fullmatch(r"https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?", value):
        raise environs.ValidationError("has to be an origin without a path, as https://files.example.net.")
    return value


def _media_problem(origin: str | None, allowed_hosts: Collection[str], https: bool | None) -> str | None:
    """Why this origin would not keep files apart from pages: browsers share cookies between ports."""
    if origin is None:
        return None
    if https and not origin.startswith("https://"):
        return "has to begin with https://, because HTTPS is on."
    if urlsplit(origin).hostname in allowed_hosts:
        return "has to have a name of its own, which ALLOWED_HOSTS does not have."
    return None


def _sends_files(value: str | None) -> None:
    if value not in {None, "nginx"}:
        raise environs.ValidationError("has to be nginx, or left out.")


def _strong(value: str | None) -> None:
    if value is not None and len(value) < 32:
        raise environs.ValidationError("is too short: use 32 characters or more, made at random.")


def _kept_secret_key(data_dir: Path) -> str:
    """The key that the embedded default makes for itself, once, so that restarts keep sessions and URLs.

    Several machines need one key between them: there SECRET_KEY has to be set.
    """
    path = data_dir / "secret_key"
    if not path.exists() or path.stat().st_size == 0:
        path.unlink(missing_ok=True)
        # Written whole before it gets its name: a process that starts at the same moment never reads half.
        with tempfile.NamedTemporaryFile("w", dir=data_dir, prefix="secret_key.") as draft:
            draft.write(secrets.token_urlsafe(50))
            draft.flush()
            os.fsync(draft.fileno())
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(draft.name)
    return path.read_text().strip()
