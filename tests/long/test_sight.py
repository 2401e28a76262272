"""What operators see of a real service: its health, its figures, its log and its traces."""

import json
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families

from tests.api import picture
from tests.e2e import server
from tests.e2e.conftest import Start
from tests.e2e.server import Service

pytestmark = pytest.mark.e2e

TOKEN = "only-for-the-metrics-of-tests-0123456789"
JSON = {"LOG_FORMAT": "json", "METRICS_TOKEN": TOKEN}
LINE = {"LOG_FORMAT": "line", "LOG_LEVEL": "DEBUG"}
SERVERS = pytest.mark.parametrize("asgi", [False, True], ids=["wsgi", "asgi"])

# What would begin a line, colour it, or wipe the terminal.
HOSTILE = 'x\r\n2026-01-01 00:00:00,000 INFO forged: all is well\n{"forged":1}\x1b[2J\x85\u202e'


def events(service: Service) -> list[dict[str, Any]]:
    """The log, which is JSON but for what the command prints of itself at its start."""
    lines = service.log().splitlines()
    parsed = [json.loads(line) for line in lines if line.startswith("{")]
    others = [line for line in lines if line and not line.startswith("{")]
    assert all(
        re.match(r"Coffer is ready at |  (Library|Admin|A token|Sign in) |  {8}", each) for each in others
    )
    return parsed


def requests(service: Service) -> list[dict[str, Any]]:
    return [event for event in events(service) if "status" in event]


def wait_for_request(service: Service, request_id: str) -> dict[str, Any]:
    def said() -> list[dict[str, Any]]:
        return [event for event in requests(service) if event["request"] == request_id]

    server.wait_for(f"the line of request {request_id}", lambda: bool(said()))
    (event,) = said()
    return event


def figures(service: Service) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = httpx.get(
        f"{service.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False
    )
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def figure(service: Service, name: str, **labels: str) -> float:
    return figures(service).get((name, frozenset(labels.items())), 0.0)


# --- health ----------------------------------------------------------------------------------------


@SERVERS
def test_probes_tell_an_outage_and_its_end(start: Start, asgi: bool) -> None:
    with start("probed", asgi=asgi, settings=JSON) as service:
        by_address = httpx.Client(base_url=service.url, headers={"Host": "10.1.2.3:8000"}, trust_env=False)
        with by_address as kubelet:
            assert kubelet.get("/health/live").json() == {"status": "ok"}
            answer = kubelet.get("/health/ready")
            assert answer.status_code == 200, answer.text
            assert set(answer.json()["checks"]) == {"database", "migrations", "queue", "storage:default"}
            # A file where the folder was: nobody can write there, root included.
            files, kept = service.data_dir / "files", service.data_dir / "kept"
            files.mkdir(exist_ok=True)
            shutil.move(files, kept)
            files.touch()
            server.wait_for("an outage", lambda: kubelet.get("/health/ready").status_code == 503)
            assert kubelet.get("/health/ready").json()["checks"]["storage:default"]["status"] == "failed"
            assert kubelet.get("/health/live").status_code == 200
            files.unlink()
            shutil.move(kept, files)
            server.wait_for("its end", lambda: kubelet.get("/health/ready").status_code == 200)
        assert not any("/health/" in str(event.get("path")) for event in events(service))
        said = {event["message"].partition(":")[0] for event in events(service)}
        assert {"Not ready", "Ready again"} <= said


# --- the log ---------------------------------------------------------------------------------------


@SERVERS
def test_nothing_that_is_sent_begins_a_line_of_json(start: Start, asgi: bool) -> None:
    with start("hostile-json", asgi=asgi, settings=JSON) as service:
        send_hostile_names(service)
        assert not any("forged" in event for event in events(service))
        paths = [event["path"] for event in requests(service)]
        assert any(r"\x1b[2J" in path for path in paths)
        assert all(path.isprintable() for path in paths)
        assert "\x1b" not in service.log()


@SERVERS
def test_nothing_that_is_sent_begins_a_line_of_text(start: Start, asgi: bool) -> None:
    with start("hostile-line", asgi=asgi, settings=LINE) as service:
        send_hostile_names(service)
        lines = service.log().splitlines()
        assert any(r"\x1b[2J" in line for line in lines)
        assert not any(line.startswith(("2026-01-01 ", "{")) for line in lines)
        assert "\x1b" not in service.log()


