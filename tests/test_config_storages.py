"""The variables of storages: what each makes of Django's STORAGES, and what is refused before the start."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from config import env, storages
from config.env import InvalidEnvironment
from tests.test_env import ROOT, _bare

S3 = {
    "AWS_ACCESS_KEY_ID": "id",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_STORAGE_BUCKET_NAME": "bucket",
    "AWS_S3_REGION_NAME": "fra1",
    "AWS_S3_ENDPOINT_URL": "https://store.example",
}
AZURE = {
    "STORAGE": "azure",
    "AZURE_CONTAINER": "files",
    "AZURE_ACCOUNT_NAME": "us",
    "AZURE_ACCOUNT_KEY": "a2V5",
}


@pytest.fixture(autouse=True)
def bare_environment(tmp_path: Path, monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(env, "ROOT", tmp_path / "project")
    (tmp_path / "project").mkdir()
    with mock.patch.dict(os.environ, clear=True):
        os.environ.update(_bare() | {"DATA_DIR": str(tmp_path / "data")})
        yield


@pytest.fixture(scope="module")
def pem() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()


def read(variables: dict[str, str]) -> dict[str, Any]:
    os.environ.update(variables)
    return env.read().storages


def problems(variables: dict[str, str]) -> dict[str, list[str]]:
    with pytest.raises(InvalidEnvironment) as refused:
        read(variables)
    return refused.value.problems


# --- S3 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("switch", [{"USE_S3_STORAGE": "True"}, {"STORAGE": "s3"}])
def test_an_s3_store_is_read_from_the_usual_variables(switch: dict[str, str]) -> None:
    given = {"AWS_S3_CUSTOM_DOMAIN": "cdn.example", "AWS_QUERYSTRING_AUTH": "false"}
    assert read(S3 | switch | given)["default"] == {
        "BACKEND": "files.s3.S3Storage",
        "OPTIONS": {
            "access_key": "id",
            "secret_key": "secret",
            "security_token": None,
            "bucket_name": "bucket",
            "region_name": "fra1",
            "endpoint_url": "https://store.example",
            "addressing_style": None,
            "custom_domain": "cdn.example",
            "default_acl": None,
            "querystring_auth": False,
            "file_overwrite": False,
        },
    }


def test_a_bucket_is_all_that_an_s3_store_needs() -> None:
    options = read({"USE_S3_STORAGE": "1", "AWS_STORAGE_BUCKET_NAME": "bucket"})["default"]["OPTIONS"]
    assert {name: value for name, value in options.items() if value not in (None, False)} == {
        "bucket_name": "bucket",
        "querystring_auth": True,
    }


@pytest.mark.parametrize(
    "variable, value, option, expected",
    [
        ("AWS_SESSION_TOKEN", "token", "security_token", "token"),
        ("AWS_DEFAULT_ACL", "private", "default_acl", "private"),
        ("AWS_S3_ADDRESSING_STYLE", "path", "addressing_style", "path"),
        ("AWS_S3_FILE_OVERWRITE", "True", "file_overwrite", True),
        ("AWS_S3_URL_PROTOCOL", "http:", "url_protocol", "http:"),
        (
            "AWS_S3_OBJECT_PARAMETERS",
            '{"CacheControl": "no-cache"}',
            "object_parameters",
            {"CacheControl": "no-cache"},
        ),
    ],
)
def test_an_option_of_s3_has_its_variable(variable: str, value: str, option: str, expected: object) -> None:
    assert read(S3 | {"STORAGE": "s3", variable: value})["default"]["OPTIONS"][option] == expected


@pytest.mark.parametrize("line_end", ["\n", "\\n"])
def test_a_key_of_cloudfront_may_stand_in_one_line(pem: str, line_end: str) -> None:
    given = {
        "STORAGE": "s3",
        "AWS_S3_CUSTOM_DOMAIN": "cdn.example",
        "AWS_CLOUDFRONT_KEY_ID": "K1",
        "AWS_CLOUDFRONT_KEY": pem.replace("\n", line_end),
    }
    options = read(S3 | given)["default"]["OPTIONS"]
    assert (options["cloudfront_key_id"], options["cloudfront_key"]) == ("K1", pem)


@pytest.mark.parametrize(
    "given, wrong",
    [
        ({"AWS_CLOUDFRONT_KEY_ID": "K1"}, "AWS_CLOUDFRONT_KEY"),
        ({"AWS_CLOUDFRONT_KEY_ID": "K1", "AWS_CLOUDFRONT_KEY": "hush"}, "AWS_CLOUDFRONT_KEY"),
        ({"AWS_STORAGE_BUCKET_NAME": ""}, "AWS_STORAGE_BUCKET_NAME"),
        ({"AWS_QUERYSTRING_AUTH": "perhaps"}, "AWS_QUERYSTRING_AUTH"),
        ({"AWS_S3_ENDPOINT_URL": "store.example"}, "AWS_S3_ENDPOINT_URL"),
        ({"AWS_S3_CUSTOM_DOMAIN": "https://cdn.example"}, "AWS_S3_CUSTOM_DOMAIN"),
        ({"AWS_S3_ADDRESSING_STYLE": "dns"}, "AWS_S3_ADDRESSING_STYLE"),
        ({"AWS_S3_OBJECT_PARAMETERS": "[]"}, "AWS_S3_OBJECT_PARAMETERS"),
        ({"AWS_S3_OBJECT_PARAMETERS": "max-age"}, "AWS_S3_OBJECT_PARAMETERS"),
    ],
)
def test_an_s3_store_that_could_not_work_is_refused_at_start(given: dict[str, str], wrong: str) -> None:
    found = problems(S3 | {"STORAGE": "s3", "AWS_S3_CUSTOM_DOMAIN": "cdn.example"} | given)
    assert list(found) == [wrong]
    assert "hush" not in str(found)


def test_a_bucket_that_is_not_named_is_missed() -> None:
    assert list(problems({"USE_S3_STORAGE": "True"})) == ["AWS_STORAGE_BUCKET_NAME"]


def test_the_variables_of_s3_mean_nothing_to_local_disk() -> None:
    kept = read(S3 | {"AWS_QUERYSTRING_AUTH": "nonsense"})["default"]
    assert kept["BACKEND"] == "files.disk.DiskStorage"


# --- the others ------------------------------------------------------------------------------------


def test_google_cloud_storage_is_read_from_its_variables(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text("{}")
    given = {
        "STORAGE": "gcs",
        "GS_BUCKET_NAME": "bucket",
        "GS_PROJECT_ID": "project",
        "GS_CREDENTIALS": str(tmp_path / "key.json"),
        "GS_CUSTOM_ENDPOINT": "https://files.example",
        "GS_QUERYSTRING_AUTH": "False",
        "GS_DEFAULT_ACL": "projectPrivate",
        "GS_OBJECT_PARAMETERS": '{"cache_control": "no-cache"}',
    }
    assert read(given)["default"] == {
        "BACKEND": "files.gcs.GoogleCloudStorage",
        "OPTIONS": {
            "bucket_name": "bucket",
            "project_id": "project",
            "credentials": str(tmp_path / "key.json"),
            "custom_endpoint": "https://files.example",
            "default_acl": "projectPrivate",
            "querystring_auth": False,
            "object_parameters": {"cache_control": "no-cache"},
        },
    }


def test_a_key_file_of_google_that_is_not_there_is_refused_and_not_repeated() -> None:
    found = problems(
        {"STORAGE": "gcs", "GS_BUCKET_NAME": "bucket", "GS_CREDENTIALS": '{"private_key": "hush"}'}
    )
    assert list(found) == ["GS_CREDENTIALS"]
    assert "hush" not in str(found)


@pytest.mark.parametrize(
    "given",
    [
        AZURE,
        {"STORAGE": "azure", "AZURE_CONTAINER": "files", "AZURE_CONNECTION_STRING": "AccountName=us"},
        {**AZURE, "AZURE_ACCOUNT_KEY": "", "AZURE_SAS_TOKEN": "sv=1"},
    ],
)
def test_azure_is_reached_by_a_key_a_token_or_a_connection_string(given: dict[str, str]) -> None:
    entry = read(given)["default"]
    assert entry["BACKEND"] == "files.azure.AzureStorage"
    assert entry["OPTIONS"]["azure_container"] == "files"


def test_azure_without_an_account_is_refused() -> None:
    found = problems({"STORAGE": "azure", "AZURE_CONTAINER": "files"})
    assert list(found) == ["AZURE_ACCOUNT_NAME", "AZURE_ACCOUNT_KEY"]


@pytest.mark.parametrize("kind, library", [("gcs", "google.cloud.storage"), ("azure", "azure.storage.blob")])
def test_a_library_that_is_not_installed_is_named_with_what_installs_it(
    monkeypatch, kind: str, library: str
) -> None:
    monkeypatch.setattr(storages, "can_import", lambda module: module != library)
    assert problems({**AZURE, "GS_BUCKET_NAME": "bucket", "STORAGE": kind}) == {
        "STORAGE": [
            f"{kind} needs packages that are not installed: "
            f"run .venv/bin/pip install -r requirements-{kind}.txt."
        ]
    }
    assert (ROOT / f"requirements-{kind}.txt").exists()


@pytest.mark.parametrize(
    "path, reason",
    [
        ("django.core.files.storage.InMemoryStorage", None),
        ("django.core.files.storage.NoSuchStorage", "cannot be imported"),
        ("django.core.files.base.File", "is not a class of Django's Storage"),
        ("django.core.files.storage", "is not a class of Django's Storage"),
        ("django.conf.urls.static.static", "is not a class of Django's Storage"),
        ("no_such_module.Storage", "is no storage"),
    ],
)
def test_a_dotted_path_has_to_lead_to_a_storage(path: str, reason: str | None) -> None:
    if reason is None:
        assert read({"STORAGE": path})["default"] == {"BACKEND": path}
        return
    found = problems({"STORAGE": path})
    assert list(found) == ["STORAGE"]
    assert reason in found["STORAGE"][0]


# --- further storages ------------------------------------------------------------------------------


def test_a_further_storage_shares_what_it_does_not_have_but_its_place() -> None:
    given = {
        "STORAGE": "s3",
        "STORAGES": "public, cold-archive",
        "PUBLIC_STORAGE": "s3",
        "PUBLIC_AWS_STORAGE_BUCKET_NAME": "shown",
        "PUBLIC_AWS_QUERYSTRING_AUTH": "False",
        "COLD_ARCHIVE_STORAGE": "s3",
        "COLD_ARCHIVE_AWS_STORAGE_BUCKET_NAME": "kept",
        "COLD_ARCHIVE_AWS_S3_ENDPOINT_URL": "https://cold.example",
        "AWS_S3_CUSTOM_DOMAIN": "cdn.example",
    }
    found = read(S3 | given)
    assert set(found) == {"default", "public", "cold-archive", "staticfiles"}
    public, archive = found["public"]["OPTIONS"], found["cold-archive"]["OPTIONS"]
    assert (public["bucket_name"], archive["bucket_name"]) == ("shown", "kept")
    assert (public["access_key"], archive["access_key"]) == ("id", "id")
    assert (public["querystring_auth"], archive["querystring_auth"]) == (False, True)
    assert (public["endpoint_url"], archive["endpoint_url"]) == (
        "https://store.example",
        "https://cold.example",
    )
    assert (public["custom_domain"], archive["custom_domain"]) == (None, None)


def test_two_storages_on_this_machine_lie_in_different_folders(tmp_path: Path) -> None:
    found = read({"STORAGES": "public", "PUBLIC_STORAGE": "local"})
    assert found["default"]["OPTIONS"]["location"] == tmp_path / "data" / "files"
    assert found["public"]["OPTIONS"]["location"] == tmp_path / "data" / "files-public"


@pytest.mark.parametrize(
    "given, wrong",
    [
        ({"STORAGES": "public"}, ["PUBLIC_STORAGE"]),
        ({"STORAGES": "public", "PUBLIC_STORAGE": "s3"}, ["PUBLIC_AWS_STORAGE_BUCKET_NAME"]),
        ({"STORAGES": "Public"}, ["STORAGES"]),
        ({"STORAGES": "default"}, ["STORAGES"]),
        ({"STORAGES": "staticfiles"}, ["STORAGES"]),
        ({"STORAGES": "a,a"}, ["STORAGES"]),
        ({"STORAGES": "public", "PUBLIC_STORAGE": "ftp"}, ["PUBLIC_STORAGE"]),
        (
            {"STORAGES": "a", "A_STORAGE": "s3", "A_AWS_STORAGE_BUCKET_NAME": "bucket", "STORAGE": "s3"},
            ["A_STORAGE"],
        ),
        (
            {
                "STORAGES": "a",
                "STORAGE": "s3",
                "A_STORAGE": "s3",
                "A_AWS_STORAGE_BUCKET_NAME": "bucket",
                "A_AWS_S3_ENDPOINT_URL": "https://store.example/",
            },
            ["A_STORAGE"],
        ),
    ],
)
def test_a_further_storage_that_could_not_work_is_refused(given: dict[str, str], wrong: list[str]) -> None:
    assert list(problems(S3 | given)) == wrong


def test_all_that_is_wrong_with_storages_comes_in_one_message() -> None:
    given = {
        "PORT": "http",
        "STORAGES": "public",
        "PUBLIC_STORAGE": "no_such_module.Storage",
        "STORAGE": "azure",
        "AZURE_CONTAINER": "x",
    }
    assert sorted(problems(given)) == [
        "AZURE_ACCOUNT_KEY",
        "AZURE_ACCOUNT_NAME",
        "AZURE_CONTAINER",
        "PORT",
        "PUBLIC_STORAGE",
    ]


def test_a_profile_names_a_storage_that_there_is(tmp_path: Path) -> None:
    rules = tmp_path / "profiles.toml"
    rules.write_text('[default]\nmax_size = 1\ntypes = ["*/*"]\nstorage = "archive"\n')
    variables = _bare() | {"DATA_DIR": str(tmp_path / "data"), "COFFER_PROFILES": str(rules)}
    command = [sys.executable, "manage.py", "check"]

    def check(**given: str) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=variables | given, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stderr

    assert "default.storage: there is no storage 'archive'; there are default" in check()
    assert check(STORAGES="archive", ARCHIVE_STORAGE="local") == ""


# --- the pages' own files --------------------------------------------------------------------------


def test_the_pages_files_are_served_from_here_unless_it_is_said() -> None:
    assert read({})["staticfiles"] == {"BACKEND": "config.static.CollectedStaticStorage"}


def test_the_pages_files_may_lie_in_a_bucket_of_their_own() -> None:
    given = {
        "STATIC_STORAGE": "s3",
        "STATIC_AWS_STORAGE_BUCKET_NAME": "pages",
        "STATIC_AWS_S3_CUSTOM_DOMAIN": "static.example",
    }
    entry = read(S3 | given)["staticfiles"]
    assert entry["BACKEND"] == "files.s3.StaticS3Storage"
    assert entry["OPTIONS"]["bucket_name"] == "pages"
    assert entry["OPTIONS"]["access_key"] == "id"
    assert entry["OPTIONS"]["custom_domain"] == "static.example"
    assert entry["OPTIONS"]["default_acl"] is None


def test_a_bucket_of_the_pages_files_needs_a_name_that_pages_can_trust() -> None:
    given = {"STATIC_STORAGE": "s3", "STATIC_AWS_STORAGE_BUCKET_NAME": "pages"}
    assert list(problems(S3 | given)) == ["STATIC_AWS_S3_CUSTOM_DOMAIN"]
