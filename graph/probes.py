"""What orchestrators ask, answered before anything else is looked at.

By any host name, with no session, no rate limit and no line in the log.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse

from files.health import Readiness

type Probe = Callable[[HttpRequest], HttpResponse]

_READINESS = Readiness()
_NEVER_KEPT = {"Cache-Control": "no-store"}


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


def _word(is_ok: bool) -> str:
    return "ok" if is_ok else "failed"


def _only_read(probe: Probe) -> Probe:
    def read(request: HttpRequest) -> HttpResponse:
        return (
            probe(request) if request.method in {"GET", "HEAD"} else HttpResponseNotAllowed(["GET", "HEAD"])
        )

    return read


PROBES: Mapping[str, Probe] = {
    "/health/live": _only_read(live),
    "/health/ready": _only_read(ready),
}