def send_hostile_names(service: Service) -> None:
    """In each place where a client can put one."""
    service.upload(b"hello", "".join(f"%{byte:02X}" for byte in HOSTILE.encode()))
    service.client.get(f"/files/{quote(HOSTILE)}")
    service.client.post(
        "/graphql", json={"query": "query A { __typename } query B { __typename }", "operationName": HOSTILE}
    )
    service.client.post("/graphql", json={"query": f"query {HOSTILE} {{ __typename }}"})
    service.client.post("/graphql", json={"query": "{ __typename }", "extensions": {HOSTILE: HOSTILE}})
    colours = b"\x1b[2J2026-01-01 forged"
    for head in (b"Host: " + colours, b"X-Request-ID: " + colours, b"Authorization: Bearer " + colours):
        host = b"" if head.startswith(b"Host") else b"Host: 127.0.0.1\r\n"
        with service.connect() as connection:
            connection.sendall(b"GET /nothing HTTP/1.1\r\n" + host + head + b"\r\nConnection: close\r\n\r\n")
            while connection.recv(4096):
                pass
    asked = service.client.get("/nothing", headers={"X-Request-ID": "last"})
    assert asked.status_code == 404
    server.wait_for("the last line", lambda: service.log().count("/nothing") >= 2)


@SERVERS
def test_a_request_keeps_its_own_id_and_operation_among_many(start: Start, asgi: bool) -> None:
    def ask(number: int) -> httpx.Response:
        query = f"query Number{number} {{ viewer {{ username }} files(first: 1) {{ totalCount }} }}"
        return service.client.post(
            "/graphql", json={"query": query}, headers={"X-Request-ID": f"id-{number}"}
        )

    with start("many", asgi=asgi, settings=JSON) as service, ThreadPoolExecutor(12) as clients:
        answers = list(clients.map(ask, range(150)))
        assert [answer.headers["X-Request-ID"] for answer in answers] == [f"id-{n}" for n in range(150)]
        server.wait_for(
            "150 lines", lambda: sum("id-" in each["request"] for each in requests(service)) == 150
        )
        for event in requests(service):
            if event["request"].startswith("id-"):
                assert event["operation"] == event["request"].replace("id-", "Number")
                assert (event["user"], event["status"], event["method"]) == (1, 200, "POST")
                assert event["bytesOut"] > 0
                assert event["bytesIn"] > 0


@SERVERS
def test_the_log_has_no_signature_no_token_and_no_variable(start: Start, asgi: bool) -> None:
    with start("discreet", asgi=asgi, settings={**JSON, "LOG_LEVEL": "DEBUG"}) as service:
        file = service.upload(b"a secret content", "secret.txt", title="a secret title")
        address = httpx.URL(file["url"]["url"])
        answer = service.client.get(address, headers={"X-Request-ID": "download"})
        assert answer.content == b"a secret content"
        event = wait_for_request(service, "download")
        assert (event["path"], event["bytesOut"]) == (address.path, 16)
        log = service.log()
        assert service.token not in log
        assert TOKEN not in log
        for value in httpx.QueryParams(address.query).values():
            assert len(value) < 12 or value not in log
        assert "?" not in "".join(each["path"] for each in requests(service))
        assert "a secret" not in log


def test_an_error_has_the_traceback_in_its_line_and_the_id_of_its_request(start: Start) -> None:
    with start("failing", settings=JSON) as service:
        (service.data_dir / "incoming").mkdir(exist_ok=True)
        shutil.rmtree(service.data_dir / "files", ignore_errors=True)
        (service.data_dir / "files").touch()
        form = server.one_file(b"hello")
        answer = service.client.post(
            "/graphql",
            content=form.body,
            headers={"Content-Type": form.content_type, "X-Request-ID": "this-one"},
        )
        assert answer.json()["data"]["uploadFile"]["__typename"] == "StorageUnavailable"
        (event,) = [each for each in events(service) if each["logger"] == "files.storage"]
        assert (event["request"], event["level"], event["operation"]) == ("this-one", "ERROR", "Upload")
        assert event["traceback"].startswith("Traceback (most recent call last):\n")
        (service.data_dir / "files").unlink()


# --- figures ---------------------------------------------------------------------------------------


def test_the_figures_of_both_workers_are_one_sum_which_outlives_them(start: Start) -> None:
    def ask(_: int) -> None:
        # Each on a connection of its own, so that both workers get some.
        httpx.post(service.graphql_url, json={"query": "{ __typename }"}, trust_env=False)

    with start("counted", settings=JSON) as service, ThreadPoolExecutor(8) as clients:
        before = figure(service, "coffer_requests_total", kind="query", status="2xx")
        list(clients.map(ask, range(200)))
        (folder,) = (path for path in (service.data_dir / "metrics").iterdir() if path.is_dir())
        assert len(list(folder.glob("counter_[1-9]*.db"))) == 2
        for _ in range(4):  # whichever worker is asked
            counted = figure(service, "coffer_requests_total", kind="query", status="2xx") - before
            assert counted == 200

        _, *workers = service.processes()
        killed = next(pid for pid in workers if (folder / f"counter_{pid}.db").exists())
        os.kill(killed, signal.SIGKILL)
        gone = folder / f"counter_{killed}.db"
        server.wait_for(
            "the dead one's file to be added up", lambda: not (figures(service) and gone.exists())
        )
        list(clients.map(ask, range(20)))
        assert figure(service, "coffer_requests_total", kind="query", status="2xx") - before == 220
        assert figure(service, "coffer_requests_in_flight") == 0


