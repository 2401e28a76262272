"""What orchestrators and Prometheus ask, answered before anything else is looked at.

By any host name, with no session, no rate limit and no line in the log.
"""

import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse

from files import queues, telemetry
from files.health import Readiness
from graph.problems import Refused, answer

logger = logging.getLogger(__name__)

type Probe = Callable[[HttpRequest], HttpResponse]

_READINESS = Readiness()
_NEVER_KEPT = {"Cache-Control": "no-store"}
_TO_BROWSERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def live(request: HttpRequest) -> HttpResponse:
    """The process answers; it asks nobody whether it could do more."""
    return JsonResponse({"status": "ok"}, headers=_NEVER_KEPT)


def ready(request: HttpRequest) -> HttpResponse:
    """200 or 503, and which part it is for. Why is in the log."""
    report = _READINESS.report()
    is_ready = all(outcome.is_ok for outcome in report.values())
    parts = {
        name: {"status": _word(outcome.is_ok), "ms": round(outcome.seconds * 1000, 1)}
        for name, outcome in report.items()
    }
    status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
    response = JsonResponse({"status": _word(is_ready), "checks": parts}, status=status, headers=_NEVER_KEPT)
    response._has_been_logged = True  # type: ignore[attr-defined]  # by Django, at each probe of an outage
    return response


def metrics(request: HttpRequest) -> HttpResponse:
    """Not there unless it was opened to somebody; what is set has to hold, token and address."""
    if not settings.METRICS:
        return answer(Refused(HTTPStatus.NOT_FOUND, "NOT_FOUND", "There is nothing at this address."))
    if not _comes_from_an_allowed_address(request):
        return answer(Refused(HTTPStatus.FORBIDDEN, "FORBIDDEN", "This address may not read the metrics."))
    if not _bears_the_token(request):
        challenge = {"WWW-Authenticate": 'Bearer realm="coffer metrics"'}
        message = "Send METRICS_TOKEN as `Authorization: Bearer <token>`."
        return answer(Refused(HTTPStatus.UNAUTHORIZED, "UNAUTHENTICATED", message, challenge))
    return HttpResponse(
        telemetry.exposition(_queues()),
        content_type="text/plain; version=0.0.4; charset=utf-8",
        headers=_NEVER_KEPT,
    )


def hardened(response: HttpResponse) -> HttpResponse:
    """What Django's middleware says to browsers of any other answer; a probe does not get as far as it."""
    for name, value in _TO_BROWSERS.items():
        response.headers[name] = value
    return response


def _word(is_ok: bool) -> str:
    return "ok" if is_ok else "failed"


def _comes_from_an_allowed_address(request: HttpRequest) -> bool:
    if not settings.METRICS_ALLOW:
        return True
    try:
        address = ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:  # a socket of the file system
        return False
    plain = getattr(address, "ipv4_mapped", None) or address
    return any(plain in network for network in settings.METRICS_ALLOW)


def _bears_the_token(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN is None:
        return True
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    is_it = secrets.compare_digest(given.strip().encode(), settings.METRICS_TOKEN.encode())
    return scheme.lower() == "bearer" and is_it


def _queues() -> Iterator[Any]:
    """As they are now; without a figure where they cannot be asked."""
    from prometheus_client.core import GaugeMetricFamily

    try:
        waiting = queues.waiting()
    except Exception:  # whatever a queue raises
        logger.exception("The queues could not be asked for /metrics.")
        return
    tasks = GaugeMetricFamily("coffer_queue_tasks", "Tasks that wait for a worker.", labels=["backend"])
    oldest = GaugeMetricFamily(
        "coffer_queue_oldest_seconds", "The age of the oldest of them.", labels=["backend"]
    )
    for each in waiting:
        tasks.add_metric([each.backend], each.tasks)
        oldest.add_metric([each.backend], each.oldest or 0.0)
    yield from (tasks, oldest)


def _only_read(probe: Probe) -> Probe:
    def read(request: HttpRequest) -> HttpResponse:
        return (
            probe(request) if request.method in {"GET", "HEAD"} else HttpResponseNotAllowed(["GET", "HEAD"])
        )

    return read


PROBES: Mapping[str, Probe] = {
    "/health/live": _only_read(live),
    "/health/ready": _only_read(ready),
    "/metrics": _only_read(metrics),
}
