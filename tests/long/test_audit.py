"""The audit log of the real service: addresses, deletions at the same time, and the command beside it."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from tests.e2e import server
from tests.e2e.server import DELETE, Service

pytestmark = pytest.mark.e2e

TOGETHER = 6


def exported(service: Service, *arguments: str) -> list[dict[str, Any]]:
    ran = server.manage("audit", *arguments, environ=service.environ)
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_what_a_client_does_is_exported_with_its_address(either_service: Service) -> None:
    service = either_service
    kept = service.upload(b"recorded", "\x1b[31mre\u202eport.txt", tags=["audit"])
    refused = service.upload(b"recorded too", "x.png", profile="image")
    service.delete(kept["id"])
    uploads = [each for each in exported(service) if each["sha256"] == kept["sha256"]]
    assert [each["action"] for each in uploads] == ["upload", "delete"]
    (refusal,) = (each for each in exported(service, "--action", "refusal") if each["name"] == "x.png")
    assert refusal["code"] == refused["__typename"] == "UnsupportedType"
    for each in (*uploads, refusal):
        assert (each["username"], each["address"], each["via"]) == ("alice", "127.0.0.1", "token")
        assert each["token_id"] == 1
    assert [each["name"] for each in uploads] == [kept["name"]] * 2


def test_who_deletes_one_file_at_once_is_recorded_once(either_service: Service) -> None:
    service = either_service
    kept = service.upload(b"deleted by many", "many.txt")
    ready = Barrier(TOGETHER)

    def delete(_: int) -> str:
        ready.wait()
        (result,) = service.run(DELETE, ids=[kept["id"]])["deleteFiles"]
        return str(result["__typename"])

    with ThreadPoolExecutor(TOGETHER) as threads:
        results = sorted(threads.map(delete, range(TOGETHER)))
    assert results == ["DeletedFile"] + ["FileNotFound"] * (TOGETHER - 1)
    deletions = exported(service, "--action", "delete", "--user", "alice")
    assert len([each for each in deletions if each["name"] == "many.txt"]) == 1


def test_a_failed_sign_in_is_exported_with_its_address(either_service: Service) -> None:
    page = either_service.client.get("/login/", headers={"Authorization": ""})
    form = {
        "username": "alice",
        "password": "guessed",
        "csrfmiddlewaretoken": page.text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0],
    }
    answer = either_service.client.post("/login/", data=form, headers={"Referer": either_service.url})
    assert answer.status_code == 200
    failed = exported(either_service, "--action", "sign-in-failure")[-1]
    assert (failed["username"], failed["address"], failed["via"]) == ("alice", "127.0.0.1", "browser")


def test_whoever_reads_the_export_may_stop(service: Service) -> None:
    service.upload(b"", "none.txt")
    command = [sys.executable, "manage.py", "audit"]
    with subprocess.Popen(
        command, cwd=server.ROOT, env=service.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(server.ENDS_WITHIN) == 0
