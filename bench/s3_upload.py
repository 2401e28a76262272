"""A large object sent to S3 as its bytes come in, against boto3's own `upload_fileobj` of a file.

    .venv/bin/python bench/s3_upload.py --help

Ours hashes on the way (MD5 and SHA-256 of the whole) and holds each part against the store's answer; boto3
does neither, and has ten threads. Both are run by turns; the ratio is that of the medians. Without --endpoint
the store is moto in a process of its own, which is slow and takes most of the time for itself.
"""

import argparse
import contextlib
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

from config.memory import keep_buffers  # noqa: E402
from files.receive import Received  # noqa: E402
from files.s3 import S3Storage  # noqa: E402
from files.storage import Draft  # noqa: E402
from tests.e2e.server import free_port, wait_for  # noqa: E402

MIB = 1024 * 1024
BAR = 1.15  # of boto3's own
KEY = "object.bin"
_CHUNK = 256 * 1024  # what the parser of requests hands on


def main() -> None:
    given = _arguments()
    keep_buffers()  # as the service does
    with contextlib.ExitStack() as stack:
        endpoint = given.endpoint or stack.enter_context(_moto())
        storage = _storage(given, endpoint)
        if not given.bucket:
            storage.bucket.create()
        file = stack.enter_context(tempfile.TemporaryFile(prefix="coffer-bench-"))
        for _ in range(given.mib):
            file.write(secrets.token_bytes(MIB))
        ways: dict[str, Callable[[], None]] = {
            "coffer": lambda: _ours(storage, file),
            "boto3": lambda: _boto3(storage, file),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        growth: dict[str, list[int]] = {name: [] for name in ways}
        for number in range(given.rounds + 1):
            for name, way in ways.items():
                took, grew = _measured(way)
                if number:  # the first round warms up
                    seconds[name].append(took)
                    growth[name].append(grew)
                storage.delete(KEY)
            if number:
                figures = ", ".join(f"{name} {seconds[name][-1]:.2f} s" for name in ways)
                print(f"round {number} of {given.rounds}: {figures}", file=sys.stderr)
    print(f"{given.mib} MiB into {given.endpoint or 'moto'}, {given.rounds} rounds, medians")
    for name in ways:
        print(f"  {name:8} {median(seconds[name]):6.2f} s   memory +{median(growth[name]) / MIB:5.1f} MiB")
    print(f"  ratio    {median(seconds['coffer']) / median(seconds['boto3']):6.2f}   (bar {BAR})")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mib", type=int, default=256, help="size of the object in MiB (default: 256)")
    parser.add_argument("--rounds", type=int, default=5, help="how often, by turns (default: 5)")
    parser.add_argument("--endpoint", help="the address of a store; credentials by boto3's own variables")
    parser.add_argument("--bucket", help="one that is there (default: a new one)")
    return parser.parse_args()


@contextlib.contextmanager
def _moto() -> Iterator[str]:
    port = free_port()
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for("the store", lambda: _answers(port), 30)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _storage(given: argparse.Namespace, endpoint: str) -> S3Storage:
    return S3Storage(
        access_key=os.environ.get("AWS_ACCESS_KEY_ID"),
        secret_key=os.environ.get("AWS_SECRET_ACCESS_KEY"),
        bucket_name=given.bucket or f"coffer-bench-{uuid.uuid4()}",
        region_name=os.environ.get("AWS_REGION", "us-east-1"),
        endpoint_url=endpoint,
    )


def _ours(storage: S3Storage, file: Any) -> None:
    """As a request does it: the bytes in pieces, each of them hashed, and the object committed."""
    draft = Draft(storage.begin(KEY, content_type="application/octet-stream"), key=KEY, alias="default")
    received = Received(name=None, content_type=None, limit=sys.maxsize, begin=lambda _: draft)
    with contextlib.closing(received):
        file.seek(0)
        while chunk := file.read(_CHUNK):
            received.write(chunk)
        received.check()
        draft.commit(sha256=received.sha256, md5=received.md5)


def _boto3(storage: S3Storage, file: Any) -> None:
    file.seek(0)
    with os.fdopen(os.dup(file.fileno()), "rb") as own:  # boto3 closes what it is given
        storage.bucket.Object(KEY).upload_fileobj(own)


def _measured(way: Callable[[], None]) -> tuple[float, int]:
    """Seconds, and how far the memory of this process grew at its peak, in bytes: proc(5)."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _memory("VmRSS")
    begun = time.perf_counter()
    way()
    return time.perf_counter() - begun, _memory("VmHWM") - before


def _memory(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"the kernel does not say {name}")


if __name__ == "__main__":
    main()