def test_requests_under_way_are_seen(start: Start) -> None:
    with start("in-flight", settings=JSON) as service:
        form = server.one_file(b"x" * 100_000)
        with service.connect() as connection:
            connection.sendall(form.head(service.token) + form.body[:50_000])
            server.wait_for("it to be counted", lambda: figure(service, "coffer_requests_in_flight") == 1)
        server.wait_for("it to end", lambda: figure(service, "coffer_requests_in_flight") == 0)


def test_a_download_that_breaks_off_is_no_request_under_way_for_ever(start: Start) -> None:
    with start("broken-off", asgi=True, settings=JSON) as service:
        file = service.upload(os.urandom(8 * 1024 * 1024), "large.bin")
        target = httpx.URL(file["url"]["url"]).raw_path
        for _ in range(3):
            with service.connect() as connection:
                connection.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                connection.recv(1000)
        server.wait_for("them to end", lambda: figure(service, "coffer_requests_in_flight") == 0)
        assert figure(service, "coffer_requests_total", kind="download", status="2xx") == 3


# --- traces ----------------------------------------------------------------------------------------


class Collector(ThreadingHTTPServer):
    """As much of a collector as OTLP over HTTP needs."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.requests: list[ExportTraceServiceRequest] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def spans(self) -> list[Span]:
        return [
            span
            for request in list(self.requests)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


def attributes(span: Span) -> dict[str, str]:
    return {each.key: each.value.string_value or str(each.value.int_value) for each in span.attributes}


class _Take(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Collector)
        self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a test that fails shows what matters."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@SERVERS
def test_an_upload_is_one_trace_of_its_stages(start: Start, collector: Collector, asgi: bool) -> None:
    traced = {**JSON, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

    def spans() -> dict[str, Span]:
        return {span.name: span for span in collector.spans() if span.trace_id.hex() == trace}

    with start("traced", asgi=asgi, settings=traced) as service:
        form = server.one_file(picture(size=(60, 60)), "secret.png", profile="image", title="a secret title")
        answer = service.client.post(
            "/graphql?secret=1",
            content=form.body,
            headers={
                "Content-Type": form.content_type,
                "X-Request-ID": "traced",
                "traceparent": f"00-{trace}-{parent}-01",
            },
        )
        assert answer.json()["data"]["uploadFile"]["__typename"] == "File", answer.text
        server.wait_for("its spans", lambda: "POST graphql" in spans())
        found = spans()
        names = {span.span_id: name for name, span in found.items()}
        assert {
            name: names.get(span.parent_span_id, span.parent_span_id.hex()) for name, span in found.items()
        } == {
            "POST graphql": parent,
            "upload.receive": "POST graphql",
            "graphql mutation": "POST graphql",
            "upload.validate": "graphql mutation",
            "upload.store": "graphql mutation",
            "rendition.make": "graphql mutation",
        }
        request, operation = attributes(found["POST graphql"]), attributes(found["graphql mutation"])
        assert (request["coffer.request_id"], request["http.response.status_code"]) == ("traced", "200")
        assert (operation["graphql.operation.name"], operation["graphql.operation.type"]) == (
            "Upload",
            "mutation",
        )
        assert "secret" not in repr([each.SerializeToString() for each in collector.requests])


def test_what_is_left_is_sent_when_a_service_ends_and_one_without_collector_ends_too(
    start: Start, collector: Collector
) -> None:
    late = {"OTEL_BSP_SCHEDULE_DELAY": "600000"}
    here = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    with start("last-words", settings={**JSON, **late, **here}) as service:
        service.run("query Last { viewer { username } }")
        assert service.stop(signal.SIGTERM) == 0
    assert any(attributes(span).get("graphql.operation.name") == "Last" for span in collector.spans())

    nowhere = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.free_port()}"}
    with start("nobody-listens", settings={**JSON, **late, **nowhere}) as service:
        service.run("{ viewer { username } }")
        assert service.stop(signal.SIGTERM) == 0
        assert "SIGKILL" not in service.log()
