"""Tests that take minutes, with the fixtures of those with real servers."""

from tests.e2e.conftest import prepared, pytest_runtest_makereport, start, store
from tests.e2e.test_hostile_files import asgi_target, either_target, target

__all__ = [
    "asgi_target",
    "either_target",
    "prepared",
    "pytest_runtest_makereport",
    "start",
    "store",
    "target",
]
