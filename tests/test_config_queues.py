"""TASKS_BACKEND and REDIS_URL: what they make of Django's settings, and what is refused before the start."""

import importlib.util
from typing import Any

import pytest
from django.core.cache import caches
from django.tasks import task_backends
from django_rq import get_queue

from config import env, queues
from files import retries
from tests.test_env import bare_environment, problems

REDIS = "redis://cache.example:6379/0"

__all__ = ["bare_environment"]


def test_by_default_everything_is_done_at_once_and_nothing_is_shared():
    found = env.read()
    assert (found.tasks_backend, found.redis_url) == ("immediate", None)
    assert queues.cache(None)["BACKEND"].endswith("LocMemCache")
    assert queues.rq_queues(None) == {}


@pytest.mark.parametrize("backend", queues.BACKENDS)
def test_each_backend_is_one_that_django_knows(settings, backend):
    settings.TASKS = queues.tasks(backend)
    settings.RQ_QUEUES = queues.rq_queues(REDIS)
    assert task_backends["default"].supports_defer is (backend != "immediate")


@pytest.mark.parametrize("backend", ["db", "rq"])
def test_a_queue_is_asked_for_by_its_name(monkeypatch, backend):
    monkeypatch.setenv("TASKS_BACKEND", backend)
    monkeypatch.setenv("REDIS_URL", REDIS)
    found = env.read()
    assert (found.tasks_backend, found.redis_url) == (backend, REDIS)


@pytest.mark.parametrize(
    "given, wrong",
    [
        ({"TASKS_BACKEND": "celery"}, ["TASKS_BACKEND"]),
        ({"TASKS_BACKEND": ""}, ["TASKS_BACKEND"]),
        ({"TASKS_BACKEND": "rq"}, ["REDIS_URL"]),
        ({"TASKS_BACKEND": "rq", "REDIS_URL": "cache.example:6379"}, ["REDIS_URL"]),
        ({"REDIS_URL": "http://cache.example/"}, ["REDIS_URL"]),
        ({"REDIS_URL": "redis://:a-password"}, ["REDIS_URL"]),
        ({"TASKS_BACKEND": "rq", "PORT": "http"}, ["PORT", "REDIS_URL"]),
    ],
)
def test_what_does_not_go_together_is_named_with_all_else_that_is_wrong(monkeypatch, given, wrong):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found = problems()
    assert sorted(found) == wrong
    assert "a-password" not in str(found)


def test_packages_that_are_missing_are_named(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "redis" else find(name))
    monkeypatch.setenv("REDIS_URL", REDIS)
    assert "requirements-redis.txt" in problems()["REDIS_URL"][0]


@pytest.mark.parametrize(
    "given, used",
    [
        (REDIS, f"{REDIS}?socket_connect_timeout=2&socket_timeout=2"),
        ("unix:///a.sock?db=1", "unix:///a.sock?db=1&socket_connect_timeout=2&socket_timeout=2"),
        (f"{REDIS}?socket_timeout=9", f"{REDIS}?socket_timeout=9&socket_connect_timeout=2"),
    ],
)
def test_a_redis_that_says_nothing_is_not_waited_for(given, used):
    assert queues.cache(given)["LOCATION"] == used
    assert queues.rq_queues(given)["default"]["URL"] == used


def test_with_a_redis_all_machines_share_the_cache(settings):
    settings.CACHES = {"default": queues.cache(REDIS)}
    cache: Any = caches["default"]
    assert cache.key_prefix == "coffer"
    assert "cache.example" in cache._servers[0]


def test_jobs_of_rq_are_tried_as_often_as_those_of_the_database(settings):
    settings.RQ_QUEUES = queues.rq_queues(REDIS)
    job = get_queue("default").create_job("files.tasks.relocate", args=("an id",))
    assert (job.retries_left, job.retry_intervals) == (retries.MAX_ATTEMPTS - 1, list(retries.BACKOFF))
    assert job.timeout == retries.LONGEST
    assert (job.result_ttl, job.failure_ttl) == (retries.DONE_KEPT * 86400, retries.FAILED_KEPT * 86400)
