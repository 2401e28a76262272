"""Fixtures of the tests with real servers."""

from tests.e2e.conftest import prepared, pytest_runtest_makereport

__all__ = ["prepared", "pytest_runtest_makereport"]
