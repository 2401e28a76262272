"""Figures of what the service does: counted by each process for itself, and summed when somebody reads them.

Nothing is counted unless somebody may read it (METRICS_TOKEN, METRICS_ALLOW). No label has a value of a
client's choosing. What goes wrong here is never the matter of a request.
"""

import fcntl
import functools
import logging
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

from files.errors import FileError

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge, Histogram

logger = logging.getLogger(__name__)

UNKNOWN = "unknown"
_SUCCESS = "success"
_BROKEN = "Unforeseen"  # the result of what ended with no error of ours

# Seconds. A query takes milliseconds, a rendition a tenth of a second, a large upload minutes.
_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_UPLOAD_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

# Each process has a file of each of these kinds, which the library maps into memory.
_KINDS = ("counter", "histogram", "gauge_livesum")
# Bytes that are taken of the disk beforehand: writing to a mapped file on a disk that has become full would
# kill the process. Some 1000 series.
_RESERVED = 256 * 1024
_NOBODY = 0  # in place of a process: what those counted that have ended
_FORGOTTEN = 7 * 24 * 3600.0  # seconds after which the figures of another host of the same folder are deleted


@dataclass(frozen=True, slots=True)
class _Meters:
    uploads: "Counter"
    received: "Counter"
    upload_seconds: "Histogram"
    requests: "Counter"
    request_seconds: "Histogram"
    in_flight: "Gauge"
    renditions: "Counter"
    storage_errors: "Counter"
    refusals: "Counter"


# --- what is counted -------------------------------------------------------------------------------


def counts_uploads[**P, R](upload: Callable[P, R]) -> Callable[P, R]:
    """For a function that takes `received` and `profile` by these names."""

    @functools.wraps(upload)
    def counted(*args: P.args, **kwargs: P.kwargs) -> R:
        result = _BROKEN
        try:
            answer = upload(*args, **kwargs)
            result = _SUCCESS
            return answer
        except FileError as error:
            result = type(error).__name__
            raise
        finally:
            _count_upload(kwargs["profile"], result, kwargs["received"])

    return counted


def _count_upload(profile: Any, result: str, received: Any) -> None:
    if meters := _meters():
        known = profile if profile in settings.UPLOAD_PROFILES else UNKNOWN
        meters.uploads.labels(known, result).inc()
        if result == _SUCCESS:
            meters.upload_seconds.observe(time.monotonic() - received.begun)


def bytes_came(count: int) -> None:
    """Bytes of files, whatever became of them."""
    if count and (meters := _meters()):
        meters.received.inc(count)


def request_began() -> None:
    if meters := _meters():
        meters.in_flight.inc()


def request_ended(*, kind: str, status: int, seconds: float) -> None:
    """`kind` is one of few words of ours, as the type of an operation."""
    if meters := _meters():
        meters.in_flight.dec()
        meters.requests.labels(kind, f"{status // 100}xx").inc()
        meters.request_seconds.labels(kind).observe(seconds)


@contextmanager
def counts_renditions(formats: Iterable[str]) -> Iterator[None]:
    """Renditions of these formats are made within, all or none."""
    result = _BROKEN
    try:
        yield
        result = _SUCCESS
    except FileError as error:
        result = type(error).__name__
        raise
    finally:
        if meters := _meters():
            for format_ in formats:
                meters.renditions.labels(format_, result).inc()


def storage_failed(alias: str, kind: str) -> None:
    """`kind` is the name of a Fault, or UNKNOWN."""
    if meters := _meters():
        meters.storage_errors.labels(alias, kind).inc()


def refused(code: str) -> None:
    """A request that was not run, by the code of its answer."""
    if meters := _meters():
        meters.refusals.labels(code).inc()


# --- where it is kept ------------------------------------------------------------------------------

_making = threading.Lock()
_made: list[_Meters | None] = []


def _meters() -> _Meters | None:
    """Those of this process; None where nothing is counted."""
    if not settings.METRICS:
        return None
    if not _made:
        with _making:
            if not _made:
                _made.append(_make())
    return _made[0]


def _make() -> _Meters | None:
    folder = _folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            _forget_other_hosts(folder)
            _begin(folder)
            return _open(folder)
    except OSError:
        logger.exception("Nothing is counted for /metrics: %s cannot be used.", folder)
        return None


