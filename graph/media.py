"""Files on an origin of their own: at MEDIA_ORIGIN files alone are answered, and elsewhere all but files.

Whatever a file may do in a browser, it then does not do where people are signed in: no cookie comes to that
origin, and none is set there.
"""

from collections.abc import Callable
from http import HTTPStatus
from inspect import iscoroutinefunction
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port
from django.urls import Resolver404, resolve
from django.utils.decorators import sync_and_async_middleware

from graph import problems
from graph.problems import Refused

_FILES = {"download", "rendition"}  # the names of their views


@sync_and_async_middleware
def media_origin(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Middleware, before all that serves anything or looks at cookies."""
    if settings.MEDIA_ORIGIN is None:
        raise MiddlewareNotUsed
    origin: str = settings.MEDIA_ORIGIN
    name = urlsplit(origin).hostname

    def elsewhere(request: HttpRequest) -> HttpResponse | None:
        """The answer to what does not belong here; None for what does."""
        is_file = _is_file(request)
        if split_domain_port(request.get_host())[0] != name:
            return _moved(origin + request.get_full_path()) if is_file else None
        request.META.pop("HTTP_COOKIE", None)
        message = "There are only files at this address."
        return None if is_file else problems.answer(Refused(HTTPStatus.NOT_FOUND, "NOT_FOUND", message))

    if iscoroutinefunction(get_response):

        async def later(request: HttpRequest) -> Any:
            return elsewhere(request) or await get_response(request)

        return later

    def now(request: HttpRequest) -> Any:
        return elsewhere(request) or get_response(request)

    return now


def _moved(address: str) -> HttpResponse:
    """An address from before there was this origin: it is signed without one, and still good."""
    response = HttpResponse(status=HTTPStatus.TEMPORARY_REDIRECT, headers={"Location": address})
    response["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


def _is_file(request: HttpRequest) -> bool:
    try:
        return resolve(request.path_info).url_name in _FILES
    except Resolver404:
        return False
