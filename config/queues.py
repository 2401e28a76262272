"""Who does background work, and what machines share: TASKS_BACKEND and REDIS_URL as Django's settings."""

import importlib.util
from typing import Any
from urllib.parse import urlencode, urlsplit

import environs

from files import retries

BACKENDS = ("immediate", "db", "rq")
_CLASSES = {
    "immediate": "django.tasks.backends.immediate.ImmediateBackend",
    "db": "django_tasks_db.DatabaseBackend",
    "rq": "django_tasks_rq.RQBackend",
}
# Seconds: a request asks Redis, and one that says nothing must not hold its thread. Workers wait longer by
# themselves.
_TIMEOUTS = {"socket_connect_timeout": 2, "socket_timeout": 2}


def check_redis_url(value: str | None) -> None:
    """For environs: whether REDIS_URL can be used."""
    if value is None:
        return
    try:
        known = urlsplit(value).scheme in {"redis", "rediss", "unix"} and urlsplit(value).port != 0
    except ValueError:  # the port is no number; it may be a password, which is not for the log
        known = False
    if not known:
        example = "redis://host:6379/0"
        raise environs.ValidationError(f"is not the address of a Redis; write for example {example}.")
    if any(importlib.util.find_spec(each) is None for each in ("redis", "django_tasks_rq")):
        raise environs.ValidationError(
            "needs packages that are not installed: run .venv/bin/pip install -r requirements-redis.txt."
        )


def problems(backend: str | None, redis_url: str | None) -> dict[str, list[str]]:
    """What is wrong with the two together."""
    if backend == "rq" and redis_url is None:
        return {"REDIS_URL": ["is missing: TASKS_BACKEND=rq keeps its queue there."]}
    return {}


def apps(backend: str) -> list[str]:
    """The tables of `db` are there in any case, so that to change TASKS_BACKEND needs no migration."""
    return ["django_tasks_db", *(["django_rq"] if backend == "rq" else [])]


def tasks(backend: str) -> dict[str, Any]:
    """TASKS."""
    return {"default": {"BACKEND": _CLASSES[backend]}}


def rq_queues(redis_url: str | None) -> dict[str, Any]:
    """RQ_QUEUES."""
    if redis_url is None:
        return {}
    queue = {
        "URL": _bounded(redis_url),
        "DEFAULT_TIMEOUT": retries.LONGEST,
        "QUEUE_CLASS": "files.rq_engine.RetryingQueue",
    }
    return {"default": queue}


def cache(redis_url: str | None) -> dict[str, Any]:
    """The default of CACHES: counters of the rate limit and little else."""
    if redis_url is None:
        return {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "OPTIONS": {"MAX_ENTRIES": 100_000},
        }
    return {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": _bounded(redis_url),
        "KEY_PREFIX": "coffer",
    }


def _bounded(redis_url: str) -> str:
    """The address with times to wait, unless it has its own."""
    missing = {name: seconds for name, seconds in _TIMEOUTS.items() if f"{name}=" not in redis_url}
    if not missing:
        return redis_url
    return f"{redis_url}{'&' if '?' in redis_url else '?'}{urlencode(missing)}"
