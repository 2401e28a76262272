"""One large upload through the real server, against MD5 alone over the same bytes: the hash that every upload
needs and that takes the longest of all.

    .venv/bin/python bench/upload.py --help

Both are run by turns, so that whatever else the machine does meets both; the ratio is that of the medians.
"""

import argparse
import hashlib
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

from tests.e2e import server  # noqa: E402
from tests.e2e.server import Service  # noqa: E402

MIB = 1024 * 1024
BAR = 1.3  # of MD5 alone, where a second core is free
PROFILES = """
[default]
max_size = "16 GiB"
types = ["*/*"]
"""
OPERATIONS = (
    '{"query": "mutation ($f: Upload!) { uploadFile(input: {file: $f}) { __typename '
    '... on File { id md5 } ... on Error { message } } }", "variables": {"f": null}}'
)


@dataclass(frozen=True)
class Cost:
    """Of one upload: seconds, bytes."""

    wall: float
    cpu: float
    written: int
    growth: int


def main() -> None:
    given = _arguments()
    with tempfile.TemporaryDirectory(prefix="coffer-bench-", dir=given.folder) as name:
        folder = Path(name)
        content = folder / "content.bin"
        _fill(content, given.mib)
        size = given.mib * MIB
        with _service(folder, asgi=given.asgi) as service:
            _upload(service, content)  # what a first upload takes once is not meant
            alone: list[float] = []
            costs: list[Cost] = []
            for number in range(given.rounds):
                alone.append(_timed(lambda: _md5(content)))
                costs.append(_cost(service, content))
                print(
                    f"round {number + 1} of {given.rounds}: MD5 alone {alone[-1]:.2f} s, "
                    f"upload {costs[-1].wall:.2f} s",
                    file=sys.stderr,
                )
    wall, cpu = median(cost.wall for cost in costs), median(cost.cpu for cost in costs)
    kind = "uvicorn" if given.asgi else "manage.py run"
    print(f"{given.mib} MiB by {kind}, {given.rounds} rounds, medians")
    print(f"  MD5 alone            {median(alone):6.2f} s")
    print(f"  upload               {wall:6.2f} s wall, {cpu:.2f} s of the processor in the server")
    print(f"  ratio                {wall / median(alone):6.2f}   (bar {BAR}, with a second core free)")
    print(f"  written per byte     {median(cost.written for cost in costs) / size:6.2f}")
    print(f"  growth of memory     {median(cost.growth for cost in costs) / MIB:6.1f} MiB")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024, help="size of the file in MiB (default: 1024)")
    parser.add_argument("--rounds", type=int, default=5, help="how often, by turns (default: 5)")
    parser.add_argument("--asgi", action="store_true", help="by uvicorn instead of `manage.py run`")
    parser.add_argument("--folder", help="where the files lie, on a real disk (default: the one for scratch)")
    return parser.parse_args()


@contextmanager
def _service(folder: Path, *, asgi: bool) -> Iterator[Service]:
    profiles = folder / "profiles.toml"
    profiles.write_text(PROFILES)
    settings = {"COFFER_PROFILES": str(profiles), "MAX_REQUEST_SIZE": "16 GiB", "LOG_LEVEL": "ERROR"}
    data_dir = folder / "data"
    environ = server.environment(data_dir, server.free_port(), settings)
    migrated = server.manage("migrate", "--verbosity", "0", environ=environ)
    if migrated.returncode != 0:
        sys.exit(migrated.stderr)
    token = server.create_token(environ)
    with server.running(data_dir, token=token, asgi=asgi, settings=settings) as service:
        yield service


def _cost(service: Service, content: Path) -> Cost:
    written, cpu = service.written(), _cpu(service)
    with server.measured(service) as memory:
        wall = _timed(lambda: _upload(service, content))
    return Cost(wall, _cpu(service) - cpu, service.written() - written, memory.growth)


def _upload(service: Service, content: Path) -> None:
    """By curl, which takes little of the processor itself; the file is deleted again."""
    done = subprocess.run(
        [
            *("curl", "--silent", "--show-error", "--max-time", "600", service.graphql_url),
            *("-H", f"Authorization: Bearer {service.token}", "-H", "Expect:"),
            *("-F", f"operations={OPERATIONS}", "-F", 'map={"0": ["variables.f"]}', "-F", f"0=@{content}"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    if '"__typename":"File"' not in done.stdout:
        sys.exit(f"The upload failed: {done.stdout}")
    for stored in (service.data_dir / "files").rglob("*.*"):
        if stored.is_file() and stored.stat().st_size == content.stat().st_size:
            stored.unlink()  # there is room for one


def _md5(content: Path) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    with content.open("rb") as file:
        while chunk := file.read(256 * 1024):
            digest.update(chunk)


def _timed(do: Callable[[], None]) -> float:
    begun = time.perf_counter()
    do()
    return time.perf_counter() - begun


def _cpu(service: Service) -> float:
    """Seconds of the processor that the server's processes have taken: proc(5), `stat`."""
    ticks = 0
    for pid in service.processes():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


def _fill(path: Path, mib: int) -> None:
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(secrets.token_bytes(MIB))


if __name__ == "__main__":
    main()
