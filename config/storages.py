"""The variables of the storages -> the entries of Django's STORAGES; the names are those of django-storages.

A further storage has the same variables with its own name before them, and shares those that it does not
have; its place is always its own, because two names of one bucket are a way to lose files. Nothing here
asks a store.
"""

import importlib.util
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import environs
from django.core.files.storage import Storage
from django.utils.module_loading import import_string
from environs import validate

DEFAULT = "default"
STATIC = "staticfiles"
KINDS = ("local", "s3", "gcs", "azure")

_ALIAS = re.compile(r"[a-z][a-z0-9-]{0,31}")
_RESERVED = {DEFAULT, STATIC, "static"}

# What a kind needs beyond requirements.txt: a module of it, and the file that pins its packages.
_EXTRAS = {
    "gcs": ("google.cloud.storage", "requirements-gcs.txt"),
    "azure": ("azure.storage.blob", "requirements-azure.txt"),
}

type Entry = dict[str, Any]
type Problems = dict[str, list[str]]


class _Variables:
    """The variables of one storage: each with the prefix if that is set, else as all storages share it."""

    def __init__(self, env: environs.Env, given: Collection[str], prefix: str, problems: Problems) -> None:
        self._env = env
        self._given = given
        self._problems = problems
        self._prefix = prefix

    def name(self, name: str) -> str:
        own = f"{self._prefix}{name}"
        return own if own in self._given else name

    def text(self, name: str, **options: Any) -> str | None:
        return self._env.str(self.name(name), None, **options) or None

    def own(self, name: str, **options: Any) -> str | None:
        """Never shared, because it is where this storage is."""
        return self._env.str(f"{self._prefix}{name}", None, **options) or None

    def needed(self, name: str, **options: Any) -> str:
        """The same, and there is no storage without it."""
        return self._env.str(f"{self._prefix}{name}", **options) or ""

    def switch(self, name: str, default: bool) -> bool:
        return bool(self._env.bool(self.name(name), default))

    def table(self, name: str) -> dict[str, Any] | None:
        table = self._env.json(self.name(name), None)
        if table is not None and not isinstance(table, dict):
            self.refuse(name, "has to be an object of JSON.")
            return None
        return table

    def refuse(self, name: str, reason: str) -> None:
        refuse(self._problems, self.name(name), reason)


def read(env: environs.Env, *, given: Collection[str], data_dir: Path) -> tuple[dict[str, Entry], Problems]:
    """The storages by alias, `staticfiles` among them. `given` has the names of all variables that are set.

    Beside what `env` finds wrong itself, the problems of variables that do not go together.
    """
    problems: Problems = {}
    use_s3 = env.bool("USE_S3_STORAGE", False)
    kinds = {DEFAULT: ("STORAGE", _kind(env, "STORAGE", "s3" if use_s3 else "local", problems))}
    for alias in _aliases(env, problems):
        variable = f"{_prefix(alias)}STORAGE"
        kinds[alias] = (variable, _kind(env, variable, None, problems))
    entries = {}
    places: dict[tuple[str, ...], str] = {}
    for alias, (variable, kind) in kinds.items():
        variables = _Variables(env, given, _prefix(alias), problems)
        entry = _entry(kind, variables, data_dir / ("files" if alias == DEFAULT else f"files-{alias}"))
        other = places.setdefault(_place(entry) or (alias,), alias)
        if other != alias:
            refuse(problems, variable, f"is the same place as the storage {other}: give it one of its own.")
        entries[alias] = entry
    entries[STATIC] = _static(env, given, problems)
    return entries, problems


def refuse(problems: Problems, name: str, reason: str) -> None:
    problems.setdefault(name, []).append(reason)


def _prefix(alias: str) -> str:
    return "" if alias == DEFAULT else f"{alias.upper().replace('-', '_')}_"


def _aliases(env: environs.Env, problems: Problems) -> list[str]:
    """The further storages, in their order."""
    given: list[str] = env.list("STORAGES", list[str]()) or []
    words = [word.strip() for word in given]
    wrong = [word for word in words if not _ALIAS.fullmatch(word) or word in _RESERVED]
    if wrong or len({_prefix(word) for word in words}) != len(words):
        reason = f"has to be different names of a-z, 0-9 and -, none of them {', '.join(sorted(_RESERVED))}."
        refuse(problems, "STORAGES", reason)
        return []
    return words


