"""Requests per second against Apollo Server: pages of files over the same SQLite database, and small uploads.

Both servers have two processes and do the same work for a request; see apollo.mjs. They take turns, so that
what disturbs the machine disturbs both; the ratio is that of the medians. `make bench-requests` runs it with
all that it needs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

PAGE = """query Page($first: Int!) { files(first: $first) {
  edges { cursor node {
    id name title description tags profile kind contentType size sha256 visibility createdAt
  } }
  pageInfo { hasNextPage endCursor }
} }"""
UPLOAD = "mutation ($f: Upload!) { uploadFile(input: {file: $f}) { __typename ... on File { id sha256 } } }"
BOUNDARY = "coffer-bench"


@dataclass(frozen=True)
class Case:
    """`body` as it is sent, again and again, by so many clients at once."""

    name: str
    clients: int
    body: bytes
    content_type: str


def cases() -> list[Case]:
    page = json.dumps({"query": PAGE, "variables": {"first": 50}}).encode()
    operations = json.dumps({"query": UPLOAD, "variables": {"f": None}})
    parts = [
        ('name="operations"', operations.encode()),
        ('name="map"', b'{"0": ["variables.f"]}'),
        ('name="0"; filename="small.bin"\r\nContent-Type: application/octet-stream', os.urandom(20 * 1024)),
    ]
    form = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"
        for head, content in parts
    )
    return [
        Case("files(first: 50), 12 fields, 16 clients", 16, page, "application/json"),
        Case(
            "uploads of 20 KiB, 64 clients",
            64,
            form + f"--{BOUNDARY}--\r\n".encode(),
            f"multipart/form-data; boundary={BOUNDARY}",
        ),
    ]


def main() -> None:
    given = _arguments()
    if given.fill:
        _fill(given.fill)
        return
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"  # this process asks for no data of its own
    import django

    django.setup()
    from tests.e2e import server

    with tempfile.TemporaryDirectory(prefix="coffer-bench-") as name:
        folder = Path(name)
        settings = {"RATE_LIMIT_USER": "0", "LOG_LEVEL": "ERROR", "ENV_FILE": os.devnull}
        environ = server.environment(folder, server.free_port(), settings)
        _progress(f"making a database of {given.rows:,} files")
        for arguments in (["manage.py", "migrate", "-v0"], [__file__, "--fill", str(given.rows)]):
            subprocess.run([sys.executable, *arguments], cwd=HERE.parent, env=environ, check=True)
        token = server.create_token(environ)
        ports = {"Coffer": int(environ["PORT"]), "Apollo": server.free_port()}
        coffer = [sys.executable, "manage.py", "run"]
        apollo = ["node", str(HERE / "apollo.mjs"), str(ports["Apollo"])]
        apollo += [str(folder / "coffer.sqlite3"), str(folder / "apollo")]
        with _running(coffer, environ, ports["Coffer"]), _running(apollo, environ, ports["Apollo"]):
            rates = _measure(folder, ports, token, given.rounds, given.seconds)
    print(f"\nRequests per second, medians of {given.rounds} rounds of {given.seconds} s\n")
    print("| | Coffer | Apollo | ratio | bar |\n|---|---|---|---|---|")
    for case in cases():
        ours, theirs = (median(rates[case.name, engine]) for engine in ("Coffer", "Apollo"))
        print(f"| {case.name} | {ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} | >= 1.0 |")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000, help="files in the database (default: 100000)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each server (default: 5)")
    parser.add_argument("--seconds", type=int, default=5, help="that a turn lasts (default: 5)")
    parser.add_argument("--fill", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(
    folder: Path, ports: dict[str, int], token: str, rounds: int, seconds: int
) -> dict[tuple[str, str], list[float]]:
    rates: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds + 1):
        _progress(f"round {number} of {rounds}" if number else "warming up")
        for case in cases():
            for engine, port in ports.items():
                rate = _rate(folder, case, port, token, seconds)
                if number:
                    rates.setdefault((case.name, engine), []).append(rate)
    return rates


def _rate(folder: Path, case: Case, port: int, token: str, seconds: int) -> float:
    body = folder / "body.bin"
    body.write_bytes(case.body)
    done = subprocess.run(
        [
            *("node", str(HERE / "node_modules" / "autocannon" / "autocannon.js"), "--json"),
            *("-c", str(case.clients), "-d", str(seconds), "-m", "POST", "-i", str(body)),
            *("-H", f"Content-Type: {case.content_type}", "-H", f"Authorization: Bearer {token}"),
            *("-H", "Apollo-Require-Preflight: 1", f"http://127.0.0.1:{port}/graphql"),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    found = json.loads(done.stdout)
    if found["non2xx"] or found["errors"] or not found["requests"]["total"]:
        sys.exit(f"{case.name}: {found['non2xx']} refused, {found['errors']} failed.")
    return float(found["requests"]["total"] / found["duration"])


@contextmanager
def _running(command: list[str], environ: dict[str, str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, cwd=HERE.parent, env=environ, stdout=subprocess.DEVNULL)
    try:
        _wait(process, port)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    import socket

    for _ in range(300):
        if process.poll() is not None:
            sys.exit("A server ended before it listened.")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit("A server did not listen in 30 seconds.")


def _fill(rows: int) -> None:
    """In a process of its own, whose settings are those of the server."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    from datetime import timedelta

    from django.utils import timezone

    from accounts.models import User
    from files.models import File, new_id

    owner, _ = User.objects.get_or_create(username="alice")
    start = timezone.now() - timedelta(seconds=rows)
    for first in range(0, rows, 5000):
        File.objects.bulk_create(
            File(
                id=(file_id := new_id()),
                owner=owner,
                name=f"holiday {number}.png",
                title=f"Day {number}",
                tags=["sea", "sun"],
                metadata={"number": number},
                profile="default",
                kind="image",
                content_type="image/png",
                size=number * 7,
                md5=f"{number:032x}",
                sha256=f"{number:064x}",
                storage="default",
                key=f"default/2026/01/31/{file_id}.png",
                created_at=start + timedelta(seconds=number),
            )
            for number in range(first, min(first + 5000, rows))
        )


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
