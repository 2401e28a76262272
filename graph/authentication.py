"""On whose behalf a request runs, decided from its head alone, before a byte of its body is read."""

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponseForbidden, QueryDict
from django.middleware.csrf import CsrfViewMiddleware

from accounts import tokens
from accounts.models import User
from accounts.viewer import Viewer


class InvalidCredentials(Exception):
    """Credentials were given and open nothing; the request must not go on as nobody's."""


class CsrfFailed(Exception):
    """A browser's cookie came without the proof that a page of ours sent the request."""


def authenticate(request: HttpRequest) -> Viewer:
    """A bearer token stands for itself alone; without one, the session's user, or nobody.

    Raises InvalidCredentials and CsrfFailed.
    """
    header = request.headers.get("Authorization")
    if header is not None:
        return _bearer(header)
    user = getattr(request, "user", AnonymousUser())
    if not isinstance(user, User) or not user.is_active:
        return Viewer.nobody()
    if request.method == "POST":
        _check_csrf(request)
    return Viewer.signed_in(user)


def _bearer(header: str) -> Viewer:
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer":
        raise InvalidCredentials
    try:
        return Viewer.of_token(tokens.authenticate(secret.strip()))
    except tokens.InvalidToken:
        raise InvalidCredentials from None


class _CsrfCheck(CsrfViewMiddleware):
    reason: str | None = None

    def _reject(self, request: HttpRequest, reason: str) -> HttpResponseForbidden:
        self.reason = reason
        return HttpResponseForbidden()


def _check_csrf(request: HttpRequest) -> None:
    """Django's own check, by the header only: looking for a form field would read the body."""
    request.POST = QueryDict()  # what the check then finds instead of a body
    check = _CsrfCheck(lambda _: HttpResponseForbidden())
    check.process_request(request)
    check.process_view(request, _unprotected, (), {})
    if check.reason is not None:
        raise CsrfFailed(check.reason)


def _unprotected(request: HttpRequest) -> HttpResponseForbidden:
    """Stands for the view, which is exempt from the middleware's check, so that this check is made."""
    return HttpResponseForbidden()
