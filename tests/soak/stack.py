"""All that the service consists of in production, as processes of this run: PostgreSQL, Swift behind a proxy
that fails, two services and a worker. Some are killed, and come back by themselves."""

import contextlib
import os
import random
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx
import psycopg

from tests import postgres
from tests.e2e import server
from tests.long.fault_proxy import FaultProxy
from tests.storage import servers

# What an operator starts. A service has two processes, which its first one starts anew.
SERVE = ("manage.py", "serve")
WORK = ("manage.py", "worker", "--processes", "2")
_SETTINGS = {
    "HTTPS": "False",
    "WORKERS": "2",
    "TASKS_BACKEND": "db",
    "RATE_LIMIT_USER": "0",
    "RATE_LIMIT_ADDRESS": "0",
    "LOG_LEVEL": "WARNING",
    "LOG_FORMAT": "json",
}
_SERVICES = 2
_BUCKET = "soak"
_ENDS_WITHIN = 60  # seconds


@dataclass
class Program:
    """One command that is kept running: whoever ends it, it is started again."""

    name: str
    command: tuple[str, ...]
    environ: dict[str, str]
    log_path: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.command],
                cwd=server.ROOT,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def keep_running(self) -> None:
        if self.process is None or self.process.poll() is not None:
            self.start()

    def children(self) -> list[int]:
        """Those that it has started itself: processes of the service, or those that run tasks."""
        pid = self.process.pid if self.process else 0
        with contextlib.suppress(OSError):
            return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
        return []

    def stop(self) -> int:
        """As its supervisor would; the exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@dataclass
class Stack:
    """What is started, and where it is reached."""

    folder: Path
    environ: dict[str, str]
    token: str
    proxy: FaultProxy
    store: Any  # a client of S3 that goes round the proxy
    services: list[Program]
    worker: Program
    kills: list[str] = field(default_factory=list)

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{service.environ['PORT']}" for service in self.services]

    # --- while it runs

    def workers(self) -> list[int]:
        """The processes of the services that answer requests."""
        return [pid for service in self.services for pid in service.children()]

    def kill_one(self, chance: random.Random) -> None:
        """At once, by turns one of the services and one of the worker's. The first one of the first service
        is left alive: its memory is watched."""
        if len(self.kills) % 2 == 0:
            kind = "service"
            victims = [*self.services[0].children()[1:], *self.services[1].children()]
        else:
            kind = "worker"
            supervisor = self.worker.process
            victims = [*self.worker.children(), *([supervisor.pid] if supervisor else [])]
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(victims), signal.SIGKILL)
            self.kills.append(kind)

    def keep_running(self) -> None:
        for program in (*self.services, self.worker):
            program.keep_running()

    def stop(self) -> dict[str, int]:
        """The exit codes by name."""
        return {program.name: program.stop() for program in (*self.services, self.worker)}

    # --- looking behind it

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the database."""
        with psycopg.connect(self.environ["DATABASE_URL"]) as connection:
            return connection.execute(query.encode()).fetchall()

    def tell(self, statement: str) -> None:
        with psycopg.connect(self.environ["DATABASE_URL"]) as connection:
            connection.execute(statement.encode())

    def objects(self) -> set[str]:
        pages = self.store.get_paginator("list_objects_v2").paginate(Bucket=_BUCKET)
        return {each["Key"] for page in pages for each in page.get("Contents", [])}

    def unfinished(self) -> int:
        return len(self.store.list_multipart_uploads(Bucket=_BUCKET).get("Uploads", []))

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of an operator, who has all the time that it takes; what it said is kept."""
        ran = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=server.ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        said = f"$ manage.py {' '.join(arguments)}\n{ran.stdout}{ran.stderr}exit code {ran.returncode}\n"
        with (self.folder / "commands.log").open("a") as log:
            log.write(said)
        return ran

    def logs(self) -> list[Path]:
        return [program.log_path for program in (*self.services, self.worker)]


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Stack]:
    """All of it until the end of the block, with what it says in the folder."""
    with contextlib.ExitStack() as last:
        database = last.enter_context(postgres.running())
        swift = last.enter_context(servers.swift())
        direct = swift["AWS_S3_ENDPOINT_URL"]
        store: Any = boto3.client(
            "s3",
            endpoint_url=direct,
            region_name=swift["AWS_S3_REGION_NAME"],
            aws_access_key_id=swift["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=swift["AWS_SECRET_ACCESS_KEY"],
        )
        last.callback(store.close)
        store.create_bucket(Bucket=_BUCKET)
        proxy = last.enter_context(FaultProxy(urlsplit(direct).port or 80))
        given = {
            **_SETTINGS,
            **swift,
            "AWS_S3_ENDPOINT_URL": proxy.url,
            "AWS_STORAGE_BUCKET_NAME": _BUCKET,
            "DATABASE_URL": database.url(),
            "SECRET_KEY": secrets.token_urlsafe(50),
        }
        environ = server.environment(folder / "data", server.free_port(), given)
        stack = Stack(
            folder=folder,
            environ=environ,
            token="",
            proxy=proxy,
            store=store,
            services=[_service(folder, environ, number) for number in range(_SERVICES)],
            worker=Program("worker", WORK, environ, folder / "worker.log"),
        )
        migrated = stack.manage("migrate", "--verbosity", "0")
        assert migrated.returncode == 0, migrated.stderr
        stack.token = server.create_token(environ)
        last.callback(stack.stop)
        stack.keep_running()
        for url in stack.urls:
            server.wait_for(f"{url} to answer", partial(_is_ready, url), server.STARTS_WITHIN * 2)
        yield stack


def _service(folder: Path, environ: dict[str, str], number: int) -> Program:
    name = f"service-{number + 1}"
    return Program(name, SERVE, environ | {"PORT": str(server.free_port())}, folder / f"{name}.log")


def _is_ready(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/health/ready", trust_env=False, timeout=10).status_code == 200
    return False
