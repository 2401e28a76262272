"""The pages' own files: found without a step before the first start, and for ever cacheable after one."""

from pathlib import Path

import pytest
from django.contrib.staticfiles import storage as staticfiles
from django.core.management import call_command
from django.templatetags.static import static

from config.static import CollectedStaticStorage

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
