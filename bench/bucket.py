"""A large upload into an S3 bucket, against boto3's own `upload_fileobj` of a file that is there already.

Ours hashes on the way (MD5 and SHA-256 of the whole) and holds each part against the store's answer; boto3
does neither, and has ten threads. The store is OpenStack Swift where it is installed, else moto.
"""

import contextlib
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Any

from bench.load import Body, send
from bench.run import MIB, NotMeasured, Run, sized
from bench.services import Coffer, coffer, listens
from bench.table import Bar, Row, compared
from tests.e2e import server
from tests.storage import servers

_BAR = Bar(1.15)
_KEY = "object.bin"
_CHUNK = 256 * 1024  # bytes; what the parser of requests hands on


def measure(run: Run) -> list[Row]:
    body = Body.upload(run.folder / "body.bin", run.scale.bucket * MIB)
    with _store() as (store, settings):
        storage = _storage(settings)
        storage.bucket.create()
        settings |= {"AWS_STORAGE_BUCKET_NAME": storage.bucket.name}
        with coffer(run, settings=settings) as ours:
            ways: dict[str, Callable[[], float]] = {
                "service": partial(_through_the_service, ours, storage, body),
                "storage": partial(_by_the_storage, storage, body),
                "boto3": partial(_by_boto3, storage, body),
            }
            found = {name: median(each) for name, each in run.turns(ways).items()}
    what = f"S3 upload of {sized(run.scale.bucket)} into {store}"
    show = lambda value: f"{value:.2f} s"  # noqa: E731
    return [
        compared(
            f"{what}, {way}, against upload_fileobj of a local file",
            found[name],
            found["boto3"],
            by="boto3",
            show=show,
            bar=_BAR,
        )
        for name, way in (("storage", "from a local file too"), ("service", "sent to the service"))
    ]


def _through_the_service(target: Coffer, storage: Any, body: Body) -> float:
    took = send(target, body)
    _empty(storage)
    return took


def _by_the_storage(storage: Any, body: Body) -> float:
    """What a request does with the bytes, without the request: each piece is hashed, the object committed."""
    from files.receive import Received
    from files.storage import Draft

    begun = time.perf_counter()
    draft = Draft(storage.begin(_KEY, content_type="application/octet-stream"), key=_KEY, alias="default")
    received = Received(name=None, content_type=None, limit=sys.maxsize, begin=lambda _: draft)
    with contextlib.closing(received), body.path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            received.write(chunk)
        received.check()
        draft.commit(sha256=received.sha256, md5=received.md5)
    took = time.perf_counter() - begun
    _empty(storage)
    return took


def _by_boto3(storage: Any, body: Body) -> float:
    begun = time.perf_counter()
    with body.path.open("rb") as file:
        storage.bucket.Object(_KEY).upload_fileobj(file)
    took = time.perf_counter() - begun
    _empty(storage)
    return took


def _empty(storage: Any) -> None:
    """Checks too that there was something: each of the ways leaves one object."""
    sizes = [each.size for each in storage.bucket.objects.all()]
    if len(sizes) != 1:
        raise NotMeasured(f"{len(sizes)} objects are in the bucket, where there should be one")
    for each in storage.bucket.objects.all():
        each.delete()


def _storage(settings: Mapping[str, str]) -> Any:
    from config.memory import keep_buffers
    from files.s3 import S3Storage

    keep_buffers()  # as the service does
    return S3Storage(
        access_key=settings["AWS_ACCESS_KEY_ID"],
        secret_key=settings["AWS_SECRET_ACCESS_KEY"],
        bucket_name=f"coffer-bench-{uuid.uuid4()}",
        region_name=settings["AWS_S3_REGION_NAME"],
        endpoint_url=settings["AWS_S3_ENDPOINT_URL"],
    )


@contextmanager
def _store() -> Iterator[tuple[str, dict[str, str]]]:
    """Its name, and the settings of a service that keeps files there."""
    if (servers.BIN / "swift-proxy-server").exists() and shutil.which("memcached"):
        with servers.swift() as settings:
            yield "OpenStack Swift", dict(settings)
        return
    port = server.free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        server.wait_for("the store", lambda: listens(port), 30)
        yield (
            "moto",
            {
                "STORAGE": "s3",
                "AWS_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                "AWS_S3_REGION_NAME": "us-east-1",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
            },
        )
    finally:
        process.terminate()
        process.wait(10)
