"""Background work by RQ, whose queue is in Redis: many machines share it. RQ itself tries again what failed
and takes up what a dead worker was doing; here it is only told how often.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import django_rq
from django_rq.queues import DjangoRQ
from django_tasks_rq import Job
from redis.exceptions import RedisError
from rq import Retry, Worker
from rq.job import Job as BaseJob
from rq.scheduler import RQScheduler

from files import retries

logger = logging.getLogger(__name__)

_QUEUE = "default"
_DAY = 24 * 3600  # seconds
# Seconds between two searches for what dead workers were doing; dead is who was silent for 90 s.
_SEARCH_EVERY = 30


class RetryingQueue(DjangoRQ):
    """RQ's queue, whose jobs are tried again. Django's tasks cannot say that they are to be."""

    def create_job(self, *args: Any, **kwargs: Any) -> BaseJob:
        bounds: dict[str, Any] = {
            "retry": Retry(max=len(retries.BACKOFF), interval=retries.BACKOFF),
            "result_ttl": retries.DONE_KEPT * _DAY,
            "failure_ttl": retries.FAILED_KEPT * _DAY,
        }
        return super().create_job(*args, **bounds | kwargs)


def jobs(processes: int) -> list[Callable[[str], None]]:
    """What has to run: workers, and one process that queues again what is to be tried again."""
    return [*[work] * processes, schedule]


def work(name: str) -> None:
    """Run tasks until SIGTERM, each in a process of its own; one under way is finished. A Redis that is down
    ends the process, to be started again."""
    with _ending_without_redis(name):
        queue = django_rq.get_queue(_QUEUE, job_class=Job)
        # RQ takes a name for used until it is sure that its worker is dead, so this one finds its own.
        Worker(
            [queue],
            connection=queue.connection,
            job_class=Job,
            queue_class=RetryingQueue,
            maintenance_interval=_SEARCH_EVERY,
        ).work()


def schedule(name: str) -> None:
    """Queue what is due. On several machines one does it, and another one when that falls silent."""
    with _ending_without_redis(name):
        scheduler = RQScheduler([_QUEUE], connection=django_rq.get_connection(_QUEUE), name=name)
        scheduler.work()  # type: ignore[no-untyped-call]


@contextmanager
def _ending_without_redis(name: str) -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        logger.error("Redis failed, and with it %s: %s", name, error)
        sys.exit(1)