def _kind(env: environs.Env, variable: str, default: str | None, problems: Problems) -> str:
    """One of KINDS, or the dotted path of a class; an empty text after a problem."""
    value = env.str(variable, default) if default else env.str(variable)
    if value is None:  # environs names it
        return ""
    reason = _extra_problem(value) if value in KINDS else _class_problem(value)
    if reason is None:
        return value
    refuse(problems, variable, reason)
    return ""


def _extra_problem(kind: str) -> str | None:
    if kind not in _EXTRAS:
        return None
    module, requirements = _EXTRAS[kind]
    if can_import(module):
        return None
    return f"{kind} needs packages that are not installed: run .venv/bin/pip install -r {requirements}."


def _class_problem(path: str) -> str | None:
    module = path.rpartition(".")[0]
    if not module or not can_import(module):
        return f"{path!r} is no storage: use {', '.join(KINDS)} or the dotted path of a Storage class."
    try:
        found = import_string(path)
    except Exception as error:  # whatever the module does when it is imported
        return f"{path!r} cannot be imported: {error}"
    if isinstance(found, type) and issubclass(found, Storage):
        return None
    return f"{path!r} is not a class of Django's Storage."


def can_import(module: str) -> bool:
    """Whether it is installed, as what not everybody needs may not be."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _entry(kind: str, variables: _Variables, folder: Path) -> Entry:
    if kind in _READERS:
        return _READERS[kind](variables)
    if kind == "local":
        return {"BACKEND": "files.disk.DiskStorage", "OPTIONS": {"location": folder}}
    return {"BACKEND": kind}


def _place(entry: Entry) -> tuple[str, ...]:
    """What two storages must not have in common. A class of the operator's own knows itself where it is."""
    options = entry.get("OPTIONS", {})
    names = (
        "location",
        "bucket_name",
        "endpoint_url",
        "azure_container",
        "account_name",
        "connection_string",
    )
    return tuple(str(options[name]).rstrip("/") for name in names if options.get(name))


def _is_url(value: str | None) -> None:
    if value is not None and not value.startswith(("http://", "https://")):
        raise environs.ValidationError("has to begin with https:// (or http://).")


def _is_domain(value: str | None) -> None:
    if value and ("://" in value or not re.fullmatch(r"[\w.:/-]+", value)):
        raise environs.ValidationError("has to be a host name, without https:// before it.")


def _is_file(value: str | None) -> None:
    if value and not Path(value).is_file():
        raise environs.ValidationError("has to be the path of a file.")


def _s3(variables: _Variables) -> Entry:
    protocol = variables.own("AWS_S3_URL_PROTOCOL", validate=validate.OneOf(["http:", "https:"]))
    return {
        "BACKEND": "files.s3.S3Storage",
        "OPTIONS": _s3_place(variables)
        | {
            "default_acl": variables.text("AWS_DEFAULT_ACL"),
            "querystring_auth": variables.switch("AWS_QUERYSTRING_AUTH", True),
            "file_overwrite": variables.switch("AWS_S3_FILE_OVERWRITE", False),
        }
        | ({"url_protocol": protocol} if protocol else {})
        | _cloudfront(variables),
    }


def _s3_place(variables: _Variables) -> dict[str, Any]:
    """Where the bucket is, as whom it is reached, and what is said of its objects."""
    options = {
        "access_key": variables.text("AWS_ACCESS_KEY_ID"),
        "secret_key": variables.text("AWS_SECRET_ACCESS_KEY"),
        "security_token": variables.text("AWS_SESSION_TOKEN"),
        "bucket_name": variables.needed("AWS_STORAGE_BUCKET_NAME", validate=validate.Length(min=3, max=63)),
        "region_name": variables.text("AWS_S3_REGION_NAME"),
        "endpoint_url": variables.text("AWS_S3_ENDPOINT_URL", validate=_is_url),
        "addressing_style": variables.text(
            "AWS_S3_ADDRESSING_STYLE", validate=validate.OneOf(["auto", "path", "virtual"])
        ),
        "custom_domain": variables.own("AWS_S3_CUSTOM_DOMAIN", validate=_is_domain),
    }
    parameters = variables.table("AWS_S3_OBJECT_PARAMETERS")
    return options if parameters is None else options | {"object_parameters": parameters}


