"""Traces cost nothing unless they are asked for, and a span tells no more than it should."""

import os
import subprocess
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from files import tracing
from tests.api import Api
from tests.e2e.server import python


@pytest.fixture
def spans(settings, monkeypatch) -> InMemorySpanExporter:
    settings.TRACING = True
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing._Tracers, "_made", provider.get_tracer("tests"))
    return exporter


def run(program: str, data_dir: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """In a process with nothing of the machine's environment but where programs are."""
    environ = {"PATH": os.environ["PATH"], "DATA_DIR": str(data_dir), "ENV_FILE": os.devnull, **settings}
    return python("-c", program, environ=environ, seconds=60)


def test_unless_they_are_asked_for_nothing_is_loaded_and_functions_stay_as_they_are(tmp_path: Path):
    program = """
import sys
import config.wsgi, config.urls
from django.test import Client
assert Client().get("/graphql").status_code == 405
from files import inspection, renditions, services
functions = (inspection.inspect, renditions._make, services._store)
assert not any(hasattr(each, "__wrapped__") for each in functions)
names = ("opentelemetry", "prometheus_client", "django_rq", "django.contrib.gis")
print([name for name in names if name in sys.modules])
"""
    ran = run(program, tmp_path, ALLOWED_HOSTS="testserver")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "[]\n"


def test_a_span_has_the_type_of_an_exception_and_not_its_words(spans: InMemorySpanExporter):
    with pytest.raises(ValueError, match="hunter2"), tracing.span("work"):
        raise ValueError("password hunter2")
    (span,) = spans.get_finished_spans()
    assert dict(span.attributes or {}) == {"error.type": "ValueError"}
    assert not span.events
    assert not span.status.is_ok
    assert "hunter2" not in span.to_json()


def test_a_request_is_named_by_what_it_asks_for_and_not_by_its_address(spans: InMemorySpanExporter, api: Api):
    api.client.get("/files/01234567-89ab-7def-8123-456789abcdef/secret.txt?signature=secret")
    (span,) = spans.get_finished_spans()
    attributes = dict(span.attributes or {})
    assert (span.name, attributes["http.response.status_code"]) == ("GET download", 403)
    assert attributes["url.path"] == "/files/01234567-89ab-7def-8123-456789abcdef/secret.txt"
    assert "signature" not in span.to_json()


def test_a_decorated_function_is_a_span_of_its_own(spans: InMemorySpanExporter):
    @tracing.traced("outer")
    def outer() -> int:
        with tracing.span("inner"):
            return 7

    assert outer() == 7
    inner, around = spans.get_finished_spans()
    assert (inner.name, around.name) == ("inner", "outer")
    assert inner.parent is not None
    assert inner.parent.span_id == around.context.span_id


def test_without_the_packages_the_start_says_which_to_install(tmp_path: Path):
    program = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name.startswith("opentelemetry") else find(name, *rest)
from config import env
env.read_or_exit()
"""
    ran = run(program, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318")
    assert ran.returncode != 0
    assert "OTEL_EXPORTER_OTLP_ENDPOINT: needs packages that are not installed" in ran.stderr
    assert "requirements-otel.txt" in ran.stderr
