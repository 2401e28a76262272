"""Entries that were kept for long enough are removed, in pieces that keep nobody else waiting."""

from datetime import datetime

from django.db import transaction

from audit import log
from audit.models import Action, Entry

_PIECE = 1000  # rows of one transaction: SQLite lets nobody else write meanwhile


def prune(before: datetime) -> int:
    """Remove what was recorded before that moment, and record that; how many entries that were."""
    old = Entry.objects.filter(at__lt=before)
    if not old.exists():
        return 0
    log.write([log.entry(Action.PRUNE, by=None, details={"before": before.isoformat(timespec="seconds")})])
    count = 0
    while piece := list(old.order_by("at", "id").values_list("pk", flat=True)[:_PIECE]):
        with transaction.atomic():
            count += old.filter(pk__in=piece).prune()
    return count
