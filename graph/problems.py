"""Answers that are no answers to an operation: JSON with GraphQL's shape of errors, whatever went wrong."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views import csrf, defaults

from files.errors import RETRY_AFTER

logger = logging.getLogger(__name__)

TOO_LARGE = HTTPStatus(413)  # its name changed in Python 3.13


class Refused(Exception):
    """The request is answered with this status and nothing of it is run; `code` is for programs."""

    def __init__(
        self, status: HTTPStatus, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}


def bad_request_because(message: str) -> Refused:
    """A request that is not what the specifications say, and where."""
    return Refused(HTTPStatus.BAD_REQUEST, "BAD_REQUEST", message)


def answer(refused: Refused, **extensions: Any) -> HttpResponse:
    """The refusal as a response."""
    body = {"errors": [{"message": str(refused), "extensions": {"code": refused.code, **extensions}}]}
    return HttpResponse(
        orjson.dumps(body),
        status=refused.status,
        content_type="application/json",
        headers=dict(refused.headers),
    )


def unavailable() -> HttpResponse:
    """The database is down: nothing was done, and trying again is right."""
    refused = Refused(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "SERVICE_UNAVAILABLE",
        "The service cannot answer just now; nothing was changed. Try again later.",
        {"Retry-After": str(RETRY_AFTER)},
    )
    return answer(refused, retryable=True, retryAfter=RETRY_AFTER)


# --- what Django answers by itself -----------------------------------------------------------------


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if _is_for_people(request):
        return defaults.bad_request(request, exception)
    if isinstance(exception, DisallowedHost):
        # One line and no traceback, since anyone can send this.
        logger.warning(
            "Refused a request for the host %.200r, which ALLOWED_HOSTS does not name.", _host(request)
        )
        return answer(bad_request_because("This service is not called by that name (ALLOWED_HOSTS)."))
    return answer(bad_request_because("The request cannot be understood."))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if _is_for_people(request):
        return defaults.permission_denied(request, exception)
    return answer(Refused(HTTPStatus.FORBIDDEN, "FORBIDDEN", "The request is not allowed."))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    if _is_for_people(request):
        return csrf.csrf_failure(request, reason)
    return answer(Refused(HTTPStatus.FORBIDDEN, "CSRF_FAILED", reason or "The CSRF check failed."))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if _is_for_people(request):
        return defaults.page_not_found(request, exception)
    return answer(Refused(HTTPStatus.NOT_FOUND, "NOT_FOUND", "There is nothing at this address."))


def server_error(request: HttpRequest) -> HttpResponseBase:
    if _is_for_people(request):
        return defaults.server_error(request)
    message = "Something went wrong; it was logged."
    return answer(Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR", message))


def _host(request: HttpRequest) -> str:
    return str(request.META.get("HTTP_HOST", ""))


def _is_for_people(request: HttpRequest) -> bool:
    return request.path == "/" or request.path.startswith(("/admin/", "/login/", "/logout/"))
