"""Large uploads into a bucket, through the running service."""

import hashlib
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.e2e import server
from tests.e2e.conftest import Start
from tests.e2e.s3 import Store
from tests.e2e.server import one_file, wait_for

pytestmark = pytest.mark.e2e

MIB = 1024 * 1024
IN_PARTS = 72 * MIB  # bytes; three parts of 16 MiB, and what reading and hashing take


@pytest.mark.parametrize("asgi", [False, True], ids=["wsgi", "asgi"])
def test_an_upload_into_s3_takes_little_memory_and_no_disk(start: Start, store: Store, asgi: bool) -> None:
    content = secrets.token_bytes(MIB) * 60
    with start("into-s3", asgi=asgi, settings=store.settings()) as service:
        # What any first upload takes once is not meant: so many at once come to both workers.
        with ThreadPoolExecutor(6) as clients:
            list(clients.map(lambda number: service.upload(b"%d" % number * 9 * MIB), range(12)))
        written = service.written()
        with server.measured(service) as memory:
            kept = service.upload(content, "large.bin")
        assert kept["sha256"] == hashlib.sha256(content).hexdigest()
        assert memory.growth < IN_PARTS
        assert service.written() - written < MIB
        assert service.kept() == (13, [], [])
    stored = store.client.get_object(Bucket=store.bucket, Key=kept["storage"]["objectKey"])
    with closing(stored["Body"]) as body:
        assert hashlib.sha256(body.read()).hexdigest() == kept["sha256"]
    assert store.unfinished() == []


def test_a_client_that_goes_away_leaves_nothing_in_s3(start: Start, store: Store) -> None:
    sent = one_file(b"x" * 20 * MIB)
    with start("gone", settings=store.settings()) as service:
        with service.connect() as connection:
            connection.sendall(sent.head(service.token) + sent.body[: 18 * MIB])
            wait_for("the first parts to be sent", lambda: len(store.unfinished()) == 1)
        wait_for("the parts to go", lambda: not store.unfinished())
        assert service.kept() == (0, [], [])
        assert store.stored_keys() == []
        assert service.upload(b"after it")["__typename"] == "File"
