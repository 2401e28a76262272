"""What clients do to a server that is measured: send a body, fetch a file, ask as fast as they can."""

import contextlib
import hashlib
import http.client
import json
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bench import wire
from bench.run import MIB, NotMeasured, Run
from bench.services import HERE, Target

PATIENCE = 300  # seconds that one request may take before it counts as failed

PAGE = """query Page($first: Int!, $after: String) { files(first: $first, after: $after) {
  edges { cursor node {
    id name title description tags profile kind contentType size sha256 visibility createdAt
  } }
  pageInfo { hasNextPage endCursor }
} }"""


@dataclass(frozen=True)
class Body:
    """A request's body, in a file from which it is sent; if it is an upload, the SHA-256 of what is sent."""

    path: Path
    content_type: str
    sha256: str = ""

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    @classmethod
    def upload(cls, path: Path, size: int) -> Self:
        """A multipart body with one file of so many random bytes."""
        digest = hashlib.sha256()
        with path.open("wb") as file:
            file.write(wire.UPLOAD_HEAD)
            left = size
            while left:
                piece = secrets.token_bytes(min(left, MIB))
                digest.update(piece)
                file.write(piece)
                left -= len(piece)
            file.write(wire.UPLOAD_TAIL)
        return cls(path, wire.UPLOAD_TYPE, digest.hexdigest())

    @classmethod
    def query(cls, path: Path, query: str, **variables: Any) -> Self:
        path.write_text(json.dumps({"query": query, "variables": variables}))
        return cls(path, "application/json")


def send(target: Target, body: Body) -> float:
    """Send the body and take the answer; seconds. The kernel copies the file to the socket (sendfile(2)), so
    that the client takes as little of the second processor as a client can."""
    begun = time.perf_counter()
    with contextlib.closing(socket.create_connection(("127.0.0.1", target.port), timeout=PATIENCE)) as to:
        to.sendall(wire.request_head(target.port, target.token, body.content_type, body.size))
        with body.path.open("rb") as file, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            to.sendfile(file)  # who does not want all of it may have answered, which says more
        status, answer = _answer(target, to)
    took = time.perf_counter() - begun
    found = json.loads(answer) if status == 200 else {}
    if "errors" in found or "data" not in found or body.sha256.encode() not in answer:
        raise NotMeasured(f"{target.name} answered {status}: {answer[:500]!r}")
    return took


def ask(target: Target, query: str, **variables: Any) -> dict[str, Any]:
    """The data of the answer."""
    with _connected(target.port) as connection:
        content = json.dumps({"query": query, "variables": variables})
        headers = {"Authorization": f"Bearer {target.token}", "Content-Type": "application/json"}
        connection.request("POST", "/graphql", content, headers)
        answer = connection.getresponse().read()
    found = json.loads(answer)
    if found.get("errors") or not found.get("data"):
        raise NotMeasured(f"{target.name} answered: {answer[:500]!r}")
    data: dict[str, Any] = found["data"]
    return data


def fetch(target: Target, url: str) -> int:
    """Download and forget; how many bytes came."""
    buffer, size = bytearray(MIB), 0
    with _connected(target.port) as connection:
        connection.request("GET", url[url.index("/", len("https://")) :])
        answer = connection.getresponse()
        if answer.status != 200:
            raise NotMeasured(f"{target.name} answered {answer.status} to a download")
        while count := answer.readinto(buffer):
            size += count
    return size


def requests_per_second(run: Run, target: Target, body: Body, clients: int) -> float:
    """So many clients, each of which sends the body again as soon as it is answered."""
    done = subprocess.run(
        [
            *("node", str(HERE / "node_modules" / "autocannon" / "autocannon.js"), "--json"),
            *("-c", str(clients), "-d", f"{run.scale.seconds:g}", "-m", "POST", "-i", str(body.path)),
            *("-H", f"Content-Type: {body.content_type}", "-H", f"Authorization: Bearer {target.token}"),
            *("-H", "Apollo-Require-Preflight: 1", f"http://127.0.0.1:{target.port}/graphql"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=run.scale.seconds + 60,
    )
    if done.returncode != 0:
        raise NotMeasured(f"autocannon failed: {done.stderr[-500:]}")
    found: Mapping[str, Any] = json.loads(done.stdout)
    if found["non2xx"] or found["errors"] or not found["requests"]["total"]:
        answered = f"{found['requests']['total']} requests were answered"
        raise NotMeasured(f"{target.name}: {answered}, {found['non2xx']} refused, {found['errors']} failed")
    return float(found["requests"]["total"] / found["duration"])


@contextmanager
def _connected(port: int) -> Iterator[http.client.HTTPConnection]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        yield connection


def _answer(target: Target, connection: socket.socket) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPResponse(connection, method="POST")) as answer:
        try:
            answer.begin()
            return answer.status, answer.read()
        except (http.client.HTTPException, OSError) as error:
            raise NotMeasured(f"{target.name} gave no answer: {error!r}") from None
