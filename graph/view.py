"""HTTP: who may ask, in which media types, and what an answer looks like. Everything but the page is JSON."""

import logging
import re
import threading
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from http import HTTPStatus
from typing import Any

import orjson
from cross_web import HTTPException, SyncHTTPRequestAdapter
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.utils.csp import CSP
from django.utils.decorators import method_decorator
from django.views.decorators.csp import csp_override
from django.views.decorators.csrf import csrf_exempt
from graphql import GraphQLError
from strawberry.django.views import GraphQLView, TemporalHttpResponse
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData
from strawberry.schema.exceptions import InvalidOperationTypeError
from strawberry.types import ExecutionResult

from accounts.models import Scope
from accounts.viewer import Viewer
from audit import log
from files import pooling, storage, telemetry
from files.outages import DATABASE_ERRORS, is_outage
from files.receive import ReceivingHandler
from graph import body, problems, rate_limit
from graph.authentication import CsrfFailed, InvalidCredentials, authenticate
from graph.context import Context
from graph.problems import Refused
from graph.rate_limit import RateLimited
from graph.request_info import CURRENT

logger = logging.getLogger(__name__)

# What graphql-core adds to an error tells what introspection would; Strawberry's switch is for fields only.
_SUGGESTION = re.compile(r" Did you mean [^?]*\?")

_GRAPHQL_RESPONSE = "application/graphql-response+json"

# A browser sends these only after asking the service, which says no to other origins: a request that bears
# one was not sent by a form of a foreign page.
_PREFLIGHT_HEADERS = ("X-Requested-With", "Apollo-Require-Preflight", "GraphQL-Preflight")


AT_WORK = 16  # operations that a process runs at once, as many as it has connections to a database
# The other threads wait for their clients' bytes. If all of them ran, they would wait for each other, and pay
# for it: of 64 clients with small uploads each then cost a third more.
_at_work = threading.BoundedSemaphore(AT_WORK)


class _SubResponse(TemporalHttpResponse):
    """The head of an answer. Strawberry's has a body too, which is encoded each time and thrown away."""

    def __init__(self, content_type: str) -> None:
        HttpResponse.__init__(self, content_type=content_type)


@method_decorator(csrf_exempt, name="dispatch")  # by the middleware; `authenticate` checks for itself
class CofferGraphQLView(GraphQLView[Context, None]):
    """One endpoint for queries, mutations, uploads and, in a browser, GraphiQL.

    Answers as the GraphQL over HTTP specification has them: `application/graphql-response+json` with 4xx for
    requests that are not run, or `application/json` with 200 for whatever is GraphQL.
    """

    # Django makes a view for each request, so these are the request's own.
    _viewer: Viewer
    _media_type: str
    _uploads: ReceivingHandler
    _work: ExitStack
    _was_run = True
    _is_batch = False

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self._uploads = ReceivingHandler()
        self._work = ExitStack()
        try:
            with storage.patience():
                response = self._answer(request)
        except Refused as refused:
            telemetry.refused(refused.code)
            response = problems.answer(refused)
        except HTTPException as error:
            response = problems.answer(problems.bad_request_because(error.reason))
        except RecursionError:
            response = problems.answer(problems.bad_request_because("The document is nested too deeply."))
        except DATABASE_ERRORS as error:
            if not is_outage(error):
                raise
            logger.exception("The database failed.")
            response = problems.unavailable()
        finally:
            self._uploads.close()
            self._work.close()
        patch_vary_headers(response, ["Accept"])
        return response

    def _answer(self, request: HttpRequest) -> HttpResponseBase:
        allowed = ["GET", "POST"] if settings.QUERIES_BY_GET else ["POST"]
        if _wants_page(request):
            return _graphiql(request)
        if request.method not in allowed:
            raise _method_not_allowed(allowed)
        self._viewer = _authenticated(request)
        _note_user(self._viewer)
        self._media_type = _media_type(request)
        if request.method == "POST":
            body.check_head(request)
            if request.content_type == body.MULTIPART:
                _check_may_upload(request, self._viewer)
        pooling.release()  # the body comes in the client's own time
        with log.by_token(self._viewer.token_id):
            return self.run(request=request)

    # --- the hooks of Strawberry's view ------------------------------------------------------------

    def should_render_graphql_ide(self, request: object) -> bool:
        return False  # decided before anything is asked of Strawberry

    def get_context(self, request: HttpRequest, response: HttpResponse) -> Context:
        return Context(request=request, response=response, viewer=self._viewer)

    def decode_json(self, data: str | bytes) -> object:
        return body.decode(data)

    def encode_json(self, data: object) -> bytes:
        return orjson.dumps(data)

    def parse_http_body(
        self, request: SyncHTTPRequestAdapter
    ) -> GraphQLRequestData | list[GraphQLRequestData]:
        data: Any
        if request.method == "GET":
            data = self.parse_query_params(request.query_params)
        else:
            data = body.read(request.request, self._uploads, self._viewer.user)  # type: ignore[attr-defined]
        self._work.enter_context(_at_work)
        if isinstance(data, list):
            self._is_batch = True
            self._validate_batch_request(data, protocol="http")
            return [body.operation(each) for each in data]
        return body.operation(data)

    def execute_single(self, request: HttpRequest, *args: Any, **kwargs: Any) -> ExecutionResult:
        try:
            return super().execute_single(request, *args, **kwargs)
        except HTTPException as error:
            if self._is_batch:  # those before it were run, and have to be answered
                return ExecutionResult(data=None, errors=[GraphQLError(error.reason)])
            if isinstance(error.__cause__, InvalidOperationTypeError):
                raise _method_not_allowed(["POST"]) from None
            raise

    def process_result(self, request: HttpRequest, result: ExecutionResult) -> GraphQLHTTPResponse:
        answer = super().process_result(request, result)
        if not settings.INTROSPECTION:
            for each in answer.get("errors") or ():
                each["message"] = _SUGGESTION.sub("", each["message"])  # type: ignore[index]
        for error in result.errors or ():
            if isinstance(error, RateLimited) and not self._is_batch:
                raise _too_often(error)
        if result.data is None and not any(error.path for error in result.errors or ()):
            # Nothing was run: there are errors and no data at all, not even null.
            answer.pop("data", None)
            self._was_run = False
        return answer

    def get_sub_response(self, request: HttpRequest) -> TemporalHttpResponse:
        response = _SubResponse(f"{self._media_type}; charset=utf-8")
        # It depends on who asks, and signed URLs in it expire.
        response["Cache-Control"] = "no-store"
        return response

    def create_response(
        self, response_data: GraphQLHTTPResponse | list[GraphQLHTTPResponse], sub_response: HttpResponse
    ) -> HttpResponseBase:
        response = super().create_response(response_data, sub_response)
        if self._media_type == _GRAPHQL_RESPONSE and not (self._was_run or self._is_batch):
            response.status_code = HTTPStatus.BAD_REQUEST
        return response


