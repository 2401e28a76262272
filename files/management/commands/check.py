"""Django's `check`, by which storages are checked if their tag is named, and never else."""

from contextlib import nullcontext
from typing import Any

from django.core.management.commands import check

from files import checks


class Command(check.Command):
    def handle(self, *app_labels: Any, **options: Any) -> None:
        is_asked = checks.TAG in (options["tags"] or ())
        with checks.asked() if is_asked else nullcontext():
            super().handle(*app_labels, **options)