def _folder() -> Path:
    """Of this host alone: replicas may share DATA_DIR, and each is asked for its own figures."""
    return Path(settings.METRICS_DIR) / re.sub(r"[^\w.-]", "-", socket.gethostname())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Of all processes, one at a time tidies up or reads."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _open(folder: Path) -> _Meters:
    for kind in _KINDS:
        _reserve(_file(folder, kind, os.getpid()))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)  # the library asks nothing else
    from prometheus_client import Counter, Gauge, Histogram, values

    # Chosen by that variable when the library was imported, which may have been before.
    values.ValueClass = values.MultiProcessValue()

    def counter(name: str, help_: str, *labels: str) -> Counter:
        return Counter(f"coffer_{name}", help_, labels, registry=None)

    def histogram(name: str, help_: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"coffer_{name}", help_, labels, buckets=buckets, registry=None)

    return _Meters(
        uploads=counter("uploads", "Uploads by their result.", "profile", "result"),
        received=counter("received_bytes", "Bytes of files that came in."),
        upload_seconds=histogram("upload_seconds", "From the first byte to the row.", _UPLOAD_BUCKETS),
        requests=counter("requests", "Requests by the class of their status.", "kind", "status"),
        request_seconds=histogram(
            "request_seconds",
            "From the head of the request to the end of the answer.",
            _REQUEST_BUCKETS,
            "kind",
        ),
        in_flight=Gauge(
            "coffer_requests_in_flight",
            "Requests that are answered now.",
            multiprocess_mode="livesum",
            registry=None,
        ),
        renditions=counter("renditions", "Renditions that were made or not.", "format", "result"),
        storage_errors=counter("storage_errors", "Calls of a storage that failed.", "storage", "kind"),
        refusals=counter("refusals", "Requests that were not run.", "code"),
    )


def _reserve(path: Path) -> None:
    """Raises OSError where there is no room."""
    with path.open("ab") as file:
        if hasattr(os, "posix_fallocate"):  # macOS has none
            os.posix_fallocate(file.fileno(), 0, _RESERVED)


def _file(folder: Path, kind: str, pid: int) -> Path:
    return folder / f"{kind}_{pid}.db"


def _pid(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])


def _begin(folder: Path) -> None:
    """Tidy up for a process that starts. If no other runs, the service does, and counts from 0."""
    files = list(folder.glob("*.db"))
    if any(_lives(_pid(path)) for path in files):
        _keep_of_the_dead(folder, files)
        return
    for path in files:
        path.unlink()


def _lives(pid: int) -> bool:
    """A process of ours that is another one; a file under the own number was left by an earlier one."""
    if pid in {_NOBODY, os.getpid()}:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _keep_of_the_dead(folder: Path, files: Iterable[Path]) -> None:
    """What processes counted that have ended is added up in files of nobody's: no sum ever falls while the
    service runs, and workers may come and go without leaving files."""
    from prometheus_client.mmap_dict import MmapedDict

    for path in files:
        pid = _pid(path)
        if pid == _NOBODY or _lives(pid):
            continue
        kind = path.stem.rpartition("_")[0]
        if not kind.startswith("gauge"):
            kept = _file(folder, kind, _NOBODY)
            _reserve(kept)
            sums = MmapedDict(str(kept))
            for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):
                sums.write_value(key, sums.read_value(key)[0] + value, 0.0)
            sums.close()
        path.unlink()


def _forget_other_hosts(folder: Path) -> None:
    """Containers have a new name each time."""
    for other in folder.parent.iterdir():
        touched = [path.stat().st_mtime for path in (other, *other.glob("*"))]
        if other != folder and max(touched) < time.time() - _FORGOTTEN:
            shutil.rmtree(other, ignore_errors=True)


# --- what is read ----------------------------------------------------------------------------------


def exposition(more: Iterable[Any] = ()) -> bytes:
    """All figures of all processes in the text format of Prometheus, with `more` families of metrics."""
    is_counted = _meters() is not None
    from prometheus_client import CollectorRegistry, generate_latest

    class Collector:
        def collect(self) -> Iterator[Any]:
            yield from _sums() if is_counted else ()
            yield from more

    registry = CollectorRegistry()
    registry.register(Collector())
    return generate_latest(registry)


def _sums() -> list[Any]:
    from prometheus_client.multiprocess import MultiProcessCollector

    folder = _folder()
    with _locked(folder):
        own = os.getpid()
        _keep_of_the_dead(folder, [path for path in folder.glob("*.db") if _pid(path) != own])
        return list(MultiProcessCollector.merge([str(path) for path in folder.glob("*.db")]))
