"""Django's geography is left out. strawberry_django would import it if it could; to find out, Django looks
for GDAL's library under a dozen names, by processes, twice: a quarter of the time a start takes."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

from django.core.exceptions import ImproperlyConfigured


class _WithoutGeography(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        if name == "django.contrib.gis":
            raise ImproperlyConfigured("Coffer has no use for geography.")


_finder = _WithoutGeography()


def leave_out() -> None:
    """From now on its import fails as on a machine without GDAL."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
