"""Real stores on the loopback, for the contract of storages: OpenStack Swift with its S3 API, and the
emulators of Azure and of Google Cloud Storage. `make test-storage` installs them.

Each is started on free ports over a folder of its own, and ended by its process id.
"""

import base64
import json
import os
import secrets
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from getpass import getuser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv-servers" / "bin"
AZURITE = ROOT / "tests" / "storage" / "node_modules" / ".bin" / "azurite-blob"

_STARTS_WITHIN = 60.0  # seconds
_ENDS_WITHIN = 10.0  # seconds

type Environment = dict[str, str]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def running(
    name: str, command: list[str | Path], folder: Path, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """The process, until the block ends; what it says goes to a file in the folder."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(each) for each in command],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env=os.environ | variables,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    """Until something answers there, whatever it says."""
    give_up = time.monotonic() + _STARTS_WITHIN
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < give_up and process.poll() is None:
        try:
            with opener.open(url, timeout=1):
                return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500:
                return
        except OSError:
            pass
        time.sleep(0.1)
    logs = "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in folder.glob("*.log"))
    raise RuntimeError(f"{process.args!r} does not answer at {url}.\n{logs}")


# --- Swift -----------------------------------------------------------------------------------------

_SWIFT_CONF = """
[swift-hash]
swift_hash_path_prefix = coffer
swift_hash_path_suffix = coffer
[storage-policy:0]
name = one
default = yes
"""
_SWIFT_COMMON = """
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
swift_dir = {etc}
workers = 0
log_level = WARNING
"""
_SWIFT_BACKEND = """
[DEFAULT]
{common}
devices = {devices}
mount_check = false
fallocate_reserve = 0
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""
_SWIFT_FILTERS = (
    "catch_errors gatekeeper healthcheck cache listing_formats s3api tempauth copy slo dlo versioned_writes"
)
_SWIFT_PROXY = """
[DEFAULT]
{common}
[pipeline:main]
pipeline = {filters} proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
"""
_SWIFT_OPTIONS = {
    "cache": "memcache_servers = 127.0.0.1:{memcached}",
    "s3api": "location = us-east-1",
    # The second may do nothing that he was not allowed.
    "tempauth": "user_test_tester = testing .admin\nuser_test_reader = reading",
}


@contextmanager
def swift() -> Iterator[Environment]:
    """One node of OpenStack Swift; it verifies signatures, their expiry and the clock."""
    proxy, *backends, memcached = free_ports(5)
    names = ("object", "container", "account")
    with tempfile.TemporaryDirectory(prefix="coffer-swift-") as folder, ExitStack() as stack:
        root = Path(folder)
        etc, devices = root / "etc", root / "srv"
        (devices / "d1").mkdir(parents=True)
        etc.mkdir()
        (etc / "swift.conf").write_text(_SWIFT_CONF)
        for name, port in zip(names, backends, strict=True):
            common = _SWIFT_COMMON.format(port=port, user=getuser(), etc=etc)
            config = _SWIFT_BACKEND.format(common=common, devices=devices, name=name)
            (etc / f"{name}-server.conf").write_text(config)
            _make_ring(etc, name, port)
        common = _SWIFT_COMMON.format(port=proxy, user=getuser(), etc=etc)
        config = _SWIFT_PROXY.format(common=common, filters=_SWIFT_FILTERS)
        for each in _SWIFT_FILTERS.split():
            egg = {"cache": "memcache"}.get(each, each)
            option = _SWIFT_OPTIONS.get(each, "").format(memcached=memcached)
            config += f"[filter:{each}]\nuse = egg:swift#{egg}\n{option}\n"
        config = config.replace("#versioned_writes\n", "#versioned_writes\nallow_versioned_writes = true\n")
        (etc / "proxy-server.conf").write_text(config)

        cache = ["memcached", "-u", getuser(), "-l", "127.0.0.1", "-p", str(memcached), "-U", "0", "-m", "32"]
        stack.enter_context(running("memcached", [*cache], root))
        started = [
            stack.enter_context(
                running(name, [BIN / f"swift-{name}-server", etc / f"{name}-server.conf"], root)
            )
            for name in (*names, "proxy")
        ]
        wait_for(f"http://127.0.0.1:{proxy}/healthcheck", started[-1], root)
        yield {
            "STORAGE": "s3",
            "AWS_S3_ENDPOINT_URL": f"http://127.0.0.1:{proxy}",
            "AWS_S3_REGION_NAME": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test:tester",
            "AWS_SECRET_ACCESS_KEY": "testing",
        }


def _make_ring(etc: Path, name: str, port: int) -> None:
    builder = f"{name}.builder"
    device = ["add", f"r1z1-127.0.0.1:{port}/d1", "1"]
    for arguments in (["create", "4", "1", "0"], device, ["rebalance"]):
        done = subprocess.run(
            [BIN / "swift-ring-builder", builder, *arguments], cwd=etc, capture_output=True, check=False
        )
        if done.returncode > 1:  # 1 is a warning: one device is few
            raise RuntimeError(done.stdout.decode() + done.stderr.decode())


# --- Azurite ---------------------------------------------------------------------------------------


@contextmanager
def azurite() -> Iterator[Environment]:
    """Microsoft's emulator of Azure's blobs; it verifies signatures and their expiry."""
    (port,) = free_ports(1)
    key = base64.b64encode(secrets.token_bytes(64)).decode()
    with tempfile.TemporaryDirectory(prefix="coffer-azurite-") as folder:
        options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", folder]
        quiet = ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        command: list[str | Path] = [AZURITE, *options, *quiet]
        with running("azurite", command, Path(folder), AZURITE_ACCOUNTS=f"coffer:{key}") as process:
            wait_for(f"http://127.0.0.1:{port}/", process, Path(folder))
            yield {
                "STORAGE": "azure",
                "AZURE_CONNECTION_STRING": (
                    f"DefaultEndpointsProtocol=http;AccountName=coffer;AccountKey={key};"
                    f"BlobEndpoint=http://127.0.0.1:{port}/coffer;"
                ),
            }


# --- Google Cloud Storage --------------------------------------------------------------------------


class _Tokens(BaseHTTPRequestHandler):
    """Gives everybody an access token; the emulator asks for none, but Google's library brings one."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"access_token": "any", "expires_in": 3600, "token_type": "Bearer"}')

    def log_message(self, *_: object) -> None:
        return None


@contextmanager
def gcs() -> Iterator[Environment]:
    """An emulator of Google Cloud Storage; it believes every signature."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="coffer-gcs-") as folder, ExitStack() as stack:
        root = Path(folder)
        tokens = ThreadingHTTPServer(("127.0.0.1", 0), _Tokens)
        stack.callback(tokens.server_close)
        thread = threading.Thread(target=tokens.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        stack.callback(thread.join)
        stack.callback(tokens.shutdown)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (root / "key.json").write_text(
            json.dumps(
                {
                    "type": "service_account",
                    "project_id": "coffer",
                    "client_email": "coffer@example.com",
                    "private_key_id": "1",
                    "private_key": pem.decode(),
                    "token_uri": f"http://127.0.0.1:{tokens.server_address[1]}/token",
                }
            )
        )
        options = ["--host", "127.0.0.1", "--port", str(port), "--in-memory"]
        command: list[str | Path] = [BIN / "gcp-storage-emulator", "start", *options]
        process = stack.enter_context(running("gcs", command, root))
        wait_for(f"http://127.0.0.1:{port}/", process, root)
        yield {
            "STORAGE": "gcs",
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}",
            "GS_PROJECT_ID": "coffer",
            "GS_CREDENTIALS": str(root / "key.json"),
        }


SERVERS: Mapping[str, Callable[[], AbstractContextManager[Environment]]] = {
    "swift": swift,
    "azurite": azurite,
    "gcs": gcs,
}
