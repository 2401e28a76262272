"""`manage.py demo`: files to look at, received as any upload is, and never twice."""

import io
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import pytest
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from PIL import Image

from accounts.models import User
from files import services
from files.demo import shelf
from files.management.commands import demo
from files.models import File, FileKind, Visibility

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command("demo", *arguments, stdout=output)
    return output.getvalue()


@pytest.fixture
def three(monkeypatch) -> list[str]:
    """The names of a demo that is quickly made."""
    chosen = tuple(each for each in shelf.FILES if each.name in {"welcome.txt", "stock.csv", "chord.wav"})
    monkeypatch.setattr(demo, "FILES", chosen)
    return sorted(each.name for each in chosen)


@pytest.fixture(scope="module")
def made() -> Mapping[str, bytes]:
    """The content of each file of the demo by its name; to draw them takes seconds."""
    return {each.name: each.make() for each in shelf.FILES}


def names(owner: User) -> list[str]:
    return sorted(File.objects.filter(owner=owner).values_list("name", flat=True))


def test_there_is_something_of_everything_to_look_at(
    alice: User, made: Mapping[str, bytes], monkeypatch
) -> None:
    ready = tuple(replace(each, make=partial(made.__getitem__, each.name)) for each in shelf.FILES)
    monkeypatch.setattr(demo, "FILES", ready)
    said = run()
    files = list(File.objects.all())
    assert [each.name for each in files if each.name not in said] == []
    assert sorted(each.name for each in files) == sorted(each.name for each in shelf.FILES)
    assert all(each.owner == alice and each.tags[0] == "demo" and each.title for each in files)
    assert {each.kind for each in files} >= {
        FileKind.IMAGE,
        FileKind.DOCUMENT,
        FileKind.AUDIO,
        FileKind.ARCHIVE,
    }
    assert {each.visibility for each in files} == set(Visibility)

    pictures = {each.name: each for each in files if each.is_image}
    assert {each.image_format for each in pictures.values()} == {"JPEG", "PNG", "WEBP", "GIF", "AVIF"}
    assert len({(each.width, each.height) for each in pictures.values()}) > 8
    assert {each.name for each in pictures.values() if each.frames != 1} == {"sea.webp", "orbit.gif"}
    evening, dunes = pictures["evening.jpg"], pictures["dunes.jpg"]
    assert (evening.taken_at, evening.camera, evening.lens) == (
        "2026-06-21T21:12:00",
        "Coffer Easel 24",
        "Brush 35 mm",
    )
    assert (dunes.width, dunes.height) == (1200, 1800)
    with default_storage.open(dunes.key) as stored, Image.open(stored) as image:
        assert image.size == (1800, 1200)  # lying, as the camera had it
    with default_storage.open(pictures["bubbles.png"].key) as stored, Image.open(stored) as image:
        assert image.getchannel("A").getextrema() == (0, 255)
    assert {each.content_type for each in files if each.kind == FileKind.DOCUMENT} >= {
        "text/plain",
        "text/csv",
        "application/pdf",
    }


def test_they_are_the_same_each_time(made: Mapping[str, bytes]) -> None:
    for each in shelf.FILES:
        if not each.name.endswith(".pdf"):  # which says when it was made
            assert each.make() == made[each.name], each.name


def test_a_second_time_only_what_is_missing_comes(alice: User, three: list[str]) -> None:
    run()
    assert "All 3 files of the demo are there" in run()
    assert names(alice) == three
    file = File.objects.get(name="stock.csv")
    services.delete(viewer=alice, file_id=file.pk)
    said = run()
    assert "stock.csv: text/csv" in said
    assert "welcome.txt" not in said
    assert names(alice) == three


def test_a_file_of_that_name_that_is_not_the_demos_is_no_reason_to_stop(
    alice: User, three: list[str]
) -> None:
    run()
    File.objects.filter(name="welcome.txt").update(tags=["letters"])
    run()
    assert names(alice) == sorted([*three, "welcome.txt"])


def test_they_are_the_first_users_or_whose_it_is_said(alice: User, bob: User, three: list[str]) -> None:
    run()
    assert (names(alice), names(bob)) == (three, [])
    run("--user", "bob")
    assert names(bob) == three


@pytest.mark.parametrize(
    "arguments, said", [([], "There is no user yet"), (["--user", "bob"], "There is no user bob")]
)
def test_nobodys_files_are_not_made(arguments: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        run(*arguments)


def test_what_cannot_be_kept_is_told_and_the_others_come(alice: User, three: list[str], settings) -> None:
    settings.UPLOAD_PROFILES = {
        name: each for name, each in settings.UPLOAD_PROFILES.items() if name != "document"
    }
    with pytest.raises(CommandError, match="2 of 3 files could not be kept"):
        run()
    assert names(alice) == ["chord.wav"]
