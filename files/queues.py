"""What waits to be done in the background, asked of whatever does it. Nothing is enqueued or run here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Count, Min
from django.tasks import task_backends
from django.utils import timezone


@dataclass(frozen=True, slots=True)
class Waiting:
    """Of one backend: how many tasks could be run now, and the age of the oldest in seconds."""

    backend: str
    tasks: int
    oldest: float | None


def waiting() -> list[Waiting]:
    """Of each backend that lets tasks wait; one that runs them at once has none. Raises whatever a queue does
    that cannot be asked."""
    asked = ((alias, _way(alias)) for alias in settings.TASKS)
    return [ask(alias) for alias, ask in asked if ask is not None]


def _way(alias: str) -> Callable[[str], Waiting] | None:
    """By the name of its class or a base of it: those are in packages that need not be installed."""
    bases = type(task_backends[alias]).__mro__
    ways = (_WAYS.get(f"{base.__module__}.{base.__qualname__}") for base in bases)
    return next((way for way in ways if way is not None), None)


def _in_database(alias: str) -> Waiting:
    from django_tasks_db.models import DBTaskResult

    ready = DBTaskResult.objects.ready().filter(backend_name=alias).order_by()
    found = ready.aggregate(tasks=Count("id"), since=Min("enqueued_at"))
    return Waiting(alias, found["tasks"], _age(found["since"]))


def _in_redis(alias: str) -> Waiting:
    import django_rq

    queues = [django_rq.get_queue(name) for name in task_backends[alias].queues]
    # The oldest of a queue is its first; an urgent one that was put before it is younger.
    first = [queue.fetch_job(job) for queue in queues for job in queue.get_job_ids(0, 1)]
    since = [job.enqueued_at for job in first if job is not None and job.enqueued_at is not None]
    return Waiting(alias, sum(queue.count for queue in queues), _age(min(since, default=None)))


def _age(since: Any) -> float | None:
    return None if since is None else max(0.0, (timezone.now() - since).total_seconds())


_WAYS: Mapping[str, Callable[[str], Waiting]] = {
    "django_tasks_db.backend.DatabaseBackend": _in_database,
    "django_tasks_rq.backend.RQBackend": _in_redis,
}