# --- decided from the head of the request ----------------------------------------------------------


def _authenticated(request: HttpRequest) -> Viewer:
    try:
        return authenticate(request)
    except InvalidCredentials:
        raise Refused(
            HTTPStatus.UNAUTHORIZED,
            "UNAUTHENTICATED",
            "The API token is not known, has expired or was revoked; make one with `create_token`.",
            {"WWW-Authenticate": 'Bearer realm="coffer", error="invalid_token"'},
        ) from None
    except CsrfFailed as error:
        raise Refused(HTTPStatus.FORBIDDEN, "CSRF_FAILED", f"{error} Send it as X-CSRFToken.") from None


def _note_user(viewer: Viewer) -> None:
    info = CURRENT.get()
    if info is not None and viewer.user is not None:
        info.user = viewer.user.pk


def _media_type(request: HttpRequest) -> str:
    """The media type of the answer. Raises Refused where the client takes neither that GraphQL has."""
    if "Accept" not in request.headers:
        return body.JSON
    preferred = request.get_preferred_type([body.JSON, _GRAPHQL_RESPONSE])
    if preferred is None:
        message = f"Accept {_GRAPHQL_RESPONSE} or {body.JSON}."
        raise Refused(HTTPStatus.NOT_ACCEPTABLE, "NOT_ACCEPTABLE", message)
    return str(preferred)


def _check_may_upload(request: HttpRequest, viewer: Viewer) -> None:
    """Raises Refused for who may not send files, and for what a form of a foreign page could have sent."""
    if viewer.user is None:
        raise Refused(
            HTTPStatus.UNAUTHORIZED,
            "UNAUTHENTICATED",
            "Sign in, or send an API token as `Authorization: Bearer <token>`.",
            {"WWW-Authenticate": 'Bearer realm="coffer"'},
        )
    if not viewer.may(Scope.WRITE):
        raise Refused(HTTPStatus.FORBIDDEN, "FORBIDDEN", "This API token has no scope `write`.")
    try:
        rate_limit.check(request, viewer)
    except RateLimited as error:
        raise _too_often(error) from None
    by_cookie = "Authorization" not in request.headers
    if by_cookie and not any(header in request.headers for header in _PREFLIGHT_HEADERS):
        message = f"Send one of the headers {', '.join(_PREFLIGHT_HEADERS)}, with any value."
        raise Refused(HTTPStatus.FORBIDDEN, "PREFLIGHT_REQUIRED", message)


def _too_often(error: RateLimited) -> Refused:
    return Refused(
        HTTPStatus.TOO_MANY_REQUESTS, rate_limit.CODE, error.message, {"Retry-After": str(error.retry_after)}
    )


def _method_not_allowed(allowed: Collection[str]) -> Refused:
    return Refused(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "METHOD_NOT_ALLOWED",
        f"Send this by {' or '.join(allowed)}.",
        {"Allow": ", ".join(allowed)},
    )


# --- the page --------------------------------------------------------------------------------------

_PAGE_POLICY: Mapping[str, Collection[str]] = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF, *settings.STATIC_SOURCES],
    "worker-src": [CSP.SELF],
    # GraphiQL's editor writes both elements and attributes.
    "style-src": [CSP.SELF, *settings.STATIC_SOURCES, CSP.UNSAFE_INLINE],
    # blob: what was picked and is not sent yet
    "img-src": [CSP.SELF, *settings.STATIC_SOURCES, *settings.MEDIA_SOURCES, "data:", "blob:"],
    "media-src": settings.MEDIA_SOURCES or [CSP.NONE],
    "font-src": [CSP.SELF, *settings.STATIC_SOURCES],
    "connect-src": [CSP.SELF, *settings.MEDIA_SOURCES],
    "base-uri": [CSP.NONE],
    "form-action": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
}


def _wants_page(request: HttpRequest) -> bool:
    asks_for_html = "text/html" in request.headers.get("Accept", "")
    return bool(
        settings.GRAPHIQL and request.method == "GET" and "query" not in request.GET and asks_for_html
    )


def _graphiql(request: HttpRequest) -> HttpResponse:
    shown = csp_override(storage.showing_images(_PAGE_POLICY))(render)
    page: HttpResponse = shown(request, "graph/graphiql.html", {"introspection": settings.INTROSPECTION})
    return page
