"""HTTP: who may, what is read of a request and how much of it, and what an answer looks like.

Everything that is not a page is JSON, errors included.
"""

import logging
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any

import orjson
from cross_web import HTTPException, SyncHTTPRequestAdapter
from django.conf import settings
from django.core.exceptions import (
    RequestDataTooBig,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.csp import CSP
from django.utils.decorators import method_decorator
from django.views import defaults
from django.views.decorators.csp import csp_override
from django.views.decorators.csrf import csrf_exempt
from strawberry.django.views import GraphQLView
from strawberry.http import GraphQLHTTPResponse
from strawberry.types import ExecutionResult

from accounts.models import Scope
from accounts.viewer import Viewer
from files.receive import Received, ReceivingHandler
from graph import multipart
from graph.authentication import CsrfFailed, InvalidCredentials, authenticate
from graph.context import Context

logger = logging.getLogger(__name__)

RETRY_AFTER = 5  # seconds
_TOO_LARGE = HTTPStatus(413)  # its name changed in Python 3.13


class Refused(Exception):
    """The request is answered with this status and no operation is run."""

    def __init__(
        self, status: HTTPStatus, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}


class _Parser(MultiPartParser):
    """Django's parser, with the names of files as they came: they are shown, not used as paths."""

    def sanitize_file_name(self, file_name: str) -> str:
        return file_name


@method_decorator(csrf_exempt, name="dispatch")  # by the middleware; `authenticate` checks for itself
class CofferGraphQLView(GraphQLView[Context, None]):
    """One endpoint for queries, mutations, uploads and, in a browser, GraphiQL."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        uploads = ReceivingHandler(limit_of=lambda _: _largest_file())
        try:
            return self._answer(request, uploads)
        except Refused as refused:
            return _error(refused.status, refused.code, str(refused), refused.headers)
        except HTTPException as error:
            return _error(HTTPStatus(error.status_code), "BAD_REQUEST", error.reason)
        except (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent):
            return _error(
                _TOO_LARGE,
                "REQUEST_TOO_LARGE",
                f"Send at most {settings.DATA_UPLOAD_MAX_MEMORY_SIZE} bytes of JSON "
                f"and {settings.MAX_FILES} files.",
            )
        except UnreadablePostError:
            return _error(HTTPStatus.BAD_REQUEST, "BAD_REQUEST", "The body of the request broke off.")
        except (OperationalError, InterfaceError):
            logger.exception("The database failed.")
            return unavailable()
        finally:
            uploads.close()

    def _answer(self, request: HttpRequest, uploads: ReceivingHandler) -> HttpResponseBase:
        if request.method not in {"GET", "POST"}:
            raise Refused(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "METHOD_NOT_ALLOWED",
                "GraphQL is asked by POST, or by GET.",
                {"Allow": "GET, POST"},
            )
        if self._wants_page(request):
            return _graphiql(request)
        try:
            viewer = authenticate(request)
        except InvalidCredentials:
            raise Refused(
                HTTPStatus.UNAUTHORIZED,
                "UNAUTHENTICATED",
                "The API token is not known, has expired or was revoked; make one with `create_token`.",
                {"WWW-Authenticate": 'Bearer realm="coffer", error="invalid_token"'},
            ) from None
        except CsrfFailed as error:
            raise Refused(HTTPStatus.FORBIDDEN, "CSRF_FAILED", f"{error} Send it as X-CSRFToken.") from None
        if request.content_type == "multipart/form-data":
            _check_may_upload(request, viewer)
        # What the hooks below need to know of this request.
        request.coffer_viewer = viewer  # type: ignore[attr-defined]
        request.coffer_uploads = uploads  # type: ignore[attr-defined]
        return self.run(request=request)

    def _wants_page(self, request: HttpRequest) -> bool:
        accepted = request.headers.get("Accept", "")
        return (
            settings.GRAPHIQL
            and request.method == "GET"
            and "query" not in request.GET
            and "text/html" in accepted
        )

    def should_render_graphql_ide(self, request: object) -> bool:
        return False  # decided in `_answer`

    def get_context(self, request: HttpRequest, response: HttpResponse) -> Context:
        viewer: Viewer = request.coffer_viewer  # type: ignore[attr-defined]
        return Context(request=request, response=response, viewer=viewer)

    def decode_json(self, data: str | bytes) -> object:
        # Stricter than the standard library: no NaN, no halves of surrogate pairs, bounded nesting.
        return orjson.loads(data)

    def encode_json(self, data: object) -> bytes:
        return orjson.dumps(data)

    def parse_multipart(self, request: SyncHTTPRequestAdapter) -> Any:
        django_request: HttpRequest = request.request  # type: ignore[attr-defined]
        uploads: ReceivingHandler = django_request.coffer_uploads  # type: ignore[attr-defined]
        try:
            parser = _Parser(django_request.META, django_request, [uploads], "utf-8")
            fields, _ = parser.parse()
        except MultiPartParserError as error:
            raise HTTPException(400, f"The multipart body cannot be read: {error}") from error
        for name in ("operations", "map"):
            if len(fields.getlist(name)) != 1:
                raise HTTPException(400, f"The multipart body has to have one field {name!r}.")
        operations = self.parse_json(str(fields["operations"]))
        file_map = self.parse_json(str(fields["map"]))
        try:
            return multipart.place(operations, file_map, _by_name(uploads))
        except multipart.MultipartError as error:
            raise HTTPException(400, str(error)) from error

    def process_result(self, request: HttpRequest, result: ExecutionResult) -> GraphQLHTTPResponse:
        answer = super().process_result(request, result)
        if result.data is None and not any(error.path for error in result.errors or ()):
            answer.pop("data", None)  # nothing was run: there are errors and no data at all
        return answer


def _by_name(uploads: ReceivingHandler) -> dict[str, Received]:
    files: dict[str, Received] = {}
    for name, received in uploads.complete:
        if name in files:
            raise HTTPException(400, f"The multipart body has two files called {name!r}.")
        files[name] = received
    return files


def _check_may_upload(request: HttpRequest, viewer: Viewer) -> None:
    """Before a byte of the body is read. Raises Refused."""
    if viewer.user is None:
        raise Refused(
            HTTPStatus.UNAUTHORIZED,
            "UNAUTHENTICATED",
            "Sign in, or send an API token as `Authorization: Bearer <token>`.",
            {"WWW-Authenticate": 'Bearer realm="coffer"'},
        )
    if not viewer.may(Scope.WRITE):
        raise Refused(HTTPStatus.FORBIDDEN, "FORBIDDEN", "This API token has no scope `write`.")
    length = request.headers.get("Content-Length", "")
    if length.isascii() and length.isdecimal() and int(length[:20]) > settings.MAX_REQUEST_SIZE:
        raise Refused(
            _TOO_LARGE,
            "REQUEST_TOO_LARGE",
            f"The request has {length} bytes; the limit is {settings.MAX_REQUEST_SIZE} bytes.",
        )


def _largest_file() -> int:
    """Past this no profile lets a file in, so its bytes need not be kept."""
    return max(profile.max_size for profile in settings.UPLOAD_PROFILES.values())


_PAGE_POLICY: Mapping[str, Collection[str]] = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF],
    "style-src": [CSP.SELF],
    "style-src-elem": [CSP.SELF, CSP.UNSAFE_INLINE],  # GraphiQL's editor adds style elements
    "img-src": [CSP.SELF, "data:"],
    "font-src": ["data:"],
    "connect-src": [CSP.SELF],
    "base-uri": [CSP.NONE],
    "form-action": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
}


@csp_override(_PAGE_POLICY)
def _graphiql(request: HttpRequest) -> HttpResponse:
    return render(request, "graph/graphiql.html")


# --- errors of HTTP --------------------------------------------------------------------------------


def _error(
    status: HTTPStatus, code: str, message: str, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    body = {"errors": [{"message": message, "extensions": {"code": code}}]}
    return HttpResponse(
        orjson.dumps(body), status=status, content_type="application/json", headers=dict(headers or {})
    )


def unavailable() -> HttpResponse:
    """The database is down: nothing was done, and trying again is right."""
    body = {
        "errors": [
            {
                "message": "The service cannot answer just now; nothing was changed. Try again later.",
                "extensions": {"code": "SERVICE_UNAVAILABLE", "retryable": True, "retryAfter": RETRY_AFTER},
            }
        ]
    }
    return HttpResponse(
        orjson.dumps(body),
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        content_type="application/json",
        headers={"Retry-After": str(RETRY_AFTER)},
    )


def _is_for_people(request: HttpRequest) -> bool:
    return request.path.startswith("/admin/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if _is_for_people(request):
        return defaults.bad_request(request, exception)
    return _error(HTTPStatus.BAD_REQUEST, "BAD_REQUEST", "The request cannot be understood.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if _is_for_people(request):
        return defaults.permission_denied(request, exception)
    return _error(HTTPStatus.FORBIDDEN, "FORBIDDEN", "The request is not allowed.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if _is_for_people(request):
        return defaults.page_not_found(request, exception)
    return _error(HTTPStatus.NOT_FOUND, "NOT_FOUND", "There is nothing at this address.")


def server_error(request: HttpRequest) -> HttpResponseBase:
    if _is_for_people(request):
        return defaults.server_error(request)
    return _error(
        HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR", "Something went wrong; it was logged."
    )
