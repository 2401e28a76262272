"""Background work: queued once its row is there, tried again where that helps, never an upload's failure."""

from typing import Any, ClassVar

import pytest
from django.db import transaction
from django.tasks import TaskResult
from django.tasks.backends.base import BaseTaskBackend

from files import profiles, relocation, renditions, retries, sandbox, services, storage, tasks
from files.errors import InvalidImage, StorageUnavailable
from files.models import File, Rendition
from files.relocation import RelocationFailed
from tests.api import Api, keep, picture

PROFILES = """
[default]
max_size = "1 MB"
types = ["*/*"]

[image]
max_size = "1 MB"
types = ["image/png", "image/gif"]

[image.presets.small]
width = 16

[image.presets.wide]
width = 80
format = "png"
enlarge = true
"""


@pytest.fixture(autouse=True)
def presets(settings):
    settings.UPLOAD_PROFILES = profiles.parse(PROFILES, source="a test")


@pytest.fixture
def file(alice) -> File:
    return keep(alice, picture(), profile="image", width=40, height=20, frames=1, image_format="PNG")


class BrokenQueue(BaseTaskBackend):
    def enqueue(self, task: Any, args: Any, kwargs: Any) -> TaskResult:
        raise ConnectionError("a test")


class SeeingQueue(BaseTaskBackend):
    """Notes what it is given, and whether that is in a transaction."""

    seen: ClassVar[list[tuple[str, str, bool]]] = []

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        self.seen.append((task.name, *args, transaction.get_connection().in_atomic_block))


def use(settings: Any, queue: type[BaseTaskBackend]) -> None:
    settings.TASKS = {"default": {"BACKEND": f"{queue.__module__}.{queue.__qualname__}"}}


def failing(monkeypatch: Any, place: Any, name: str, *errors: Exception) -> None:
    """The first calls of the function raise these, later ones do what they did."""
    real, left = getattr(place, name), list(errors)

    def call(*args: Any, **kwargs: Any) -> Any:
        if left:
            raise left.pop(0)
        return real(*args, **kwargs)

    monkeypatch.setattr(place, name, call)


@pytest.mark.django_db(transaction=True)
def test_nothing_is_queued_before_its_row_is_committed(api: Api, settings):
    use(settings, SeeingQueue)
    SeeingQueue.seen.clear()
    assert api.upload(picture(), "p.png", "image/png", profile="image")["__typename"] == "File"
    assert SeeingQueue.seen == [("make_presets", str(File.objects.get().pk), False)]


@pytest.mark.django_db(transaction=True)
def test_a_queue_that_is_down_does_not_fail_the_upload(api: Api, settings, caplog):
    use(settings, BrokenQueue)
    assert api.upload(picture(), "p.png", "image/png", profile="image")["__typename"] == "File"
    assert "The queue failed: make_presets of" in caplog.text


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [StorageUnavailable(), RuntimeError("a bug"), SystemExit(1)])
def test_a_task_that_fails_at_once_does_not_fail_the_upload(api: Api, monkeypatch, error, caplog):
    failing(monkeypatch, renditions, "make_all", error)
    assert api.upload(picture(), "p.png", "image/png", profile="image")["__typename"] == "File"
    assert "state=FAILED" in caplog.text


@pytest.mark.parametrize("error", [StorageUnavailable(), RuntimeError("a bug")])
def test_what_may_pass_is_raised_so_that_it_is_tried_again(file, monkeypatch, error):
    failing(monkeypatch, sandbox, "run", error)
    with pytest.raises(type(error)):
        tasks.make_presets.func(str(file.pk))
    assert not Rendition.objects.exists()
    tasks.make_presets.func(str(file.pk))
    assert Rendition.objects.exclude(made_at=None).count() == 2


@pytest.mark.parametrize("error", [InvalidImage(reason="a test"), StorageUnavailable(retryable=False)])
def test_what_will_not_pass_is_logged_and_not_tried_again(file, monkeypatch, caplog, error):
    failing(monkeypatch, sandbox, "run", error)
    tasks.make_presets.func(str(file.pk))
    assert "could not be made" in caplog.text


@pytest.mark.parametrize("place, name", [(storage, "open_object"), (sandbox, "run")])
def test_a_file_that_is_deleted_while_its_presets_are_made_is_no_error(
    file, monkeypatch, caplog, django_capture_on_commit_callbacks, place, name
):
    real = getattr(place, name)

    def deleted_first(*args: Any, **kwargs: Any) -> Any:
        with django_capture_on_commit_callbacks(execute=True):
            services.delete(viewer=file.owner, file_id=file.pk)
        return real(*args, **kwargs)

    monkeypatch.setattr(place, name, deleted_first)
    tasks.make_presets.func(str(file.pk))
    assert not Rendition.objects.exists()
    assert not caplog.records


def test_one_preset_of_an_animation_that_fails_does_not_keep_the_others_waiting(alice, monkeypatch):
    moving = {"width": 40, "height": 20, "frames": 3, "image_format": "GIF"}
    file = keep(alice, picture("GIF"), profile="image", **moving)
    failing(monkeypatch, sandbox, "run", StorageUnavailable())
    with pytest.raises(StorageUnavailable):
        tasks.make_presets.func(str(file.pk))
    assert Rendition.objects.exclude(made_at=None).count() == 1


@pytest.mark.parametrize("error", [StorageUnavailable(), RuntimeError("a bug")])
def test_a_move_that_may_succeed_later_is_raised(file, monkeypatch, error):
    failing(monkeypatch, relocation, "move", error)
    with pytest.raises(type(error)):
        tasks.relocate.func(str(file.pk))
    tasks.relocate.func(str(file.pk))


@pytest.mark.parametrize("error", [RelocationFailed("damaged"), FileNotFoundError("lost")])
def test_a_move_that_cannot_succeed_is_logged(file, monkeypatch, caplog, error):
    failing(monkeypatch, relocation, "move", error)
    tasks.relocate.func(str(file.pk))
    assert "could not be moved" in caplog.text


def test_the_attempts_are_bounded_and_further_and_further_apart():
    delays = [retries.delay_after(attempts) for attempts in range(1, retries.MAX_ATTEMPTS + 1)]
    assert delays == [*retries.BACKOFF, None]
    assert list(retries.BACKOFF) == sorted(retries.BACKOFF)
    assert retries.delay_after(retries.MAX_ATTEMPTS + 3) is None
