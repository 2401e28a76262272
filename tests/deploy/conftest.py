"""nginx with the shipped configuration, before the real service. `make test-deploy` installs it."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import prepared, pytest_runtest_makereport, start, store
from tests.e2e.server import ANSWERS_WITHIN, ENDS_WITHIN, LOGS, ROOT, free_port, wait_for

__all__ = ["prepared", "pytest_runtest_makereport", "start", "store"]

DOCKER = ROOT / "docker"


@dataclass(kw_only=True)
class Proxy:
    """nginx, as it is shipped but for ports and folders."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes] = field(init=False)
    tls_port: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def access_log(self) -> str:
        return (self.folder / "access.log").read_text()

    def buffered(self) -> int:
        """How many bodies it is taking in that did not fit into its memory: files without a name by now."""
        folder, found = str(self.folder / "cache" / "body"), 0
        for worker in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            for link in Path(f"/proc/{worker}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                    found += str(link.readlink()).startswith(folder)
        return found

    def get(self, path: str, **options: object) -> httpx.Response:
        return httpx.get(self.url + path, trust_env=False, timeout=ANSWERS_WITHIN, **options)  # type: ignore[arg-type]

    @contextmanager
    def connect(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=ANSWERS_WITHIN) as connection:
            yield connection


def render(text: str, places: Mapping[str, str]) -> str:
    """The shipped file for this machine; each place has to be in it."""
    for place, here in places.items():
        assert place in text, f"{place} is not in the shipped configuration"
        text = text.replace(place, here)
    return text


@contextmanager
def nginx(
    folder: Path,
    *,
    service_port: int,
    data_dir: Path,
    store_port: int | None = None,
    tls: str | None = None,
) -> Iterator[Proxy]:
    """nginx before the service on that port, and before the store, until the end of the block.

    `tls` is what the operator would put into tls.conf.
    """
    for name in ("cache", "tls", "servers"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    proxy = Proxy(port=free_port(), folder=folder)
    listen = {"listen 8080": f"listen 127.0.0.1:{proxy.port}", "/etc/nginx/tls/": f"{folder}/tls/"}
    places = {
        **listen,
        "/etc/nginx/servers/": f"{folder}/servers/",
        "server app:8000;": f"server 127.0.0.1:{service_port};",
        "alias /data/files/;": f"alias {data_dir}/files/;",
        "/var/cache/nginx/": f"{folder}/cache/",
        "pid /tmp/nginx.pid;": f"pid {folder}/nginx.pid;",
        "/dev/stdout": f"{folder}/access.log",
        "/dev/stderr": f"{folder}/error.log",
    }
    shipped = (DOCKER / "nginx" / "nginx.conf").read_text()
    (folder / "nginx.conf").write_text(render(shipped, places))
    if store_port is not None:
        shipped = (DOCKER / "nginx" / "store.conf").read_text()
        shipped = render(shipped, {**listen, "server s3:8333;": f"server 127.0.0.1:{store_port};"})
        (folder / "servers" / "store.conf").write_text(shipped)
    if tls is not None:
        proxy.tls_port = free_port()
        (folder / "tls" / "tls.conf").write_text(_for_this_nginx(tls, proxy.tls_port, folder))
    LOGS.append(folder / "error.log")
    # Root's nginx would read files as nobody, for whom the tests' folder is closed.
    user = "user root; " if os.geteuid() == 0 else ""
    arguments = ["-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf", "-g", f"{user}daemon off;"]
    proxy.process = process = subprocess.Popen([_program(), *arguments], stdin=subprocess.DEVNULL)
    try:
        wait_for("nginx", lambda: process.poll() is not None or _listens(proxy.port))
        assert process.poll() is None, (folder / "error.log").read_text()
        yield proxy
    finally:
        process.terminate()
        process.wait(ENDS_WITHIN)


def _program() -> str:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None, "nginx is not installed: run `make test-deploy`, which does it where it may"
    return program


def _for_this_nginx(tls: str, port: int, folder: Path) -> str:
    """HTTP/2 was part of `listen` before nginx 1.25.1."""
    tls = render(
        tls, {"listen 8443 ssl;": f"listen 127.0.0.1:{port} ssl;", "/etc/nginx/tls/": f"{folder}/tls/"}
    )
    said = subprocess.run([_program(), "-v"], capture_output=True, text=True, check=True).stderr
    version = tuple(int(number) for number in re.findall(r"\d+", said)[:3])
    if version >= (1, 25, 1):
        return tls
    return render(tls, {"http2 on;": "", " ssl;": " ssl http2;"})


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def shipped_tls() -> str:
    return (DOCKER / "tls" / "tls.conf.example").read_text()
