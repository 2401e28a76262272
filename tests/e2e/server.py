"""The real service as a process of its own, over a data folder of its own: started, asked by HTTP, and always
ended."""

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.api import UPLOAD
from tests.e2e import databases

ROOT = Path(__file__).resolve().parents[2]
STARTS_WITHIN = 30  # seconds
ENDS_WITHIN = 20  # seconds; more than the service itself grants to requests under way
ANSWERS_WITHIN = 15  # seconds

UPLOAD_MANY = (
    UPLOAD.replace("UploadFileInput", "UploadFilesInput")
    .replace("uploadFile(", "uploadFiles(")
    .replace("mutation Upload(", "mutation UploadMany(")
)
DELETE = "mutation ($ids: [ID!]!) { deleteFiles(ids: $ids) { __typename ... on DeletedFile { id } } }"

# All logs of this run, so that a failed test can show those of its servers.
LOGS: list[Path] = []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(data_dir: Path, port: int, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a shell would have, and nothing that the tests' own process was given."""
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR") if name in os.environ
    }
    own = {"DATA_DIR": str(data_dir), "PORT": str(port), "PYTHONUNBUFFERED": "1"}
    return kept | own | databases.settings(data_dir) | dict(more or {})


def manage(*arguments: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """One command of manage.py, until it ends."""
    return python("manage.py", *arguments, environ=environ)


def python(
    *arguments: str, environ: Mapping[str, str], seconds: float = STARTS_WITHIN
) -> subprocess.CompletedProcess[str]:
    """A process of its own in the project's folder, with nothing else in its environment, until it ends."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def create_token(environ: Mapping[str, str], username: str = "alice") -> str:
    made = manage("create_token", username, environ=environ)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def assert_service_unavailable(answer: httpx.Response) -> None:
    """The whole request could not be answered: JSON that says when to try again, and nothing of why."""
    assert answer.status_code == 503, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Retry-After"] == "5"
    (error,) = answer.json()["errors"]
    assert "Try again later." in error["message"]
    for secret in ("Traceback", "sqlite", "database", "/"):
        assert secret not in answer.text


def wait_for(what: str, condition: Callable[[], bool], seconds: float = ANSWERS_WITHIN) -> None:
    """Until the condition holds; fails when it does not come to hold."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for: {what}"
        time.sleep(0.02)


# --- requests --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Form:
    """A multipart body, written out byte by byte so that it can also be cut, bent and sent in pieces."""

    body: bytes
    boundary: str

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={self.boundary}"

    def head(self, token: str | None, *, length: int | None = None, more: str = "") -> bytes:
        """The head of a raw HTTP request with this body, or with a claim of another length."""
        authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        length = len(self.body) if length is None else length
        return (
            "POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: {self.content_type}\r\nContent-Length: {length}\r\n{authorization}{more}\r\n"
        ).encode()


def form(
    query: str,
    variables: Mapping[str, Any],
    files: Mapping[str, tuple[str | bytes, bytes]],
    *,
    boundary: str | None = None,
) -> Form:
    """The multipart request specification; `files` is path -> (name, bytes). The name goes out as it is,
    with no quoting, whatever is in it."""
    boundary = boundary or secrets.token_hex(16)
    operations = json.dumps({"query": query, "variables": variables}).encode()
    file_map = json.dumps({str(number): [path] for number, path in enumerate(files)}).encode()
    parts = [(b'name="operations"', operations), (b'name="map"', file_map)]
    for number, (name, content) in enumerate(files.values()):
        raw = name if isinstance(name, bytes) else name.encode("utf-8", "surrogatepass")
        disposition = b'name="%d"; filename="%s"\r\nContent-Type: application/octet-stream' % (number, raw)
        parts.append((disposition, content))
    body = b"".join(
        b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (boundary.encode(), head, content)
        for head, content in parts
    )
    return Form(body=body + f"--{boundary}--\r\n".encode(), boundary=boundary)


def one_file(content: bytes, sent_as: str | bytes = "hello.txt", **given: Any) -> Form:
    return form(UPLOAD, {"input": {"file": None, **given}}, {"variables.input.file": (sent_as, content)})


def many_files(*files: tuple[str, bytes], **given: Any) -> Form:
    places = {f"variables.input.files.{number}": file for number, file in enumerate(files)}
    return form(UPLOAD_MANY, {"input": {"files": [None] * len(files), **given}}, places)


def read_answer(connection: socket.socket) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body of what comes back over a raw connection."""
    with contextlib.closing(http.client.HTTPResponse(connection, method="POST")) as answer:
        answer.begin()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


# --- the service -----------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Service:
    """One running service."""

    process: subprocess.Popen[bytes]
    port: int
    data_dir: Path
    log_path: Path
    environ: dict[str, str]
    token: str
    host: str = "127.0.0.1"
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=ANSWERS_WITHIN,
            trust_env=False,
        )

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def graphql_url(self) -> str:
        return f"{self.url}/graphql"

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    # --- asking

    def ask(self, query: str, **variables: Any) -> httpx.Response:
        return self.client.post("/graphql", json={"query": query, "variables": variables})

    def run(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of the answer; errors fail the test."""
        answer = self.ask(query, **variables).json()
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    def send(self, sent: Form, *, token: str | None = None) -> httpx.Response:
        """The form by the service's own token, by another one, or by none if that is empty."""
        request = self.client.build_request(
            "POST", "/graphql", content=sent.body, headers={"Content-Type": sent.content_type}
        )
        if token is not None:
            del request.headers["Authorization"]
        if token:
            request.headers["Authorization"] = f"Bearer {token}"
        return self.client.send(request)

    def upload(self, content: bytes, sent_as: str | bytes = "hello.txt", **given: Any) -> dict[str, Any]:
        """The result of `uploadFile`, whichever member of the union it is."""
        answer = self.send(one_file(content, sent_as, **given)).json()
        assert "errors" not in answer, answer["errors"]
        result: dict[str, Any] = answer["data"]["uploadFile"]
        return result

    def delete(self, *ids: str) -> None:
        deleted = self.run(DELETE, ids=list(ids))["deleteFiles"]
        assert [each["__typename"] for each in deleted] == ["DeletedFile"] * len(ids)

    @contextmanager
    def connect(self) -> Iterator[socket.socket]:
        """A raw connection, for requests that no client library would send."""
        with socket.create_connection((self.host, self.port), timeout=ANSWERS_WITHIN) as connection:
            yield connection

    # --- looking behind it

    def objects(self) -> list[str]:
        """All that lies in the storage's folder, except drafts."""
        return [each for each in _files_in(self.data_dir / "files") if not each.startswith(".drafts/")]

    def staged(self) -> list[str]:
        """All that is on its way: drafts of objects, and what waits to be looked at."""
        return _files_in(self.data_dir / "files" / ".drafts") + _files_in(self.data_dir / "incoming")

    def rows(self) -> int:
        """How many files the database knows of."""
        ((count,),) = databases.ask(self.data_dir, "SELECT count(*) FROM files_file")
        return int(count)

    def kept(self) -> tuple[int, list[str], list[str]]:
        """Everything that an upload may leave: rows, objects, staged bytes."""
        return self.rows(), self.objects(), self.staged()

    def written(self) -> int:
        """How many bytes its processes have had written to disk: proc(5), `io`."""
        return sum(_written(pid) for pid in self.processes())

    def processes(self) -> list[int]:
        """The process that was started, before all that it has started in turn."""
        return _tree(self.process.pid)

    # --- ending it

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, and see to it that it has; its exit code."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(by)
        try:
            return self.process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """End it at once, with everything it has started, as a loss of power would."""
        self.client.close()
        if self.process.poll() is None:
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait(ENDS_WITHIN)


@contextmanager
def running(
    data_dir: Path,
    *,
    token: str = "",
    asgi: bool = False,
    settings: Mapping[str, str] | None = None,
    command: list[str] | None = None,
) -> Iterator[Service]:
    """The service over that folder until the end of the block: by the command, if one is given, else
    `manage.py run` or the ASGI application."""
    port = int((settings or {}).get("PORT") or free_port())
    environ = environment(data_dir, port, settings)
    host = environ.get("HOST", "127.0.0.1")
    uvicorn = ["-m", "uvicorn", "config.asgi:application", "--host", host, "--port", str(port)]
    command = command or [sys.executable, *(uvicorn if asgi else ["manage.py", "run"])]
    log_path = data_dir.with_name(f"{data_dir.name}-{port}.log")
    LOGS.append(log_path)
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    service = Service(
        process=process,
        port=port,
        data_dir=data_dir,
        log_path=log_path,
        environ=environ,
        token=token,
        host=host,
    )
    try:
        _wait_until_it_answers(service)
        yield service
    finally:
        service.stop()


def _wait_until_it_answers(service: Service) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.post(service.graphql_url, json={"query": "{ __typename }"}, trust_env=False)
            assert answer.status_code == 200, answer.text
            return
        assert service.process.poll() is None, f"it ended instead of starting:\n{service.log()}"
        assert time.monotonic() < deadline, f"it does not answer:\n{service.log()}"
        time.sleep(0.05)


# --- memory ----------------------------------------------------------------------------------------


@dataclass
class Memory:
    """How far the memory of all processes of a service grew at its peak, in bytes."""

    growth: int = 0


@contextmanager
def measured(service: Service) -> Iterator[Memory]:
    """What the block makes the service take, told by the kernel, which keeps the peak of each process."""
    pids = service.processes()
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # forget the peak until now: proc(5)
    before = sum(_memory(pid, "VmRSS") for pid in pids)
    memory = Memory()
    yield memory
    memory.growth = sum(_memory(pid, "VmHWM") for pid in pids) - before


def _memory(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no {name}")


def _written(pid: int) -> int:
    for line in Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    raise AssertionError(f"process {pid} has written nothing that is counted")


def _tree(pid: int) -> list[int]:
    found = [pid]
    for known in found:
        for children in Path(f"/proc/{known}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # it has just ended
                found.extend(int(child) for child in children.read_text().split())
    return found


def _files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
