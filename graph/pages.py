"""The pages for people beside GraphiQL: the library, the way in, and a password of one's own. They say
nothing of any file: the script of the library asks GraphQL, like any other client."""

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView, LogoutView, PasswordChangeView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.views.decorators.csp import csp_override
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

from accounts.models import User
from files import storage


@require_safe
@login_required
@ensure_csrf_cookie  # its script sends the cookie's value back with each request
def library(request: HttpRequest) -> HttpResponse:
    if isinstance(request.user, User) and request.user.must_change_password:
        return redirect("password")
    shown = csp_override(storage.showing_images(settings.SECURE_CSP))(render)
    page: HttpResponse = shown(request, "graph/library.html", {"graphiql": settings.GRAPHIQL})
    return page


login = LoginView.as_view(template_name="graph/login.html", redirect_authenticated_user=True)
logout = LogoutView.as_view()
password = PasswordChangeView.as_view(
    template_name="graph/password.html", success_url=reverse_lazy("library")
)
