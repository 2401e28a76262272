"""Fixtures that all tests share: users, a storage of its own for each test, and a GraphQL client."""

from pathlib import Path

import pytest

from accounts import tokens
from accounts.models import User
from tests.api import Api


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
