"""Around every request: its id, its line in the log, its figures and its span.

It changes nothing of an answer but the header X-Request-ID, and reads nothing of a body.
"""

import logging
import time
import weakref
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_only_middleware

from files import telemetry, tracing
from graph import probes
from graph.request_info import CURRENT, RequestInfo, id_for

logger = logging.getLogger(__name__)

_HEADER = "X-Request-ID"
_MAX_PATH = 200  # characters
_KINDS = {"download": "download", "rendition": "rendition"}  # by the name of the address; others are "other"


@sync_only_middleware  # the views are; under ASGI it runs on the request's thread
def observed(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Any:
    """The outermost middleware: probes are answered here, before hosts, sessions and TLS are asked for."""

    def observe(request: HttpRequest) -> HttpResponseBase:
        probe = probes.PROBES.get(request.path_info)
        if probe is not None:
            return probes.hardened(probe(request))
        info = RequestInfo(id_for(request.headers.get(_HEADER)))
        request.info = info  # type: ignore[attr-defined]  # for what Django logs after this has ended
        token = CURRENT.set(info)
        telemetry.request_began()
        try:
            with tracing.request_span(request, info.id) as span:
                response = get_response(request)
                _note(request, info)
                span.answered(response.status_code, kind=info.kind)
        except BaseException:
            telemetry.request_ended(kind=info.kind, status=500, seconds=time.perf_counter() - info.begun)
            raise
        finally:
            CURRENT.reset(token)
        response.headers[_HEADER] = info.id
        _end_with(response, _access(request, response), info)
        return response

    return observe


def _note(request: HttpRequest, info: RequestInfo) -> None:
    """What only the way through the views has found out."""
    match = request.resolver_match
    if match is not None and match.url_name in _KINDS:
        info.kind = _KINDS[match.url_name]
    if info.user is None:
        # A session's user, if anybody has asked for it: asking now would read the session.
        user = vars(request).get("_cached_user")
        info.user = user.pk if user is not None else None


def _access(request: HttpRequest, response: HttpResponseBase) -> dict[str, Any]:
    """Without the query string, in which addresses have their signatures."""
    return {
        "method": request.method,
        "path": request.path[:_MAX_PATH],
        "status": response.status_code,
        "bytesIn": _length(request.headers.get("Content-Length")),
        "bytesOut": _bytes_out(response),
    }


def _end_with(response: HttpResponseBase, access: dict[str, Any], info: RequestInfo) -> None:
    """The request ends now, or when the last of a stream has gone out, or nobody wants it any more."""
    if not response.streaming:
        _ended(access, info)
        return
    # Not every server closes a response whose client went away; but nobody keeps it then.
    end = weakref.finalize(response, _ended, access, info)
    end.atexit = False
    response._resource_closers.append(end)  # type: ignore[attr-defined]


def _ended(access: dict[str, Any], info: RequestInfo) -> None:
    seconds = time.perf_counter() - info.begun
    telemetry.request_ended(kind=info.kind, status=access["status"], seconds=seconds)
    if logger.isEnabledFor(logging.INFO):
        access = {**access, "ms": round(seconds * 1000, 1)}
        logger.info(
            "%s %s %s",
            access["method"],
            access["path"],
            access["status"],
            extra={"access": access, "request_info": info},
        )


def _length(text: str | None) -> int | None:
    return int(text[:20]) if text and text.isascii() and text.isdecimal() else None


def _bytes_out(response: HttpResponseBase) -> int | None:
    """As announced; of what nginx or a bucket sends nothing is known here."""
    if response.has_header("Content-Length"):
        return _length(response["Content-Length"])
    return None if response.streaming else len(response.content)  # type: ignore[attr-defined]
