"""The pages' own files: found without a step before the first start, and for ever cacheable after one."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.staticfiles import storage as staticfiles
from django.core.management import call_command
from django.templatetags.static import static

from config.static import CollectedStaticStorage
from files.s3 import StaticS3Storage

ICON = "graph/graphiql/favicon.svg"


@pytest.fixture
def collected(settings, tmp_path: Path) -> Path:
    settings.STATIC_ROOT = tmp_path
    return tmp_path


def test_without_a_collection_files_have_their_plain_addresses(collected: Path) -> None:
    assert CollectedStaticStorage().url(ICON) == f"/static/{ICON}"


def test_a_collected_file_has_its_content_in_its_address(collected: Path, monkeypatch) -> None:
    call_command("collectstatic", interactive=False, verbosity=0)
    monkeypatch.setattr(staticfiles, "staticfiles_storage", CollectedStaticStorage())
    address = static(ICON)
    assert address.startswith("/static/graph/graphiql/favicon.")
    assert address != f"/static/{ICON}"
    assert (collected / address.removeprefix("/static/")).is_file()


def test_a_file_that_came_after_the_collection_keeps_its_plain_address(collected: Path) -> None:
    call_command("collectstatic", interactive=False, verbosity=0)
    assert CollectedStaticStorage().url("graph/later.js") == "/static/graph/later.js"


def test_collected_files_go_to_a_bucket_and_have_its_addresses(settings, bucket: Any) -> None:
    host = bucket.endpoint_url.removeprefix("http://")
    options = {
        "bucket_name": bucket.bucket_name,
        "access_key": "test",
        "secret_key": "test",
        "endpoint_url": bucket.endpoint_url,
        "default_acl": "public-read",
        "custom_domain": f"{host}/{bucket.bucket_name}",
        "url_protocol": "http:",
    }
    entry = {"BACKEND": "files.s3.StaticS3Storage", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": entry}
    call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=["admin", "vendor"])
    collected = StaticS3Storage(**options)
    url = collected.url("graph/graphiql/graphiql.css")
    assert url.startswith(f"{bucket.endpoint_url}/{bucket.bucket_name}/graph/graphiql/graphiql.")
    assert url != f"{bucket.endpoint_url}/{bucket.bucket_name}/graph/graphiql/graphiql.css"
    answer = httpx.get(url, trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/css"
    assert "Content-Disposition" not in answer.headers