def _cloudfront(variables: _Variables) -> dict[str, Any]:
    """The key pair by which addresses of the custom domain are signed. In one line, a key has \\n in it."""
    key_id, key = variables.text("AWS_CLOUDFRONT_KEY_ID"), variables.text("AWS_CLOUDFRONT_KEY")
    if not (key_id or key) or not variables.own("AWS_S3_CUSTOM_DOMAIN"):
        return {}
    for name, value in (("AWS_CLOUDFRONT_KEY_ID", key_id), ("AWS_CLOUDFRONT_KEY", key)):
        if not value:
            variables.refuse(name, "is needed as well: CloudFront signs with both.")
    pem = (key or "").replace("\\n", "\n")
    if key and not _is_private_key(pem):
        variables.refuse("AWS_CLOUDFRONT_KEY", "is no private RSA key in PEM.")
    return {"cloudfront_key_id": key_id, "cloudfront_key": pem}


def _is_private_key(pem: str) -> bool:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return isinstance(load_pem_private_key(pem.encode(), password=None), RSAPrivateKey)
    except (ValueError, TypeError):
        return False


def _gcs(variables: _Variables) -> Entry:
    options: dict[str, Any] = {
        "bucket_name": variables.needed("GS_BUCKET_NAME", validate=validate.Length(min=3)),
        "project_id": variables.text("GS_PROJECT_ID"),
        "credentials": variables.text("GS_CREDENTIALS", validate=_is_file),
        "custom_endpoint": variables.own("GS_CUSTOM_ENDPOINT", validate=_is_url),
        "default_acl": variables.text("GS_DEFAULT_ACL"),
        "querystring_auth": variables.switch("GS_QUERYSTRING_AUTH", True),
    }
    parameters = variables.table("GS_OBJECT_PARAMETERS")
    if parameters is not None:
        options["object_parameters"] = parameters
    return {"BACKEND": "files.gcs.GoogleCloudStorage", "OPTIONS": options}


def _azure(variables: _Variables) -> Entry:
    options = {
        "azure_container": variables.needed("AZURE_CONTAINER", validate=validate.Length(min=3, max=63)),
        "connection_string": variables.text("AZURE_CONNECTION_STRING"),
        "account_name": variables.text("AZURE_ACCOUNT_NAME"),
        "account_key": variables.text("AZURE_ACCOUNT_KEY"),
        "sas_token": variables.text("AZURE_SAS_TOKEN"),
        "custom_domain": variables.own("AZURE_CUSTOM_DOMAIN", validate=_is_domain),
    }
    if not options["connection_string"]:
        if not options["account_name"]:
            variables.refuse("AZURE_ACCOUNT_NAME", "is needed, or AZURE_CONNECTION_STRING.")
        if not (options["account_key"] or options["sas_token"]):
            reason = "is needed, or AZURE_SAS_TOKEN or AZURE_CONNECTION_STRING."
            variables.refuse("AZURE_ACCOUNT_KEY", reason)
    cache_control = variables.text("AZURE_CACHE_CONTROL")
    if cache_control:
        options["cache_control"] = cache_control
    return {"BACKEND": "files.azure.AzureStorage", "OPTIONS": options}


_READERS: Mapping[str, Callable[[_Variables], Entry]] = {"s3": _s3, "gcs": _gcs, "azure": _azure}


def _static(env: environs.Env, given: Collection[str], problems: Problems) -> Entry:
    """The pages' own files: on this machine, or in a public bucket of their own behind a name of its own."""
    kind = env.str("STATIC_STORAGE", "local", validate=validate.OneOf(["local", "s3"]))
    if kind != "s3":
        return {"BACKEND": "config.static.CollectedStaticStorage"}
    variables = _Variables(env, given, "STATIC_", problems)
    variables.needed("AWS_S3_CUSTOM_DOMAIN", validate=validate.Length(min=1))  # pages name it as their source
    # Not the ACL of the files: these are for everybody, by an ACL of their own or by a rule of the bucket.
    options = _s3_place(variables) | {"default_acl": variables.own("AWS_DEFAULT_ACL")}
    return {"BACKEND": "files.s3.StaticS3Storage", "OPTIONS": options}
