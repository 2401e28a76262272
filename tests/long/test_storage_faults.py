"""A store that fails in each way that networks and stores do: the client is told in time, everybody else is
served, nothing is left, and the service goes on by itself."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus

import pytest

from tests.e2e import server
from tests.e2e.conftest import Start
from tests.e2e.s3 import Store
from tests.e2e.server import Service, many_files
from tests.long.fault_proxy import Fault, FaultProxy

pytestmark = pytest.mark.e2e

# That answers come within 15 seconds is seen to by the client, which waits no longer: server.ANSWERS_WITHIN.
SMALL = 100_000  # bytes; one PUT
LARGE = 20 * 1024 * 1024  # bytes; three parts
SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["at once", "in parts"])

PASSING = {
    "refused": Fault(refuses=True),
    "silent": Fault(is_silent=True),
    "cut while sending": Fault(request_bytes=10),
    "cut while answering": Fault(answer_bytes=20),
    "answer lost": Fault(answer_bytes=0),
    "slow down": Fault(status=HTTPStatus.SERVICE_UNAVAILABLE, code="SlowDown"),
}
LASTING = {
    "denied": Fault(status=HTTPStatus.FORBIDDEN, code="AccessDenied"),
    "wrong key": Fault(status=HTTPStatus.FORBIDDEN, code="InvalidAccessKeyId"),
    "wrong clock": Fault(status=HTTPStatus.FORBIDDEN, code="RequestTimeTooSkewed"),
    "no bucket": Fault(status=HTTPStatus.NOT_FOUND, code="NoSuchBucket"),
}
ALL = {**PASSING, **LASTING}


@pytest.fixture
def proxy(store: Store) -> Iterator[FaultProxy]:
    with FaultProxy(store.port) as proxy:
        yield proxy


@contextmanager
def served(start: Start, store: Store, proxy: FaultProxy, *, asgi: bool = False) -> Iterator[Service]:
    with start(
        "faults", asgi=asgi, settings={**store.settings(), "AWS_S3_ENDPOINT_URL": proxy.url}
    ) as service:
        yield service


def assert_nothing_is_left(service: Service, store: Store) -> None:
    """No row without an object, and no object without a row once `reconcile` has looked."""
    applied = server.manage("reconcile", "--apply", "--grace", "0s", environ=service.environ)
    assert applied.returncode == 0, applied.stderr
    assert service.rows() == len(store.stored_keys()) == 2
    assert store.unfinished() == []
    assert service.staged() == []


@SIZES
@pytest.mark.parametrize("name", ALL)
def test_a_store_that_fails_is_told_in_time_and_leaves_nothing(
    start: Start, store: Store, proxy: FaultProxy, name: str, size: int
) -> None:
    with served(start, store, proxy) as service, ThreadPoolExecutor(1) as client:
        kept = service.upload(b"Kept before.")
        proxy.inflict(ALL[name])
        refused = client.submit(service.upload, b"x" * size)
        asked = f'{{ file(id: "{kept["id"]}") {{ sha256 url {{ url }} }} }}'
        while not refused.done():
            assert service.run(asked)["file"]["sha256"] == kept["sha256"]
        result = refused.result()
        assert result["__typename"] == "StorageUnavailable"
        assert result["retryable"] is (name in PASSING)
        assert result["retryAfter"] == 5
        assert proxy.faulted
        assert service.rows() == 1
        proxy.heal()
        assert service.upload(b"y" * size)["__typename"] == "File"
        assert_nothing_is_left(service, store)


@SIZES
@pytest.mark.parametrize("name", PASSING)
def test_a_fault_that_passes_within_the_attempts_is_not_noticed(
    start: Start, store: Store, proxy: FaultProxy, name: str, size: int
) -> None:
    with served(start, store, proxy) as service:
        service.upload(b"Kept before.")
        proxy.inflict(PASSING[name], times=1)
        assert service.upload(b"x" * size)["__typename"] == "File"
        assert proxy.faulted == 1
        assert service.rows() == len(store.stored_keys()) == 2


@pytest.mark.parametrize("step", ["partNumber=", "POST .*uploadId=", "PUT"])
@pytest.mark.parametrize("name", ["silent", "answer lost"])
def test_a_fault_in_the_middle_is_told_in_time_too(
    start: Start, store: Store, proxy: FaultProxy, name: str, step: str
) -> None:
    """From the step on nothing is answered any more, nor is what would clean up."""
    with served(start, store, proxy) as service:
        service.upload(b"Kept before.")
        proxy.inflict(PASSING[name], since=step)
        result = service.upload(b"x" * LARGE)
        assert (result["__typename"], result["retryable"]) == ("StorageUnavailable", True)
        proxy.heal()
        assert service.upload(b"y" * LARGE)["__typename"] == "File"
        assert_nothing_is_left(service, store)


@SIZES
def test_a_slow_store_is_waited_for(start: Start, store: Store, proxy: FaultProxy, size: int) -> None:
    with served(start, store, proxy) as service:
        proxy.inflict(Fault(delay=0.5))
        assert service.upload(b"x" * size)["__typename"] == "File"
        assert proxy.faulted


@pytest.mark.parametrize("asgi", [False, True], ids=["wsgi", "asgi"])
def test_many_files_are_told_as_soon_as_one(
    start: Start, store: Store, proxy: FaultProxy, asgi: bool
) -> None:
    with served(start, store, proxy, asgi=asgi) as service:
        proxy.inflict(PASSING["silent"])
        sent = many_files(*[(f"{number}.bin", b"x" * 1000) for number in range(5)])
        results = service.send(sent).json()["data"]["uploadFiles"]
        assert [result["__typename"] for result in results] == ["StorageUnavailable"] * 5
        proxy.heal()
        assert service.upload(b"y")["__typename"] == "File"
