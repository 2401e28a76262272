"""Fixtures that all tests share: users, a storage of its own for each test, and a GraphQL client."""

import functools
import gc
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from django.core.files.storage import storages
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from whitenoise.middleware import WhiteNoiseMiddleware

from accounts import tokens
from accounts.models import User
from tests.api import Api
from tests.stand_in import StandIn


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is about the other database is left out, and counted as such. Each such mark says why.

    What needs running services comes first. Each process of a run begins with a part of its own, and takes
    from the end of another's when it is done: so only one of them has to start these services.
    """
    other = "postgres" if connection.vendor == "sqlite" else "sqlite"
    left_out = [item for item in items if item.get_closest_marker(other)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker(other)]
    items.sort(key=lambda item: "e2e" not in item.path.parts)


def pytest_collection_finish() -> None:
    """What was imported and collected stays until the end, and is no matter for the garbage collector."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def connection_of_the_test() -> Iterator[None]:
    """A request that ends within a test's transaction leaves the connection open: the rows are in it."""
    real = BaseDatabaseWrapper.close_if_unusable_or_obsolete

    def close_unless_needed(self: BaseDatabaseWrapper) -> None:
        if not self.in_atomic_block:
            real(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseDatabaseWrapper, "close_if_unusable_or_obsolete", close_unless_needed)
        yield


@pytest.fixture(scope="session", autouse=True)
def descriptions_of_aws() -> Iterator[None]:
    """Sessions of botocore share what they read: each would parse S3's description, a megabyte, anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", functools.cache(botocore.session.create_loader))
        yield


@pytest.fixture(scope="session", autouse=True)
def static_files() -> Iterator[None]:
    """The pages' own files are looked for once: each client has a handler, which would do it again."""
    real = WhiteNoiseMiddleware.add_files_from_finders
    known: dict[tuple[Any, ...], dict[str, Any]] = {}

    def add_files_from_finders(self: Any) -> None:
        whose = (self.static_prefix, self.static_root, self.max_age)
        if whose not in known:
            before, self.files = self.files, {}
            real(self)
            known[whose], self.files = self.files, before
        self.files.update(known[whose])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", add_files_from_finders)
        yield


@pytest.fixture(autouse=True)
def storage_root(settings, tmp_path: Path) -> Path:
    """The folder of the test's own disk storage; staged bytes lie beside it."""
    root = tmp_path / "files"
    settings.STAGING_DIR = tmp_path / "incoming"
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {"BACKEND": "files.disk.DiskStorage", "OPTIONS": {"location": root}},
    }
    return root


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a stand-in for S3. It believes every signature."""
    server = StandIn()
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
def bucket(settings, s3_server: str) -> Any:
    """The default storage, which is an empty bucket of its own from now on."""
    options = {
        "bucket_name": f"coffer-{uuid.uuid4()}",
        "access_key": "test",
        "secret_key": "test",
        "region_name": "us-east-1",
        "endpoint_url": s3_server,
    }
    entry = {"BACKEND": "files.s3.S3Storage", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "default": entry}
    storage: Any = storages["default"]
    storage.bucket.create()
    return storage


@pytest.fixture
def alice(db) -> User:
    return User.objects.create_user("alice")


@pytest.fixture
def bob(db) -> User:
    return User.objects.create_user("bob")


@pytest.fixture
def staff(db) -> User:
    return User.objects.create_superuser("staff", password="staff")


@pytest.fixture
def api(alice: User) -> Api:
    """Alice's client, by an API token."""
    return Api(tokens.issue(user=alice, name="tests")[1])


@pytest.fixture
def bob_api(bob: User) -> Api:
    return Api(tokens.issue(user=bob, name="tests")[1])


@pytest.fixture
def staff_api(staff: User) -> Api:
    return Api(tokens.issue(user=staff, name="tests")[1])


@pytest.fixture
def public_api(db) -> Api:
    """Nobody's client."""
    return Api(None)


def stored_files(root: Path) -> list[str]:
    """The keys of all objects below a disk storage's root, and of anything left behind there."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
