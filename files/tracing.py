"""Spans for OpenTelemetry, where OTEL_EXPORTER_OTLP_ENDPOINT says so; else nothing is imported, and functions
stay what they are. No span has a name of a file, a query string, a variable or a token."""

import atexit
import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpRequest

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

_SERVICE = "coffer"  # unless OTEL_SERVICE_NAME says otherwise
_LAST_WORDS = 3.0  # seconds that a process waits at its end for a collector that does not answer


class _NoSpan:
    def answered(self, status: int, *, kind: str) -> None:
        """Nobody wants to know."""


class _RequestSpan(_NoSpan):
    def __init__(self, span: "Span", request: HttpRequest) -> None:
        self._span = span
        self._request = request

    def answered(self, status: int, *, kind: str) -> None:
        match = self._request.resolver_match
        if match is not None and match.url_name:
            self._span.update_name(f"{self._request.method} {match.url_name}")
        self._span.set_attributes({"http.response.status_code": status, "coffer.kind": kind})
        if status >= 500:
            _fail(self._span, str(status))


_NO_SPAN = nullcontext(_NoSpan())
_NOTHING: AbstractContextManager[None] = nullcontext()


def traced[**P, R](name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A span around each call."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if not settings.TRACING:
            return function

        @functools.wraps(function)
        def in_span(*args: P.args, **kwargs: P.kwargs) -> R:
            with span(name):
                return function(*args, **kwargs)

        return in_span

    return decorate


def span(name: str, attributes: Mapping[str, str] | None = None) -> AbstractContextManager[Any]:
    """A span for the length of a block."""
    if not settings.TRACING:
        return _NOTHING
    return _span(name, attributes=attributes)


@contextmanager
def _span(name: str, **options: Any) -> "Iterator[Span]":
    """Of an exception it has the type alone: in its words may be what does not belong there."""
    with _Tracers.tracer().start_as_current_span(
        name, record_exception=False, set_status_on_exception=False, **options
    ) as span:
        try:
            yield span
        except BaseException as error:
            _fail(span, type(error).__name__)
            raise


def _fail(span: "Span", kind: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))


def request_span(request: HttpRequest, request_id: str) -> AbstractContextManager[_NoSpan]:
    """The span of a whole request, below that of whoever sent it, if they say which."""
    return _request_span(request, request_id) if settings.TRACING else _NO_SPAN


@contextmanager
def _request_span(request: HttpRequest, request_id: str) -> Iterator[_RequestSpan]:
    from opentelemetry.propagate import extract
    from opentelemetry.trace import SpanKind

    attributes = {
        "http.request.method": str(request.method),
        "url.path": request.path,
        "coffer.request_id": request_id,
    }
    parent = extract({name.lower(): value for name, value in request.headers.items()})
    with _span(str(request.method), context=parent, kind=SpanKind.SERVER, attributes=attributes) as span:
        yield _RequestSpan(span, request)


class _Tracers:
    """The tracer of this process. Made by the first span and not at the start: the thread that sends spans
    would not live on in the workers that a server forks."""

    _making = threading.Lock()
    _made: "Tracer | None" = None

    @classmethod
    def tracer(cls) -> "Tracer":
        with cls._making:
            if cls._made is None:
                cls._made = _make()
            return cls._made


def _make() -> "Tracer":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # Variables that are set go before what is given here, but for the name.
    given = Resource.create().attributes.get(SERVICE_NAME, "")
    name = _SERVICE if str(given).startswith("unknown_service") else given
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    atexit.register(_end, provider)
    return provider.get_tracer(_SERVICE)


def _end(provider: "TracerProvider") -> None:
    """Send what is left, in bounded time."""
    ending = threading.Thread(target=provider.shutdown, daemon=True)
    ending.start()
    ending.join(_LAST_WORDS)
