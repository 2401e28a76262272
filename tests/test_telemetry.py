"""Figures: what is counted under which names, over all processes, and who may read them."""

import dataclasses
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from prometheus_client import values
from prometheus_client.parser import text_string_to_metric_families

from accounts.models import User
from files import receive, services, storage, telemetry
from files.errors import StorageUnavailable
from files.models import File
from graph import rate_limit
from tests.api import Api, picture

TOKEN = "a token of the metrics, long enough to be one"
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def folder(settings, tmp_path, monkeypatch) -> Iterator[Path]:
    """Figures of the test's own, open to its token."""
    settings.METRICS = True
    settings.METRICS_TOKEN = TOKEN
    settings.METRICS_ALLOW = ()
    settings.METRICS_DIR = tmp_path / "metrics"
    monkeypatch.setattr(telemetry, "_made", [])
    yield telemetry._folder()
    values.close_all_multiprocess_files()


def scraped() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Each sample by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(telemetry.exposition().decode())
        for sample in family.samples
    }


def figure(name: str, **labels: str) -> float:
    return scraped().get((name, frozenset(labels.items())), 0.0)


def in_another_process(settings: Any, code: str) -> None:
    """The code, with the same figures, until that process ends."""
    program = f"""
from django.conf import settings
settings.configure(METRICS=True, METRICS_DIR={str(settings.METRICS_DIR)!r})
from files import telemetry
{code}
"""
    environ = {"PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environ, check=True, timeout=60)


# --- what is counted -------------------------------------------------------------------------------


def test_uploads_are_counted_by_profile_and_result(api: Api):
    api.upload(b"hello")
    api.upload(b"hello again")
    api.upload(b"", profile="document")
    api.upload(picture()[:60], "x.png", profile="image")
    assert figure("coffer_uploads_total", profile="default", result="success") == 2
    assert figure("coffer_uploads_total", profile="document", result="EmptyFile") == 1
    assert figure("coffer_uploads_total", profile="image", result="InvalidImage") == 1
    assert figure("coffer_upload_seconds_count") == 2


def test_a_profile_that_a_client_made_up_is_unknown(api: Api):
    for made_up in ("x", 'y"} 1\nforged 2', "z" * 100):
        api.upload(b"hello", profile=made_up)
    assert figure("coffer_uploads_total", profile="unknown", result="UnknownProfile") == 3
    assert "forged" not in telemetry.exposition().decode()


def test_the_bytes_of_files_are_counted_whatever_becomes_of_them(api: Api):
    api.upload(b"x" * 1000)
    api.upload(b"x" * 500, profile="nothing")
    assert figure("coffer_received_bytes_total") == 1500


def test_what_breaks_an_upload_without_an_error_of_ours_is_counted_too(alice: User, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("files.inspection.inspect", broken)
    with pytest.raises(ZeroDivisionError):
        services.upload(
            owner=alice, received=receive.Received.of_bytes(b"x"), profile="default", description={}
        )
    assert figure("coffer_uploads_total", profile="default", result="Unforeseen") == 1


def test_requests_are_counted_by_what_they_ask_and_not_by_their_names(api: Api):
    for number in range(3):
        api.post(f"query Mine{number} {{ viewer {{ username }} }}")
    api.post("mutation { deleteFiles(ids: []) { __typename } }")
    api.client.get("/nothing")
    assert figure("coffer_requests_total", kind="query", status="2xx") == 3
    assert figure("coffer_requests_total", kind="mutation", status="2xx") == 1
    assert figure("coffer_requests_total", kind="other", status="4xx") == 1
    assert figure("coffer_request_seconds_count", kind="query") == 3
    assert "Mine" not in telemetry.exposition().decode()


def test_requests_under_way_are_counted_until_they_end(api: Api, alice: User):
    from tests.api import address, keep

    answer = api.client.get(address(keep(alice, b"some bytes")))
    assert figure("coffer_requests_in_flight") == 1
    answer.close()
    assert figure("coffer_requests_in_flight") == 0
    assert figure("coffer_requests_total", kind="download", status="2xx") == 1


@pytest.mark.django_db(transaction=True)  # presets are made when an upload is committed
def test_renditions_are_counted_by_format_and_result(api: Api):
    api.upload(picture(size=(80, 80)), "x.png", "image/png", profile="image")
    file = File.objects.get()
    assert figure("coffer_renditions_total", format="webp", result="success") == 1
    storage.delete(key=file.key, alias=file.storage)
    file.renditions.all().delete()
    query = "{ files { edges { node { image { rendition(width: 16, format: JPEG) { url } } } } } }"
    (edge,) = api.run(query)["files"]["edges"]
    url = edge["node"]["image"]["rendition"]["url"]
    assert api.client.get(url.partition("testserver")[2]).status_code == 404
    assert figure("coffer_renditions_total", format="jpeg", result="Unforeseen") == 1


def test_storage_errors_are_counted_by_their_kind(settings, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, where a folder should be")
    entry = {"BACKEND": "files.disk.DiskStorage", "OPTIONS": {"location": blocked}}
    settings.STORAGES = {**settings.STORAGES, "public": entry}
    from django.core.files.base import ContentFile

    with pytest.raises(StorageUnavailable):
        storage.save(key="a/b", content=ContentFile(b"x"), alias="public")
    assert figure("coffer_storage_errors_total", storage="public", kind="NOT_WRITABLE") == 1


def test_refusals_are_counted_by_their_code(api: Api, settings):
    Api("coffer_wrong").post("{ viewer { username } }")
    settings.RATE_LIMIT_USER = 1
    for _ in range(3):
        api.post("{ viewer { username } }")
    assert figure("coffer_refusals_total", code="UNAUTHENTICATED") == 1
    assert figure("coffer_refusals_total", code=rate_limit.CODE) == 2


def test_what_nobody_may_read_is_not_counted(api: Api, settings):
    settings.METRICS = False
    api.upload(b"hello")
    assert not settings.METRICS_DIR.exists()


def test_a_folder_that_cannot_be_used_costs_figures_and_no_request(api: Api, settings, tmp_path, caplog):
    blocked = tmp_path / "a file"
    blocked.write_text("where a folder should be")
    settings.METRICS_DIR = blocked
    for _ in range(2):
        assert api.upload(b"hello")["__typename"] == "File"
    assert caplog.text.count("Nothing is counted") == 1
    assert telemetry.exposition() == b""


def test_the_documentation_names_the_figures_that_there_are():
    meters = telemetry._meters()
    assert meters is not None
    counted = {getattr(meters, field.name)._name for field in dataclasses.fields(meters)}
    names = counted | {"coffer_queue_tasks", "coffer_queue_oldest_seconds"}
    documented = (ROOT / "docs" / "observability.md").read_text()
    table = set(re.findall(r"^\| `(coffer_\w+)`", documented, re.MULTILINE))
    assert {name.removesuffix("_total") for name in table} == names
    used = set(re.findall(r"coffer_\w+", documented))
    assert {re.sub("_(total|bucket)$", "", name) for name in used} == names


# --- many processes --------------------------------------------------------------------------------


def test_figures_of_all_processes_are_one_sum(settings, folder: Path):
    telemetry.bytes_came(1)
    in_another_process(settings, "telemetry.bytes_came(10)")
    in_another_process(settings, "telemetry.bytes_came(100)\ntelemetry.request_began()")
    assert figure("coffer_received_bytes_total") == 111
    assert figure("coffer_requests_in_flight") == 0  # nobody answers it any more


def test_processes_that_have_ended_leave_their_sums_and_no_files(settings, folder: Path):
    telemetry.bytes_came(1)
    for _ in range(2):
        in_another_process(settings, "telemetry.bytes_came(10)")
        assert figure("coffer_upload_seconds_count") == 0
    assert figure("coffer_received_bytes_total") == 21
    whose = {path.stem.rpartition("_")[2] for path in folder.glob("*.db")}
    assert whose == {"0", str(os.getpid())}


def test_a_service_that_starts_anew_counts_from_nothing(settings, folder: Path):
    in_another_process(settings, "telemetry.bytes_came(10)")
    assert list(folder.glob("*.db"))
    telemetry.bytes_came(1)
    assert figure("coffer_received_bytes_total") == 1


def test_what_an_earlier_process_of_the_same_number_left_is_not_taken_over(settings, folder: Path):
    # In containers the numbers are the same each time.
    folder.mkdir(parents=True)
    in_another_process(settings, "telemetry.bytes_came(10)")
    (left,) = folder.glob("counter_*.db")
    left.rename(folder / f"counter_{os.getpid()}.db")
    telemetry.bytes_came(1)
    assert figure("coffer_received_bytes_total") == 1


def test_figures_of_hosts_that_are_long_gone_are_deleted(settings, folder: Path):
    gone, away = settings.METRICS_DIR / "gone", settings.METRICS_DIR / "away"
    for other in (gone, away):
        other.mkdir(parents=True)
        (other / "counter_1.db").touch()
    long_ago = time.time() - 30 * 24 * 3600
    for path in (gone / "counter_1.db", gone, away):
        os.utime(path, (long_ago, long_ago))
    telemetry.bytes_came(1)
    assert {path.name for path in settings.METRICS_DIR.iterdir()} == {"away", folder.name}


def test_files_have_their_room_before_anything_is_counted(folder: Path):
    telemetry.bytes_came(1)
    for path in folder.glob("*.db"):
        assert path.stat().st_blocks * 512 >= telemetry._RESERVED


# --- who may read ----------------------------------------------------------------------------------


def asked(**headers: str) -> Any:
    return Client().get("/metrics", headers=headers)


def test_they_are_prometheus_text_for_who_has_the_token():
    answer = asked(Authorization=f"Bearer {TOKEN}")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("sent", ["", "Bearer", "Bearer x", f"Basic {TOKEN}", TOKEN, "Bearer ü"])
def test_no_other_token_opens_them(sent, staff_api):
    headers = {"Authorization": sent} if sent else {}
    answer = asked(**headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert b"coffer_" not in answer.content
    assert staff_api.client.get("/metrics").status_code == 401


@pytest.mark.parametrize(
    "address, status",
    [("10.1.2.3", 200), ("::ffff:10.1.2.3", 200), ("10.2.0.1", 403), ("::1", 200), ("", 403), ("unix", 403)],
)
def test_the_list_of_addresses_is_held(settings, address, status):
    settings.METRICS_TOKEN = None
    settings.METRICS_ALLOW = (ip_network("10.1.0.0/16"), ip_network("::1/128"))
    assert Client(REMOTE_ADDR=address).get("/metrics").status_code == status


def test_where_both_are_set_both_have_to_hold(settings):
    settings.METRICS_ALLOW = (ip_network("10.0.0.0/8"),)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert Client(REMOTE_ADDR="10.1.2.3").get("/metrics").status_code == 401
    assert Client(REMOTE_ADDR="192.0.2.1").get("/metrics", headers=headers).status_code == 403
    assert Client(REMOTE_ADDR="10.1.2.3").get("/metrics", headers=headers).status_code == 200


def test_unless_somebody_was_named_they_are_not_there(settings):
    settings.METRICS, settings.METRICS_TOKEN = False, None
    answer = Client(REMOTE_ADDR="127.0.0.1").get("/metrics")
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (404, "NOT_FOUND")
