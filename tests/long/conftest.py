"""Tests that take minutes, with the fixtures of those with real servers."""

from tests.e2e.conftest import (
    asgi_service,
    either_service,
    prepared,
    pytest_runtest_makereport,
    service,
    start,
    store,
    wsgi_service,
)
from tests.e2e.test_hostile_files import asgi_target, either_target, target

__all__ = [
    "asgi_service",
    "asgi_target",
    "either_service",
    "either_target",
    "prepared",
    "pytest_runtest_makereport",
    "service",
    "start",
    "store",
    "target",
    "wsgi_service",
]
