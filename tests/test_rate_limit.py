"""How often somebody may ask: each mutation counts, whatever its alias, and nobody counts for another."""

import time

import pytest
from django.core.cache import cache

from config import queues
from files.models import File
from graph import rate_limit
from tests.e2e.server import free_port

VIEWER = "{ viewer { username } }"
NOW = 1_800_000_000 - 1_800_000_000 % rate_limit.WINDOW + 10  # ten seconds into a window


@pytest.fixture(autouse=True)
def few(settings, monkeypatch):
    """Three operations a minute for a user, two for an address, on a clock that stands still."""
    settings.RATE_LIMIT_USER = 3
    settings.RATE_LIMIT_ADDRESS = 2
    monkeypatch.setattr(time, "time", lambda: NOW)
    cache.clear()
    yield
    cache.clear()


def refused(answer) -> bool:
    if answer.status_code != 429:
        assert answer.status_code == 200
        return False
    assert answer["Content-Type"] == "application/json"
    assert answer["Retry-After"] == "50"
    assert answer.json()["errors"][0]["extensions"]["code"] == "RATE_LIMITED"
    assert "data" not in answer.json()
    return True


def test_a_user_who_asks_too_often_is_told_when_to_ask_again(api):
    assert [refused(api.post(VIEWER)) for _ in range(5)] == [False, False, False, True, True]


def test_the_next_minute_begins_anew(api, monkeypatch):
    for _ in range(4):
        api.post(VIEWER)
    monkeypatch.setattr(time, "time", lambda: NOW + 50)
    assert not refused(api.post(VIEWER))


def test_users_do_not_count_for_each_other(api, bob_api, public_api):
    for _ in range(4):
        api.post(VIEWER)
    assert not refused(bob_api.post(VIEWER))
    assert not refused(public_api.post(VIEWER))


def test_without_a_user_the_address_counts(public_api):
    assert [refused(public_api.post(VIEWER)) for _ in range(3)] == [False, False, True]
    other = public_api.client.get("/graphql", {"query": VIEWER}, REMOTE_ADDR="192.0.2.7")
    assert not refused(other)


def test_aliases_of_a_mutation_count_one_by_one(api):
    delete = 'deleteFiles(ids: ["nothing"]) { __typename }'
    assert refused(api.post(f"mutation {{ a: {delete} b: {delete} c: {delete} d: {delete} }}"))


def test_mutations_in_a_fragment_count_too(api):
    delete = 'deleteFiles(ids: ["nothing"]) { __typename }'
    fragment = f"fragment F on Mutation {{ a: {delete} b: {delete} c: {delete} d: {delete} }}"
    assert refused(api.post(f"mutation {{ ...F }} {fragment}"))


def test_fields_of_a_query_are_one_operation(api):
    assert not refused(api.post("{ a: viewer { id } b: viewer { id } c: viewer { id } d: viewer { id } }"))
    assert not refused(api.post(VIEWER))


def test_an_upload_too_many_is_refused_and_nothing_is_kept(api, storage_root):
    assert [api.upload(b"one more")["__typename"] for _ in range(3)] == ["File"] * 3
    answer = api.multipart(
        "mutation ($file: Upload!) { uploadFile(input: {file: $file}) { __typename } }",
        {"file": None},
        {"variables.file": ("a.txt", b"one too many", "text/plain")},
    )
    assert refused(answer)
    assert File.objects.count() == 3


def test_zero_is_no_limit(api, settings):
    settings.RATE_LIMIT_USER = 0
    assert not any(refused(api.post(VIEWER)) for _ in range(10))


def test_a_cache_that_is_down_limits_nobody(api, settings, caplog):
    settings.CACHES = {"default": queues.cache(f"redis://127.0.0.1:{free_port()}/0")}
    assert not any(refused(api.post(VIEWER)) for _ in range(5))
    assert api.upload(b"bytes")["__typename"] == "File"
    assert "nobody is limited" in caplog.text
    settings.CACHES = {"default": queues.cache(None)}


def test_a_document_that_is_refused_anyway_does_not_count(api):
    for _ in range(5):
        assert (
            api.post("{ " + " ".join(f"a{n}: viewer {{ id }}" for n in range(60)) + " }").status_code == 200
        )
    assert not refused(api.post(VIEWER))
